/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A customer's order is made of numbers that look random and are the same in every run (plan_draw), except
 * its own number, which is of this run alone: a run must not meet the orders of an earlier one.
 */
#include "rush/orders.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/id.h"
#include "net/json.h"

enum {
    BODY_MAX = 1024,
    ITEMS_MAX = 3,
    CUSTOMERS = 10000,
    PRODUCTS = 100,
    QUANTITY_MAX = 5,
    PRICE_MIN_CENTS = 1000,
    PRICE_MAX_CENTS = 50000,
    POOL = 256, /* connections of an open loop */
    SETTLE_WAIT_MS = 2000,
    SETTLE_POLL_MS = 50
};

/* Series of plan_draw; those of the plans are the numbers of users. */
enum series { SERIES_CUSTOMER = 0x7fffff00, SERIES_COUNT, SERIES_ITEM };

static const int64_t NS_PER_S = 1000000000;
static const int64_t THINK_MIN_NS = 100000000;
static const int64_t THINK_MAX_NS = 500000000;
static const int64_t LATE_NS = 9000000000;
static const int64_t RETRY_AFTER_MAX_S = 24 * 3600; /* more is no answer to a customer */

struct orders {
    enum order_route route;
    uint64_t nonce; /* of this run */
    uint64_t user_count;
    bool is_open;     /* open loop: every order is another customer's */
    int64_t *back_ns; /* a user: when it was told to come again; each belongs to one squad */
    _Atomic uint64_t refused_count;
    _Atomic int64_t retry_after_sum_s;
    _Atomic int64_t retry_after_max_s;
    _Atomic uint64_t early_count;
    struct order_drain drain;
};

const struct outcome order_outcomes[] = {
    {"order_completed", "200: paid and completed"},
    {"order_accepted", "202: accepted, paid later"},
    {"order_declined", "402: the payment was declined"},
    {"order_refused", "503 with Retry-After: refused at once, nothing stored"},
    {"order_late", "504, or no good answer within 9 s"},
    {"order_refused_odd", "503 without a usable Retry-After, or that does not know what became of the order"},
    {"order_nonsense", "a right status with a body that does not belong to it"},
    {"order_other_status", "a status that does not belong here"},
    {"order_server_error", "500 or above"},
    {NULL, NULL},
};

_Static_assert(
    sizeof order_outcomes / sizeof order_outcomes[0] == ORDER_OUTCOME_END - OUTCOME_COMMON_COUNT + 1,
    "one row per outcome");

const char *const order_endpoints[] = {"order", NULL};

/* --- requests --- */

/* A UUID of version 4 by its form: 60 bits are the serial's, all different, the others the run's. */
static void put_number(const struct orders *orders, uint64_t serial, struct strbuf *out)
{
    uint64_t draw = plan_draw(orders->nonce, serial);
    strbuf_printf(out, "%08llx-%04llx-4%03llx-%04llx-%012llx", (unsigned long long)(draw >> 32),
        (unsigned long long)(draw >> 16 & 0xffff), (unsigned long long)(draw >> 4 & 0xfff),
        (unsigned long long)(0x8000 | (orders->nonce >> 44 & 0x3fff)),
        (unsigned long long)((draw & 0xf) << 44 | (orders->nonce & 0xfffffffffff)));
}

static void put_item(uint64_t serial, uint64_t index, struct strbuf *body)
{
    uint64_t draw = plan_draw(SERIES_ITEM, serial * ITEMS_MAX + index);
    uint64_t cents = PRICE_MIN_CENTS + (draw >> 32) % (PRICE_MAX_CENTS - PRICE_MIN_CENTS + 1);
    strbuf_printf(body, "%s{\"product_id\":\"PROD-%03u\",\"quantity\":%u,\"price\":%u.%02u}",
        index > 0 ? "," : "", (unsigned)(draw % PRODUCTS) + 1,
        (unsigned)(draw >> 16 & 0xffff) % QUANTITY_MAX + 1, (unsigned)cents / 100, (unsigned)cents % 100);
}

static void put_body(const struct orders *orders, uint64_t serial, struct strbuf *body)
{
    uint64_t items = 1 + plan_draw(SERIES_COUNT, serial) % ITEMS_MAX;
    strbuf_lit(body, "{\"order_id\":\"");
    put_number(orders, serial, body);
    strbuf_printf(body, "\",\"customer_id\":%u,\"items\":[",
        (unsigned)(plan_draw(SERIES_CUSTOMER, serial) % CUSTOMERS) + 1);
    for (uint64_t i = 0; i < items; i++)
        put_item(serial, i, body);
    strbuf_lit(body, "]}");
    ENSURE(!body->has_overflowed);
}

static int64_t *back_of(const struct orders *orders, const struct session *session)
{
    return orders->is_open ? NULL : &orders->back_ns[session->serial % orders->user_count];
}

static void write_order(const struct rush *rush, struct session *session, struct strbuf *request)
{
    struct orders *orders = rush->state;
    const int64_t *back_ns = back_of(orders, session);
    char memory[BODY_MAX];
    struct strbuf body;
    if (back_ns != NULL && *back_ns > 0 && clock_mono_ns() < *back_ns)
        atomic_fetch_add(&orders->early_count, 1);
    strbuf_init(&body, memory, sizeof memory);
    put_body(orders, session->serial, &body);
    strbuf_printf(request,
        "POST /orders/%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: "
        "%zu\r\n\r\n",
        orders->route == ORDER_SYNC ? "sync" : "async", rush->target.authority, body.len);
    strbuf_put(request, strbuf_slice(&body));
    ENSURE(!request->has_overflowed);
}

static void name_order(const struct rush *rush, const struct session *session, struct strbuf *name)
{
    put_number(rush->state, session->serial, name);
}

/* --- answers --- */

bool orders_read_retry_after(struct slice value, int64_t *seconds)
{
    return value.len > 0 && value.base[0] != '-' && slice_to_i64(value, seconds) &&
           *seconds <= RETRY_AFTER_MAX_S;
}

/* The body is of this order and says this status. */
static bool is_told(struct slice body, struct slice order, struct slice status)
{
    struct json *value = NULL;
    struct slice told_order;
    struct slice told_status;
    bool is_right = json_parse(body, &value) == JSON_OK &&
                    json_text(json_member(value, "order_id"), &told_order) && slice_eq(told_order, order) &&
                    json_text(json_member(value, "status"), &told_status) && slice_eq(told_status, status);
    json_free(value);
    return is_right;
}

struct right_answer {
    int http_status;
    struct slice status;
    unsigned outcome;
};

static const struct right_answer *find_right(enum order_route route, int http_status)
{
    static const struct right_answer sync[] = {
        {200, SLICE_INIT("completed"), ORDER_COMPLETED}, {402, SLICE_INIT("failed"), ORDER_DECLINED}};
    static const struct right_answer async[] = {{202, SLICE_INIT("pending"), ORDER_ACCEPTED}};
    const struct right_answer *answers = route == ORDER_SYNC ? sync : async;
    size_t count = route == ORDER_SYNC ? sizeof sync / sizeof sync[0] : sizeof async / sizeof async[0];
    for (size_t i = 0; i < count; i++)
        if (answers[i].http_status == http_status)
            return &answers[i];
    return NULL;
}

static void set_code(const struct reply *reply, struct judgement *judgement)
{
    char text[DETAIL_MAX];
    int len = snprintf(text, sizeof text, "HTTP_%d", reply->status);
    judgement_set_detail(judgement, slice_make(text, (size_t)len));
}

/* A server may say that it does not know itself what became of the order; any other 503 has stored nothing.
 */
static bool is_unsure(const struct reply *reply)
{
    static const char code[] = "OUTCOME_UNKNOWN";
    return memmem(reply->body.base, reply->body.len, code, sizeof code - 1) != NULL;
}

static unsigned name_wrong(const struct reply *reply)
{
    int64_t seconds;
    if (reply->status == 504 || reply->took_ns > LATE_NS)
        return ORDER_LATE;
    if (reply->status == 503)
        return !is_unsure(reply) && orders_read_retry_after(reply->retry_after, &seconds) ? ORDER_REFUSED
                                                                                          : ORDER_REFUSED_ODD;
    return reply->status >= 500 ? ORDER_SERVER_ERROR : ORDER_OTHER_STATUS;
}

void orders_judge(
    enum order_route route, struct slice order, const struct reply *reply, struct judgement *judgement)
{
    const struct right_answer *right = find_right(route, reply->status);
    if (right != NULL && is_told(reply->body, order, right->status)) {
        judgement->outcome = right->outcome;
        judgement->truth = TRUTH_ACKNOWLEDGED;
        judgement_set_detail(judgement, right->status);
        return;
    }
    bool is_late = reply->took_ns > LATE_NS; /* then it may have been stored, waited for, and cancelled */
    bool is_refusal = (reply->status >= 400 && reply->status < 500) ||
                      (reply->status == 503 && !is_late && !is_unsure(reply));
    judgement->outcome = right != NULL ? (unsigned)ORDER_NONSENSE : name_wrong(reply);
    judgement->truth = is_refusal && right == NULL ? TRUTH_REFUSED : TRUTH_UNKNOWN;
    set_code(reply, judgement);
}

static void raise_to(_Atomic int64_t *most, int64_t value)
{
    int64_t seen = atomic_load(most);
    while (value > seen && !atomic_compare_exchange_weak(most, &seen, value))
        continue;
}

static void note_refusal(struct orders *orders, const struct session *session, const struct reply *reply)
{
    int64_t *back_ns = back_of(orders, session);
    int64_t seconds = 0;
    ENSURE(orders_read_retry_after(reply->retry_after, &seconds)); /* or it were no honest refusal */
    atomic_fetch_add(&orders->refused_count, 1);
    atomic_fetch_add(&orders->retry_after_sum_s, seconds);
    raise_to(&orders->retry_after_max_s, seconds);
    if (back_ns != NULL)
        *back_ns = clock_mono_ns() + seconds * NS_PER_S;
}

static void judge_order(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    struct orders *orders = rush->state;
    char memory[ID_UUID_LEN + 1]; /* printf wants room for its NUL */
    struct strbuf number;
    strbuf_init(&number, memory, sizeof memory);
    put_number(orders, session->serial, &number);
    ENSURE(!number.has_overflowed);
    orders_judge(orders->route, strbuf_slice(&number), reply, judgement);
    if (judgement->outcome == ORDER_REFUSED)
        note_refusal(orders, session, reply);
    else if (!orders->is_open)
        *back_of(orders, session) = 0;
}

struct order_patience orders_patience(const struct rush *rush)
{
    const struct orders *orders = rush->state;
    return (struct order_patience){atomic_load(&orders->refused_count),
        atomic_load(&orders->retry_after_sum_s), atomic_load(&orders->retry_after_max_s),
        atomic_load(&orders->early_count)};
}

/* --- what the server tells of itself --- */

bool orders_read_stats(int status, struct slice body, struct order_stats *stats)
{
    struct json *value = NULL;
    *stats = (struct order_stats){0};
    bool is_good = status == 200 && json_parse(body, &value) == JSON_OK;
    const struct json *states = is_good ? json_member(value, "status_breakdown") : NULL;
    is_good = is_good && json_int64(json_member(value, "total_orders"), &stats->total) &&
              json_int64(json_member(states, "pending"), &stats->pending) &&
              json_int64(json_member(states, "processing"), &stats->processing) &&
              json_int64(json_member(states, "completed"), &stats->completed) &&
              json_int64(json_member(states, "failed"), &stats->failed);
    if (is_good && !json_int64(json_member(states, "cancelled"), &stats->cancelled))
        stats->cancelled =
            stats->total - stats->pending - stats->processing - stats->completed - stats->failed;
    json_free(value);
    return is_good;
}

enum err orders_ask_stats(struct rush *rush, struct order_stats *stats, struct error *error)
{
    char memory[HTTP_TARGET_AUTHORITY_MAX + 64];
    struct strbuf request;
    struct exchange_reply reply;
    strbuf_init(&request, memory, sizeof memory);
    strbuf_printf(&request, "GET /stats HTTP/1.1\r\nHost: %s\r\n\r\n", rush->target.authority);
    enum err err = exchange_do(rush->exchange, strbuf_slice(&request), &reply, error);
    if (err != ERR_NONE || orders_read_stats(reply.status, reply.body, stats))
        return err;
    return error_set(error, ERR_REFUSED,
        "GET /stats does not tell total_orders and status_breakdown with pending, processing, completed and "
        "failed: status %d; does %s take orders?",
        reply.status, rush->target.authority);
}

/* Orders that the crowd knows to be stored. */
static int64_t count_told(const struct tally *crowd)
{
    return (int64_t)tally_count_all(
        crowd, OUTCOME_BIT(ORDER_COMPLETED) | OUTCOME_BIT(ORDER_ACCEPTED) | OUTCOME_BIT(ORDER_DECLINED));
}

/* Orders that this run added, as the server counts them. Not those that it has cancelled, which their clients
 * know as refused. */
static int64_t count_added(const struct rush *rush, const struct order_stats *now)
{
    const struct order_stats *before = &orders_drain(rush)->before;
    return (now->total - now->cancelled) - (before->total - before->cancelled);
}

enum err orders_ask_settled(
    struct rush *rush, const struct tally *crowd, struct order_stats *stats, struct error *error)
{
    int64_t deadline_ns = clock_mono_ns() + (int64_t)SETTLE_WAIT_MS * 1000000;
    const struct timespec pause = {.tv_nsec = SETTLE_POLL_MS * 1000000L};
    for (;;) {
        enum err err = orders_ask_stats(rush, stats, error);
        if (err != ERR_NONE || count_added(rush, stats) >= count_told(crowd) || clock_mono_ns() > deadline_ns)
            return err;
        (void)nanosleep(&pause, NULL); /* woken early: asks early */
    }
}

void orders_check_stored(struct rush *rush, const struct tally *crowd, const struct order_stats *now)
{
    int64_t told = count_told(crowd);
    int64_t open = (int64_t)tally_count_all(crowd, ~ORDER_EXPECTED);
    int64_t added = count_added(rush, now);
    rush_add_invariant(rush, told <= added && added <= told + open,
        "orders stored = those acknowledged%s: %lld = %lld%s", open > 0 ? " and some of the unanswered" : "",
        (long long)added, (long long)told, open > 0 ? " + some" : "");
}

struct order_drain *orders_drain(const struct rush *rush)
{
    struct orders *orders = rush->state;
    return &orders->drain;
}

/* --- the crowd --- */

static struct plan make_plan(struct rush_options *options, const struct order_crowd *usual)
{
    options->users = options->users > 0 ? options->users : usual->users;
    options->seconds = options->seconds > 0 ? options->seconds : usual->seconds;
    options->connections = options->connections > 0 ? options->connections : POOL;
    if (options->rate > 0)
        return plan_open(0, options->rate, (uint64_t)options->connections,
            (uint64_t)(options->rate * (double)options->seconds));
    return plan_spawn(0, options->seconds * NS_PER_S, (uint64_t)options->users, usual->users_per_s,
        THINK_MIN_NS, THINK_MAX_NS);
}

enum err orders_prepare(struct rush *rush, struct order_crowd usual, struct error *error)
{
    struct plan plan = make_plan(&rush->options, &usual);
    struct orders *orders = calloc(1, sizeof *orders);
    struct id_source source;
    rush->state = orders;
    if (orders != NULL)
        orders->back_ns = calloc(plan.vu_count, sizeof *orders->back_ns);
    if (orders == NULL || orders->back_ns == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the scenario");
    id_source_init(&source);
    orders->nonce = id_next(&source);
    orders->route = usual.route;
    orders->user_count = plan.vu_count;
    orders->is_open = plan.kind == PLAN_OPEN;
    rush_add_crowd(rush, (struct crowd){.name = "customers",
                             .plan = plan,
                             .write = write_order,
                             .judge = judge_order,
                             .name_user = name_order});
    return ERR_NONE;
}

void orders_release(struct rush *rush)
{
    struct orders *orders = rush->state;
    if (orders == NULL)
        return;
    free(orders->back_ns);
    free(orders);
    rush->state = NULL;
}
