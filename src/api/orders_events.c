/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /orders/{id}/events: the status of one order as Server-Sent Events. The present one comes first, then
 * one for each change, and the stream ends after a final one. A message is
 *
 *     id: <time of the change, ms since 1970>-<status>
 *     data: {"order_id":...,"status":...,"attempts":...,"updated_at":...}
 *
 * A client that comes back with Last-Event-ID is not told again what it knows; when that was final, the
 * answer is 204, which tells an EventSource to come back no more.
 *
 * No order is paid whose payment has not begun: when a look at the store finds both at once, both are told.
 */
#include <stdlib.h>

#include "api/envelope.h"
#include "api/orders_priv.h"
#include "api/problem.h"
#include "base/clock.h"

enum {
    EVENT_ID_MAX = 40,
    UNTOLD_MAX =
        8, /* changes that a slow client may be behind; then the latest takes the place of the last */
    MESSAGE_MAX = 4096,
    HEARTBEAT_TICK_MS = 100,
    NS_PER_MS = 1000000,
};

struct listener {
    struct order_watch watch;
    struct orders *orders;
    struct http_stream *stream;
    struct list node; /* on orders.listeners */
    int64_t told_at_ns;
    enum order_status seen; /* the last one told or to be told */
    struct order_state untold[UNTOLD_MAX];
    size_t untold_count;
    size_t order_id_len;
    char order_id[ORDER_ID_LEN_MAX];
};

static size_t format_event_id(const struct order_state *state, char text[EVENT_ID_MAX])
{
    struct strbuf id;
    strbuf_init(&id, text, EVENT_ID_MAX);
    strbuf_put_i64(&id, state->updated_ms);
    strbuf_put_char(&id, '-');
    strbuf_put(&id, order_status_name(state->status));
    return id.len;
}

static void put_message(
    struct strbuf *message, const struct listener *listener, const struct order_state *state)
{
    char id[EVENT_ID_MAX];
    strbuf_lit(message, "id: ");
    strbuf_put(message, slice_make(id, format_event_id(state, id)));
    strbuf_lit(message, "\ndata: {\"order_id\":");
    strbuf_put_json(message, slice_make(listener->order_id, listener->order_id_len));
    strbuf_lit(message, ",\"status\":\"");
    strbuf_put(message, order_status_name(state->status));
    strbuf_lit(message, "\",\"attempts\":");
    strbuf_put_i64(message, state->attempts);
    strbuf_put_char(message, ',');
    put_iso_member(message, SLICE("updated_at"), state->updated_ms);
    strbuf_lit(message, "}\n\n");
}

static void send_to(struct listener *listener, struct slice text)
{
    listener->told_at_ns = clock_mono_ns();
    list_remove(&listener->node);
    list_append(&listener->orders->listeners, &listener->node);
    http_stream_write(listener->stream, text);
}

/* --- telling --- */

/* As far as the client takes it. */
static void tell(struct listener *listener)
{
    char memory[MESSAGE_MAX];
    struct strbuf message;
    if (listener->stream == NULL || listener->untold_count == 0 || !http_stream_is_ready(listener->stream))
        return;
    strbuf_init(&message, memory, sizeof memory);
    size_t count = 0;
    size_t room = MESSAGE_MAX / 2; /* a message with an id all of escapes takes less than the other half */
    while (count < listener->untold_count && message.len < room)
        put_message(&message, listener, &listener->untold[count++]);
    listener->untold_count -= count;
    memmove(listener->untold, listener->untold + count, listener->untold_count * sizeof listener->untold[0]);
    send_to(listener, strbuf_slice(&message));
    if (listener->untold_count == 0 && order_status_is_final(listener->seen))
        http_stream_end(listener->stream);
}

static void add_untold(struct listener *listener, const struct order_state *state)
{
    if (listener->untold_count == UNTOLD_MAX)
        listener->untold_count--;
    listener->untold[listener->untold_count++] = *state;
    listener->seen = state->status;
}

static void on_change(struct order_watch *watch)
{
    struct listener *listener = CONTAINER_OF(watch, struct listener, watch);
    const struct order_state *now = &watch->known;
    if (now->status == listener->seen)
        return; /* another attempt */
    bool is_paid_or_not = now->status == ORDER_COMPLETED || now->status == ORDER_FAILED;
    if (listener->seen == ORDER_PENDING && is_paid_or_not) {
        struct order_state begun = *now;
        begun.status = ORDER_PROCESSING;
        add_untold(listener, &begun);
    }
    add_untold(listener, now);
    tell(listener);
}

static void on_ready(struct http_stream *stream, void *context)
{
    (void)stream;
    tell(context);
}

static void on_closed(struct http_stream *stream, void *context)
{
    (void)stream;
    struct listener *listener = context;
    struct orders *orders = listener->orders;
    order_watch_stop(orders->watches, &listener->watch);
    list_remove(&listener->node);
    free(listener);
    size_t listening = atomic_load_explicit(&orders->listening, memory_order_relaxed);
    atomic_store_explicit(&orders->listening, listening - 1, memory_order_relaxed);
    if (listening == 1)
        uv_timer_stop(&orders->heartbeat);
}

/* --- heartbeats --- */

static void on_heartbeat(uv_timer_t *timer)
{
    struct orders *orders = timer->data;
    int64_t now_ns = clock_mono_ns();
    int64_t limit_ns = orders->thread->app->config.sse_heartbeat_ms * NS_PER_MS;
    struct list *node;
    while ((node = list_first(&orders->listeners)) != NULL) {
        struct listener *listener = CONTAINER_OF(node, struct listener, node);
        if (now_ns - listener->told_at_ns < limit_ns)
            return;
        if (http_stream_is_ready(listener->stream)) {
            send_to(listener, SLICE(":\n\n"));
        } else {
            listener->told_at_ns = now_ns; /* its last message is still on the way */
            list_remove(node);
            list_append(&orders->listeners, node);
        }
    }
}

void orders_events_open(struct orders *orders)
{
    uv_timer_init(&orders->thread->loop, &orders->heartbeat);
    orders->heartbeat.data = orders;
}

/* The streams have been closed with the server. */
void orders_events_close(struct orders *orders)
{
    uv_close((uv_handle_t *)&orders->heartbeat, NULL);
}

/* --- coming --- */

static struct listener *create(struct orders *orders, struct slice order_id, const struct order_row *row)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return NULL;
    listener->orders = orders;
    listener->watch = (struct order_watch){.known = {.id = row->id,
                                               .is_found = true,
                                               .status = row->status,
                                               .attempts = row->attempts,
                                               .updated_ms = row->updated_ms,
                                               .paid_ms = row->paid_ms},
        .on_change = on_change};
    listener->seen = row->status;
    listener->order_id_len = order_id.len;
    memcpy(listener->order_id, order_id.base, order_id.len);
    list_init(&listener->node);
    if (!order_watch_start(orders->watches, &listener->watch)) {
        free(listener);
        return NULL;
    }
    list_append(&orders->listeners, &listener->node);
    size_t listening = atomic_load_explicit(&orders->listening, memory_order_relaxed);
    atomic_store_explicit(&orders->listening, listening + 1, memory_order_relaxed);
    if (listening == 0)
        uv_timer_start(&orders->heartbeat, on_heartbeat, HEARTBEAT_TICK_MS, HEARTBEAT_TICK_MS);
    return listener;
}

/* Does the client say that this is the last that it heard? */
static bool knows(const struct http_request *request, const struct order_state *state)
{
    char id[EVENT_ID_MAX];
    struct slice header;
    return http_header(request, SLICE("last-event-id"), &header) &&
           slice_eq(header, slice_make(id, format_event_id(state, id)));
}

static void open_stream(struct orders *orders, struct http_request *request, const struct order_row *row)
{
    static const struct slice headers = SLICE_INIT("Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n");
    struct listener *listener = create(orders, row->order_id, row);
    if (listener == NULL) {
        reply_problem_later(request, SLICE("There is no memory for one more listener now."), 0);
        return;
    }
    if (!knows(request, &listener->watch.known))
        add_untold(listener, &listener->watch.known);
    else if (order_status_is_final(row->status)) {
        on_closed(NULL, listener);
        http_reply(request, 204, slice_make("", 0), slice_make("", 0), slice_make("", 0));
        return;
    }
    struct http_stream_events events = {.on_ready = on_ready, .on_closed = on_closed, .context = listener};
    listener->stream = http_stream_open(request, SLICE("text/event-stream"), headers, events);
    if (listener->stream == NULL)
        on_closed(NULL, listener);
    else
        tell(listener);
}

static void on_found(struct order_lookup *lookup)
{
    struct question question = lookup->lookup.question; /* the request's memory goes with the reply */
    open_stream(lookup->orders, lookup->request, &question.order);
    question_fini(&question);
}

void order_events_get(struct http_request *request, void *context)
{
    order_look_up(request, orders_of(context), on_found);
}
