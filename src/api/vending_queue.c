/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tickets of their own (vending contract, waiting line): a place in the line that needs no open connection.
 * It is kept by asking for it, or by listening to its events (vending_events.c); when nobody has for
 * --ticket-timeout, it expires.
 *
 * A ticket is asked for in the store, because one that has ended is nowhere else; the position of one that
 * waits is taken from this node's picture of the line.
 */
#include <stdlib.h>

#include "api/vending_priv.h"
#include "base/ensure.h"

enum { NS_PER_MS = 1000000, MS_PER_S = 1000, TICKET_BODY_MAX = MACHINE_BODY_MAX + 256 };

/* --- a ticket as it is told --- */

int64_t ticket_position(const struct vending *vending, int64_t id)
{
    return line_view_position(engine_port_line(vending->thread->port), id);
}

/* Whole seconds, rounded up; null: there is no machine that takes anybody. */
static void put_wait(struct strbuf *body, const struct vending *vending, int64_t position)
{
    int64_t wait_ms = line_view_wait_ms(engine_port_line(vending->thread->port), position);
    strbuf_lit(body, ",\"estimated_wait_seconds\":");
    if (position == 0)
        strbuf_put_char(body, '0');
    else if (wait_ms == INT64_MAX)
        strbuf_lit(body, "null");
    else
        strbuf_put_i64(body, wait_ms / MS_PER_S + (wait_ms % MS_PER_S != 0));
}

void put_ticket(struct strbuf *body, const struct vending *vending, const struct ticket_place *place)
{
    char name[TICKET_NAME_LEN_MAX];
    strbuf_lit(body, "{\"ticket\":\"");
    strbuf_put(body, ticket_name(vending, place->id, name));
    strbuf_lit(body, "\",\"status\":\"");
    strbuf_put(body, ticket_state_name(place->state));
    strbuf_lit(body, "\",\"position\":");
    strbuf_put_i64(body, place->position);
    put_wait(body, vending, place->position);
    if (place->machine != NULL) {
        strbuf_lit(body, ",\"machine\":");
        put_machine(body, place->machine);
        strbuf_lit(body, ",\"lease\":");
        strbuf_put_i64(body, place->machine->lease_id);
    } else if (place->state != TICKET_WAITING) {
        strbuf_lit(body, ",\"machine\":null");
    }
    strbuf_put_char(body, '}');
}

static void reply_no_ticket(struct http_request *request)
{
    vending_reply_no_model(request, SLICE("Ticket"), request->params[0]);
}

bool ticket_of_path(struct http_request *request, const struct vending *vending, int64_t *id)
{
    if (ticket_from_name(vending, request->params[0], id))
        return true;
    reply_no_ticket(request);
    return false;
}

void ticket_keep_if_due(struct vending *vending, const struct ticket_row *row)
{
    const struct app *app = vending->thread->app;
    int64_t timeout_ms = app->config.ticket_timeout_ms;
    int64_t now_ms = engine_now_ms(app->engine);
    bool is_due = row->until_ms - now_ms < timeout_ms - timeout_ms / 3;
    if (row->state == TICKET_WAITING && !row->is_attached && is_due)
        ticket_keep_one(vending, row->id, now_ms + timeout_ms);
}

/* --- POST /queue --- */

static void reply_place(struct vending_call *call)
{
    const struct pool_request *pool = &call->pool;
    const struct ticket_place place = {.id = pool->ticket_id,
        .state = pool->position == 0 ? TICKET_SERVED : TICKET_WAITING,
        .position = pool->position};
    char memory[512];
    char line[256];
    char name[TICKET_NAME_LEN_MAX];
    struct strbuf body;
    struct strbuf extra;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_init(&extra, line, sizeof line);
    strbuf_lit(&body, "{\"ticket\":\"");
    strbuf_put(&body, ticket_name(call->vending, place.id, name));
    strbuf_lit(&body, "\",\"position\":");
    strbuf_put_i64(&body, place.position);
    put_wait(&body, call->vending, place.position);
    strbuf_put_char(&body, '}');
    strbuf_lit(&extra, "Location: /api/orchestrator/queue/");
    strbuf_put(&extra, ticket_name(call->vending, place.id, name));
    strbuf_lit(&extra, "\r\n");
    vending_count(call->vending, COUNT_WAITED);
    vending_reply(call->request, 202, strbuf_slice(&extra), &body);
}

static void on_place(struct engine_call *engine_call)
{
    struct vending_call *call = CONTAINER_OF(engine_call, struct vending_call, call);
    enum result result = engine_call->command.outcome.result;
    if (result == RESULT_TICKET_WAITS)
        reply_place(call);
    else if (result == RESULT_LINE_FULL)
        vending_reply_line_full(call->request, call->vending);
    else
        vending_reply_not_done(call->request, engine_call);
}

void queue_post(struct http_request *request, void *context)
{
    struct vending *vending = vending_of(context);
    const struct app *app = vending->thread->app;
    struct vending_call *call = vending_call_create(request, vending, COMMAND_TICKET_TAKE, on_place);
    if (call == NULL)
        return;
    call->pool.until_ms = engine_now_ms(app->engine) + app->config.ticket_timeout_ms;
    vending_call_push(call);
}

/* --- GET /queue/{ticket} --- */

/* By the picture of the line; a ticket that another node has only just given out is at its end. */
static int64_t position_of(const struct vending *vending, const struct ticket_row *row)
{
    int64_t position = row->state == TICKET_WAITING ? ticket_position(vending, row->id) : 0;
    if (row->state == TICKET_WAITING && position == 0)
        position = engine_port_line(vending->thread->port)->count + 1;
    return position;
}

static void on_ticket_found(struct vending_lookup *lookup)
{
    struct question question = lookup->lookup.question; /* the request's memory goes with the reply */
    const struct ticket_row *row = &question.ticket;
    if (!question.is_found) {
        reply_no_ticket(lookup->request);
    } else {
        char memory[TICKET_BODY_MAX];
        struct strbuf body;
        const struct ticket_place place = {.id = row->id,
            .state = row->state,
            .position = position_of(lookup->vending, row),
            .machine = question.has_machine ? &question.machine : NULL};
        ticket_keep_if_due(lookup->vending, row);
        strbuf_init(&body, memory, sizeof memory);
        put_ticket(&body, lookup->vending, &place);
        vending_reply(lookup->request, 200, SLICE("Cache-Control: no-store\r\n"), &body);
    }
    question_fini(&question);
}

void ticket_get(struct http_request *request, void *context)
{
    struct vending *vending = vending_of(context);
    int64_t id;
    if (!ticket_of_path(request, vending, &id))
        return;
    struct vending_lookup *lookup = vending_lookup_create(request, vending, QUESTION_TICKET, on_ticket_found);
    if (lookup == NULL)
        return;
    lookup->lookup.question.id = id;
    vending_look_up(lookup);
}

/* --- DELETE /queue/{ticket} --- */

/* One on its way out: first the line is left; when it does not stand there any more, the store is asked, and
 * a machine that it was served with is given back. On the heap: it takes several steps. */
struct leaving {
    struct engine_call call;
    struct pool_request pool;
    struct engine_lookup lookup;
    struct http_request *request;
    struct vending *vending;
    int64_t ticket_id;
};

static void reply_gone(struct leaving *leaving)
{
    http_reply(leaving->request, 204, slice_make("", 0), slice_make("", 0), slice_make("", 0));
    free(leaving);
}

static void reply_ended(struct leaving *leaving)
{
    vending_reply_error(
        leaving->request, 409, slice_cstr(result_info(RESULT_TICKET_NOT_WAITING)->text), slice_make("", 0));
    free(leaving);
}

static void reply_no_store(struct leaving *leaving)
{
    vending_reply_later(leaving->request, SLICE("The store does not answer now. Try again."), 0);
    free(leaving);
}

static void push(struct leaving *leaving, enum command_kind kind, void (*on_done)(struct engine_call *call))
{
    const struct net_thread *thread = leaving->vending->thread;
    leaving->call = (struct engine_call){.command = {.kind = kind, .pool = &leaving->pool},
        .deadline_ns = leaving->request->arrived_ns + thread->app->config.answer_deadline_ms * NS_PER_MS,
        .on_done = on_done};
    if (engine_port_push(thread->port, &leaving->call)) {
        engine_port_flush(thread->port);
        return;
    }
    vending_reply_not_done(leaving->request, &leaving->call);
    free(leaving);
}

static void on_given_back(struct engine_call *call)
{
    struct leaving *leaving = CONTAINER_OF(call, struct leaving, call);
    switch (call->command.outcome.result) {
    case RESULT_OK:
        vending_count(leaving->vending, COUNT_GIVEN_BACK);
        reply_gone(leaving);
        break;
    case RESULT_MACHINE_IS_IDLE:
    case RESULT_MACHINE_NOT_FOUND: /* its lease has ended, or it has begun to dispense */
        reply_ended(leaving);
        break;
    default:
        vending_reply_not_done(leaving->request, call);
        free(leaving);
    }
}

static void on_ended_found(struct engine_lookup *lookup)
{
    struct leaving *leaving = CONTAINER_OF(lookup, struct leaving, lookup);
    const struct question *question = &lookup->question;
    bool may_give_back =
        question->is_found && question->has_machine && question->machine.status == MACHINE_CHOOSING;
    bool is_found = question->is_found;
    leaving->pool = (struct pool_request){.is_given_up = true};
    if (may_give_back) {
        leaving->pool.machine_id = question->machine.id;
        leaving->pool.lease_id = question->machine.lease_id;
    }
    question_fini(&lookup->question);
    if (lookup->status != ERR_NONE) {
        reply_no_store(leaving);
    } else if (may_give_back) {
        push(leaving, COMMAND_MACHINE_RESET, on_given_back);
    } else if (is_found) {
        reply_ended(leaving);
    } else {
        reply_no_ticket(leaving->request);
        free(leaving);
    }
}

static void on_left(struct engine_call *call)
{
    struct leaving *leaving = CONTAINER_OF(call, struct leaving, call);
    if (call->command.outcome.result == RESULT_OK) {
        reply_gone(leaving);
    } else if (call->command.outcome.result != RESULT_TICKET_NOT_WAITING) {
        vending_reply_not_done(leaving->request, call);
        free(leaving);
    } else {
        leaving->lookup = (struct engine_lookup){
            .question = {.kind = QUESTION_TICKET, .id = leaving->ticket_id}, .on_done = on_ended_found};
        if (!engine_port_look_up(leaving->vending->thread->port, &leaving->lookup))
            reply_no_store(leaving);
    }
}

void ticket_delete(struct http_request *request, void *context)
{
    struct vending *vending = vending_of(context);
    int64_t id;
    if (!ticket_of_path(request, vending, &id))
        return;
    struct leaving *leaving = calloc(1, sizeof *leaving);
    if (leaving == NULL) {
        vending_reply_no_memory(request);
        return;
    }
    leaving->request = request;
    leaving->vending = vending;
    leaving->ticket_id = id;
    leaving->pool.ticket_ids = &leaving->ticket_id;
    leaving->pool.ticket_count = 1;
    push(leaving, COMMAND_TICKET_LEAVE, on_left);
}
