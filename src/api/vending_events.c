/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /api/orchestrator/queue/{ticket}/events: where a ticket stands as Server-Sent Events. The present place
 * comes first, then one event for each change, and the stream ends with the ticket:
 *
 *     id: <position, or served, left, expired>
 *     data: what GET /api/orchestrator/queue/{ticket} says
 *
 * Positions are told in rounds, at most ten a second, from the latest picture of the line: changes that come
 * faster, or faster than a slow client reads, melt into the latest. A round is served a few listeners a loop
 * turn, so that thousands of them do not hold up others. An end is told at once. A client that comes back
 * with Last-Event-ID is not told again what it knows; when that was the end, the answer is 204, which tells
 * an EventSource to come back no more.
 *
 * A stream keeps its ticket alive, as asking for it does. A client that closes it keeps its place for as long
 * as one that stops asking: --ticket-timeout. (A connection that breaks is not a user who leaves: an
 * EventSource comes back.)
 *
 * A ticket that should wait and is not in the picture was given out by another node a moment ago, or has
 * ended just before we began to listen: the store is asked until it is one or the other.
 */
#include <stdlib.h>

#include "api/vending_priv.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/map.h"

enum {
    NS_PER_MS = 1000000,
    ROUND_INTERVAL_MS = 100,
    LISTENERS_PER_TURN = 16,
    TICK_MS = 100, /* how late a round, a heartbeat or a question may be */
    MESSAGE_MAX = MACHINE_BODY_MAX + 512,
    EVENT_ID_MAX = 24,
};

struct listener {
    struct ticket_streams *streams;
    struct http_stream *stream;
    int64_t ticket_id;
    int64_t told_position; /* 0: none yet */
    int64_t told_at_ns;
    struct strbuf last;   /* the end, when the client could not take it at once; else empty */
    bool has_ended;       /* the last message is told, or waits in `last` */
    struct list by_age;   /* on streams.by_age, the longest silent one first */
    struct list due;      /* on streams.due while a round has to come by */
    struct list unplaced; /* on streams.unplaced while it is not in the picture */
};

struct ticket_streams {
    struct vending *vending;
    struct map by_ticket; /* several listeners of one ticket are several entries */
    struct list by_age;
    struct list due;
    struct list unplaced;
    int64_t round_at_ns; /* no round before this */
    bool is_round_wanted;
    int64_t keep_at_ns;
    uv_timer_t timer; /* runs while there are listeners */
    uv_idle_t idle;   /* keeps the loop turning while a round is unfinished */
    struct engine_lookup lookup;
    bool is_asking;
};

static bool has_id(const void *value, const void *key)
{
    return ((const struct listener *)value)->ticket_id == *(const int64_t *)key;
}

/* --- telling --- */

static struct slice event_id(const struct ticket_place *place, char text[EVENT_ID_MAX])
{
    struct strbuf id;
    strbuf_init(&id, text, EVENT_ID_MAX);
    if (place->state == TICKET_WAITING)
        strbuf_put_i64(&id, place->position);
    else
        strbuf_put(&id, ticket_state_name(place->state));
    return strbuf_slice(&id);
}

static void put_message(
    struct strbuf *message, const struct vending *vending, const struct ticket_place *place)
{
    char id[EVENT_ID_MAX];
    strbuf_lit(message, "id: ");
    strbuf_put(message, event_id(place, id));
    strbuf_lit(message, "\ndata: ");
    put_ticket(message, vending, place);
    strbuf_lit(message, "\n\n");
}

static void send_to(struct listener *listener, struct slice text)
{
    listener->told_at_ns = clock_mono_ns();
    list_remove(&listener->by_age);
    list_append(&listener->streams->by_age, &listener->by_age);
    http_stream_write(listener->stream, text);
}

/* The position, when it is another than was told and the client takes it. */
static void tell_position(struct listener *listener)
{
    struct ticket_streams *streams = listener->streams;
    struct ticket_place place = {.id = listener->ticket_id, .state = TICKET_WAITING};
    if (listener->has_ended)
        return;
    place.position = ticket_position(streams->vending, listener->ticket_id);
    list_remove(&listener->unplaced);
    if (place.position == 0)
        list_append(&streams->unplaced, &listener->unplaced);
    if (place.position == 0 || place.position == listener->told_position ||
        !http_stream_is_ready(listener->stream))
        return;
    char memory[MESSAGE_MAX];
    struct strbuf message;
    strbuf_init(&message, memory, sizeof memory);
    put_message(&message, streams->vending, &place);
    listener->told_position = place.position;
    send_to(listener, strbuf_slice(&message));
}

/* The ticket has ended. The listener may be gone afterwards. */
static void tell_end(struct listener *listener, const struct ticket_place *place)
{
    if (listener->has_ended)
        return;
    listener->has_ended = true;
    list_remove(&listener->unplaced);
    put_message(&listener->last, listener->streams->vending, place);
    if (!http_stream_is_ready(listener->stream))
        return;
    send_to(listener, strbuf_slice(&listener->last));
    http_stream_end(listener->stream);
}

static void on_ready(struct http_stream *stream, void *context)
{
    struct listener *listener = context;
    if (!listener->has_ended) {
        tell_position(listener);
        return;
    }
    send_to(listener, strbuf_slice(&listener->last));
    http_stream_end(stream);
}

static void on_closed(struct http_stream *stream, void *context)
{
    (void)stream;
    struct listener *listener = context;
    struct ticket_streams *streams = listener->streams;
    struct vending *vending = streams->vending;
    list_remove(&listener->by_age);
    list_remove(&listener->due);
    list_remove(&listener->unplaced);
    (void)map_remove(&streams->by_ticket, map_hash_id(listener->ticket_id), listener);
    strbuf_fini(&listener->last);
    free(listener);
    size_t listening = atomic_load_explicit(&vending->listening, memory_order_relaxed);
    atomic_store_explicit(&vending->listening, listening - 1, memory_order_relaxed);
    if (listening == 1)
        uv_timer_stop(&streams->timer);
}

/* --- the ends of tickets --- */

/* All listeners of a ticket. Each is taken out of the table first: it may be gone afterwards. */
static void tell_all(struct ticket_streams *streams, const struct ticket_place *place)
{
    struct listener *listener;
    while ((listener = map_get(&streams->by_ticket, map_hash_id(place->id), has_id, &place->id)) != NULL) {
        (void)map_remove(&streams->by_ticket, map_hash_id(place->id), listener);
        tell_end(listener, place);
    }
}

void ticket_streams_on_ticket(struct ticket_streams *streams, const struct ticket_view *now)
{
    const struct ticket_place place = {
        .id = now->id, .state = now->state, .machine = now->has_machine ? &now->machine : NULL};
    tell_all(streams, &place);
}

static void on_asked(struct engine_lookup *lookup)
{
    struct ticket_streams *streams = CONTAINER_OF(lookup, struct ticket_streams, lookup);
    struct question question = lookup->question;
    streams->is_asking = false;
    if (lookup->status == ERR_NONE && question.is_found && question.ticket.state != TICKET_WAITING) {
        const struct ticket_place place = {.id = question.id,
            .state = question.ticket.state,
            .machine = question.has_machine ? &question.machine : NULL};
        tell_all(streams, &place);
    }
    question_fini(&question);
}

/* One with each tick, one after the other: there are hardly ever any. */
static void ask_for_unplaced(struct ticket_streams *streams)
{
    struct list *node = list_first(&streams->unplaced);
    if (node == NULL || streams->is_asking)
        return;
    struct listener *listener = CONTAINER_OF(node, struct listener, unplaced);
    list_remove(node);
    list_append(&streams->unplaced, node);
    streams->lookup = (struct engine_lookup){
        .question = {.kind = QUESTION_TICKET, .id = listener->ticket_id}, .on_done = on_asked};
    streams->is_asking = true;
    if (!engine_port_look_up(streams->vending->thread->port, &streams->lookup))
        streams->is_asking = false;
}

/* --- rounds, heartbeats, keeping --- */

static void on_idle(uv_idle_t *idle)
{
    struct ticket_streams *streams = idle->data;
    for (int i = 0; i < LISTENERS_PER_TURN; i++) {
        struct list *node = list_first(&streams->due);
        if (node == NULL) {
            uv_idle_stop(idle);
            return;
        }
        list_remove(node);
        tell_position(CONTAINER_OF(node, struct listener, due));
    }
}

static void start_round(struct ticket_streams *streams, int64_t now_ns)
{
    streams->is_round_wanted = false;
    streams->round_at_ns = now_ns + (int64_t)ROUND_INTERVAL_MS * NS_PER_MS;
    LIST_FOR_EACH (node, &streams->by_age) {
        struct listener *listener = CONTAINER_OF(node, struct listener, by_age);
        list_remove(&listener->due);
        list_append(&streams->due, &listener->due);
    }
    uv_idle_start(&streams->idle, on_idle);
}

void ticket_streams_on_line(struct ticket_streams *streams)
{
    int64_t now_ns = clock_mono_ns();
    if (list_is_empty(&streams->by_age))
        return;
    if (now_ns >= streams->round_at_ns)
        start_round(streams, now_ns);
    else
        streams->is_round_wanted = true;
}

static void send_heartbeats(struct ticket_streams *streams, int64_t now_ns)
{
    int64_t limit_ns = streams->vending->thread->app->config.sse_heartbeat_ms * NS_PER_MS;
    struct list *node;
    while ((node = list_first(&streams->by_age)) != NULL) {
        struct listener *listener = CONTAINER_OF(node, struct listener, by_age);
        if (now_ns - listener->told_at_ns < limit_ns)
            return;
        if (http_stream_is_ready(listener->stream)) {
            send_to(listener, SLICE(":\n\n"));
        } else {
            listener->told_at_ns = now_ns; /* its last message is still on the way */
            list_remove(node);
            list_append(&streams->by_age, node);
        }
    }
}

/* The tickets of all listeners, with as few commands as possible, three times in the time that they have. */
static void keep_all(struct ticket_streams *streams, int64_t now_ns)
{
    struct vending *vending = streams->vending;
    const struct app *app = vending->thread->app;
    struct ticket_command *command = NULL;
    streams->keep_at_ns = now_ns + app->config.ticket_timeout_ms / 3 * NS_PER_MS;
    LIST_FOR_EACH (node, &streams->by_age) {
        if (command == NULL)
            command = ticket_command_create(vending, COMMAND_TICKET_KEEP, TICKETS_PER_COMMAND_MAX);
        if (command == NULL)
            return; /* the next round may find memory */
        command->pool.until_ms = engine_now_ms(app->engine) + app->config.ticket_timeout_ms;
        command->ids[command->count++] = CONTAINER_OF(node, struct listener, by_age)->ticket_id;
        if (command->count == TICKETS_PER_COMMAND_MAX) {
            ticket_command_push(command);
            command = NULL;
        }
    }
    if (command != NULL)
        ticket_command_push(command);
}

static void on_timer(uv_timer_t *timer)
{
    struct ticket_streams *streams = timer->data;
    int64_t now_ns = clock_mono_ns();
    if (streams->is_round_wanted && now_ns >= streams->round_at_ns)
        start_round(streams, now_ns);
    if (now_ns >= streams->keep_at_ns)
        keep_all(streams, now_ns);
    ask_for_unplaced(streams);
    send_heartbeats(streams, now_ns);
}

/* --- coming --- */

static struct listener *listener_create(struct ticket_streams *streams, int64_t ticket_id)
{
    struct vending *vending = streams->vending;
    struct listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return NULL;
    listener->streams = streams;
    listener->ticket_id = ticket_id;
    strbuf_init_heap(&listener->last, MESSAGE_MAX);
    list_init(&listener->by_age);
    list_init(&listener->due);
    list_init(&listener->unplaced);
    if (!map_put(&streams->by_ticket, map_hash_id(ticket_id), listener)) {
        free(listener);
        return NULL;
    }
    list_append(&streams->by_age, &listener->by_age);
    size_t listening = atomic_load_explicit(&vending->listening, memory_order_relaxed);
    atomic_store_explicit(&vending->listening, listening + 1, memory_order_relaxed);
    if (listening == 0) {
        streams->keep_at_ns = 0;
        uv_timer_start(&streams->timer, on_timer, TICK_MS, TICK_MS);
    }
    return listener;
}

static void open_stream(
    struct ticket_streams *streams, struct http_request *request, const struct ticket_place *place)
{
    static const struct slice headers = SLICE_INIT("Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n");
    char id[EVENT_ID_MAX];
    struct slice known;
    bool is_known =
        http_header(request, SLICE("last-event-id"), &known) && slice_eq(known, event_id(place, id));
    if (is_known && place->state != TICKET_WAITING) {
        http_reply(request, 204, slice_make("", 0), slice_make("", 0), slice_make("", 0));
        return;
    }
    struct listener *listener = listener_create(streams, place->id);
    if (listener == NULL) {
        vending_reply_later(request, SLICE("There is no memory for one more listener now."), 0);
        return;
    }
    listener->told_position = is_known ? place->position : 0;
    listener->told_at_ns = clock_mono_ns();
    struct http_stream_events events = {.on_ready = on_ready, .on_closed = on_closed, .context = listener};
    listener->stream = http_stream_open(request, SLICE("text/event-stream"), headers, events);
    if (listener->stream == NULL)
        on_closed(NULL, listener);
    else if (place->state == TICKET_WAITING)
        tell_position(listener);
    else
        tell_end(listener, place);
}

static void on_found(struct vending_lookup *lookup)
{
    struct question question = lookup->lookup.question; /* the request's memory goes with the reply */
    struct vending *vending = lookup->vending;
    const struct ticket_row *row = &question.ticket;
    struct ticket_place place = {
        .id = row->id, .state = row->state, .machine = question.has_machine ? &question.machine : NULL};
    if (!question.is_found) {
        vending_reply_no_model(lookup->request, SLICE("Ticket"), lookup->request->params[0]);
    } else {
        if (row->state == TICKET_WAITING)
            place.position = ticket_position(vending, row->id);
        ticket_keep_if_due(vending, row);
        open_stream(vending->streams, lookup->request, &place);
    }
    question_fini(&question);
}

void ticket_events_get(struct http_request *request, void *context)
{
    struct vending *vending = vending_of(context);
    int64_t id;
    if (!ticket_of_path(request, vending, &id))
        return;
    struct vending_lookup *lookup = vending_lookup_create(request, vending, QUESTION_TICKET, on_found);
    if (lookup == NULL)
        return;
    lookup->lookup.question.id = id;
    vending_look_up(lookup);
}

/* --- life --- */

struct ticket_streams *ticket_streams_create(struct vending *vending)
{
    struct ticket_streams *streams = calloc(1, sizeof *streams);
    if (streams == NULL)
        return NULL;
    streams->vending = vending;
    map_init(&streams->by_ticket);
    list_init(&streams->by_age);
    list_init(&streams->due);
    list_init(&streams->unplaced);
    return streams;
}

void ticket_streams_open(struct ticket_streams *streams)
{
    struct vending *vending = streams->vending;
    uv_timer_init(&vending->thread->loop, &streams->timer);
    uv_idle_init(&vending->thread->loop, &streams->idle);
    streams->timer.data = streams;
    streams->idle.data = streams;
}

void ticket_streams_close(struct ticket_streams *streams)
{
    uv_close((uv_handle_t *)&streams->timer, NULL);
    uv_close((uv_handle_t *)&streams->idle, NULL);
}

void ticket_streams_destroy(struct ticket_streams *streams)
{
    ENSURE(list_is_empty(&streams->by_age));
    map_fini(&streams->by_ticket);
    free(streams);
}
