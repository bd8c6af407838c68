/* SPDX-License-Identifier: Apache-2.0 */
#include "service/slots.h"

#include <math.h>

#include "base/ensure.h"

enum {
    NS_PER_MS = 1000000,
    MAX_SLOTS = 1000000,
    ROUND_MS_MIN = 50,
    ROUND_CALLS_MIN = 2,     /* one call is no evidence */
    ROUND_CALLS_ENOUGH = 8,  /* with fewer slots than that: as many calls as there are slots */
    LOOK_MS_MAX = 250,       /* what is between two looks further apart is not known */
    FAILED_ONE_IN = 5,       /* more of a round's calls than that: failing */
    FAILED_MIN = 4,          /* fewer may be chance */
    EXPECTED_SHARE = 8,      /* a new duration's share in the expected one */
    SLOW_SLACK_MS = 10,      /* what a busy machine adds by itself */
    SINK_MS = 10000,         /* an unused limit loses 63 % of what is too much in that time */
    BASELINE_RISE_SHARE = 4, /* what a quiet round takes the baseline nearer to its mean */
};

static const double NS_PER_S = 1e9;
static const double CUT = 0.7;
static const double SLOW_FACTOR = 2.0;
static const double CAREFUL_SHARE = 0.1; /* of the limit a round, after a decrease */
static const double SILENT_FACTOR = 2.0;

static void begin_round(struct slots *slots, int64_t now_ns)
{
    slots->round = (struct slots_round){.began_ns = now_ns, .is_quiet = true};
}

void slots_init(struct slots *slots, const struct slots_config *config, int64_t now_ns)
{
    ENSURE(config->min >= 1 && config->min <= config->max && config->max <= MAX_SLOTS);
    ENSURE(config->expected_ns >= 1);
    ENSURE(config->grow_per_s > 0);
    *slots = (struct slots){
        .config = *config,
        .limit = (double)config->min,
        .grow_per_s = config->grow_per_s,
        .expected_ns = (double)config->expected_ns,
        .cut_ns = INT64_MIN,
        .crowd_ns = INT64_MIN,
        .heard_ns = now_ns,
        .seen_ns = now_ns,
    };
    begin_round(slots, now_ns);
}

size_t slots_limit(const struct slots *slots)
{
    return (size_t)slots->limit;
}

int64_t slots_expected_ns(const struct slots *slots)
{
    return (int64_t)slots->expected_ns;
}

uint64_t slots_cut_total(const struct slots *slots)
{
    return slots->cut_total;
}

static void set_limit(struct slots *slots, double limit)
{
    slots->limit = fmin(fmax(limit, (double)slots->config.min), (double)slots->config.max);
}

/* --- growing and sinking, by time --- */

/* As long as a call takes without pressure. */
static double round_ns(const struct slots *slots)
{
    double usual_ns = slots->baseline_ns > 0 ? slots->baseline_ns : slots->expected_ns;
    return fmax(usual_ns, (double)ROUND_MS_MIN * NS_PER_MS);
}

static bool is_slow(const struct slots *slots, double duration_ns)
{
    return slots->baseline_ns > 0 &&
           duration_ns > SLOW_FACTOR * slots->baseline_ns + (double)SLOW_SLACK_MS * NS_PER_MS;
}

static bool may_grow(const struct slots *slots, int64_t now_ns)
{
    bool is_silent = (double)(now_ns - slots->heard_ns) > SILENT_FACTOR * slots->expected_ns;
    return !slots->must_prove && !is_silent && !is_slow(slots, slots->expected_ns);
}

double slots_pace(const struct slots *slots, int64_t now_ns)
{
    return may_grow(slots, now_ns) ? slots->grow_per_s : 0;
}

static void grow(struct slots *slots, int64_t elapsed_ns)
{
    double counted_ns = fmin((double)elapsed_ns, (double)LOOK_MS_MAX * NS_PER_MS);
    set_limit(slots, slots->limit + slots->grow_per_s * counted_ns / NS_PER_S);
}

/* Towards twice what is used, so that the next crowd does not begin from nothing at once. */
static void sink(struct slots *slots, int64_t elapsed_ns, size_t in_flight)
{
    double needed = fmax((double)slots->config.min, 2 * (double)in_flight);
    double kept = exp(-(double)elapsed_ns / ((double)SINK_MS * NS_PER_MS));
    if (slots->limit > needed)
        set_limit(slots, needed + (slots->limit - needed) * kept);
}

/*
 * `taken`: the slots that were taken until now. Calls may end many at a time, and the slots are given to the
 * next ones only after that: so what counts is the time from one moment with all slots taken to the next one,
 * if the queue was never empty in between.
 */
static void look(struct slots *slots, int64_t now_ns, size_t taken, size_t waiting)
{
    bool is_full = taken >= slots_limit(slots) && waiting > 0;
    if (taken > slots->config.min)
        slots->crowd_ns = now_ns;
    if (taken == 0)
        slots->heard_ns = now_ns;
    if (is_full && slots->was_full && may_grow(slots, now_ns))
        grow(slots, now_ns - slots->full_ns);
    if (waiting == 0)
        sink(slots, now_ns - slots->seen_ns, taken);
    if (is_full)
        slots->full_ns = now_ns;
    slots->was_full = is_full || (slots->was_full && waiting > 0);
    slots->seen_ns = now_ns;
}

void slots_tick(struct slots *slots, int64_t now_ns, size_t in_flight, size_t waiting)
{
    look(slots, now_ns, in_flight, waiting);
}

/* --- judging the provider, by rounds --- */

static size_t calls_needed(const struct slots *slots)
{
    size_t limit = slots_limit(slots);
    if (limit < ROUND_CALLS_MIN)
        return ROUND_CALLS_MIN;
    return limit < ROUND_CALLS_ENOUGH ? limit : ROUND_CALLS_ENOUGH;
}

static bool is_failing(const struct slots *slots)
{
    const struct slots_round *round = &slots->round;
    size_t calls = round->succeeded + round->failed;
    return calls >= calls_needed(slots) && round->failed >= FAILED_MIN &&
           round->failed * FAILED_ONE_IN > calls;
}

/* The next round begins a round later: of the calls that begin from now on the quick ones end first, and a
 * mean of those alone would be too small. */
static void cut(struct slots *slots, int64_t now_ns)
{
    if (slots_limit(slots) > slots->config.min)
        slots->cut_total++;
    set_limit(slots, slots->limit * CUT);
    slots->must_prove = true;
    slots->cut_ns = now_ns;
    begin_round(slots, now_ns + (int64_t)round_ns(slots));
}

/* Goes well: the pace after a decrease is a tenth of the limit a round, then twice that, four times ... */
static void go_on(struct slots *slots, int64_t now_ns)
{
    double careful =
        fmax(1, CAREFUL_SHARE * slots->limit) * NS_PER_S / fmax(round_ns(slots), slots->expected_ns);
    double pace = slots->must_prove ? careful : 2 * slots->grow_per_s;
    slots->grow_per_s = fmin(pace, slots->config.grow_per_s);
    slots->must_prove = false;
    begin_round(slots, now_ns);
}

static void follow_baseline(struct slots *slots, double mean_ns)
{
    if (slots->baseline_ns <= 0 || mean_ns < slots->baseline_ns)
        slots->baseline_ns = mean_ns;
    else if (slots->round.is_quiet)
        slots->baseline_ns += (mean_ns - slots->baseline_ns) / BASELINE_RISE_SHARE;
}

/*
 * There are enough calls, and the round is long enough for a bad verdict. For a good one it must have lasted
 * as long as calls take now: what it would grow by is seen no sooner.
 */
static void judge(struct slots *slots, int64_t now_ns)
{
    const struct slots_round *round = &slots->round;
    double mean_ns = round->sum_ns / (double)round->succeeded;
    bool is_whole = (double)(now_ns - round->began_ns) >= fmax(round_ns(slots), slots->expected_ns);
    if (is_slow(slots, mean_ns) && !round->is_quiet) {
        cut(slots, now_ns);
    } else if (is_whole) {
        follow_baseline(slots, mean_ns);
        go_on(slots, now_ns);
    }
}

static void expect(struct slots *slots, double duration_ns)
{
    if (slots->has_expected)
        slots->expected_ns += (duration_ns - slots->expected_ns) / EXPECTED_SHARE;
    else
        slots->expected_ns = duration_ns;
    slots->expected_ns = fmax(slots->expected_ns, 1);
    slots->has_expected = true;
}

static void note_in_round(struct slots *slots, int64_t began_ns, int64_t duration_ns, bool was_success)
{
    struct slots_round *round = &slots->round;
    round->is_quiet = round->is_quiet && began_ns > slots->crowd_ns;
    if (was_success) {
        round->succeeded++;
        round->sum_ns += (double)duration_ns;
    } else {
        round->failed++;
    }
}

void slots_note_end(struct slots *slots, int64_t now_ns, int64_t duration_ns, bool was_success,
    size_t in_flight, size_t waiting)
{
    int64_t began_ns = now_ns - duration_ns;
    const struct slots_round *round = &slots->round;
    slots->heard_ns = now_ns;
    look(slots, now_ns, in_flight + 1, waiting);
    /* A refusal in no time says nothing about how long a payment takes; a silence that lasts longer does. */
    if (was_success || (double)duration_ns > slots->expected_ns)
        expect(slots, (double)duration_ns);
    if (began_ns < slots->cut_ns || now_ns < slots->round.began_ns)
        return;
    note_in_round(slots, began_ns, duration_ns, was_success);
    bool is_over = (double)(now_ns - round->began_ns) >= round_ns(slots);
    if (is_failing(slots))
        cut(slots, now_ns);
    else if (is_over && round->succeeded >= calls_needed(slots))
        judge(slots, now_ns);
}
