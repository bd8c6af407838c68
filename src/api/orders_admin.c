/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin's routes of the orders face: the notifications that are not tried any more, and trying one again.
 *
 *     GET  /admin/dead-letters?limit=N&after=ID   200 {"dead_letters":[...],"next":ID or null}
 *     POST /admin/dead-letters/{id}/replay        202, or 409 when it is none
 */
#include "api/admin.h"
#include "api/envelope.h"
#include "api/orders_priv.h"
#include "api/problem.h"
#include "core/work.h"
#include "net/http_query.h"

enum { LIMIT_DEFAULT = 100, BODY_MAX = 8 * 1024 * 1024, MS_PER_S = 1000, NS_PER_MS = 1000000 };

/* --- the list --- */

/* False: the request has been answered. */
static bool read_query(struct http_request *request, struct question *question)
{
    struct slice query = request->query;
    struct slice name;
    struct slice value;
    int64_t limit = LIMIT_DEFAULT;
    int64_t after = 0;
    bool is_malformed = false;
    while (http_query_next(&request->arena, &query, &name, &value, &is_malformed)) {
        bool is_limit = slice_eq(name, SLICE("limit"));
        if (!is_limit && !slice_eq(name, SLICE("after")))
            continue;
        is_malformed = !slice_to_i64(value, is_limit ? &limit : &after) || is_malformed;
    }
    if (is_malformed || limit < 1 || limit > QUESTION_ROWS_MAX || after < 0) {
        reply_problem(request, 422,
            SLICE("limit must be a number from 1 to 1000, and after the id of a dead letter."),
            slice_make("", 0));
        return false;
    }
    question->limit = (size_t)limit;
    question->id = after;
    return true;
}

static void put_dead_letter(struct strbuf *body, const struct dead_letter *letter)
{
    strbuf_printf(body, "{\"id\":%lld,\"order_id\":", (long long)letter->id);
    strbuf_put_json(body, letter->order_id);
    strbuf_lit(body, ",\"channel\":\"");
    strbuf_put(body, channel_name(letter->channel));
    strbuf_lit(body, "\",\"target\":");
    if (letter->target.len == 0)
        strbuf_lit(body, "null");
    else
        strbuf_put_json(body, letter->target);
    strbuf_printf(body, ",\"attempts\":%lld,", (long long)letter->attempts);
    put_iso_member(body, SLICE("created_at"), letter->created_ms);
    strbuf_put_char(body, '}');
}

static void reply_list(struct http_request *request, const struct question *question)
{
    struct strbuf body;
    strbuf_init_heap(&body, BODY_MAX);
    strbuf_lit(&body, "{\"dead_letters\":[");
    for (size_t i = 0; i < question->count; i++) {
        if (i > 0)
            strbuf_put_char(&body, ',');
        put_dead_letter(&body, &question->dead_letters[i]);
    }
    bool has_more = question->count == question->limit; /* perhaps: the next list may be empty */
    strbuf_lit(&body, "],\"next\":");
    if (has_more)
        strbuf_put_i64(&body, question->dead_letters[question->count - 1].id);
    else
        strbuf_lit(&body, "null");
    strbuf_put_char(&body, '}');
    reply_json(request, 200, SLICE("Cache-Control: no-store\r\n"), &body);
    strbuf_fini(&body);
}

static void on_listed(struct engine_lookup *lookup)
{
    struct order_lookup *asked = CONTAINER_OF(lookup, struct order_lookup, lookup);
    struct question question = lookup->question;
    if (lookup->status == ERR_NONE)
        reply_list(asked->request, &question);
    else
        reply_not_looked_up(asked->request, lookup->status);
    question_fini(&question);
}

void dead_letters_get(struct http_request *request, void *context)
{
    struct net_thread *thread = context;
    if (!check_admin(request, thread))
        return;
    struct order_lookup *asked = arena_alloc(&request->arena, sizeof *asked);
    if (asked == NULL) {
        reply_not_looked_up(request, ERR_MEMORY);
        return;
    }
    asked->orders = thread->orders;
    asked->request = request;
    asked->lookup.question.kind = QUESTION_DEAD_LETTERS;
    asked->lookup.on_done = on_listed;
    if (read_query(request, &asked->lookup.question) && !engine_port_look_up(thread->port, &asked->lookup))
        reply_not_looked_up(request, ERR_UNAVAILABLE);
}

/* --- trying one again --- */

struct revival {
    struct engine_call call;
    struct work_order work;
    struct http_request *request;
};

static void on_revived(struct engine_call *call)
{
    struct revival *revival = CONTAINER_OF(call, struct revival, call);
    struct http_request *request = revival->request;
    const struct result_info *info = result_info(call->command.outcome.result);
    char memory[128];
    struct strbuf body;
    switch (call->command.outcome.result) {
    case RESULT_OK:
        strbuf_init(&body, memory, sizeof memory);
        strbuf_printf(&body, "{\"id\":%lld,\"message\":\"It is tried again.\"}", (long long)revival->work.id);
        reply_json(request, 202, slice_make("", 0), &body);
        break;
    case RESULT_UNAVAILABLE:
    case RESULT_OUTCOME_UNKNOWN:
        reply_problem_later(request, SLICE("The store cannot be written now. Ask again."),
            (int64_t)call->retry_after_s * MS_PER_S);
        break;
    default:
        reply_problem(request, info->http_status, slice_cstr(info->text), slice_make("", 0));
    }
}

void dead_letter_replay_post(struct http_request *request, void *context)
{
    struct net_thread *thread = context;
    if (!check_admin(request, thread))
        return;
    struct revival *revival = arena_alloc(&request->arena, sizeof *revival);
    if (revival == NULL) {
        reply_not_looked_up(request, ERR_MEMORY);
        return;
    }
    if (!slice_to_i64(request->params[0], &revival->work.id) || revival->work.id < 1) {
        reply_problem(request, 404, SLICE("A dead letter is named by its number."), slice_make("", 0));
        return;
    }
    revival->request = request;
    revival->call = (struct engine_call){
        .command = {.kind = COMMAND_WORK_REVIVE, .work = &revival->work},
        .deadline_ns = request->arrived_ns + thread->app->config.answer_deadline_ms * NS_PER_MS,
        .on_done = on_revived,
    };
    if (!engine_port_push(thread->port, &revival->call))
        on_revived(&revival->call);
}
