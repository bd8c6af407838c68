/* SPDX-License-Identifier: Apache-2.0 */
/* From request to line and back: what every changing route of the flash-sale face does. */
#include <sodium.h>

#include "api/envelope.h"
#include "api/flash_sale_priv.h"
#include "base/utf8.h"

enum { NS_PER_MS = 1000000 };

bool is_sku(struct slice text)
{
    if (text.len < 1 || text.len > SKU_LEN_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.base[i];
        bool is_allowed =
            (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
        if (!is_allowed)
            return false;
    }
    return true;
}

struct slice header_to_utf8(struct arena *arena, struct slice text)
{
    if (utf8_is_valid(text))
        return text;
    char memory[2 * HEADER_TEXT_LEN_MAX];
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.base[i];
        if (c >= 0x80) {
            memory[len++] = (char)(0xC0 | c >> 6);
            memory[len++] = (char)(0x80 | (c & 0x3F));
        } else {
            memory[len++] = (char)c;
        }
    }
    return arena_copy(arena, slice_make(memory, len));
}

struct face_call *face_call_create(struct http_request *request, struct net_thread *thread,
    enum command_kind kind, void (*on_done)(struct engine_call *call))
{
    struct face_call *face_call = arena_alloc(&request->arena, sizeof *face_call);
    if (face_call == NULL) {
        reply_error(request, 500, SLICE("INTERNAL_ERROR"), SLICE("An unexpected error occurred."));
        return NULL;
    }
    face_call->request = request;
    face_call->thread = thread;
    face_call->call.command.kind = kind;
    face_call->call.on_done = on_done;
    face_call->call.deadline_ns = request->arrived_ns + thread->app->config.answer_deadline_ms * NS_PER_MS;
    return face_call;
}

void face_call_fini(struct face_call *face_call)
{
    request_body_fini(&face_call->body);
}

void face_call_push(struct face_call *face_call)
{
    if (engine_port_push(face_call->thread->port, &face_call->call))
        return;
    struct http_request *request = face_call->request;
    int retry_after_s = face_call->call.retry_after_s;
    face_call_fini(face_call);
    reply_result(request, RESULT_UNAVAILABLE, retry_after_s);
}

/* A structured-field string may come in quotes (draft-ietf-httpapi-idempotency-key-header). */
static struct slice unquote(struct slice text)
{
    bool is_quoted = text.len >= 2 && text.base[0] == '"' && text.base[text.len - 1] == '"';
    return is_quoted ? slice_make(text.base + 1, text.len - 2) : text;
}

static void hash_part(crypto_generichash_state *state, struct slice part)
{
    uint64_t len = part.len;
    crypto_generichash_update(state, (const unsigned char *)&len, sizeof len);
    crypto_generichash_update(state, (const unsigned char *)part.base, part.len);
}

/* Method, path and body; each with its length, so that no two requests can be cut to the same bytes. */
static void fingerprint(const struct http_request *request, unsigned char hash[FINGERPRINT_BYTES])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, FINGERPRINT_BYTES);
    hash_part(&state, request->method_name);
    hash_part(&state, request->path);
    hash_part(&state, request->body);
    crypto_generichash_final(&state, hash, FINGERPRINT_BYTES);
}

/* Both in one piece in the arena, which overflows when it is full. */
static struct slice join(struct arena *arena, struct slice head, struct slice tail)
{
    char memory[64 + USER_LEN_MAX];
    struct strbuf text;
    strbuf_init(&text, memory, sizeof memory);
    strbuf_put(&text, head);
    strbuf_put(&text, tail);
    return arena_copy(arena, strbuf_slice(&text));
}

bool face_call_read_key(struct face_call *face_call, struct slice kind, struct slice owner)
{
    struct http_request *request = face_call->request;
    struct slice header;
    if (!http_header(request, SLICE("idempotency-key"), &header))
        return true;
    struct slice key = unquote(header);
    if (key.len == 0 || key.len > HEADER_TEXT_LEN_MAX ||
        http_header_count(request, SLICE("idempotency-key")) > 1) {
        face_call_fini(face_call);
        reply_field_error(request, SLICE("Idempotency-Key must be one value of 1 to 255 characters."),
            SLICE("Idempotency-Key"), SLICE("Must be a non-empty string (max 255 characters)"));
        return false;
    }
    struct idempotency *idempotency = &face_call->call.command.idempotency;
    idempotency->key = header_to_utf8(&request->arena, key);
    idempotency->scope = join(&request->arena, kind, owner);
    if (request->arena.has_overflowed) { /* without its scope the key would be everybody's */
        face_call_fini(face_call);
        reply_error(request, 500, SLICE("INTERNAL_ERROR"), SLICE("An unexpected error occurred."));
        return false;
    }
    fingerprint(request, idempotency->fingerprint);
    return true;
}
