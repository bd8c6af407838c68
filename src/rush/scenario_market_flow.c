/* SPDX-License-Identifier: Apache-2.0 */
/*
 * market-flow: one kind of request to the marketplace as fast as the answers come, for a benchmark. Each
 * connection is kept and sends one request at a time. The first second is not measured.
 *
 *   spend     signed spends of one product; every wallet counts its nonces from 0
 *   transfer  the same to the next wallet
 *   balance   GET of the balance, with the wallet's token
 *   featured  GET of the featured products
 *
 * --users wallets (as many as connections unless given; 1: all connections spend from one) share the
 * connections. --prepared spends are signed before the clock starts, because a signature costs the generator
 * more than all the rest of a request; what goes beyond them is signed on the way, and the report says so.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "rush/market_site.h"
#include "rush/report.h"
#include "rush/scenarios.h"
#include "rush/tell.h"
#include "rush/validity.h"

enum {
    CONNECTIONS = 64,
    CONNECTIONS_MAX = 100000,
    SECONDS = 10,
    SECONDS_MAX = 3600,
    PREPARED_PER_S = 10000,
    PREPARED_MAX = 20000000,
    TIMESTAMP_AGE_MAX_S = 200, /* the server takes 300 */
    PRICE_MINOR = 1,
    STOCK = 2000000000,
    MS_PER_S = 1000
};

static const int64_t NS_PER_S = 1000000000;
static const int64_t CREDIT_MINOR = INT64_C(10000000000); /* more than a run can spend */

enum op { OP_SPEND, OP_TRANSFER, OP_BALANCE, OP_FEATURED, OP_COUNT };

static const char *const op_names[OP_COUNT] = {"spend", "transfer", "balance", "featured"};

/* What one connection asks for, one after the other. */
struct lane {
    struct market_slot slot; /* the present intent */
    struct market_wallet *payee;
    uint64_t serial; /* of the session whose intent it is, plus one; 0: none yet */
    unsigned char (*signatures)[MARKET_SIGNATURE_BYTES];
    uint64_t signed_on_way;
    uint64_t acknowledged;
    int64_t given_up_count; /* intents before the present one that were never answered */
};

struct flow {
    struct market_site site;
    struct market_product product;
    enum op op;
    struct market_wallet *wallets;
    struct lane *lanes;
    uint64_t lane_count;
    uint64_t wallet_count;
    uint64_t prepared_each; /* signatures of a lane */
    int64_t timestamp_s;    /* of these */
};

/* --- requests --- */

static struct lane *lane_of(const struct rush *rush, const struct session *session)
{
    const struct flow *flow = rush->state;
    return &flow->lanes[session->serial % flow->lane_count];
}

/* The wallet of the session's lane counts them: from 0 in each, and each number in one of its lanes. */
static uint64_t nonce_of(const struct flow *flow, uint64_t serial)
{
    uint64_t lanes_each = (flow->lane_count + flow->wallet_count - 1) / flow->wallet_count;
    return serial / flow->lane_count * lanes_each + serial % flow->lane_count / flow->wallet_count;
}

/* The session's intent, signed before or now. A request that is repeated finds it there. */
static void make_intent(const struct flow *flow, struct lane *lane, uint64_t serial)
{
    uint64_t turn = serial / flow->lane_count;
    if (lane->serial == serial + 1)
        return;
    lane->given_up_count += lane->serial > 0 && !lane->slot.is_answered;
    lane->serial = serial + 1;
    if (turn < flow->prepared_each && market_now_s() - flow->timestamp_s < TIMESTAMP_AGE_MAX_S) {
        market_slot_name(&lane->slot, &flow->site, nonce_of(flow, serial), flow->timestamp_s);
        memcpy(lane->slot.signature, lane->signatures[turn], MARKET_SIGNATURE_BYTES);
        return;
    }
    lane->signed_on_way++;
    market_slot_sign(&lane->slot, &flow->site, nonce_of(flow, serial));
}

static void write_request(const struct rush *rush, struct session *session, struct strbuf *request)
{
    const struct flow *flow = rush->state;
    struct lane *lane = lane_of(rush, session);
    switch (flow->op) {
    case OP_BALANCE:
        session->endpoint = MARKET_BALANCE;
        market_write_balance(rush, lane->slot.wallet, request);
        break;
    case OP_FEATURED:
        session->endpoint = MARKET_FEATURED;
        market_write_featured(rush, request);
        break;
    default:
        session->endpoint = MARKET_TRANSACT;
        make_intent(flow, lane, session->serial);
        market_write_transact(rush, &lane->slot, request);
    }
}

static void judge_transact(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    struct lane *lane = lane_of(rush, session);
    if (market_slot_judge(&lane->slot, reply, judgement)) {
        market_slot_settle(&lane->slot, lane->payee);
        lane->acknowledged++;
    }
    session->asks_again = market_is_passing(judgement->outcome);
}

static void judge_read(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    const struct flow *flow = rush->state;
    int64_t balance_minor;
    if (session->endpoint == MARKET_BALANCE)
        market_judge_balance(reply, judgement, &balance_minor);
    else
        market_judge_featured(reply, flow->product.id, judgement);
}

static void note_slot(const struct rush *rush, const struct session *session, struct journal_market *line)
{
    market_slot_note(&lane_of(rush, session)->slot, line);
}

/* --- before the run --- */

static bool find_op(const char *name, enum op *op)
{
    for (*op = 0; *op < OP_COUNT; (*op)++)
        if (strcmp(name, op_names[*op]) == 0)
            return true;
    return false;
}

static bool has_intents(const struct flow *flow)
{
    return flow->op == OP_SPEND || flow->op == OP_TRANSFER;
}

static enum err check_options(struct rush_options *options, struct flow *flow, struct error *error)
{
    if (!find_op(options->op != NULL ? options->op : op_names[OP_SPEND], &flow->op))
        return error_set(error, ERR_USAGE,
            "'%.40s' is no --op of market-flow: expected spend, transfer, balance or featured", options->op);
    if (options->rate > 0)
        return error_set(
            error, ERR_USAGE, "market-flow has no --rate: each connection asks when it is answered");
    options->connections = options->connections > 0 ? options->connections : CONNECTIONS;
    options->users = options->users > 0 ? options->users : options->connections;
    options->seconds = options->seconds > 0 ? options->seconds : SECONDS;
    if (options->connections > CONNECTIONS_MAX)
        return error_set(error, ERR_USAGE, "%lld connections are too many: expected up to %d --connections",
            (long long)options->connections, CONNECTIONS_MAX);
    if (options->users > options->connections)
        return error_set(error, ERR_USAGE,
            "%lld wallets cannot share %lld connections: there can be at most as many wallets (--users) as "
            "connections (--connections); give fewer --users, or more --connections, up to %d",
            (long long)options->users, (long long)options->connections, CONNECTIONS_MAX);
    if (flow->op == OP_TRANSFER && options->users < 2)
        return error_set(error, ERR_USAGE, "a wallet does not pay itself: expected 2 --users at least");
    if (options->seconds > SECONDS_MAX || options->prepared > PREPARED_MAX)
        return error_set(
            error, ERR_USAGE, "expected up to %d --seconds and %d --prepared", SECONDS_MAX, PREPARED_MAX);
    return ERR_NONE;
}

static enum err allot(struct rush *rush, struct flow *flow, struct error *error)
{
    const struct rush_options *options = &rush->options;
    int64_t prepared = options->prepared > 0 ? options->prepared : PREPARED_PER_S * (1 + options->seconds);
    flow->lane_count = (uint64_t)options->connections;
    flow->wallet_count = (uint64_t)options->users;
    flow->wallets = calloc(flow->wallet_count, sizeof *flow->wallets);
    flow->lanes = calloc(flow->lane_count, sizeof *flow->lanes);
    if (has_intents(flow))
        flow->prepared_each =
            ((uint64_t)(prepared < PREPARED_MAX ? prepared : PREPARED_MAX) + flow->lane_count - 1) /
            flow->lane_count;
    bool has_memory = flow->wallets != NULL && flow->lanes != NULL;
    for (uint64_t i = 0; has_memory && flow->prepared_each > 0 && i < flow->lane_count; i++) {
        flow->lanes[i].signatures = malloc(flow->prepared_each * sizeof *flow->lanes[i].signatures);
        has_memory = flow->lanes[i].signatures != NULL;
    }
    return has_memory ? ERR_NONE
                      : error_set(error, ERR_MEMORY, "no memory for %llu connections",
                            (unsigned long long)flow->lane_count);
}

static void add_crowd(struct rush *rush, const struct flow *flow)
{
    static const unsigned right[OP_COUNT] = {[OP_SPEND] = MARKET_SPENT,
        [OP_TRANSFER] = MARKET_TRANSFERRED,
        [OP_BALANCE] = MARKET_BALANCE_TOLD,
        [OP_FEATURED] = MARKET_LISTED};
    rush->measure_from_ns = NS_PER_S;
    rush->measure_until_ns = (1 + rush->options.seconds) * NS_PER_S;
    rush_add_crowd(rush, (struct crowd){.name = "connections",
                             .plan = plan_closed(0, rush->measure_until_ns, flow->lane_count, 0),
                             .write = write_request,
                             .judge = has_intents(flow) ? judge_transact : judge_read,
                             .note_market = has_intents(flow) ? note_slot : NULL,
                             .repeat_ns = rush->options.timeout_ms * (NS_PER_S / MS_PER_S)});
    rush_add_threshold(rush, (struct threshold){.name = op_names[flow->op],
                                 .metric = METRIC_COUNT,
                                 .outcomes = OUTCOME_BIT(right[flow->op]),
                                 .compare = COMPARE_ABOVE});
    rush_add_threshold(rush, (struct threshold){.name = "errors",
                                 .metric = METRIC_COUNT,
                                 .outcomes = ~OUTCOME_BIT(right[flow->op]),
                                 .compare = COMPARE_EQUAL});
}

static enum err prepare(struct rush *rush, struct error *error)
{
    struct flow *flow = calloc(1, sizeof *flow);
    rush->state = flow;
    if (flow == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the scenario");
    market_site_init(&flow->site);
    enum err err = check_options(&rush->options, flow, error);
    if (err == ERR_NONE)
        err = allot(rush, flow, error);
    if (err == ERR_NONE)
        add_crowd(rush, flow);
    return err;
}

static void release(struct rush *rush)
{
    struct flow *flow = rush->state;
    if (flow == NULL)
        return;
    market_site_fini(&flow->site);
    for (uint64_t i = 0; flow->lanes != NULL && i < flow->lane_count; i++)
        free(flow->lanes[i].signatures);
    free(flow->lanes);
    free(flow->wallets);
    free(flow);
    rush->state = NULL;
}

static void make_lane(struct flow *flow, uint64_t number)
{
    struct lane *lane = &flow->lanes[number];
    struct market_wallet *next = &flow->wallets[(number + 1) % flow->wallet_count];
    lane->slot.wallet = &flow->wallets[number % flow->wallet_count];
    lane->slot.intent = (struct market_intent){.amount_minor = PRICE_MINOR, .target = flow->product.id};
    if (flow->op != OP_TRANSFER)
        return;
    lane->payee = next;
    lane->slot.intent.is_transfer = true;
    lane->slot.intent.target = next->key.hex;
}

static void sign_ahead(struct flow *flow, const struct rush *rush)
{
    flow->timestamp_s = market_now_s();
    for (uint64_t turn = 0; turn < flow->prepared_each; turn++)
        for (uint64_t i = 0; i < flow->lane_count; i++) {
            struct lane *lane = &flow->lanes[i];
            if (rush->options.stop != NULL && atomic_load(rush->options.stop))
                return;
            market_slot_name(
                &lane->slot, &flow->site, nonce_of(flow, turn * flow->lane_count + i), flow->timestamp_s);
            market_sign_intent(&lane->slot.wallet->key, &lane->slot.intent, lane->signatures[turn]);
        }
}

static enum err set_up(struct rush *rush, struct error *error)
{
    struct flow *flow = rush->state;
    flow->product = (struct market_product){.price_minor = PRICE_MINOR, .supplied = STOCK};
    enum err err = market_site_set_up(&flow->site, rush, error);
    if (err == ERR_NONE)
        err = market_site_add_product(&flow->site, rush, &flow->product, error);
    for (uint64_t i = 0; i < flow->wallet_count && err == ERR_NONE; i++) {
        market_wallet_make(&flow->wallets[i], &flow->site, i);
        err = market_site_register(&flow->site, rush, &flow->wallets[i], error);
        if (err == ERR_NONE && has_intents(flow))
            err = market_site_credit(&flow->site, rush, &flow->wallets[i], CREDIT_MINOR, error);
    }
    for (uint64_t i = 0; i < flow->lane_count; i++)
        make_lane(flow, i);
    sign_ahead(flow, rush);
    return err;
}

/* --- after the run --- */

static uint64_t count_acknowledged(const struct flow *flow)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < flow->lane_count; i++)
        count += flow->lanes[i].acknowledged;
    return count;
}

/* Intents of which nobody knows what became: coins and stock may differ by that much. */
static int64_t count_unknown(const struct flow *flow)
{
    int64_t count = 0;
    for (uint64_t i = 0; i < flow->lane_count; i++) {
        const struct lane *lane = &flow->lanes[i];
        count += lane->given_up_count + (lane->serial > 0 && !lane->slot.is_answered);
    }
    return count;
}

static void judge_coins(struct rush *rush, int64_t patience_ms)
{
    struct flow *flow = rush->state;
    int64_t unknown = count_unknown(flow);
    int64_t expected = 0;
    int64_t told = 0;
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < flow->wallet_count; i++) {
        struct market_wallet *wallet = &flow->wallets[i];
        market_site_read_balance(rush, wallet, patience_ms);
        int64_t differs = wallet->told_minor - wallet->balance_minor;
        wrong +=
            wallet->told_minor < 0 || differs > unknown * PRICE_MINOR || differs < -unknown * PRICE_MINOR;
        expected += wallet->balance_minor;
        told += wallet->told_minor;
    }
    rush_add_invariant(rush, wrong == 0,
        "every wallet has what was issued to it, less what was acknowledged: %llu of %llu have not (all: "
        "%lld told, %lld expected, hundredths; %lld unanswered)",
        (unsigned long long)wrong, (unsigned long long)flow->wallet_count, (long long)told,
        (long long)expected, (long long)unknown);
}

static void judge_stock(struct rush *rush, int64_t patience_ms)
{
    const struct flow *flow = rush->state;
    int64_t sold = flow->op == OP_SPEND ? (int64_t)count_acknowledged(flow) : 0;
    int64_t unknown = flow->op == OP_SPEND ? count_unknown(flow) : 0;
    int64_t expected = flow->product.supplied - sold;
    int64_t left = market_site_ask_stock(rush, &flow->product, expected - unknown, expected, patience_ms);
    rush_add_invariant(rush, left <= expected && left >= expected - unknown,
        "stock left = supplied - purchases acknowledged: %lld = %lld - %lld (-1: not told; %lld unanswered)",
        (long long)left, (long long)flow->product.supplied, (long long)sold, (long long)unknown);
}

/* Of each connection the last receipt. */
static void judge_receipts(struct rush *rush)
{
    const struct flow *flow = rush->state;
    uint64_t count = 0;
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < flow->lane_count; i++) {
        struct market_books books = market_books_of(&flow->site, &flow->lanes[i].slot, 1);
        count += books.receipt_count;
        wrong += books.unsigned_count;
    }
    rush_add_invariant(rush, wrong == 0,
        "receipts are signed by the server's key (the last one of each connection): %llu of %llu are not",
        (unsigned long long)wrong, (unsigned long long)count);
}

static void tear_down(struct rush *rush, const struct tally *crowd)
{
    const struct flow *flow = rush->state;
    (void)crowd;
    if (!has_intents(flow))
        return;
    judge_coins(rush, rush->options.timeout_ms);
    judge_stock(rush, rush->options.timeout_ms);
    judge_receipts(rush);
}

static void tell(const struct rush *rush, const struct tally *crowd, struct rush_report *report)
{
    const struct flow *flow = rush->state;
    uint64_t on_way = 0;
    struct hist latency;
    hist_init(&latency);
    tally_latency(crowd, ENDPOINTS_MAX, &latency);
    struct rush_times times = rush_times_of(&latency);
    for (uint64_t i = 0; i < flow->lane_count; i++)
        on_way += flow->lanes[i].signed_on_way;
    (void)snprintf(report->plan, sizeof report->plan,
        "%llu connections, each again as soon as answered, for %lld s: %s; %llu wallet%s",
        (unsigned long long)flow->lane_count, (long long)rush->options.seconds, op_names[flow->op],
        (unsigned long long)flow->wallet_count, flow->wallet_count == 1 ? "" : "s");
    tell_figure(report, "requests per second", "/s", NAN, NAN, report->requests_per_s);
    tell_figure(report, "50 %", "ms", NAN, NAN, (double)times.percentile_ns[PERCENTILE_50] / 1e6);
    tell_figure(report, "99 %", "ms", NAN, NAN, (double)times.percentile_ns[PERCENTILE_99] / 1e6);
    if (has_intents(flow))
        tell_figure(report, "signed on the way", "", NAN, NAN, (double)on_way);
    if (on_way > 0)
        report_add_note(report,
            "%llu intents were signed on the way, which takes the generator's CPU: prepare more (--prepared)",
            (unsigned long long)on_way);
}

const struct scenario scenario_market_flow = {
    .name = "market-flow",
    .summary = "spends, transfers or reads of wallets as fast as answers come (--op, --users, --connections)",
    .face = "marketplace",
    .endpoints = market_endpoints,
    .outcomes = market_outcomes,
    .has_receipts = true,
    .is_saturating = true,
    .prepare = prepare,
    .set_up = set_up,
    .tear_down = tear_down,
    .tell = tell,
    .release = release,
};
