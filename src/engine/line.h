/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The line: where commands wait for the engine, first come first served. Bounded: what does not fit is
 * refused at the door. Net threads append batches; the engine thread takes everything at once. One lock, held
 * for a few pointer moves.
 */
#ifndef DOORBUSTER_ENGINE_LINE_H
#define DOORBUSTER_ENGINE_LINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine_call;

/* Calls in order, linked through engine_call.next. */
struct call_list {
    struct engine_call *first;
    struct engine_call *last;
    size_t count;
};

void call_list_append(struct call_list *list, struct engine_call *call);

/* Takes the first off; NULL when empty. */
struct engine_call *call_list_take(struct call_list *list);

/* Moves everything from `more` to the end of `list`. */
void call_list_splice(struct call_list *list, struct call_list *more);

struct line {
    pthread_mutex_t lock;     /* guards waiting, is_closed and is_poked */
    pthread_cond_t not_empty; /* on CLOCK_MONOTONIC */
    size_t depth_max;         /* calls */
    struct call_list waiting;
    bool is_closed;
    bool is_poked;
    atomic_size_t depth; /* waiting.count, readable without the lock */
};

void line_init(struct line *line, size_t depth_max);
void line_fini(struct line *line); /* must be empty */

/* Appends the calls in order, as far as they fit; those that stay in `calls` did not, all of them when the
 * line is closed. Any thread; does not block beyond the lock. */
void line_append(struct line *line, struct call_list *calls);

/*
 * Takes everything that waits; waits for it until `until_ns` (clock_mono_ns, INT64_MAX: for ever) when there
 * is nothing. Empty when the time has come or somebody pokes. False: the line is closed and empty, nothing
 * will ever come again. Engine thread.
 */
bool line_take(struct line *line, int64_t until_ns, struct call_list *calls);

/* Makes line_take return now, or the next time at once, though nothing waits. Any thread. */
void line_poke(struct line *line);

/* From now on nothing gets in and line_take does not wait. Any thread. */
void line_close(struct line *line);

#endif
