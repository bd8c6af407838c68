/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking orders (orders contract, POST /orders/async, and what it has in common with /orders/sync): read the
 * body, ask at the door, pass the line.
 *
 * An order is the same order again when its order_id is and the rest means the same (order_form.h); then it
 * is not placed a second time, and the answer tells what has become of the first. That holds when the door is
 * closed too: what is there already is not refused.
 */
#include "api/orders_priv.h"
#include "api/problem.h"
#include "base/clock.h"

enum {
    NS_PER_MS = 1000000,
    NS_PER_S = 1000000000,
    MS_PER_S = 1000,
    BODY_MAX = 4096,
    RESERVE_SHARE = 20, /* one of so many parts of patience is for what the door's forecast does not know */
};

void reply_text(struct http_request *request, int status, struct slice text)
{
    http_reply(request, status, SLICE("text/plain; charset=utf-8"), slice_make("", 0), text);
}

void put_duration(struct strbuf *body, int64_t arrived_ns)
{
    strbuf_printf(body, "{\"duration\":%.6f", (double)(clock_mono_ns() - arrived_ns) / NS_PER_S);
}

void put_location(struct strbuf *extra, struct slice order_id)
{
    strbuf_lit(extra, "Location: /orders/");
    for (size_t i = 0; i < order_id.len; i++) {
        char c = order_id.base[i];
        bool is_unreserved = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                             c == '-' || c == '.' || c == '_' || c == '~';
        if (is_unreserved)
            strbuf_put_char(extra, c);
        else
            strbuf_printf(extra, "%%%02X", (unsigned)(unsigned char)c);
    }
    strbuf_lit(extra, "\r\n");
}

/* --- the body --- */

bool placing_init(struct placing *placing, struct orders *orders, struct http_request *request)
{
    char memory[256];
    struct strbuf why;
    strbuf_init(&why, memory, sizeof memory);
    placing->orders = orders;
    placing->request = request;
    placing->arrived_ns = request->arrived_ns;
    enum order_form_status status = order_form_read(
        &placing->form, request->body, &orders->ids, orders->thread->app->config.currency, &why);
    if (status == ORDER_FORM_OK)
        return true;
    order_form_fini(&placing->form);
    orders_count(orders, COUNT_INVALID);
    if (status == ORDER_FORM_MALFORMED)
        reply_text(request, 400, SLICE("Invalid request body"));
    else if (status == ORDER_FORM_REFUSED)
        reply_problem(request, 422, strbuf_slice(&why), slice_make("", 0));
    else
        reply_problem_later(request, SLICE("There is no memory for the order now. It was not taken."), 0);
    return false;
}

/* --- the line --- */

bool placing_push(struct placing *placing, int64_t deadline_ns, void (*on_done)(struct engine_call *call))
{
    placing->call = (struct engine_call){
        .command = {.kind = COMMAND_ORDER_PLACE, .order = &placing->form.request},
        .deadline_ns = deadline_ns,
        .on_done = on_done,
    };
    return engine_port_push(placing->orders->thread->port, &placing->call);
}

void placing_reply_result(struct placing *placing)
{
    const struct engine_call *call = &placing->call;
    const struct result_info *info = result_info(call->command.outcome.result);
    struct http_request *request = placing->request;
    switch (call->command.outcome.result) {
    case RESULT_OUTCOME_UNKNOWN:
        reply_problem_later(request,
            SLICE(
                "It is not known whether the order was stored. Send it again with the same order_id, or look "
                "it up."),
            (int64_t)call->retry_after_s * MS_PER_S);
        break;
    case RESULT_UNAVAILABLE:
        reply_problem_later(request,
            SLICE("The order was not taken, because it could not be stored in time. Send it again."),
            (int64_t)call->retry_after_s * MS_PER_S);
        break;
    default:
        reply_problem(request, info->http_status, slice_cstr(info->text), slice_make("", 0));
    }
}

/* --- the door --- */

int64_t placing_reckoned_ms(int64_t patience_ms)
{
    return patience_ms - patience_ms / RESERVE_SHARE;
}

/* Others were before it, or one payment alone takes longer: then coming again later changes nothing. */
static void put_late(const struct placing *placing, struct strbuf *detail)
{
    struct payments_stats stats;
    int64_t most_ms = placing->orders->thread->app->config.sync_deadline_ms;
    payments_stats(orders_payments(placing->orders), &stats);
    strbuf_lit(detail,
        "The order could not be paid within the time for which its customer waits, so it was not "
        "taken and nothing was charged; ");
    if (stats.expected_ms < placing->patience_ms)
        strbuf_lit(detail, "send it again after the time in Retry-After.");
    else if (stats.expected_ms < placing_reckoned_ms(most_ms))
        strbuf_lit(detail,
            "one payment alone takes about as long or longer now, so sending it again helps only "
            "with more time (a larger N in Prefer: wait=N).");
    else
        strbuf_lit(detail, "one payment alone takes about as long or longer now, and this server lets nobody "
                           "wait for more: send it to /orders/async, which answers before the payment.");
}

static void put_refusal(const struct placing *placing, struct strbuf *detail)
{
    static const struct slice later =
        SLICE_INIT("The order was not taken; send it again after the time in Retry-After.");
    switch (placing->admission) {
    case ADMISSION_FULL:
        orders_count(placing->orders, COUNT_REFUSED_FULL);
        strbuf_lit(detail, "So many orders wait for their payment that no more are taken. ");
        strbuf_put(detail, later);
        break;
    case ADMISSION_LATE:
        orders_count(placing->orders, COUNT_REFUSED_LATE);
        put_late(placing, detail);
        break;
    default:
        orders_count(placing->orders, COUNT_REFUSED_BREAKER);
        strbuf_lit(detail, "The payment provider does not answer at present. ");
        strbuf_put(detail, later);
    }
}

void placing_reply_refused(struct placing *placing)
{
    char memory[512];
    struct strbuf detail;
    strbuf_init(&detail, memory, sizeof memory);
    put_refusal(placing, &detail);
    reply_problem_later(placing->request, strbuf_slice(&detail), placing->retry_after_ms);
}

bool placing_look_up(struct placing *placing, void (*on_done)(struct engine_lookup *lookup))
{
    if (!placing->form.has_own_id)
        return false;
    placing->lookup = (struct engine_lookup){
        .question = {.kind = QUESTION_ORDER, .name = placing->form.request.order_id}, .on_done = on_done};
    return engine_port_look_up(placing->orders->thread->port, &placing->lookup);
}

enum found placing_found(const struct placing *placing)
{
    const struct question *question = &placing->lookup.question;
    const struct order_request *request = &placing->form.request;
    const struct order_row *row = &question->order;
    if (placing->lookup.status != ERR_NONE || !question->is_found)
        return FOUND_NOTHING;
    bool is_same = row->customer_id == request->customer_id && row->priority == request->priority &&
                   slice_eq(row->items, request->items);
    return is_same ? FOUND_SAME : FOUND_OTHER;
}

void placing_reply_taken(struct placing *placing)
{
    placing->call.command.outcome.result = RESULT_ORDER_ID_TAKEN;
    placing_reply_result(placing);
}

/* --- POST /orders/async --- */

static void put_message(struct strbuf *body, enum order_status status)
{
    if (order_status_is_final(status))
        strbuf_lit(body, ",\"message\":\"Order was already processed\"");
    else
        strbuf_lit(body, ",\"message\":\"Order received and queued for processing\"");
}

static void reply_queued(struct placing *placing, enum order_status status)
{
    char memory[BODY_MAX];
    char line[LOCATION_LEN_MAX];
    struct strbuf body;
    struct strbuf extra;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_init(&extra, line, sizeof line);
    put_location(&extra, placing->form.request.order_id);
    put_duration(&body, placing->arrived_ns);
    put_message(&body, status);
    strbuf_lit(&body, ",\"order_id\":");
    strbuf_put_json(&body, placing->form.request.order_id);
    strbuf_lit(&body, ",\"status\":\"");
    strbuf_put(&body, order_status_name(status));
    strbuf_lit(&body, "\"}");
    http_reply(placing->request, 202, SLICE("application/json"), strbuf_slice(&extra), strbuf_slice(&body));
}

/* The order is there, new or of old; one that was cancelled will never be paid. */
static void reply_placed(struct placing *placing, enum order_status status)
{
    if (status == ORDER_CANCELLED)
        reply_problem(placing->request, 409,
            SLICE("The order was cancelled before it was paid, and nothing was charged. Send it with a new "
                  "order_id."),
            slice_make("", 0));
    else
        reply_queued(placing, status);
}

static void on_placed(struct engine_call *call)
{
    struct placing *placing = CONTAINER_OF(call, struct placing, call);
    const struct outcome *outcome = &call->command.outcome;
    struct order_form form =
        placing->form; /* the request's memory goes with the reply, the form's does not */
    if (outcome->result == RESULT_OK) {
        orders_count(placing->orders, outcome->is_replay ? COUNT_REPLAYED : COUNT_PLACED_ASYNC);
        reply_placed(placing, outcome->order_status);
    } else {
        placing_reply_result(placing);
    }
    order_form_fini(&form);
}

static void on_refused_looked_up(struct engine_lookup *lookup)
{
    struct placing *placing = CONTAINER_OF(lookup, struct placing, lookup);
    struct order_form form = placing->form;
    struct question question = lookup->question;
    switch (placing_found(placing)) {
    case FOUND_SAME:
        orders_count(placing->orders, COUNT_REPLAYED);
        reply_placed(placing, question.order.status);
        break;
    case FOUND_OTHER:
        placing_reply_taken(placing);
        break;
    case FOUND_NOTHING:
        placing_reply_refused(placing);
        break;
    }
    question_fini(&question);
    order_form_fini(&form);
}

void orders_async_post(struct http_request *request, void *context)
{
    struct orders *orders = orders_of(context);
    struct placing *placing = arena_alloc(&request->arena, sizeof *placing);
    if (placing == NULL) {
        reply_problem_later(request, SLICE("There is no memory for the order now. It was not taken."), 0);
        return;
    }
    if (!placing_init(placing, orders, request))
        return;
    struct order_form form = placing->form;
    int64_t deadline_ns = request->arrived_ns + orders->thread->app->config.answer_deadline_ms * NS_PER_MS;
    placing->admission = payments_admit_async(orders_payments(orders), &placing->retry_after_ms);
    if (placing->admission == ADMISSION_OK) {
        if (placing_push(placing, deadline_ns, on_placed))
            return;
        placing_reply_result(placing);
    } else {
        if (placing_look_up(placing, on_refused_looked_up))
            return;
        placing_reply_refused(placing);
    }
    order_form_fini(&form);
}
