/* SPDX-License-Identifier: Apache-2.0 */
#include "service/backlog.h"

#include "base/clock.h"
#include "base/list.h"

enum { NS_PER_MS = 1000000, ASK_MS = 500 };

/* Whoever calls backlog_turn does so often enough. */
static void wake(void *context)
{
    (void)context;
}

enum err backlog_init(struct backlog *backlog, struct engine *engine, struct error *error)
{
    struct order_totals totals;
    *backlog = (struct backlog){.engine = engine};
    if (engine_order_totals(engine, &totals))
        return ERR_NONE;
    struct engine_port_events events = {.wake = wake};
    return engine_port_open(engine, events, &backlog->port, error);
}

void backlog_fini(struct backlog *backlog)
{
    if (backlog->port == NULL)
        return;
    engine_port_receive(backlog->port);
    engine_port_close(backlog->port);
}

/* Without an answer the last one stays. */
static void on_told(struct engine_lookup *lookup)
{
    struct backlog *backlog = CONTAINER_OF(lookup, struct backlog, lookup);
    backlog->is_asking = false;
    if (lookup->status == ERR_NONE) {
        size_t pending = (size_t)lookup->question.totals.counts[ORDER_PENDING];
        atomic_store_explicit(&backlog->told, pending, memory_order_relaxed);
        atomic_store_explicit(&backlog->let_in_told, backlog->let_in_when_asked, memory_order_relaxed);
    }
    question_fini(&lookup->question);
}

void backlog_turn(struct backlog *backlog, int64_t now_ns)
{
    if (backlog->port == NULL)
        return;
    engine_port_receive(backlog->port);
    if (backlog->is_asking || now_ns < backlog->ask_at_ns)
        return;
    backlog->ask_at_ns = now_ns + (int64_t)ASK_MS * NS_PER_MS;
    backlog->let_in_when_asked = atomic_load_explicit(&backlog->let_in, memory_order_relaxed);
    backlog->lookup = (struct engine_lookup){
        .question = {.kind = QUESTION_ORDER_TOTALS, .is_open_only = true}, .on_done = on_told};
    backlog->is_asking = true; /* on_done may come at once */
    backlog->is_asking = engine_port_look_up(backlog->port, &backlog->lookup) && backlog->is_asking;
}

void backlog_note_let_in(struct backlog *backlog)
{
    atomic_fetch_add_explicit(&backlog->let_in, 1, memory_order_relaxed);
}

size_t backlog_count(const struct backlog *backlog)
{
    struct order_totals totals;
    if (engine_order_totals(backlog->engine, &totals))
        return (size_t)totals.counts[ORDER_PENDING];
    uint64_t let_in_told = atomic_load_explicit(&backlog->let_in_told, memory_order_relaxed);
    uint64_t let_in = atomic_load_explicit(&backlog->let_in, memory_order_relaxed);
    return atomic_load_explicit(&backlog->told, memory_order_relaxed) + (size_t)(let_in - let_in_told);
}
