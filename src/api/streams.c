/* SPDX-License-Identifier: Apache-2.0 */
#include "api/streams.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/map.h"

enum {
    ROUND_INTERVAL_MS = 100, /* at most ten a second */
    LISTENERS_PER_TURN = 16, /* about 0.1 ms of writing between two turns of the loop */
    TICK_MS = 20,            /* how late a round or heartbeat may be */
    MESSAGE_MAX = 4096,
    NS_PER_MS = 1000000,
};

/* All listeners of one SKU on this thread. Lives while it has any. */
struct channel {
    uint64_t hash;
    struct slice sku;
    struct list listeners;
    size_t listener_count;
    enum sale_state state; /* the latest picture */
    enum end_reason end_reason;
    int64_t stock;
    int64_t round_at_ns; /* no round for a change of stock before this */
    bool is_round_wanted;
    struct list node; /* on streams.channels */
};

struct listener {
    struct streams *streams;
    struct channel *channel;
    struct http_stream *stream;
    int64_t last_id;
    enum sale_state told_state;
    int64_t told_stock;
    int64_t told_at_ns;
    struct list in_channel;
    struct list due;    /* on streams.due while a round has to come by */
    struct list by_age; /* on streams.by_age, the longest silent one first */
};

struct streams {
    int64_t heartbeat_ns;
    struct map_key hash_key;
    struct map channels_by_sku;
    struct list channels;
    struct list due;
    struct list by_age;
    size_t count;
    uv_timer_t timer; /* runs while there are listeners */
    uv_idle_t idle;   /* keeps the loop turning while a round is unfinished */
};

void put_sale(struct strbuf *body, struct slice sku, const struct sale_view *view)
{
    static const struct product_values none = {.state = SALE_UPCOMING};
    const struct product_values *values = view == NULL ? &none : &view->values;
    strbuf_lit(body, "{\"sku\":\"");
    strbuf_put(body, sku); /* of the SKU grammar: nothing to escape */
    strbuf_lit(body, "\",\"state\":\"");
    strbuf_put(body, sale_state_name(values->state));
    strbuf_lit(body, "\",\"stock\":");
    strbuf_put_i64(body, values->stock);
    strbuf_lit(body, ",\"initialStock\":");
    strbuf_put_i64(body, values->initial_stock);
    strbuf_lit(body, ",\"productName\":");
    strbuf_put_json(body, values->name);
    strbuf_lit(body, ",\"startTime\":\"");
    if (view != NULL)
        strbuf_put_i64(body, values->start_ms);
    strbuf_lit(body, "\",\"endTime\":\"");
    if (view != NULL)
        strbuf_put_i64(body, values->end_ms);
    strbuf_lit(body, "\"}");
}

/* --- channels --- */

static bool channel_has_sku(const void *value, const void *key)
{
    return slice_eq(((const struct channel *)value)->sku, *(const struct slice *)key);
}

static struct channel *channel_get(const struct streams *streams, struct slice sku)
{
    return map_get(&streams->channels_by_sku, map_hash(&streams->hash_key, sku), channel_has_sku, &sku);
}

static void channel_show(struct channel *channel, const struct sale_view *view)
{
    bool is_there = view != NULL && !view->is_removed;
    channel->state = is_there ? view->values.state : SALE_UPCOMING;
    channel->end_reason = is_there ? view->values.end_reason : END_NONE;
    channel->stock = is_there ? view->values.stock : 0;
}

static struct channel *channel_take(struct streams *streams, struct slice sku, const struct sale_view *view)
{
    struct channel *channel = channel_get(streams, sku);
    if (channel != NULL)
        return channel;
    channel = calloc(1, sizeof *channel + sku.len);
    if (channel == NULL)
        return NULL;
    memcpy(channel + 1, sku.base, sku.len);
    channel->sku = slice_make(channel + 1, sku.len);
    channel->hash = map_hash(&streams->hash_key, sku);
    list_init(&channel->listeners);
    list_init(&channel->node);
    channel_show(channel, view);
    if (!map_put(&streams->channels_by_sku, channel->hash, channel)) {
        free(channel);
        return NULL;
    }
    list_append(&streams->channels, &channel->node);
    return channel;
}

static void channel_put(struct streams *streams, struct channel *channel)
{
    if (channel->listener_count > 0)
        return;
    (void)map_remove(&streams->channels_by_sku, channel->hash, channel);
    list_remove(&channel->node);
    free(channel);
}

/* --- telling a listener --- */

static void put_event_head(struct strbuf *message, struct listener *listener)
{
    strbuf_lit(message, "id: ");
    strbuf_put_i64(message, ++listener->last_id);
    strbuf_lit(message, "\ndata: ");
}

static void put_stock_update(struct strbuf *message, struct listener *listener, const struct channel *channel)
{
    put_event_head(message, listener);
    strbuf_lit(message, "{\"type\":\"stock-update\",\"data\":{\"sku\":\"");
    strbuf_put(message, channel->sku);
    strbuf_lit(message, "\",\"stock\":");
    strbuf_put_i64(message, channel->stock);
    strbuf_lit(message, "}}\n\n");
}

static void put_state_change(struct strbuf *message, struct listener *listener, const struct channel *channel,
    enum sale_state state, enum end_reason reason)
{
    put_event_head(message, listener);
    strbuf_lit(message, "{\"type\":\"state-change\",\"data\":{\"sku\":\"");
    strbuf_put(message, channel->sku);
    strbuf_lit(message, "\",\"state\":\"");
    strbuf_put(message, sale_state_name(state));
    if (reason != END_NONE) {
        strbuf_lit(message, "\",\"reason\":\"");
        strbuf_put(message, end_reason_name(reason));
    }
    strbuf_lit(message, "\"}}\n\n");
}

static void mark_told(struct listener *listener)
{
    listener->told_stock = listener->channel->stock;
    listener->told_state = listener->channel->state;
}

static void send_to(struct listener *listener, struct slice data)
{
    listener->told_at_ns = clock_mono_ns();
    list_remove(&listener->by_age);
    list_append(&listener->streams->by_age, &listener->by_age);
    http_stream_write(listener->stream, data);
}

/*
 * Tells what has changed since; a client that has not taken the last message yet waits for on_ready. No sale
 * ends that has not begun: when both came between two messages, both are told.
 */
static void tell(struct listener *listener)
{
    const struct channel *channel = listener->channel;
    if (!http_stream_is_ready(listener->stream))
        return;
    char memory[MESSAGE_MAX];
    struct strbuf message;
    strbuf_init(&message, memory, sizeof memory);
    if (listener->told_state == SALE_UPCOMING && channel->state == SALE_ENDED)
        put_state_change(&message, listener, channel, SALE_ACTIVE, END_NONE);
    if (listener->told_stock != channel->stock)
        put_stock_update(&message, listener, channel);
    if (listener->told_state != channel->state)
        put_state_change(&message, listener, channel, channel->state, channel->end_reason);
    mark_told(listener);
    if (message.len > 0)
        send_to(listener, strbuf_slice(&message));
}

/* --- rounds --- */

static void on_idle(uv_idle_t *idle)
{
    struct streams *streams = idle->data;
    for (int i = 0; i < LISTENERS_PER_TURN; i++) {
        struct list *node = list_first(&streams->due);
        if (node == NULL) {
            uv_idle_stop(idle);
            return;
        }
        list_remove(node);
        tell(CONTAINER_OF(node, struct listener, due));
    }
}

static void start_round(struct streams *streams, struct channel *channel, int64_t now_ns)
{
    channel->is_round_wanted = false;
    channel->round_at_ns = now_ns + (int64_t)ROUND_INTERVAL_MS * NS_PER_MS;
    LIST_FOR_EACH (node, &channel->listeners) {
        struct listener *listener = CONTAINER_OF(node, struct listener, in_channel);
        list_remove(&listener->due);
        list_append(&streams->due, &listener->due);
    }
    uv_idle_start(&streams->idle, on_idle);
}

static void send_heartbeats(struct streams *streams, int64_t now_ns)
{
    for (int i = 0; i < LISTENERS_PER_TURN; i++) {
        struct list *node = list_first(&streams->by_age);
        if (node == NULL)
            return;
        struct listener *listener = CONTAINER_OF(node, struct listener, by_age);
        if (now_ns - listener->told_at_ns < streams->heartbeat_ns)
            return;
        if (http_stream_is_ready(listener->stream)) {
            send_to(listener, SLICE(":\n\n"));
        } else {
            listener->told_at_ns = now_ns; /* its last message is still on the way */
            list_remove(&listener->by_age);
            list_append(&streams->by_age, &listener->by_age);
        }
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct streams *streams = timer->data;
    int64_t now_ns = clock_mono_ns();
    LIST_FOR_EACH (node, &streams->channels) {
        struct channel *channel = CONTAINER_OF(node, struct channel, node);
        if (channel->is_round_wanted && now_ns >= channel->round_at_ns)
            start_round(streams, channel, now_ns);
    }
    send_heartbeats(streams, now_ns);
}

void streams_on_view(struct streams *streams, const struct sale_view *now)
{
    struct channel *channel = channel_get(streams, now->sku);
    if (channel == NULL)
        return;
    enum sale_state state_before = channel->state;
    int64_t stock_before = channel->stock;
    channel_show(channel, now);
    if (channel->state == SALE_UPCOMING) {
        /* Made, changed or removed by the admin: the contract wants silence. */
        LIST_FOR_EACH (node, &channel->listeners)
            mark_told(CONTAINER_OF(node, struct listener, in_channel));
        return;
    }
    int64_t now_ns = clock_mono_ns();
    if (channel->state != state_before || (channel->stock != stock_before && now_ns >= channel->round_at_ns))
        start_round(streams, channel, now_ns);
    else if (channel->stock != stock_before)
        channel->is_round_wanted = true;
}

/* --- listeners --- */

static void on_ready(struct http_stream *stream, void *context)
{
    (void)stream;
    tell(context);
}

static void on_closed(struct http_stream *stream, void *context)
{
    (void)stream;
    struct listener *listener = context;
    struct streams *streams = listener->streams;
    struct channel *channel = listener->channel;
    list_remove(&listener->in_channel);
    list_remove(&listener->due);
    list_remove(&listener->by_age);
    channel->listener_count--;
    channel_put(streams, channel);
    free(listener);
    if (--streams->count == 0)
        uv_timer_stop(&streams->timer);
}

static struct listener *listener_create(
    struct streams *streams, struct slice sku, const struct sale_view *view, int64_t last_id)
{
    struct listener *listener = calloc(1, sizeof *listener);
    struct channel *channel = listener == NULL ? NULL : channel_take(streams, sku, view);
    if (channel == NULL) {
        free(listener);
        return NULL;
    }
    listener->streams = streams;
    listener->channel = channel;
    listener->last_id = last_id;
    list_init(&listener->in_channel);
    list_init(&listener->due);
    list_init(&listener->by_age);
    list_append(&channel->listeners, &listener->in_channel);
    list_append(&streams->by_age, &listener->by_age);
    channel->listener_count++;
    if (streams->count++ == 0)
        uv_timer_start(&streams->timer, on_timer, TICK_MS, TICK_MS);
    mark_told(listener);
    return listener;
}

/* What stands beside the content type (section 7). */
static const struct slice stream_headers =
    SLICE_INIT("Cache-Control: private, no-cache, no-store, must-revalidate, max-age=0, no-transform\r\n"
               "Pragma: no-cache\r\nExpire: 0\r\nX-Accel-Buffering: no\r\nConnection: keep-alive\r\n");

void streams_open(struct streams *streams, struct http_request *request, struct slice sku,
    const struct sale_view *view, int64_t last_id)
{
    /* The first message is made before the request, whose memory `sku` lies in, is answered and gone. */
    char memory[MESSAGE_MAX];
    struct strbuf message;
    strbuf_init(&message, memory, sizeof memory);
    struct listener *listener = listener_create(streams, sku, view, last_id);
    if (listener == NULL) {
        http_reply(request, 503, slice_make("", 0), SLICE("Retry-After: 1\r\n"), slice_make("", 0));
        return;
    }
    strbuf_put_char(&message, '\n');
    put_event_head(&message, listener);
    strbuf_lit(&message, "{\"type\":\"initial\",\"data\":");
    put_sale(&message, sku, view);
    strbuf_lit(&message, "}\n\n");
    struct http_stream_events events = {.on_ready = on_ready, .on_closed = on_closed, .context = listener};
    listener->stream = http_stream_open(request, SLICE("text/event-stream"), stream_headers, events);
    if (listener->stream == NULL)
        on_closed(NULL, listener);
    else
        send_to(listener, strbuf_slice(&message));
}

static void ignore(struct http_stream *stream, void *context)
{
    (void)stream;
    (void)context;
}

void streams_say(struct http_request *request, struct slice text)
{
    struct http_stream_events events = {.on_ready = ignore, .on_closed = ignore};
    struct http_stream *stream =
        http_stream_open(request, SLICE("text/event-stream"), stream_headers, events);
    if (stream == NULL)
        return;
    http_stream_write(stream, text);
    http_stream_end(stream);
}

/* --- life --- */

struct streams *streams_create(uv_loop_t *loop, int64_t heartbeat_ms)
{
    struct streams *streams = calloc(1, sizeof *streams);
    if (streams == NULL)
        return NULL;
    streams->heartbeat_ns = heartbeat_ms * NS_PER_MS;
    randombytes_buf(&streams->hash_key, sizeof streams->hash_key);
    map_init(&streams->channels_by_sku);
    list_init(&streams->channels);
    list_init(&streams->due);
    list_init(&streams->by_age);
    uv_timer_init(loop, &streams->timer);
    uv_idle_init(loop, &streams->idle);
    streams->timer.data = streams;
    streams->idle.data = streams;
    return streams;
}

void streams_close(struct streams *streams)
{
    uv_close((uv_handle_t *)&streams->timer, NULL);
    uv_close((uv_handle_t *)&streams->idle, NULL);
}

void streams_destroy(struct streams *streams)
{
    ENSURE(streams->count == 0);
    map_fini(&streams->channels_by_sku);
    free(streams);
}

size_t streams_count(const struct streams *streams)
{
    return streams->count;
}
