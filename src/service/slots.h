/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many payments may be in flight: a limit between `min` and `max` that grows while orders wait for it and
 * sinks when the provider cannot keep up (additive increase, multiplicative decrease; orders contract,
 * "Behind it").
 *
 * It grows while the limit is what holds payments back (all slots taken, orders waiting): grow_per_s slots a
 * second. It does not wait for answers, since a payment may take seconds; but it stops while the provider has
 * been silent for twice the expected time or calls have become slow. After a decrease it waits for a good
 * round; from then on the pace is a tenth of the limit a round, and doubles with each good one.
 *
 * It shrinks to 7/10 after a round in which the provider was slow or failing, at most once a round. Only
 * calls that began after the last decrease count. An unused limit sinks back to `min` within half a minute or
 * so.
 *
 * A round has a few calls in it and lasts at least as long as a call takes when nobody presses (and 50 ms, so
 * that one hiccup is no verdict). It is failing when more than one call in five has failed, and at least
 * four: fewer may be chance, and much more opens the breaker. It is slow when its mean is above twice the
 * baseline, and 10 ms more. Means are compared, not single calls, since a provider may well answer within 50
 * or 500 ms by its nature.
 *
 * The baseline is the smallest mean of a round so far: what the provider needs when we do not press it. It
 * rises only by rounds whose calls never had more than `min` in flight: a provider that is slow even then is
 * not slow because of us, and shrinking does not help it. So one that becomes slower for good costs some
 * rounds at `min`, and then the limit grows again.
 *
 * min == max is a constant: 1 and 1 is the original's serial processor.
 *
 * A value and nothing else: times are arguments (ns of one clock that does not run backwards). Not
 * thread-safe: the owner locks.
 */
#ifndef DOORBUSTER_SERVICE_SLOTS_H
#define DOORBUSTER_SERVICE_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slots_config {
    size_t min;          /* at least 1 */
    size_t max;          /* at least min, at most a million */
    int64_t expected_ns; /* how long a payment takes, until one was seen; at least 1 */
    double grow_per_s;   /* slots a second, above 0; SLOTS_GROW_PER_S */
};

/* From 16 to 256 in half a second, to 1,000 in two. */
#define SLOTS_GROW_PER_S 500.0

struct slots_round {
    int64_t began_ns;
    double sum_ns;    /* of those that succeeded */
    size_t succeeded; /* calls */
    size_t failed;
    bool is_quiet; /* none of its calls had more than `min` in flight beside it */
};

struct slots {
    struct slots_config config;
    double limit;       /* min to max */
    double grow_per_s;  /* the pace now */
    double expected_ns; /* follows what calls take, an eighth at a time */
    double baseline_ns; /* 0: not known */
    bool has_expected;  /* at least one call was seen */
    bool must_prove;    /* after a decrease: no growth before a good round */
    int64_t cut_ns;     /* when it last decreased; calls that began earlier do not count */
    int64_t crowd_ns;   /* when more than `min` were last in flight */
    int64_t heard_ns;   /* when a call last ended, or none was in flight */
    int64_t seen_ns;    /* the last look */
    int64_t full_ns;    /* when all slots were last seen taken, and orders waiting */
    bool was_full;      /* full_ns is set, and orders have waited ever since */
    struct slots_round round;
    uint64_t cut_total;
};

/* Starts at min. The configuration is copied; one out of range is a bug. */
void slots_init(struct slots *slots, const struct slots_config *config, int64_t now_ns);

/* How many payments may be in flight now. After a decrease more may still be. */
size_t slots_limit(const struct slots *slots);

/*
 * A call to the provider has ended. Success is any answer that shows it at work, a declined payment too;
 * time-outs, refused connections and 5xx are none. `in_flight`: those that go on, this one not counted.
 * `waiting`: orders that could be paid now if there were a slot.
 */
void slots_note_end(struct slots *slots, int64_t now_ns, int64_t duration_ns, bool was_success,
    size_t in_flight, size_t waiting);

/* Every 20 to 100 ms while anything waits or is in flight, and now and then otherwise. */
void slots_tick(struct slots *slots, int64_t now_ns, size_t in_flight, size_t waiting);

/* By how many slots a second it grows from now on, up to `max`, while orders wait for them; 0: it does not.
 */
double slots_pace(const struct slots *slots, int64_t now_ns);

/* How long a payment will hold its slot. */
int64_t slots_expected_ns(const struct slots *slots);

/* Decreases so far. */
uint64_t slots_cut_total(const struct slots *slots);

#endif
