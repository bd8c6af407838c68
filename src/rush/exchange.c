/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/exchange.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "net/http_client.h"

enum { REQUEST_MAX = 16384, REPLY_MAX = 8 << 20 /* a list of 10,000 machines */, CONTENT_TYPE_MAX = 128 };

struct exchange {
    uv_loop_t loop;
    struct http_client *client;
    struct http_link link;
    struct http_target target;
    struct hist latency;
    uint64_t failed_count;
    struct strbuf body; /* copies: the client's buffers are used again */
    char content_type[CONTENT_TYPE_MAX];
    size_t content_type_len;
    int status;
    bool is_over;
    bool has_failed;
    enum http_failure failure;
};

static void end(struct exchange *exchange, int64_t now_ns, bool is_failed)
{
    hist_add(&exchange->latency, (uint64_t)(now_ns - exchange->link.started_ns));
    exchange->failed_count += is_failed;
    exchange->is_over = true;
}

static void on_reply(struct http_link *link, const struct http_response *response, int64_t now_ns)
{
    struct exchange *exchange = CONTAINER_OF(link, struct exchange, link);
    exchange->has_failed = false;
    exchange->status = response->status;
    strbuf_reset(&exchange->body);
    strbuf_put(&exchange->body, response->body);
    struct slice type = response->content_type;
    exchange->content_type_len = type.len < CONTENT_TYPE_MAX ? type.len : CONTENT_TYPE_MAX;
    memcpy(exchange->content_type, type.base, exchange->content_type_len);
    end(exchange, now_ns, response->status >= 400);
}

static void on_failure(struct http_link *link, enum http_failure failure, int64_t now_ns)
{
    struct exchange *exchange = CONTAINER_OF(link, struct exchange, link);
    exchange->has_failed = true;
    exchange->failure = failure;
    end(exchange, now_ns, true);
}

struct exchange *exchange_create(const struct http_target *target, int64_t timeout_ms)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (exchange == NULL)
        return NULL;
    if (uv_loop_init(&exchange->loop) != 0) {
        free(exchange);
        return NULL;
    }
    struct http_client_config config = {.target = *target,
        .timeout_ms = timeout_ms,
        .request_bytes_max = REQUEST_MAX,
        .reply_bytes_max = REPLY_MAX,
        .on_reply = on_reply,
        .on_failure = on_failure};
    exchange->target = *target;
    hist_init(&exchange->latency);
    strbuf_init_heap(&exchange->body, REPLY_MAX);
    exchange->client = http_client_create(&exchange->loop, &config);
    if (exchange->client == NULL || !http_link_init(&exchange->link, exchange->client)) {
        exchange_destroy(exchange);
        return NULL;
    }
    return exchange;
}

void exchange_destroy(struct exchange *exchange)
{
    if (exchange == NULL)
        return;
    if (exchange->link.client != NULL)
        http_link_fini(&exchange->link);
    if (exchange->client != NULL)
        http_client_destroy(exchange->client);
    (void)uv_run(&exchange->loop, UV_RUN_DEFAULT); /* until libuv has let go of the handles */
    ENSURE(uv_loop_close(&exchange->loop) == 0);
    strbuf_fini(&exchange->body);
    free(exchange);
}

static enum err tell(const struct exchange *exchange, struct error *error)
{
    const char *where = exchange->target.authority;
    int code = http_client_last_errno(exchange->client);
    switch (exchange->failure) {
    case HTTP_FAILURE_CONNECT:
        return error_set(error, ERR_ADDRESS, "cannot connect to %s: %s; is the server running there?", where,
            strerror(code));
    case HTTP_FAILURE_LOCAL:
        return error_set(error, ERR_ADDRESS, "no socket to connect to %s: %s", where, strerror(code));
    case HTTP_FAILURE_TIMEOUT:
        return error_set(error, ERR_TIMEOUT, "%s did not answer in time", where);
    case HTTP_FAILURE_LOST:
    case HTTP_FAILURE_CANCELLED:
        return error_set(error, ERR_IO, "%s closed the connection without a complete answer", where);
    case HTTP_FAILURE_MALFORMED:
        return error_set(error, ERR_IO, "what %s answers is not HTTP/1.1", where);
    }
    return error_set(error, ERR_IO, "%s gave no answer", where);
}

enum err exchange_do(
    struct exchange *exchange, struct slice request, struct exchange_reply *reply, struct error *error)
{
    strbuf_put(http_link_prepare(&exchange->link), request);
    exchange->is_over = false;
    http_link_send(&exchange->link, clock_mono_ns());
    while (!exchange->is_over)
        (void)uv_run(&exchange->loop, UV_RUN_ONCE);
    http_link_close(&exchange->link); /* between requests nobody would notice that the server has closed it */
    if (exchange->has_failed)
        return tell(exchange, error);
    reply->status = exchange->status;
    reply->content_type = slice_make(exchange->content_type, exchange->content_type_len);
    reply->body = strbuf_slice(&exchange->body);
    return ERR_NONE;
}

const struct hist *exchange_latency(const struct exchange *exchange)
{
    return &exchange->latency;
}

uint64_t exchange_failed_count(const struct exchange *exchange)
{
    return exchange->failed_count;
}
