/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread of the load generator. It drives its share of every crowd's virtual users (user i and session i
 * belong to squad i modulo their number) on an event loop of its own and measures each request:
 *
 *   latency   from the moment the request should have started, as the plan has it, to its last byte;
 * connecting and every delay of the generator included duration  from its first byte sent to its last byte:
 * the uncorrected figure that most tools report lag       how late the generator was, when it had a free
 * connection
 *
 * Created, started and joined by one thread; squad_stop and squad_progress may be called from it meanwhile.
 */
#ifndef DOORBUSTER_RUSH_SQUAD_H
#define DOORBUSTER_RUSH_SQUAD_H

#include "base/err.h"
#include "rush/journal.h"
#include "rush/scenario.h"
#include "rush/tally.h"

struct squad;

struct squad_result {
    struct tally tally;       /* to be given back with tally_fini */
    int64_t measured_ns;      /* the time in which was measured */
    int64_t cpu_ns;           /* of the thread in that time */
    int64_t runnable_ns;      /* in that time it wanted to run and had no core */
    int64_t last_answer_ns;   /* clock_mono_ns of the last measured answer; 0: there was none */
    int64_t last_purchase_ns; /* the same of the last purchase, measured or not, answered or not */
    uint64_t request_count;   /* answered or failed in the measured time */
    int journal_errno;        /* 0: the journal is complete */
    int last_errno;           /* the last reason why a connection failed; 0: there was none */
};

/* NULL when memory is out. The rush and the journal must outlive the squad. */
struct squad *squad_create(
    const struct rush *rush, const struct journal *journal, unsigned index, unsigned count);
void squad_destroy(struct squad *squad);

/* The plans' zero is start_ns (clock_mono_ns), soon to come. ERR_MEMORY when no thread can be made. */
MUST_CHECK enum err squad_start(struct squad *squad, int64_t start_ns, struct error *error);

/* Waits for the end. */
void squad_join(struct squad *squad, struct squad_result *result);

/* Starts nothing new; what still waits for an answer after grace_ms is cut short. Returns at once. */
void squad_stop(struct squad *squad);

enum { SQUAD_STOP_GRACE_MS = 1000 };

struct squad_progress {
    uint64_t answered;
    uint64_t failed; /* without a status from 200 to 399 */
    bool is_over;
};

void squad_progress(const struct squad *squad, struct squad_progress *progress);

#endif
