/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/market_levels.h"

#include "rush/report.h"

static const int64_t NS_PER_MS = 1000000;
static const double NS_PER_MS_REAL = 1e6;

static const struct {
    uint64_t users;
    int64_t p99_ms;
} limits[] = {{10, 50}, {100, 200}, {1000, 2000}};

enum { LIMIT_COUNT = sizeof limits / sizeof limits[0] };

int64_t market_limit_ns(uint64_t users)
{
    for (size_t i = 0; i < LIMIT_COUNT; i++)
        if (users <= limits[i].users)
            return limits[i].p99_ms * NS_PER_MS;
    return 0;
}

static int64_t p99_ns(const struct rush_market_level *level)
{
    return (int64_t)level->all.percentile_ns[PERCENTILE_99];
}

static bool is_slow(const struct rush_market_level *level)
{
    return p99_ns(level) > MARKET_BREAK_MS * NS_PER_MS;
}

bool market_breaks_at(const struct rush_market_level *level)
{
    return level->failed_count > 0 || is_slow(level);
}

size_t market_breaking_point(const struct rush_market *market)
{
    size_t i = 0;
    while (i < market->level_count && !market_breaks_at(&market->levels[i]))
        i++;
    return i;
}

static uint64_t most_users(const struct rush_market *market)
{
    uint64_t most = 0;
    for (size_t i = 0; i < market->level_count; i++)
        most = market->levels[i].users > most ? market->levels[i].users : most;
    return most;
}

void market_put_breaking_point(struct strbuf *out, const struct rush_market *market)
{
    size_t at = market_breaking_point(market);
    if (at == market->level_count) {
        strbuf_printf(out, "It does not break: no errors, and p99 at most %d ms, up to %llu users at once.",
            MARKET_BREAK_MS, (unsigned long long)most_users(market));
        return;
    }
    const struct rush_market_level *level = &market->levels[at];
    strbuf_printf(out, "It breaks at %llu users at once: ", (unsigned long long)level->users);
    if (level->failed_count > 0)
        strbuf_printf(out, "%llu of %llu requests failed", (unsigned long long)level->failed_count,
            (unsigned long long)level->request_count);
    if (is_slow(level))
        strbuf_printf(out, "%sp99 %.0f ms is above %d ms", level->failed_count > 0 ? ", " : "",
            (double)p99_ns(level) / NS_PER_MS_REAL, MARKET_BREAK_MS);
    strbuf_put_char(out, '.');
}

uint64_t market_level_off_count(const struct rush_market_level *level)
{
    return level->balance_wrong_count + level->balance_untold_count;
}

/* --- what must hold --- */

/* The slowest of the levels that have this limit. */
static const struct rush_market_level *slowest(const struct rush_market *market, size_t limit)
{
    const struct rush_market_level *found = NULL;
    for (size_t i = 0; i < market->level_count; i++) {
        const struct rush_market_level *level = &market->levels[i];
        if (level->limit_ns == limits[limit].p99_ms * NS_PER_MS &&
            (found == NULL || p99_ns(level) > p99_ns(found)))
            found = level;
    }
    return found;
}

static void judge_speed(const struct rush_market *market, struct rush *rush)
{
    for (size_t i = 0; i < LIMIT_COUNT; i++) {
        const struct rush_market_level *level = slowest(market, i);
        if (level != NULL)
            rush_add_invariant(rush, p99_ns(level) < level->limit_ns,
                "p99 of every request at up to %llu users: asked is less than %lld ms, measured %.1f ms "
                "(%llu "
                "users; their whole way: %.1f ms)",
                (unsigned long long)limits[i].users, (long long)limits[i].p99_ms,
                (double)p99_ns(level) / NS_PER_MS_REAL, (unsigned long long)level->users,
                (double)level->user.percentile_ns[PERCENTILE_99] / NS_PER_MS_REAL);
    }
}

/* Above 1,000 users errors are what is looked for: they tell where it breaks. */
static void judge_answers(const struct rush_market *market, struct rush *rush)
{
    uint64_t asked = 0;
    uint64_t failed = 0;
    for (size_t i = 0; i < market->level_count; i++) {
        if (market->levels[i].limit_ns == 0)
            continue;
        asked += market->levels[i].request_count;
        failed += market->levels[i].failed_count;
    }
    if (asked == 0)
        return;
    rush_add_invariant(rush, failed == 0, "no errors at up to %llu users: %llu of %llu requests failed",
        (unsigned long long)limits[LIMIT_COUNT - 1].users, (unsigned long long)failed,
        (unsigned long long)asked);
}

static void judge_coins(const struct rush_market *market, struct rush *rush)
{
    uint64_t wallets = 0;
    uint64_t off = 0;
    uint64_t receipts = 0;
    uint64_t receipts_off = 0;
    for (size_t i = 0; i < market->level_count; i++) {
        const struct rush_market_level *level = &market->levels[i];
        wallets += level->wallet_count;
        off += market_level_off_count(level);
        receipts += level->bought_count;
        receipts_off += level->receipt_wrong_count;
    }
    if (wallets > 0)
        rush_add_invariant(rush, off == 0,
            "every wallet has what it was opened with less what was acknowledged: %llu of %llu have not, or "
            "do not tell",
            (unsigned long long)off, (unsigned long long)wallets);
    else
        rush_add_invariant(rush, false,
            "every wallet has what it was opened with less what was acknowledged: there is none, because "
            "nobody could register");
    rush_add_invariant(rush, receipts_off == 0,
        "every receipt is signed by the server's key and has numbers of its own: %llu of %llu have not",
        (unsigned long long)receipts_off, (unsigned long long)receipts);
}

static void judge_stock(const struct rush_market *market, struct rush *rush)
{
    const struct rush_market_level *last = &market->levels[market->level_count - 1];
    const struct rush_market_level *shown = last;
    for (size_t i = 0; i < market->level_count && shown == last; i++)
        if (market->levels[i].stock_left != market->levels[i].stock_expected)
            shown = &market->levels[i];
    rush_add_invariant(rush, shown->stock_left == shown->stock_expected,
        "stock left = supplied - purchases acknowledged: %lld = %lld - %lld after %llu users (-1: not told)",
        (long long)shown->stock_left, (long long)market->stock_supplied,
        (long long)(market->stock_supplied - shown->stock_expected), (unsigned long long)shown->users);
}

void market_levels_judge(const struct rush_market *market, struct rush *rush)
{
    if (market->level_count == 0)
        return;
    judge_speed(market, rush);
    judge_answers(market, rush);
    judge_coins(market, rush);
    judge_stock(market, rush);
}
