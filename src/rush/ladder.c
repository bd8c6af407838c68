/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/ladder.h"

#include <math.h>

#include "rush/report.h"

static const double NS_PER_MS = 1e6;
static const double NS_PER_S = 1e9;
static const double GROWTH_MAX = 1.25;
static const double GROWTH_SLACK_NS = 20e6;
static const uint64_t SYN_RETRY_NS = 1000000000; /* after which the kernel asks again for a connection */

static const struct {
    uint64_t users;
    int64_t p99_ns;
} limits[] = {{1000, 250000000}, {LADDER_ASKED_USERS_MAX, 1000000000}};

enum { LIMIT_COUNT = sizeof limits / sizeof limits[0] };

int64_t ladder_limit_ns(uint64_t users)
{
    for (size_t i = 0; i < LIMIT_COUNT; i++)
        if (users <= limits[i].users)
            return limits[i].p99_ns;
    double share = (double)users / (double)limits[LIMIT_COUNT - 1].users;
    return (int64_t)((double)limits[LIMIT_COUNT - 1].p99_ns * share);
}

static uint64_t p99_ns(const struct rush_rung *rung)
{
    return rung->user.percentile_ns[PERCENTILE_99];
}

static double p99_ms(const struct rush_rung *rung)
{
    return (double)p99_ns(rung) / NS_PER_MS;
}

static bool is_slow(const struct rush_rung *rung)
{
    return rung->limit_ns > 0 && p99_ns(rung) > (uint64_t)rung->limit_ns;
}

/* --- the breaking point --- */

bool ladder_breaks_at(const struct rush_rung *rung)
{
    return rung->timeout_count > 0 || rung->lost_count > 0 || rung->other_count > 0 || is_slow(rung);
}

size_t ladder_breaking_point(const struct rush_ladder *ladder)
{
    size_t i = 0;
    while (i < ladder->rung_count && !ladder_breaks_at(&ladder->rungs[i]))
        i++;
    return i;
}

size_t ladder_comeback(const struct rush_ladder *ladder, size_t broken)
{
    size_t i = broken + 1;
    while (i < ladder->rung_count && ladder_breaks_at(&ladder->rungs[i]))
        i++;
    return i < ladder->rung_count ? i : ladder->rung_count;
}

static void put_part(struct strbuf *out, size_t begin, uint64_t count, const char *what)
{
    if (count > 0)
        strbuf_printf(out, "%s%llu %s", out->len > begin ? ", " : "", (unsigned long long)count, what);
}

void ladder_put_reason(struct strbuf *out, const struct rush_rung *rung)
{
    size_t begin = out->len;
    put_part(out, begin, rung->timeout_count, "requests timed out");
    put_part(out, begin, rung->lost_count, "connections failed");
    put_part(out, begin, rung->other_count, "answers from outside the contract");
    if (is_slow(rung))
        strbuf_printf(out, "%sp99 %.0f ms is above %.0f ms", out->len > begin ? ", " : "", p99_ms(rung),
            (double)rung->limit_ns / NS_PER_MS);
}

/* Where the kernel had no room left for connections that nobody had accepted yet; NULL: nowhere. */
static const struct rush_rung *first_overflow(const struct rush_ladder *ladder)
{
    for (size_t i = 0; i < ladder->rung_count; i++)
        if (ladder->rungs[i].connect.max_ns >= SYN_RETRY_NS)
            return &ladder->rungs[i];
    return NULL;
}

static void put_overflow(struct strbuf *out, const struct rush_ladder *ladder)
{
    const struct rush_rung *rung = first_overflow(ladder);
    if (rung != NULL)
        strbuf_printf(out,
            " From %llu users on the line of connections to be accepted was full (net.core.somaxconn): "
            "connecting took up to %.1f s.",
            (unsigned long long)rung->users, (double)rung->connect.max_ns / NS_PER_S);
}

static void put_unbroken(struct strbuf *out, const struct rush_ladder *ladder)
{
    const struct rush_rung *most = &ladder->rungs[0];
    for (size_t i = 1; i < ladder->rung_count; i++)
        most = ladder->rungs[i].users > most->users ? &ladder->rungs[i] : most;
    strbuf_printf(out,
        "It does not break up to %llu users at once: no time-out, no failed connection, no answer from "
        "outside the contract; p99 %.0f ms",
        (unsigned long long)most->users, p99_ms(most));
    if (most->limit_ns > 0)
        strbuf_printf(out, ", at most %.0f ms", (double)most->limit_ns / NS_PER_MS);
    strbuf_put_char(out, '.');
}

void ladder_put_breaking_point(struct strbuf *out, const struct rush_ladder *ladder)
{
    size_t broken = ladder_breaking_point(ladder);
    size_t back = ladder_comeback(ladder, broken);
    if (ladder->rung_count == 0) {
        strbuf_lit(out, "No level was measured.");
        return;
    }
    if (broken == ladder->rung_count) {
        put_unbroken(out, ladder);
        put_overflow(out, ladder);
        return;
    }
    const struct rush_rung *rung = &ladder->rungs[broken];
    strbuf_printf(out, "It breaks at %llu users at once: ", (unsigned long long)rung->users);
    ladder_put_reason(out, rung);
    strbuf_put_char(out, '.');
    if (broken > 0)
        strbuf_printf(out, " With %llu all was answered, p99 %.0f ms.",
            (unsigned long long)ladder->rungs[broken - 1].users, p99_ms(&ladder->rungs[broken - 1]));
    if (back < ladder->rung_count)
        strbuf_printf(out, " It came back by itself: the later level of %llu users held.",
            (unsigned long long)ladder->rungs[back].users);
    else if (broken + 1 < ladder->rung_count)
        strbuf_lit(out, " No later level held.");
    put_overflow(out, ladder);
}

/* --- growth --- */

/* The smallest level that is large enough; NULL: none is. */
static const struct rush_rung *find_base(const struct rush_ladder *ladder)
{
    const struct rush_rung *base = NULL;
    for (size_t i = 0; i < ladder->rung_count; i++) {
        const struct rush_rung *rung = &ladder->rungs[i];
        if (rung->users >= LADDER_GROWTH_USERS_MIN && (base == NULL || rung->users < base->users))
            base = rung;
    }
    return base;
}

static double growth_limit_ns(const struct rush_rung *base, const struct rush_rung *rung)
{
    return GROWTH_MAX * (double)p99_ns(base) / (double)base->users * (double)rung->users + GROWTH_SLACK_NS;
}

struct ladder_growth ladder_growth(const struct rush_ladder *ladder)
{
    struct ladder_growth growth = {.is_judged = false};
    const struct rush_rung *base = ladder->wait_s > 0 ? NULL : find_base(ladder);
    double worst = -1;
    for (size_t i = 0; base != NULL && i < ladder->rung_count; i++) {
        const struct rush_rung *rung = &ladder->rungs[i];
        double limit_ns = growth_limit_ns(base, rung);
        if (rung->users <= base->users || (double)p99_ns(rung) / limit_ns <= worst)
            continue;
        worst = (double)p99_ns(rung) / limit_ns;
        growth = (struct ladder_growth){.is_judged = true,
            .is_linear = worst <= 1,
            .users = base->users,
            .p99_ns = (int64_t)p99_ns(base),
            .worst_users = rung->users,
            .worst_p99_ns = (int64_t)p99_ns(rung),
            .worst_limit_ns = (int64_t)limit_ns};
    }
    return growth;
}

void ladder_put_growth(struct strbuf *out, const struct rush_ladder *ladder)
{
    struct ladder_growth growth = ladder_growth(ladder);
    if (!growth.is_judged) {
        strbuf_put(out,
            ladder->wait_s > 0
                ? SLICE("How latency grows with the users is not judged: they wait in the line.")
                : SLICE(
                      "How latency grows with the users is not judged: that takes two levels from 100 on."));
        return;
    }
    strbuf_printf(out,
        "Latency grows %s linearly with the users: p99 is %.1f ms at %llu, so it may be %.1f ms at %llu, and "
        "is "
        "%.1f ms.",
        growth.is_linear ? "no faster than" : "FASTER than", (double)growth.p99_ns / NS_PER_MS,
        (unsigned long long)growth.users, (double)growth.worst_limit_ns / NS_PER_MS,
        (unsigned long long)growth.worst_users, (double)growth.worst_p99_ns / NS_PER_MS);
}

double ladder_original_p99_ms(uint64_t users)
{
    static const struct {
        uint64_t users;
        double p99_ms;
    } original[] = {{10, 235.4}, {25, 122.6}, {50, 364.2}, {100, 551.0}, {250, 1366.8}, {500, 3116.8},
        {1000, 4616.2}, {2500, 30482}, {5000, 30782}};
    for (size_t i = 0; i < sizeof original / sizeof original[0]; i++)
        if (original[i].users == users)
            return original[i].p99_ms;
    return NAN;
}

/* --- what must hold --- */

static void judge_stock(const struct rush_ladder *ladder, struct rush *rush)
{
    long long sold = ladder->stock_supplied - ladder->stock_expected;
    for (size_t i = 0; i < ladder->rung_count; i++) {
        const struct rush_rung *rung = &ladder->rungs[i];
        if (rung->stock_left == rung->stock_expected && rung->product_off_count == 0)
            continue;
        rush_add_invariant(rush, false,
            "stock left = supplied - purchases acknowledged: after %llu users %lld units were expected and "
            "%lld "
            "left (-1: not told), and %llu products have another stock than they should",
            (unsigned long long)rung->users, (long long)rung->stock_expected, (long long)rung->stock_left,
            (unsigned long long)rung->product_off_count);
        return;
    }
    rush_add_invariant(rush, ladder->stock_left == ladder->stock_expected,
        "stock left = supplied - purchases acknowledged: %lld = %lld - %lld", (long long)ladder->stock_left,
        (long long)ladder->stock_supplied, sold);
}

static void judge_answers(const struct rush_ladder *ladder, struct rush *rush)
{
    uint64_t timeouts = 0;
    uint64_t lost = 0;
    uint64_t others = 0;
    for (size_t i = 0; i < ladder->rung_count; i++) {
        timeouts += ladder->rungs[i].timeout_count;
        lost += ladder->rungs[i].lost_count;
        others += ladder->rungs[i].other_count;
    }
    rush_add_invariant(rush, timeouts == 0 && lost == 0,
        "everybody was answered: %llu timed out, %llu connections failed", (unsigned long long)timeouts,
        (unsigned long long)lost);
    rush_add_invariant(
        rush, others == 0, "no answer from outside the contract: %llu", (unsigned long long)others);
    rush_add_invariant(rush, ladder->reset_error_count == 0,
        "every machine could be reset between the levels: %llu could not",
        (unsigned long long)ladder->reset_error_count);
}

/* The slowest of the levels up to so many users, and above those of the limit before. */
static const struct rush_rung *slowest(const struct rush_ladder *ladder, size_t limit)
{
    uint64_t above = limit > 0 ? limits[limit - 1].users : 0;
    const struct rush_rung *found = NULL;
    for (size_t i = 0; i < ladder->rung_count; i++) {
        const struct rush_rung *rung = &ladder->rungs[i];
        if (rung->is_limit_asked && rung->users > above && rung->users <= limits[limit].users &&
            (found == NULL || p99_ns(rung) > p99_ns(found)))
            found = rung;
    }
    return found;
}

void ladder_judge(const struct rush_ladder *ladder, struct rush *rush)
{
    judge_stock(ladder, rush);
    judge_answers(ladder, rush);
    for (size_t i = 0; i < LIMIT_COUNT; i++) {
        const struct rush_rung *rung = slowest(ladder, i);
        if (rung != NULL)
            rush_add_invariant(rush, !is_slow(rung),
                "p99 at up to %llu users: asked are at most %.0f ms, measured %.1f ms at the most (%llu "
                "users)",
                (unsigned long long)limits[i].users, (double)limits[i].p99_ns / NS_PER_MS, p99_ms(rung),
                (unsigned long long)rung->users);
    }
}
