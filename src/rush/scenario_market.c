/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marketplace (marketplace contract, "Clients"): 10, 100, and 1,000 users at once, each with a key pair of
 * its own, register, have a challenge given, bring it back signed, look at the featured products and buy one.
 * A user keeps its connection. Keys are made and spends signed before the clock starts; a challenge can be
 * signed only when it is there, so that is done on the way, and the report says what it costs.
 *
 * Then every wallet is read with the token of the login: a level is two rounds, users and balances. Who was
 * not registered has no wallet, and is not asked for.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "rush/levels.h"
#include "rush/market_levels.h"
#include "rush/market_site.h"
#include "rush/report.h"
#include "rush/scenarios.h"
#include "rush/tell.h"
#include "rush/validity.h"

enum {
    USERS_MAX = 100000,
    ROUNDS_PER_LEVEL = 2,
    PRICE_MINOR = 2500,
    STOCK_PATIENCE_MS = 1000,
    STEP_LAST = MARKET_TRANSACT
};

_Static_assert(STEP_LAST + 1 == RUSH_MARKET_STEPS, "the steps are the first endpoints");

static const struct level_rules rules = {"marketplace", "10,100,1000", USERS_MAX};

struct user {
    struct market_wallet wallet;
    struct market_challenge challenge;
    int64_t sign_ns;
};

struct marketplace {
    struct market_site site;
    struct market_product product;
    struct rush_market told; /* for the report */
    uint64_t levels[RUSH_RUNGS_MAX];
    size_t level_count;
    uint64_t user_count; /* of the present level */
    uint64_t wallet_number;
    struct user *users;        /* as many as the largest level has */
    struct user **readers;     /* those of them who have a wallet */
    uint64_t reader_count;     /* of the present level */
    struct market_slot *slots; /* each user's purchase */
};

/* --- requests --- */

static void write_user(const struct rush *rush, struct session *session, struct strbuf *request)
{
    const struct marketplace *market = rush->state;
    const struct user *user = &market->users[session->serial];
    session->endpoint = session->step;
    switch (session->step) {
    case MARKET_REGISTER:
        market_write_registration(rush, &user->wallet, request);
        break;
    case MARKET_CHALLENGE:
        market_write_challenge(rush, &user->wallet, request);
        break;
    case MARKET_VERIFY:
        market_write_verification(rush, &user->wallet, &user->challenge, request);
        break;
    case MARKET_FEATURED:
        market_write_featured(rush, request);
        break;
    default:
        market_write_transact(rush, &market->slots[session->serial], request);
    }
}

static void sign_challenge(struct user *user)
{
    int64_t before_ns = clock_thread_cpu_ns();
    market_sign(&user->wallet.key, slice_make(user->challenge.text, user->challenge.text_len),
        user->challenge.signature);
    user->sign_ns = clock_thread_cpu_ns() - before_ns;
}

static void judge_user(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    struct marketplace *market = rush->state;
    struct user *user = &market->users[session->serial];
    struct market_wallet *wallet = &user->wallet;
    switch (session->step) {
    case MARKET_REGISTER:
        market_judge_register(reply, wallet->key.hex, judgement, &wallet->token, &wallet->opening_minor);
        if (judgement->outcome == MARKET_REGISTERED)
            wallet->balance_minor = wallet->opening_minor;
        break;
    case MARKET_CHALLENGE:
        market_judge_challenge(reply, judgement, &user->challenge);
        if (judgement->outcome == MARKET_CHALLENGED)
            sign_challenge(user);
        break;
    case MARKET_VERIFY:
        market_judge_verify(reply, wallet->key.hex, judgement, &wallet->token);
        break;
    case MARKET_FEATURED:
        market_judge_featured(reply, market->product.id, judgement);
        break;
    default:
        if (market_slot_judge(&market->slots[session->serial], reply, judgement))
            market_slot_settle(&market->slots[session->serial], NULL);
    }
    session->goes_on = session->step < STEP_LAST && judgement->truth == TRUTH_ACKNOWLEDGED;
}

static void note_user(const struct rush *rush, const struct session *session, struct journal_market *line)
{
    const struct marketplace *market = rush->state;
    if (session->step == MARKET_REGISTER)
        market_wallet_note(&market->users[session->serial].wallet, line);
    else if (session->step == MARKET_TRANSACT)
        market_slot_note(&market->slots[session->serial], line);
}

static void write_balance(const struct rush *rush, struct session *session, struct strbuf *request)
{
    const struct marketplace *market = rush->state;
    session->endpoint = MARKET_BALANCE;
    market_write_balance(rush, &market->readers[session->serial]->wallet, request);
}

static void judge_balance(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    struct marketplace *market = rush->state;
    market_judge_balance(reply, judgement, &market->readers[session->serial]->wallet.told_minor);
}

/* --- before the run --- */

static enum err allot(struct rush *rush, struct marketplace *market, struct error *error)
{
    uint64_t most = 0;
    uint64_t all = 0;
    for (size_t i = 0; i < market->level_count; i++) {
        most = market->levels[i] > most ? market->levels[i] : most;
        all += market->levels[i];
    }
    rush->vu_count_most = most;
    market->product = (struct market_product){
        .price_minor = PRICE_MINOR, .supplied = rush->options.stock > 0 ? rush->options.stock : (int64_t)all};
    market->users = calloc(most, sizeof *market->users);
    market->readers = calloc(most, sizeof(struct user *));
    market->slots = calloc(most, sizeof *market->slots);
    if (market->users == NULL || market->readers == NULL || market->slots == NULL)
        return error_set(error, ERR_MEMORY, "no memory for %llu users", (unsigned long long)most);
    if (market->product.supplied < (int64_t)all)
        return error_set(error, ERR_USAGE,
            "%lld units are too few for %llu users who buy one each: expected as many as users at least",
            (long long)market->product.supplied, (unsigned long long)all);
    return ERR_NONE;
}

static enum err prepare(struct rush *rush, struct error *error)
{
    struct marketplace *market = calloc(1, sizeof *market);
    rush->state = market;
    if (market == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the scenario");
    market_site_init(&market->site);
    enum err err = levels_read(&rules, &rush->options, market->levels, &market->level_count, error);
    if (err == ERR_NONE)
        err = allot(rush, market, error);
    rush->round_count = market->level_count * ROUNDS_PER_LEVEL;
    return err;
}

static void release(struct rush *rush)
{
    struct marketplace *market = rush->state;
    if (market == NULL)
        return;
    market_site_fini(&market->site);
    free(market->users);
    free(market->readers);
    free(market->slots);
    free(market);
    rush->state = NULL;
}

static enum err set_up(struct rush *rush, struct error *error)
{
    struct marketplace *market = rush->state;
    market->told.price_minor = market->product.price_minor;
    market->told.stock_supplied = market->product.supplied;
    enum err err = market_site_set_up(&market->site, rush, error);
    return err == ERR_NONE ? market_site_add_product(&market->site, rush, &market->product, error) : err;
}

/* --- the levels --- */

/* Keys and signatures, before the clock starts. */
static void make_users(struct marketplace *market)
{
    for (uint64_t i = 0; i < market->user_count; i++) {
        struct user *user = &market->users[i];
        struct market_slot *slot = &market->slots[i];
        user->sign_ns = 0;
        market_wallet_make(&user->wallet, &market->site, market->wallet_number);
        *slot = (struct market_slot){.wallet = &user->wallet,
            .intent = {.amount_minor = market->product.price_minor, .target = market->product.id}};
        market_slot_sign(slot, &market->site, market->wallet_number++);
    }
}

static bool has_wallet(const struct user *user)
{
    return user->wallet.opening_minor >= 0;
}

static void find_readers(struct marketplace *market)
{
    market->reader_count = 0;
    for (uint64_t i = 0; i < market->user_count; i++)
        if (has_wallet(&market->users[i]))
            market->readers[market->reader_count++] = &market->users[i];
}

static void begin_round(struct rush *rush, size_t round)
{
    struct marketplace *market = rush->state;
    bool is_balances = round % ROUNDS_PER_LEVEL != 0;
    market->user_count = market->levels[round / ROUNDS_PER_LEVEL];
    if (is_balances)
        find_readers(market);
    else
        make_users(market);
    rush->crowd_count = 0;
    if (is_balances)
        rush_add_crowd(rush, (struct crowd){.name = "readers",
                                 .plan = plan_burst(0, market->reader_count, 1),
                                 .write = write_balance,
                                 .judge = judge_balance});
    else
        rush_add_crowd(rush, (struct crowd){.name = "users",
                                 .plan = plan_burst(0, market->user_count, 1),
                                 .times_sessions = true,
                                 .write = write_user,
                                 .judge = judge_user,
                                 .note_market = note_user});
}

static void count_failed(
    struct rush_market_level *level, const struct rush *rush, const struct tally *crowd, unsigned endpoint)
{
    const uint32_t good = OUTCOME_BIT(MARKET_REGISTERED) | OUTCOME_BIT(MARKET_CHALLENGED) |
                          OUTCOME_BIT(MARKET_VERIFIED) | OUTCOME_BIT(MARKET_LISTED) |
                          OUTCOME_BIT(MARKET_SPENT) | OUTCOME_BIT(MARKET_BALANCE_TOLD);
    for (unsigned outcome = 0; outcome < MARKET_OUTCOME_END; outcome++) {
        const struct hist *hist = crowd->latency[endpoint][outcome];
        const struct outcome *row = scenario_outcome(rush->scenario, outcome);
        if (hist == NULL || hist->count == 0)
            continue;
        level->request_count += hist->count;
        if ((good & OUTCOME_BIT(outcome)) != 0)
            continue;
        level->failed_count += hist->count;
        if (level->error_count < RUSH_RUNG_ERRORS_MAX)
            level->errors[level->error_count++] =
                (struct rush_rung_error){market_endpoints[endpoint], row->name, row->meaning, hist->count};
    }
}

static struct rush_times times_of(const struct tally *crowd, unsigned endpoint)
{
    struct hist hist;
    hist_init(&hist);
    tally_latency(crowd, endpoint, &hist);
    return rush_times_of(&hist);
}

static double mean_sign_us(const struct marketplace *market)
{
    double sum_ns = 0;
    uint64_t count = 0;
    for (uint64_t i = 0; i < market->user_count; i++) {
        sum_ns += (double)market->users[i].sign_ns;
        count += market->users[i].sign_ns > 0;
    }
    return count > 0 ? sum_ns / (double)count / 1e3 : 0;
}

static void show_level(const struct rush *rush, const struct rush_market_level *level)
{
    if (!rush->options.has_progress)
        return;
    (void)fprintf(stderr, "%s  %llu users: %llu bought, %llu errors, p99 %.1f ms, whole way %.1f ms\n",
        rush->scenario->name, (unsigned long long)level->users, (unsigned long long)level->bought_count,
        (unsigned long long)level->failed_count, (double)level->all.percentile_ns[PERCENTILE_99] / 1e6,
        (double)level->user.percentile_ns[PERCENTILE_99] / 1e6); /* nobody may be looking */
}

static void end_users(struct rush *rush, const struct round_result *result)
{
    struct marketplace *market = rush->state;
    struct rush_market_level *level = &market->told.levels[market->told.level_count++];
    struct market_books books = market_books_of(&market->site, market->slots, market->user_count);
    int64_t took_ns = result->last_answer_ns - result->start_ns;
    *level = (struct rush_market_level){.users = market->user_count,
        .seconds = took_ns > 0 ? (double)took_ns / 1e9 : 0,
        .bought_count = books.receipt_count,
        .receipt_wrong_count = books.unsigned_count + books.repeated_count,
        .user = rush_times_of(&result->crowd->session),
        .all = times_of(result->crowd, ENDPOINTS_MAX),
        .connect = rush_times_of(&result->crowd->connect),
        .sign_us = mean_sign_us(market),
        .limit_ns = market_limit_ns(market->user_count)};
    for (unsigned endpoint = 0; endpoint < RUSH_MARKET_STEPS; endpoint++) {
        level->steps[endpoint] = times_of(result->crowd, endpoint);
        count_failed(level, rush, result->crowd, endpoint);
    }
    show_level(rush, level);
}

/* A purchase that was sent and not answered may have been made or not: both are right, but no third. */
static bool is_right(const struct user *user, const struct market_slot *slot)
{
    int64_t expected = user->wallet.balance_minor;
    bool may_be_spent = !slot->is_answered && slot->receipt.len == 0;
    return user->wallet.told_minor == expected ||
           (may_be_spent && user->wallet.told_minor == expected - slot->intent.amount_minor);
}

static void end_balances(struct rush *rush, const struct round_result *result)
{
    struct marketplace *market = rush->state;
    struct rush_market_level *level = &market->told.levels[market->told.level_count - 1];
    int64_t sold = 0;
    count_failed(level, rush, result->crowd, MARKET_BALANCE);
    level->wallet_count = market->reader_count;
    for (uint64_t i = 0; i < market->user_count; i++) {
        const struct user *user = &market->users[i];
        if (!has_wallet(user))
            continue;
        if (user->wallet.told_minor < 0)
            level->balance_untold_count++;
        else
            level->balance_wrong_count += !is_right(user, &market->slots[i]);
    }
    for (size_t i = 0; i < market->told.level_count; i++)
        sold += (int64_t)market->told.levels[i].bought_count;
    level->stock_expected = market->product.supplied - sold;
    level->stock_left = market_site_ask_stock(
        rush, &market->product, level->stock_expected, level->stock_expected, STOCK_PATIENCE_MS);
}

static void end_round(struct rush *rush, size_t round, const struct round_result *result)
{
    if (round % ROUNDS_PER_LEVEL == 0)
        end_users(rush, result);
    else
        end_balances(rush, result);
}

/* --- after the run --- */

static void tear_down(struct rush *rush, const struct tally *crowd)
{
    struct marketplace *market = rush->state;
    (void)crowd;
    market_levels_judge(&market->told, rush);
}

static void put_plan(const struct marketplace *market, struct rush_report *report)
{
    struct strbuf plan;
    strbuf_init(&plan, report->plan, sizeof report->plan - 1);
    for (size_t i = 0; i < market->level_count; i++)
        strbuf_printf(&plan, "%s%llu", i > 0 ? ", " : "", (unsigned long long)market->levels[i]);
    strbuf_lit(&plan, " users at once: register, challenge, verify, featured, transact; one product at ");
    market_put_amount(&plan, market->product.price_minor);
    strbuf_printf(&plan, " MC, %lld units", (long long)market->product.supplied);
    report->plan[plan.len] = '\0';
}

static void tell(const struct rush *rush, const struct tally *crowd, struct rush_report *report)
{
    const struct marketplace *market = rush->state;
    double seconds = 0;
    double requests = 0;
    (void)crowd;
    put_plan(market, report);
    report->market = market->told;
    for (size_t i = 0; i < market->told.level_count; i++) {
        const struct rush_market_level *level = &market->told.levels[i];
        seconds += level->seconds;
        requests += (double)level->all.count;
    }
    report->seconds = seconds; /* of the users, without the reading of balances */
    report->requests_per_s = seconds > 0 ? requests / seconds : 0;
}

const struct scenario scenario_market = {
    .name = "marketplace",
    .summary = "10 to 1000 users at once register, log in with their key, browse and buy (--levels)",
    .face = "marketplace",
    .endpoints = market_endpoints,
    .outcomes = market_outcomes,
    .has_receipts = true,
    .prepare = prepare,
    .set_up = set_up,
    .begin_round = begin_round,
    .end_round = end_round,
    .tear_down = tear_down,
    .tell = tell,
    .release = release,
};
