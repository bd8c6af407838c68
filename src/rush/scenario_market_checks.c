/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marketplace-checks (marketplace contract, "Clients"): the seven checks of the original's load test, each
 * judged on its own: so many different users register at once; all read their balance; all ask for the list
 * of products; each reads three times with its token; all balances are what they were; all try to register
 * one and the same user, and one succeeds; and for a while all read as fast as they are answered.
 *
 * Each check is a round; a user is on a new connection in each, and keeps it.
 */
#include <math.h>
#include <stdlib.h>

#include "rush/market_site.h"
#include "rush/report.h"
#include "rush/scenarios.h"
#include "rush/tell.h"

enum { USERS = 100, USERS_MAX = 100000, SECONDS = 5, READS_EACH = 3 };

enum check {
    CHECK_REGISTRATION,
    CHECK_BALANCES,
    CHECK_LISTINGS,
    CHECK_READS,
    CHECK_CONSISTENCY,
    CHECK_RACE,
    CHECK_SUSTAINED,
    CHECK_COUNT
};

static const int64_t NS_PER_S = 1000000000;
static const double NS_PER_MS = 1e6;

struct checks {
    struct market_site site;
    struct market_product product;
    struct market_wallet *wallets; /* of the users, and behind them the one that all want to be */
    struct rush_times times[CHECK_COUNT];
    double sustained_per_s;
};

/* --- requests --- */

static struct market_wallet *wallet_of(const struct rush *rush, const struct session *session)
{
    const struct checks *checks = rush->state;
    return &checks->wallets[session->serial % (uint64_t)rush->options.users];
}

static struct market_wallet *raced_of(const struct rush *rush)
{
    const struct checks *checks = rush->state;
    return &checks->wallets[rush->options.users];
}

static void write_registration(const struct rush *rush, struct session *session, struct strbuf *request)
{
    session->endpoint = MARKET_REGISTER;
    market_write_registration(rush, wallet_of(rush, session), request);
}

static void judge_registration(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    struct market_wallet *wallet = wallet_of(rush, session);
    market_judge_register(reply, wallet->key.hex, judgement, &wallet->token, &wallet->opening_minor);
}

static void note_registration(
    const struct rush *rush, const struct session *session, struct journal_market *line)
{
    market_wallet_note(wallet_of(rush, session), line);
}

static void write_balance(const struct rush *rush, struct session *session, struct strbuf *request)
{
    session->endpoint = MARKET_BALANCE;
    market_write_balance(rush, wallet_of(rush, session), request);
}

static void judge_balance(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    market_judge_balance(reply, judgement, &wallet_of(rush, session)->told_minor);
}

static void write_listing(const struct rush *rush, struct session *session, struct strbuf *request)
{
    session->endpoint = MARKET_FEATURED;
    market_write_featured(rush, request);
}

static void judge_listing(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    const struct checks *checks = rush->state;
    (void)session;
    market_judge_featured(reply, checks->product.id, judgement);
}

/* Balance, transactions, balance. */
static void write_read(const struct rush *rush, struct session *session, struct strbuf *request)
{
    bool is_history = session->step % 2 == 1;
    session->endpoint = is_history ? MARKET_TRANSACTIONS : MARKET_BALANCE;
    if (is_history)
        market_write_transactions(rush, wallet_of(rush, session), request);
    else
        market_write_balance(rush, wallet_of(rush, session), request);
}

static void judge_read(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    if (session->endpoint == MARKET_TRANSACTIONS)
        market_judge_transactions(reply, judgement);
    else
        judge_balance(rush, session, reply, judgement);
    session->goes_on = session->step + 1 < READS_EACH;
}

static void write_race(const struct rush *rush, struct session *session, struct strbuf *request)
{
    session->endpoint = MARKET_REGISTER;
    market_write_registration(rush, raced_of(rush), request);
}

/* All users of the race share the wallet, so none of them keeps what it is told. */
static void judge_race(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    struct market_token token;
    int64_t balance_minor;
    (void)session;
    market_judge_register(reply, raced_of(rush)->key.hex, judgement, &token, &balance_minor);
}

static void note_race(const struct rush *rush, const struct session *session, struct journal_market *line)
{
    (void)session;
    market_wallet_note(raced_of(rush), line);
}

/* --- before the run --- */

static enum err prepare(struct rush *rush, struct error *error)
{
    struct checks *checks = calloc(1, sizeof *checks);
    struct rush_options *options = &rush->options;
    rush->state = checks;
    if (checks == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the scenario");
    market_site_init(&checks->site);
    if (options->rate > 0)
        return error_set(error, ERR_USAGE, "marketplace-checks has no --rate: all users come at once");
    if (options->users > USERS_MAX)
        return error_set(error, ERR_USAGE, "%lld users are too many: expected 1 to %d",
            (long long)options->users, USERS_MAX);
    options->users = options->users > 0 ? options->users : USERS;
    options->seconds = options->seconds > 0 ? options->seconds : SECONDS;
    rush->round_count = CHECK_COUNT;
    rush->vu_count_most = (uint64_t)options->users;
    checks->wallets = calloc((size_t)options->users + 1, sizeof *checks->wallets);
    if (checks->wallets == NULL)
        return error_set(error, ERR_MEMORY, "no memory for %lld users", (long long)options->users);
    for (int64_t i = 0; i <= options->users; i++)
        market_wallet_make(&checks->wallets[i], &checks->site, (uint64_t)i);
    return ERR_NONE;
}

static void release(struct rush *rush)
{
    struct checks *checks = rush->state;
    if (checks == NULL)
        return;
    market_site_fini(&checks->site);
    free(checks->wallets);
    free(checks);
    rush->state = NULL;
}

static enum err set_up(struct rush *rush, struct error *error)
{
    struct checks *checks = rush->state;
    checks->product = (struct market_product){.price_minor = MARKET_OPENING_MINOR / 4, .supplied = 1};
    enum err err = market_site_set_up(&checks->site, rush, error);
    return err == ERR_NONE ? market_site_add_product(&checks->site, rush, &checks->product, error) : err;
}

/* --- the checks --- */

static void forget_balances(const struct rush *rush)
{
    struct checks *checks = rush->state;
    for (int64_t i = 0; i < rush->options.users; i++)
        checks->wallets[i].told_minor = -1;
}

static void begin_round(struct rush *rush, size_t round)
{
    static const struct crowd crowds[CHECK_COUNT] = {
        [CHECK_REGISTRATION] = {.write = write_registration,
            .judge = judge_registration,
            .note_market = note_registration},
        [CHECK_BALANCES] = {.write = write_balance, .judge = judge_balance},
        [CHECK_LISTINGS] = {.write = write_listing, .judge = judge_listing},
        [CHECK_READS] = {.write = write_read, .judge = judge_read},
        [CHECK_CONSISTENCY] = {.write = write_balance, .judge = judge_balance},
        [CHECK_RACE] = {.write = write_race, .judge = judge_race, .note_market = note_race},
        [CHECK_SUSTAINED] = {.write = write_balance, .judge = judge_balance},
    };
    uint64_t users = (uint64_t)rush->options.users;
    struct crowd crowd = crowds[round];
    crowd.name = "users";
    crowd.plan = round == CHECK_SUSTAINED ? plan_closed(0, rush->options.seconds * NS_PER_S, users, 0)
                                          : plan_burst(0, users, 1);
    rush->crowd_count = 0;
    rush_add_crowd(rush, crowd);
    forget_balances(rush);
}

/* Wallets that said they have what all have at the beginning. */
static uint64_t count_right(const struct rush *rush)
{
    const struct checks *checks = rush->state;
    uint64_t right = 0;
    for (int64_t i = 0; i < rush->options.users; i++)
        right += checks->wallets[i].told_minor == MARKET_OPENING_MINOR;
    return right;
}

static double ms(const struct checks *checks, size_t round, size_t percentile)
{
    return (double)checks->times[round].percentile_ns[percentile] / NS_PER_MS;
}

static double mean_ms(const struct checks *checks, size_t round)
{
    return (double)checks->times[round].mean_ns / NS_PER_MS;
}

static void judge_unique(struct rush *rush, const struct tally *crowd)
{
    const struct checks *checks = rush->state;
    uint64_t users = (uint64_t)rush->options.users;
    uint64_t made = tally_count(crowd, OUTCOME_BIT(MARKET_REGISTERED));
    rush_add_invariant(rush, made == users,
        "Concurrent registration (%llu unique): %llu/%llu; average %.1f ms, p99 %.1f ms",
        (unsigned long long)users, (unsigned long long)made, (unsigned long long)users,
        mean_ms(checks, CHECK_REGISTRATION), ms(checks, CHECK_REGISTRATION, PERCENTILE_99));
}

static void judge_balances(struct rush *rush, const char *name, size_t round)
{
    const struct checks *checks = rush->state;
    uint64_t users = (uint64_t)rush->options.users;
    uint64_t right = count_right(rush);
    rush_add_invariant(rush, right == users, "%s: %llu/%llu have 100 MC; average %.1f ms, p99 %.1f ms", name,
        (unsigned long long)right, (unsigned long long)users, mean_ms(checks, round),
        ms(checks, round, PERCENTILE_99));
}

static void judge_listings(struct rush *rush, const struct tally *crowd)
{
    const struct checks *checks = rush->state;
    uint64_t users = (uint64_t)rush->options.users;
    uint64_t listed = tally_count(crowd, OUTCOME_BIT(MARKET_LISTED));
    rush_add_invariant(rush, listed == users,
        "Concurrent product listings: %llu/%llu; average %.1f ms, p99 %.1f ms", (unsigned long long)listed,
        (unsigned long long)users, mean_ms(checks, CHECK_LISTINGS),
        ms(checks, CHECK_LISTINGS, PERCENTILE_99));
}

static void judge_reads(struct rush *rush, const struct tally *crowd)
{
    const struct checks *checks = rush->state;
    uint64_t asked = (uint64_t)rush->options.users * READS_EACH;
    uint64_t told = tally_count(crowd, OUTCOME_BIT(MARKET_BALANCE_TOLD) | OUTCOME_BIT(MARKET_HISTORY_TOLD));
    rush_add_invariant(rush, told == asked,
        "Concurrent auth reads (%llu req): %llu/%llu; average %.1f ms, p99 %.1f ms",
        (unsigned long long)asked, (unsigned long long)told, (unsigned long long)asked,
        mean_ms(checks, CHECK_READS), ms(checks, CHECK_READS, PERCENTILE_99));
}

static void judge_race_won(struct rush *rush, const struct tally *crowd)
{
    uint64_t users = (uint64_t)rush->options.users;
    uint64_t made = tally_count(crowd, OUTCOME_BIT(MARKET_REGISTERED));
    uint64_t taken = tally_count(crowd, OUTCOME_BIT(MARKET_TAKEN));
    rush_add_invariant(rush, made == 1 && taken == users - 1,
        "Duplicate registration race (%llu at once): %llu success, %llu answered 409; asked is exactly 1 "
        "success and %llu times 409",
        (unsigned long long)users, (unsigned long long)made, (unsigned long long)taken,
        (unsigned long long)(users - 1));
}

static void judge_sustained(struct rush *rush, const struct tally *crowd)
{
    struct checks *checks = rush->state;
    uint64_t all = tally_count(crowd, UINT32_MAX);
    uint64_t told = tally_count(crowd, OUTCOME_BIT(MARKET_BALANCE_TOLD));
    checks->sustained_per_s = (double)told / (double)rush->options.seconds;
    rush_add_invariant(rush, told == all && all > 0,
        "Sustained read load (%llu req in %lld s): %llu/%llu; %.0f requests/s", (unsigned long long)all,
        (long long)rush->options.seconds, (unsigned long long)told, (unsigned long long)all,
        checks->sustained_per_s);
}

static void end_round(struct rush *rush, size_t round, const struct round_result *result)
{
    struct checks *checks = rush->state;
    struct hist latency;
    hist_init(&latency);
    tally_latency(result->crowd, ENDPOINTS_MAX, &latency);
    checks->times[round] = rush_times_of(&latency);
    switch (round) {
    case CHECK_REGISTRATION:
        judge_unique(rush, result->crowd);
        break;
    case CHECK_BALANCES:
        judge_balances(rush, "Concurrent balance reads", round);
        break;
    case CHECK_LISTINGS:
        judge_listings(rush, result->crowd);
        break;
    case CHECK_READS:
        judge_reads(rush, result->crowd);
        break;
    case CHECK_CONSISTENCY:
        judge_balances(rush, "Wallet balance consistency", round);
        break;
    case CHECK_RACE:
        judge_race_won(rush, result->crowd);
        break;
    default:
        judge_sustained(rush, result->crowd);
    }
}

/* --- after the run --- */

static void tear_down(struct rush *rush, const struct tally *crowd)
{
    (void)rush;
    (void)crowd; /* each check was judged when it was through */
}

static void tell(const struct rush *rush, const struct tally *crowd, struct rush_report *report)
{
    const struct checks *checks = rush->state;
    int64_t users = rush->options.users;
    struct strbuf plan;
    (void)crowd;
    strbuf_init(&plan, report->plan, sizeof report->plan - 1);
    strbuf_printf(&plan,
        "the seven checks of the original with %lld users at once, sustained reads for %lld s",
        (long long)users, (long long)rush->options.seconds);
    report->plan[plan.len] = '\0';
    tell_figure(report, "product listings, average", "ms",
        users == 10    ? 87
        : users == 100 ? 44
                       : NAN,
        NAN, mean_ms(checks, CHECK_LISTINGS));
    tell_figure(report, "registration, average", "ms", NAN, NAN, mean_ms(checks, CHECK_REGISTRATION));
    tell_figure(report, "balance reads, average", "ms", NAN, NAN, mean_ms(checks, CHECK_BALANCES));
    tell_figure(report, "authenticated reads, average", "ms", NAN, NAN, mean_ms(checks, CHECK_READS));
    tell_figure(report, "sustained reads", "/s", users == 10 ? 36 : NAN, NAN, checks->sustained_per_s);
}

const struct scenario scenario_market_checks = {
    .name = "marketplace-checks",
    .summary = "the seven checks of the original's load test of its marketplace (--users)",
    .face = "marketplace",
    .endpoints = market_endpoints,
    .outcomes = market_outcomes,
    .has_receipts = true,
    .is_saturating = true, /* the last check: reads as fast as they are answered */
    .prepare = prepare,
    .set_up = set_up,
    .begin_round = begin_round,
    .end_round = end_round,
    .tear_down = tear_down,
    .tell = tell,
    .release = release,
};
