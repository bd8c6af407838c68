/* SPDX-License-Identifier: Apache-2.0 */
#include "api/order_form.h"

#include <sodium.h>

#include "base/ensure.h"
#include "base/utf8.h"
#include "core/decimal.h"
#include "net/json.h"
#include "net/json_raw.h"
#include "service/mail.h"

enum {
    TEXT_MAX = 2 * 1024 * 1024
}; /* bytes: each item takes 1,600 at the most, with a name all of escapes */

/* What is read before it is written down. */
struct reading {
    struct slice body;
    const struct json *json;
    struct order_form *form;
    struct strbuf *why;
    struct slice order_id;
    struct slice email;
    __int128 total_micro;
};

/* Only the first reason is told. */
static enum order_form_status refuse(struct strbuf *why, const char *sentence)
{
    if (why->len == 0)
        strbuf_put(why, slice_cstr(sentence));
    return ORDER_FORM_REFUSED;
}

/* Names the item, counted from 0 as in a path of JSON. */
static enum order_form_status refuse_item(struct strbuf *why, size_t index, const char *rest)
{
    if (why->len == 0)
        strbuf_printf(why, "items[%zu]%s", index, rest);
    return ORDER_FORM_REFUSED;
}

/* The member, or NULL when it is missing or null. */
static const struct json *optional(const struct json *object, const char *name)
{
    const struct json *value = json_member(object, name);
    return value == NULL || json_kind(value) == JSON_KIND_NULL ? NULL : value;
}

/* False when it is there and no text. */
static bool optional_text(const struct json *object, const char *name, struct slice *text)
{
    const struct json *value = optional(object, name);
    *text = slice_make("", 0);
    return value == NULL || json_text(value, text);
}

static bool has_nul(struct slice text)
{
    return text.len > 0 && memchr(text.base, '\0', text.len) != NULL;
}

/* --- prices --- */

/* Exactly as it was sent: a number of 10^-scale. */
struct price {
    int64_t value;
    int scale; /* millionths; cents when it is too large for that */
};

enum { MICRO_PER_CENT = 10000 };

/* Wide enough for the largest total in millionths; a sum of two such fits too. */
#define TOTAL_MICRO_MAX ((__int128)INT64_MAX * MICRO_PER_CENT + MICRO_PER_CENT / 2 - 1)

static __int128 price_micro(struct price price)
{
    return price.scale == DECIMAL_SCALE_CENTS ? (__int128)price.value * MICRO_PER_CENT : price.value;
}

/*
 * More digits than are kept: cuts what is beyond the last place and rounds by the first digit of it. Without
 * an exponent, as numbers of that size are written.
 */
static enum decimal_status round_price(struct slice text, int64_t *micro)
{
    const char *point = memchr(text.base, '.', text.len);
    if (point == NULL || memchr(text.base, 'e', text.len) != NULL || memchr(text.base, 'E', text.len) != NULL)
        return DECIMAL_TOO_PRECISE;
    size_t kept = (size_t)(point - text.base) + 1 + DECIMAL_SCALE_MICRO;
    bool is_up = text.base[kept] >= '5';
    bool is_negative = text.base[0] == '-';
    enum decimal_status status = decimal_parse(slice_make(text.base, kept), DECIMAL_SCALE_MICRO, micro);
    if (status != DECIMAL_OK || !is_up)
        return status;
    return decimal_add(*micro, is_negative ? -1 : 1, micro) ? DECIMAL_OK : DECIMAL_OUT_OF_RANGE;
}

static enum decimal_status parse_price(struct slice text, struct price *price)
{
    price->scale = DECIMAL_SCALE_MICRO;
    enum decimal_status status = decimal_parse(text, price->scale, &price->value);
    if (status == DECIMAL_TOO_PRECISE)
        status = round_price(text, &price->value);
    if (status != DECIMAL_OUT_OF_RANGE)
        return status;
    price->scale = DECIMAL_SCALE_CENTS;
    return decimal_parse(text, price->scale, &price->value);
}

static enum order_form_status read_price(
    struct reading *reading, size_t index, struct slice item, struct price *price)
{
    struct slice text;
    if (!json_raw_member(item, SLICE("price"), &text) || !json_raw_is_number(text))
        return ORDER_FORM_MALFORMED;
    switch (parse_price(text, price)) {
    case DECIMAL_OK:
        return price->value < 0
                   ? refuse_item(reading->why, index, ".price is negative; it must be 0 or more.")
                   : ORDER_FORM_OK;
    case DECIMAL_TOO_PRECISE:
        return refuse_item(reading->why, index, ".price has more digits than an amount can hold.");
    case DECIMAL_OUT_OF_RANGE:
        return refuse_item(reading->why, index, ".price is beyond what an amount can hold.");
    case DECIMAL_MALFORMED:
        break;
    }
    return ORDER_FORM_MALFORMED;
}

/* --- items --- */

static void put_item(struct strbuf *text, struct slice product_id, int64_t quantity, struct price price)
{
    strbuf_lit(text, "{\"product_id\":");
    strbuf_put_json(text, product_id);
    strbuf_lit(text, ",\"quantity\":");
    strbuf_put_i64(text, quantity);
    strbuf_lit(text, ",\"price\":");
    decimal_put(text, price.value, price.scale);
    strbuf_put_char(text, '}');
}

/* False: more than an amount can hold. */
static bool add_to_total(struct reading *reading, int64_t quantity, struct price price)
{
    __int128 micro = price_micro(price);
    if (micro > 0 && quantity > (TOTAL_MICRO_MAX - reading->total_micro) / micro)
        return false;
    reading->total_micro += quantity * micro;
    return true;
}

/* `raw` is the text of `item`. */
static enum order_form_status read_item(
    struct reading *reading, const struct json *item, struct slice raw, size_t index)
{
    struct slice product_id;
    int64_t quantity;
    struct price price;
    if (json_kind(item) != JSON_KIND_OBJECT || !json_text(json_member(item, "product_id"), &product_id) ||
        !json_int64(json_member(item, "quantity"), &quantity))
        return ORDER_FORM_MALFORMED;
    enum order_form_status status = read_price(reading, index, raw, &price);
    if (status != ORDER_FORM_OK)
        return status;
    if (quantity <= 0)
        return refuse_item(reading->why, index, ".quantity must be 1 or more.");
    if (product_id.len > ORDER_PRODUCT_ID_LEN_MAX || has_nul(product_id))
        return refuse_item(
            reading->why, index, ".product_id must be at most 255 bytes, and none of them NUL.");
    if (!add_to_total(reading, quantity, price))
        return refuse(reading->why, "The total is beyond what an amount can hold.");
    if (index > 0)
        strbuf_put_char(&reading->form->text, ',');
    put_item(&reading->form->text, product_id, quantity, price);
    return ORDER_FORM_OK;
}

/* All are looked at, since a wrong type anywhere makes the body malformed, whatever else is wrong with it. */
static enum order_form_status read_items(struct reading *reading, const struct json *items)
{
    size_t count = json_item_count(items);
    enum order_form_status status = ORDER_FORM_OK;
    struct slice all_raw;
    struct slice raw;
    size_t cursor = 0;
    if (count == 0)
        return refuse(reading->why, "items is empty; an order has at least one.");
    if (count > ORDER_ITEM_COUNT_MAX)
        return refuse(reading->why, "items has more than 1000 members; split the order.");
    bool has_raw = json_raw_member(reading->body, SLICE("items"), &all_raw);
    ENSURE(has_raw);
    strbuf_put_char(&reading->form->text, '[');
    for (size_t i = 0; i < count && status != ORDER_FORM_MALFORMED; i++) {
        has_raw = json_raw_next_item(all_raw, &cursor, &raw);
        ENSURE(has_raw);
        enum order_form_status item_status = read_item(reading, json_item(items, i), raw, i);
        if (item_status != ORDER_FORM_OK)
            status = item_status;
    }
    strbuf_put_char(&reading->form->text, ']');
    /* Once for all items, half away from zero. */
    reading->form->request.amount_minor =
        (int64_t)((reading->total_micro + MICRO_PER_CENT / 2) / MICRO_PER_CENT);
    return status;
}

/* --- the order --- */

/* Types only; what stands in the texts comes next. */
static bool read_members(struct reading *reading)
{
    struct order_request *request = &reading->form->request;
    const struct json *json = reading->json;
    const struct json *priority = optional(json, "priority");
    struct slice overwritten;
    int64_t steps = ORDER_PRIORITY_DEFAULT;
    bool is_well_formed =
        json_kind(json) == JSON_KIND_OBJECT && optional_text(json, "order_id", &reading->order_id) &&
        optional_text(json, "customer_email", &reading->email) &&
        optional_text(json, "status", &overwritten) && optional_text(json, "created_at", &overwritten) &&
        json_int64(json_member(json, "customer_id"), &request->customer_id) &&
        (priority == NULL || json_int64(priority, &steps));
    const struct json *items = is_well_formed ? json_member(json, "items") : NULL;
    request->priority = steps < 0 || steps > ORDER_PRIORITY_MAX ? -1 : (int)steps;
    return items != NULL && json_kind(items) == JSON_KIND_ARRAY;
}

/* A segment of a path that means another path (RFC 3986, 5.2.4), escaped or not. */
static bool is_dots(struct slice order_id)
{
    return slice_eq(order_id, SLICE(".")) || slice_eq(order_id, SLICE(".."));
}

static enum order_form_status check_members(const struct reading *reading)
{
    if (reading->order_id.len > ORDER_ID_LEN_MAX)
        return refuse(reading->why, "order_id is longer than 255 bytes.");
    if (has_nul(reading->order_id))
        return refuse(reading->why, "order_id holds a NUL.");
    if (is_dots(reading->order_id))
        return refuse(reading->why,
            "order_id is \".\" or \"..\", which clients take out of the path of the order; choose another.");
    struct error error;
    if (reading->email.len > 0 && mail_check_address(reading->email, &error) != ERR_NONE)
        return refuse(reading->why, "customer_email is no e-mail address such as anna@example.com.");
    if (reading->form->request.priority < 0)
        return refuse(reading->why, "priority is none of 0 to 9; 9 goes first, 5 is the default.");
    return ORDER_FORM_OK;
}

/* A piece of the form's text; where it lies is known only when the text is complete. */
struct piece {
    size_t at;
    size_t len;
};

static struct piece piece_since(const struct strbuf *text, size_t at)
{
    return (struct piece){.at = at, .len = text->len - at};
}

static struct slice piece_slice(const struct strbuf *text, struct piece piece)
{
    return slice_make(text->base + piece.at, piece.len);
}

static struct piece put_piece(struct strbuf *text, struct slice content)
{
    size_t at = text->len;
    strbuf_put(text, content);
    return piece_since(text, at);
}

/* orders contract, "Payment": {order_id, amount, currency, customer_id}. */
static struct piece put_payment(
    struct strbuf *text, const struct order_request *request, struct slice order_id, struct slice currency)
{
    size_t at = text->len;
    strbuf_lit(text, "{\"order_id\":");
    strbuf_put_json(text, order_id);
    strbuf_printf(text, ",\"amount\":%lld.%02lld,\"currency\":\"%.*s\",\"customer_id\":%lld}",
        (long long)(request->amount_minor / 100), (long long)(request->amount_minor % 100),
        SLICE_ARGS(currency), (long long)request->customer_id);
    return piece_since(text, at);
}

static void hash_part(crypto_generichash_state *state, const void *base, size_t len)
{
    uint64_t prefix = len;
    crypto_generichash_update(state, (const unsigned char *)&prefix, sizeof prefix);
    crypto_generichash_update(state, base, len);
}

/* Of what the order means, not of how it was spelled; each part with its length, so that no two orders can be
 * cut to the same bytes. */
static void fingerprint(struct order_request *request)
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, FINGERPRINT_BYTES);
    hash_part(&state, &request->customer_id, sizeof request->customer_id);
    hash_part(&state, &request->priority, sizeof request->priority);
    hash_part(&state, request->email.base, request->email.len);
    hash_part(&state, request->items.base, request->items.len);
    crypto_generichash_final(&state, request->fingerprint, FINGERPRINT_BYTES);
}

static enum order_form_status write_down(
    struct reading *reading, struct piece items, struct id_source *ids, struct slice currency)
{
    struct order_form *form = reading->form;
    struct order_request *request = &form->request;
    struct strbuf *text = &form->text;
    char uuid[ID_UUID_LEN];
    form->has_own_id = reading->order_id.len > 0;
    if (!form->has_own_id) {
        id_uuid(ids, uuid);
        reading->order_id = slice_make(uuid, sizeof uuid);
    }
    struct piece order_id = put_piece(text, reading->order_id);
    struct piece email = put_piece(text, reading->email);
    struct piece payment = put_payment(text, request, reading->order_id, currency);
    if (text->has_overflowed)
        return ORDER_FORM_MEMORY;
    request->order_id = piece_slice(text, order_id);
    request->email = piece_slice(text, email);
    request->items = piece_slice(text, items);
    request->payment_body = piece_slice(text, payment);
    fingerprint(request);
    return ORDER_FORM_OK;
}

static enum order_form_status read_json(struct reading *reading, struct id_source *ids, struct slice currency)
{
    if (!read_members(reading))
        return ORDER_FORM_MALFORMED;
    size_t at = reading->form->text.len;
    enum order_form_status status = read_items(reading, json_member(reading->json, "items"));
    struct piece items = piece_since(&reading->form->text, at);
    if (status == ORDER_FORM_OK)
        status = check_members(reading);
    return status == ORDER_FORM_OK ? write_down(reading, items, ids, currency) : status;
}

enum order_form_status order_form_read(struct order_form *form, struct slice body, struct id_source *ids,
    struct slice currency, struct strbuf *why)
{
    struct json *json;
    *form = (struct order_form){0};
    strbuf_init_heap(&form->text, TEXT_MAX);
    if (json_parse(body, &json) != JSON_OK)
        return ORDER_FORM_MALFORMED;
    struct reading reading = {.body = body, .json = json, .form = form, .why = why};
    enum order_form_status status = read_json(&reading, ids, currency);
    json_free(json);
    return status;
}

void order_form_fini(struct order_form *form)
{
    strbuf_fini(&form->text);
}
