/* SPDX-License-Identifier: Apache-2.0 */
/*
 * double-spend (marketplace contract, "Invariants"): can coins be spent twice? Five rounds, each with all
 * connections at once:
 *
 *   race      one wallet, as many spends as connections, each with a nonce of its own: as many succeed as the
 *             wallet can pay for, all others are answered 402
 *   repeats   one signed spend, sent by every connection: all are answered 200 with the same receipt, and the
 *             wallet has paid once
 *   pairs     two connections each: a spend and a transfer of one wallet under one nonce: one 200, one 409
 *   ring      a ring of wallets, each paying the next: nobody is in debt, and what was sent is what came
 *   balances  every wallet is read
 *
 * All is signed before the clock of its round starts. Who gets no answer sends the same intent again, for
 * --seconds, so the verdicts are exact even of a server that is killed meanwhile and comes back.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "rush/market_site.h"
#include "rush/scenarios.h"
#include "rush/tell.h"
#include "rush/validity.h"

enum {
    USERS = 100,
    USERS_MIN = 2,
    USERS_MAX = 10000,
    SECONDS = 30,
    RING_MAX = 200,
    RING_TURNS = 5, /* transfers of each connection */
    PRICE_MINOR = 700,
    AMOUNT_MAX = 6000, /* of a transfer of the ring: some are more than is there */
    MS_PER_S = 1000
};

enum round_number { ROUND_RACE, ROUND_REPEATS, ROUND_PAIRS, ROUND_RING, ROUND_BALANCES, ROUND_COUNT };

enum wallet_number { WALLET_RACER, WALLET_REPEATER, WALLET_RING };

static const int64_t NS_PER_S = 1000000000;
static const uint64_t SERIES_AMOUNT = 0x7ffffb00; /* of plan_draw: how much is transferred */

struct double_spend {
    struct market_site site;
    struct market_product product;
    struct market_wallet *wallets;
    size_t wallet_count;
    size_t ring_count;
    size_t pair_count;
    struct market_slot *slots; /* of the present round */
    size_t slot_count;
    uint64_t slot_number;
    uint64_t spent_count; /* spends that were acknowledged, each once */
    uint64_t unanswered_count;
    uint64_t receipt_count;
    uint64_t receipt_wrong_count;
};

/* --- wallets --- */

static struct market_wallet *ring_wallet(const struct double_spend *state, size_t number)
{
    return &state->wallets[WALLET_RING + number % state->ring_count];
}

/* Who is paid; NULL: the shop. */
static struct market_wallet *payee_of(const struct double_spend *state, const struct market_slot *slot)
{
    return slot->intent.is_transfer
               ? ring_wallet(state, (size_t)(slot->wallet - &state->wallets[WALLET_RING]) + 1)
               : NULL;
}

/* --- requests --- */

static struct market_slot *slot_of(const struct rush *rush, const struct session *session)
{
    const struct double_spend *state = rush->state;
    return &state->slots[session->serial];
}

static void write_slot(const struct rush *rush, struct session *session, struct strbuf *request)
{
    session->endpoint = MARKET_TRANSACT;
    market_write_transact(rush, slot_of(rush, session), request);
}

static void judge_slot(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    struct market_slot *slot = slot_of(rush, session);
    if (market_slot_judge(slot, reply, judgement))
        market_slot_settle(slot, payee_of(rush->state, slot));
    session->asks_again = market_is_passing(judgement->outcome);
}

/* The same intent in every slot: that it is paid for once is looked at when all are answered. */
static void judge_repeat(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    (void)market_slot_judge(slot_of(rush, session), reply, judgement);
    session->asks_again = market_is_passing(judgement->outcome);
}

static void note_slot(const struct rush *rush, const struct session *session, struct journal_market *line)
{
    market_slot_note(slot_of(rush, session), line);
}

static void write_balance(const struct rush *rush, struct session *session, struct strbuf *request)
{
    const struct double_spend *state = rush->state;
    session->endpoint = MARKET_BALANCE;
    market_write_balance(rush, &state->wallets[session->serial], request);
}

static void judge_balance(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    struct double_spend *state = rush->state;
    market_judge_balance(reply, judgement, &state->wallets[session->serial].told_minor);
    session->asks_again = market_is_passing(judgement->outcome);
}

/* --- before the run --- */

static enum err check_options(const struct rush_options *options, struct error *error)
{
    if (options->rate > 0)
        return error_set(error, ERR_USAGE, "double-spend has no --rate: all connections ask at once");
    if (options->users > USERS_MAX || (options->users > 0 && options->users < USERS_MIN))
        return error_set(error, ERR_USAGE, "%lld connections do not race: expected %d to %d --users",
            (long long)options->users, USERS_MIN, USERS_MAX);
    return ERR_NONE;
}

/* Only answers that a spend may get, a killed server included. */
static void add_threshold(struct rush *rush)
{
    uint32_t known = OUTCOMES_UNANSWERED | OUTCOME_BIT(MARKET_SPENT) | OUTCOME_BIT(MARKET_TRANSFERRED) |
                     OUTCOME_BIT(MARKET_TOO_POOR) | OUTCOME_BIT(MARKET_NONCE_REUSED) |
                     OUTCOME_BIT(MARKET_BALANCE_TOLD) | OUTCOME_BIT(MARKET_UNAVAILABLE) |
                     OUTCOME_BIT(MARKET_UNSURE);
    rush_add_threshold(
        rush, (struct threshold){
                  .name = "errors", .metric = METRIC_COUNT, .outcomes = ~known, .compare = COMPARE_EQUAL});
}

static enum err prepare(struct rush *rush, struct error *error)
{
    struct double_spend *state = calloc(1, sizeof *state);
    struct rush_options *options = &rush->options;
    rush->state = state;
    if (state == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the scenario");
    market_site_init(&state->site);
    enum err err = check_options(options, error);
    if (err != ERR_NONE)
        return err;
    options->users = options->users > 0 ? options->users : USERS;
    options->seconds = options->seconds > 0 ? options->seconds : SECONDS;
    rush->round_count = ROUND_COUNT;
    state->ring_count = options->users < RING_MAX ? (size_t)options->users : RING_MAX;
    state->pair_count = (size_t)options->users / 2;
    if (state->pair_count > state->ring_count)
        state->pair_count = state->ring_count;
    state->wallet_count = WALLET_RING + state->ring_count;
    rush->vu_count_most = (uint64_t)options->users + WALLET_RING;
    state->wallets = calloc(state->wallet_count, sizeof *state->wallets);
    state->slots = calloc((size_t)options->users * RING_TURNS, sizeof *state->slots);
    if (state->wallets == NULL || state->slots == NULL)
        return error_set(error, ERR_MEMORY, "no memory for %lld connections", (long long)options->users);
    for (size_t i = 0; i < state->wallet_count; i++)
        market_wallet_make(&state->wallets[i], &state->site, i);
    add_threshold(rush);
    return ERR_NONE;
}

static void release(struct rush *rush)
{
    struct double_spend *state = rush->state;
    if (state == NULL)
        return;
    market_site_fini(&state->site);
    free(state->wallets);
    free(state->slots);
    free(state);
    rush->state = NULL;
}

static enum err set_up(struct rush *rush, struct error *error)
{
    struct double_spend *state = rush->state;
    state->product =
        (struct market_product){.price_minor = PRICE_MINOR, .supplied = 2 * rush->options.users + RING_MAX};
    enum err err = market_site_set_up(&state->site, rush, error);
    if (err == ERR_NONE)
        err = market_site_add_product(&state->site, rush, &state->product, error);
    for (size_t i = 0; i < state->wallet_count && err == ERR_NONE; i++)
        err = market_site_register(&state->site, rush, &state->wallets[i], error);
    return err;
}

/* --- the rounds --- */

static struct market_slot *add_slot(struct double_spend *state, struct market_wallet *wallet)
{
    struct market_slot *slot = &state->slots[state->slot_count++];
    *slot = (struct market_slot){.wallet = wallet,
        .intent = {.amount_minor = state->product.price_minor, .target = state->product.id}};
    return slot;
}

static void make_transfer(const struct double_spend *state, struct market_slot *slot, int64_t amount_minor)
{
    slot->intent.is_transfer = true;
    slot->intent.amount_minor = amount_minor;
    slot->intent.target = payee_of(state, slot)->key.hex;
}

static void make_race(struct double_spend *state, uint64_t users)
{
    for (uint64_t i = 0; i < users; i++)
        market_slot_sign(add_slot(state, &state->wallets[WALLET_RACER]), &state->site, state->slot_number++);
}

static void make_repeats(struct double_spend *state, uint64_t users)
{
    struct market_slot *first = add_slot(state, &state->wallets[WALLET_REPEATER]);
    market_slot_sign(first, &state->site, state->slot_number++);
    for (uint64_t i = 1; i < users; i++) {
        struct market_slot *slot = add_slot(state, first->wallet);
        *slot = *first;
        slot->intent.nonce = slot->nonce;
    }
}

/* The two of a pair stand beside each other. */
static void make_pairs(struct double_spend *state)
{
    for (size_t i = 0; i < state->pair_count; i++) {
        struct market_slot *spend = add_slot(state, ring_wallet(state, i));
        struct market_slot *transfer = add_slot(state, ring_wallet(state, i));
        make_transfer(state, transfer, state->product.price_minor);
        market_slot_sign(spend, &state->site, state->slot_number);
        market_slot_sign(transfer, &state->site, state->slot_number++);
    }
}

static void make_ring(struct double_spend *state, uint64_t users)
{
    for (uint64_t i = 0; i < users * RING_TURNS; i++) {
        struct market_slot *slot = add_slot(state, ring_wallet(state, i));
        make_transfer(state, slot, 1 + (int64_t)(plan_draw(SERIES_AMOUNT, i) % AMOUNT_MAX));
        market_slot_sign(slot, &state->site, state->slot_number++);
    }
}

static void begin_round(struct rush *rush, size_t round)
{
    struct double_spend *state = rush->state;
    uint64_t users = (uint64_t)rush->options.users;
    struct crowd crowd = {.name = "connections",
        .write = round == ROUND_BALANCES ? write_balance : write_slot,
        .judge = round == ROUND_BALANCES  ? judge_balance
                 : round == ROUND_REPEATS ? judge_repeat
                                          : judge_slot,
        .note_market = round == ROUND_BALANCES ? NULL : note_slot,
        .repeat_ns = rush->options.seconds * NS_PER_S};
    state->slot_count = 0;
    switch (round) {
    case ROUND_RACE:
        make_race(state, users);
        break;
    case ROUND_REPEATS:
        make_repeats(state, users);
        break;
    case ROUND_PAIRS:
        make_pairs(state);
        users = state->slot_count;
        break;
    case ROUND_RING:
        make_ring(state, users);
        break;
    default:
        users = state->wallet_count;
    }
    crowd.plan = plan_burst(0, users, round == ROUND_RING ? RING_TURNS : 1);
    rush->crowd_count = 0;
    rush_add_crowd(rush, crowd);
}

static uint64_t count_outcome(const struct double_spend *state, unsigned outcome)
{
    uint64_t count = 0;
    for (size_t i = 0; i < state->slot_count; i++)
        count += state->slots[i].outcome == outcome;
    return count;
}

static void judge_race(struct rush *rush)
{
    const struct double_spend *state = rush->state;
    uint64_t users = (uint64_t)rush->options.users;
    int64_t opening = state->wallets[WALLET_RACER].opening_minor;
    uint64_t payable = (uint64_t)(opening / state->product.price_minor);
    uint64_t expected = payable < users ? payable : users;
    uint64_t spent = count_outcome(state, MARKET_SPENT);
    uint64_t poor = count_outcome(state, MARKET_TOO_POOR);
    rush_add_invariant(rush, spent == expected && poor == users - expected,
        "%llu spends of %.2f MC at once from a wallet with %.2f MC: %llu succeed and %llu are answered 402; "
        "asked is %llu and %llu",
        (unsigned long long)users, (double)state->product.price_minor / 100, (double)opening / 100,
        (unsigned long long)spent, (unsigned long long)poor, (unsigned long long)expected,
        (unsigned long long)(users - expected));
}

static void judge_repeats(struct rush *rush)
{
    struct double_spend *state = rush->state;
    const struct market_receipt *first = NULL;
    uint64_t same = 0;
    for (size_t i = 0; i < state->slot_count; i++) {
        const struct market_receipt *receipt = &state->slots[i].receipt;
        if (receipt->len == 0)
            continue;
        first = first == NULL ? receipt : first;
        same += slice_eq(slice_make(receipt->text, receipt->len), slice_make(first->text, first->len));
    }
    if (first != NULL)
        market_slot_settle(&state->slots[0], NULL);
    rush_add_invariant(rush, same == state->slot_count,
        "one intent sent %zu times at once: %llu answered 200 with one and the same receipt; asked are all",
        state->slot_count, (unsigned long long)same);
}

static void judge_pairs(struct rush *rush)
{
    const struct double_spend *state = rush->state;
    uint64_t right = 0;
    for (size_t i = 0; i + 1 < state->slot_count; i += 2) {
        const struct market_slot *spend = &state->slots[i];
        const struct market_slot *transfer = &state->slots[i + 1];
        right += (spend->outcome == MARKET_SPENT && transfer->outcome == MARKET_NONCE_REUSED) ||
                 (spend->outcome == MARKET_NONCE_REUSED && transfer->outcome == MARKET_TRANSFERRED);
    }
    rush_add_invariant(rush, right == state->pair_count,
        "two intents of one nonce at once, %zu times: %llu times one 200 and one 409; asked is every time",
        state->pair_count, (unsigned long long)right);
}

/* Receipts of repeats are one. */
static void keep_books(struct double_spend *state, size_t round)
{
    size_t count = state->slot_count;
    if (round == ROUND_REPEATS)
        count = 1;
    struct market_books books = market_books_of(&state->site, state->slots, count);
    state->receipt_count += books.receipt_count;
    state->receipt_wrong_count += books.unsigned_count + books.repeated_count;
    for (size_t i = 0; i < state->slot_count; i++) {
        const struct market_slot *slot = &state->slots[i];
        state->unanswered_count += !slot->is_answered;
        if (i < count)
            state->spent_count += slot->receipt.len > 0 && !slot->intent.is_transfer;
    }
}

static void end_round(struct rush *rush, size_t round, const struct round_result *result)
{
    struct double_spend *state = rush->state;
    (void)result;
    keep_books(state, round);
    if (round == ROUND_RACE)
        judge_race(rush);
    else if (round == ROUND_REPEATS)
        judge_repeats(rush);
    else if (round == ROUND_PAIRS)
        judge_pairs(rush);
}

/* --- after the run --- */

static void judge_balances(struct rush *rush)
{
    const struct double_spend *state = rush->state;
    uint64_t wrong = 0;
    uint64_t untold = 0;
    int64_t told = 0;
    int64_t issued = 0;
    for (size_t i = 0; i < state->wallet_count; i++) {
        const struct market_wallet *wallet = &state->wallets[i];
        untold += wallet->told_minor < 0;
        wrong += wallet->told_minor >= 0 && wallet->told_minor != wallet->balance_minor;
        told += wallet->told_minor >= 0 ? wallet->told_minor : 0;
        issued += wallet->opening_minor;
    }
    int64_t spent = (int64_t)state->spent_count * state->product.price_minor;
    rush_add_invariant(rush, wrong == 0 && untold == 0,
        "every wallet has its opening balance, plus what came, less what was sent and spent: of %zu, %llu "
        "have not, and %llu do not tell or are below 0",
        state->wallet_count, (unsigned long long)wrong, (unsigned long long)untold);
    rush_add_invariant(rush, told == issued - spent,
        "the sum stays: all balances = issued - spent: %.2f = %.2f - %.2f MC", (double)told / 100,
        (double)issued / 100, (double)spent / 100);
}

static void tear_down(struct rush *rush, const struct tally *crowd)
{
    const struct double_spend *state = rush->state;
    int64_t expected = state->product.supplied - (int64_t)state->spent_count;
    int64_t left =
        market_site_ask_stock(rush, &state->product, expected, expected, rush->options.seconds * MS_PER_S);
    (void)crowd;
    judge_balances(rush);
    rush_add_invariant(rush, left == expected,
        "stock left = supplied - purchases acknowledged: %lld = %lld - %llu (-1: not told)", (long long)left,
        (long long)state->product.supplied, (unsigned long long)state->spent_count);
    rush_add_invariant(rush, state->receipt_wrong_count == 0,
        "every receipt is signed by the server's key and has numbers of its own: %llu of %llu have not",
        (unsigned long long)state->receipt_wrong_count, (unsigned long long)state->receipt_count);
    rush_add_invariant(rush, state->unanswered_count == 0,
        "every spend and transfer was answered in the end: %llu were not",
        (unsigned long long)state->unanswered_count);
}

static void tell(const struct rush *rush, const struct tally *crowd, struct rush_report *report)
{
    const struct double_spend *state = rush->state;
    uint64_t repeated = tally_count_all(
        crowd, OUTCOMES_UNANSWERED | OUTCOME_BIT(MARKET_UNAVAILABLE) | OUTCOME_BIT(MARKET_UNSURE));
    (void)snprintf(report->plan, sizeof report->plan,
        "%lld connections at once spend from one wallet, repeat one spend, race for one nonce (%zu pairs), "
        "and pay each other in a ring of %zu wallets",
        (long long)rush->options.users, state->pair_count, state->ring_count);
    if (repeated > 0)
        report_add_note(report,
            "%llu requests were not answered, or told to come again; the same intents were sent again until "
            "they were",
            (unsigned long long)repeated);
}

const struct scenario scenario_double_spend = {
    .name = "double-spend",
    .summary = "many connections spend the same coins at once, and the same intent again (--users)",
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
