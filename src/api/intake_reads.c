/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trading orders looked up, listed and cancelled (intake contract). An order of somebody else is not found.
 *
 * A list goes from the newest to the oldest. When it is as long as its limit there may be more, and
 * X-Next-Cursor tells how to ask for them: the id of the last one shown, before which the next page begins;
 * so orders that come meanwhile shift nothing.
 */
#include "api/intake_priv.h"
#include "net/http_query.h"

enum { LIST_BODY_MAX = 2 * 1024 * 1024, ORDER_BODY_MAX = 2048, LIMIT_DEFAULT = 100 };

static const struct slice not_found = SLICE_INIT("Order not found");
static const struct slice no_store = SLICE_INIT("Cache-Control: no-store\r\n");

/* --- one order --- */

/* A question about one order, and what it is asked for. Lives in the request's arena. */
struct intake_lookup {
    struct engine_lookup lookup;
    struct engine_call call; /* of one that is to be cancelled */
    struct intake_request cancel;
    struct intake *intake;
    struct http_request *request;
    int64_t account_id;
    void (*on_found)(struct intake_lookup *lookup); /* the order is its account's; answers the request */
};

static void reply_order(struct intake_lookup *lookup)
{
    char memory[ORDER_BODY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    intake_put_order(&body, &lookup->intake->names, &lookup->lookup.question.intake);
    reply_made(lookup->request, 200, no_store, &body);
}

static void on_order_looked_up(struct engine_lookup *found)
{
    struct intake_lookup *lookup = CONTAINER_OF(found, struct intake_lookup, lookup);
    struct question question = found->question; /* the request's memory goes with the reply */
    if (found->status != ERR_NONE)
        intake_reply_not_looked_up(lookup->request, found->status);
    else if (!question.is_found || question.intake.account_id != lookup->account_id)
        reply_detail(lookup->request, 404, not_found, slice_make("", 0));
    else
        lookup->on_found(lookup);
    question_fini(&question);
}

static void ask_for_order(
    struct intake_lookup *lookup, int64_t id, void (*on_found)(struct intake_lookup *lookup))
{
    lookup->on_found = on_found;
    lookup->lookup = (struct engine_lookup){
        .question = {.kind = QUESTION_INTAKE_ORDER, .id = id}, .on_done = on_order_looked_up};
    if (!engine_port_look_up(lookup->intake->thread->port, &lookup->lookup))
        intake_reply_not_looked_up(lookup->request, ERR_UNAVAILABLE);
}

/* Checks the token and the id in the path. */
static void look_up(
    struct http_request *request, struct intake *intake, void (*on_found)(struct intake_lookup *lookup))
{
    int64_t account_id;
    int64_t id;
    if (!auth_check(intake, request, &account_id))
        return;
    if (!uuid_to_number(&intake->names.orders, request->params[0], &id)) {
        reply_detail(request, 404, not_found, slice_make("", 0));
        return;
    }
    struct intake_lookup *lookup = arena_alloc(&request->arena, sizeof *lookup);
    if (lookup == NULL) {
        intake_reply_not_looked_up(request, ERR_MEMORY);
        return;
    }
    lookup->intake = intake;
    lookup->request = request;
    lookup->account_id = account_id;
    ask_for_order(lookup, id, on_found);
}

void intake_order_get(struct http_request *request, void *context)
{
    look_up(request, intake_of(context), reply_order);
}

/* --- DELETE --- */

/* Shown as it is in the store now: who else has cancelled it at the same moment sees the same time. */
static void on_cancelled(struct engine_call *call)
{
    struct intake_lookup *lookup = CONTAINER_OF(call, struct intake_lookup, call);
    if (call->command.outcome.result != RESULT_OK) {
        intake_reply_result(lookup->request, call, "Send it again: an order is cancelled only once.");
        return;
    }
    intake_count(lookup->intake, COUNT_CANCELLED);
    ask_for_order(lookup, lookup->cancel.id, reply_order);
}

static void cancel_order(struct intake_lookup *lookup)
{
    const struct intake_row *order = &lookup->lookup.question.intake;
    if (order->status == INTAKE_CANCELLED) {
        reply_order(lookup);
        return;
    }
    lookup->cancel.id = order->id;
    lookup->call.command.kind = COMMAND_INTAKE_CANCEL;
    lookup->call.command.intake = &lookup->cancel;
    lookup->call.deadline_ns = intake_deadline_ns(lookup->intake, lookup->request);
    lookup->call.on_done = on_cancelled;
    if (!engine_port_push(lookup->intake->thread->port, &lookup->call))
        on_cancelled(&lookup->call);
}

void intake_order_delete(struct http_request *request, void *context)
{
    look_up(request, intake_of(context), cancel_order);
}

/* --- GET /api/orders --- */

/* Lives in the request's arena. */
struct intake_listing {
    struct engine_lookup lookup;
    struct intake *intake;
    struct http_request *request;
};

static void reply_list(struct intake_listing *listing, const struct question *question)
{
    const struct intake_names *names = &listing->intake->names;
    char line[64 + ID_UUID_LEN];
    char uuid[ID_UUID_LEN];
    struct strbuf extra;
    struct strbuf body;
    strbuf_init(&extra, line, sizeof line);
    strbuf_init_heap(&body, LIST_BODY_MAX);
    strbuf_put(&extra, no_store);
    strbuf_put_char(&body, '[');
    for (size_t i = 0; i < question->count; i++) {
        if (i > 0)
            strbuf_put_char(&body, ',');
        intake_put_order(&body, names, &question->intake_rows[i]);
    }
    strbuf_put_char(&body, ']');
    if (question->count == question->limit) {
        uuid_from_number(&names->orders, question->intake_rows[question->count - 1].id, uuid);
        strbuf_printf(&extra, "X-Next-Cursor: %.*s\r\n", ID_UUID_LEN, uuid);
    }
    reply_made(listing->request, 200, strbuf_slice(&extra), &body);
    strbuf_fini(&body);
}

static void on_listed(struct engine_lookup *lookup)
{
    struct intake_listing *listing = CONTAINER_OF(lookup, struct intake_listing, lookup);
    struct question question = lookup->question; /* the request's memory goes with the reply */
    if (lookup->status == ERR_NONE)
        reply_list(listing, &question);
    else
        intake_reply_not_looked_up(listing->request, lookup->status);
    question_fini(&question);
}

static void complain(
    struct complaints *complaints, struct slice name, struct slice value, const char *type, struct slice msg)
{
    char memory[2 * INPUT_LEN_MAX];
    struct strbuf input;
    strbuf_init(&input, memory, sizeof memory);
    strbuf_put_json(&input, value);
    complaints_add(complaints, "query", name, type, msg,
        input.has_overflowed ? slice_make("", 0) : strbuf_slice(&input));
}

static void read_limit(struct complaints *complaints, struct slice value, struct question *question)
{
    int64_t limit;
    struct slice name = SLICE("limit");
    if (!slice_to_i64(value, &limit))
        complain(complaints, name, value, "int_parsing",
            SLICE("Input should be a valid integer, unable to parse string as an integer"));
    else if (limit < 1)
        complain(complaints, name, value, "greater_than_equal",
            SLICE("Input should be greater than or equal to 1"));
    else if (limit > QUESTION_ROWS_MAX)
        complain(
            complaints, name, value, "less_than_equal", SLICE("Input should be less than or equal to 1000"));
    else
        question->limit = (size_t)limit;
}

/* One parameter; those that nobody knows are ignored. */
static void read_parameter(
    struct intake_listing *listing, struct complaints *complaints, struct slice name, struct slice value)
{
    struct question *question = &listing->lookup.question;
    if (slice_eq(name, SLICE("limit"))) {
        read_limit(complaints, value, question);
    } else if (slice_eq(name, SLICE("status"))) {
        question->has_status = true;
        if (!intake_status_from_name(value, &question->status))
            complain(complaints, name, value, "enum",
                SLICE("Input should be 'QUEUED', 'EXECUTED' or 'CANCELLED'"));
    } else if (slice_eq(name, SLICE("cursor"))) {
        if (!uuid_to_number(&listing->intake->names.orders, value, &question->id_before))
            complain(complaints, name, value, "value_error",
                SLICE("Value error, this is no cursor; take it from X-Next-Cursor"));
    }
}

/* False: the request has been answered. */
static bool read_query(struct intake_listing *listing)
{
    struct http_request *request = listing->request;
    struct complaints complaints;
    struct slice query = request->query;
    struct slice name;
    struct slice value;
    bool is_malformed = false;
    complaints_init(&complaints);
    while (http_query_next(&request->arena, &query, &name, &value, &is_malformed) && !is_malformed)
        read_parameter(listing, &complaints, name, value);
    if (is_malformed)
        complaints_add(&complaints, "query", slice_make("", 0), "value_error",
            SLICE("Value error, a % is not followed by two hexadecimal digits, or the query is too long"),
            slice_make("", 0));
    if (complaints.count > 0) {
        reply_complaints(request, &complaints);
        return false;
    }
    complaints_fini(&complaints);
    return true;
}

void intake_list_get(struct http_request *request, void *context)
{
    struct intake *intake = intake_of(context);
    int64_t account_id;
    if (!auth_check(intake, request, &account_id))
        return;
    struct intake_listing *listing = arena_alloc(&request->arena, sizeof *listing);
    if (listing == NULL) {
        intake_reply_not_looked_up(request, ERR_MEMORY);
        return;
    }
    *listing = (struct intake_listing){
        .lookup = {.question = {.kind = QUESTION_INTAKE_ORDERS,
                       .account_id = account_id,
                       .id_before = INT64_MAX,
                       .limit = LIMIT_DEFAULT},
            .on_done = on_listed},
        .intake = intake,
        .request = request,
    };
    if (read_query(listing) && !engine_port_look_up(intake->thread->port, &listing->lookup))
        intake_reply_not_looked_up(request, ERR_UNAVAILABLE);
}
