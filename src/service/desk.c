/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims. The first comes at once; then one comes every quarter to half a second, at random, so that nodes do
 * not ask in step, and at once when more is known to wait: the last claim came back full, or this node has
 * added some. One is under way at a time, of at most CLAIM_COUNT_MAX, so that no batch of the engine becomes
 * long because of it. While the engine is not serving nothing is claimed, and verdicts wait.
 *
 * Renewals. A running job's lease is renewed when half of it is over, and again every tenth of it until that
 * succeeds. From that half on its lease is in doubt, and nothing more is claimed meanwhile, nor while a
 * verdict waits that long: the job itself may be due, and would be done here twice. One call at a time: what
 * a renewal that is under way will say is waited for before the verdict is told.
 *
 * A job's state stands on up to two lists. By what is to be done with it: `free`, `claimed` until its handler
 * has it, `untold` when its verdict could not be told. By its lease: `leased` until half of it is over,
 * `renewals` when the engine could not take a renewal. All leases are equally long and answers come in the
 * order of their calls, so both of these grow at their ends and are in order of time.
 */
#include "service/worker_priv.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "core/order.h"

enum {
    NS_PER_MS = 1000000,
    POLL_MS_MIN = 250,
    POLL_MS_MAX = 500,
    CLAIM_COUNT_MAX = 1000,
    ANSWER_DEADLINE_MS = 5000,
    STOP_RETRY_MS = 20,
    RENEWALS_PER_LEASE = 10, /* tries, when the engine cannot take them */
    RETRY_MS_FIRST = 1000,
    RETRY_MS_MAX = 5 * 60 * 1000,
    NEXT_MS = 2 * ORDER_SYNC_HEAD_START_MS, /* so long before now is before all that waits */
};

static int64_t poll_time_ns(void)
{
    int64_t wait_ms = POLL_MS_MIN + randombytes_uniform(POLL_MS_MAX - POLL_MS_MIN);
    return clock_mono_ns() + wait_ms * NS_PER_MS;
}

static void count(atomic_uint_fast64_t *figure, size_t more)
{
    atomic_fetch_add_explicit(figure, more, memory_order_relaxed);
}

static void prepare_call(struct engine_call *call, enum command_kind kind, struct work_order *order,
    void (*on_done)(struct engine_call *call))
{
    *call = (struct engine_call){
        .command = {.kind = kind, .work = order},
        .deadline_ns = clock_mono_ns() + (int64_t)ANSWER_DEADLINE_MS * NS_PER_MS,
        .on_done = on_done,
    };
}

/* --- job states --- */

static struct worker_job_state *state_of(struct list *node)
{
    return CONTAINER_OF(node, struct worker_job_state, node);
}

static bool add_block(struct desk *desk)
{
    struct job_block *block = calloc(1, sizeof *block);
    if (block == NULL)
        return false;
    block->next = desk->blocks;
    desk->blocks = block;
    for (size_t i = 0; i < BLOCK_JOBS; i++)
        list_append(&desk->free, &block->jobs[i].node);
    desk->made_count += BLOCK_JOBS;
    return true;
}

/* How many of `wanted` jobs there are states for. */
static size_t make_states(struct desk *desk, size_t wanted)
{
    while (desk->made_count - desk->held_count < wanted && add_block(desk))
        ;
    size_t free_count = desk->made_count - desk->held_count;
    return free_count < wanted ? free_count : wanted;
}

static void set_in_doubt(struct worker_job_state *state, bool is_in_doubt)
{
    state->desk->doubt_count += is_in_doubt;
    state->desk->doubt_count -= state->is_in_doubt;
    state->is_in_doubt = is_in_doubt;
}

static void free_state(struct worker_job_state *state)
{
    struct desk *desk = state->desk;
    set_in_doubt(state, false);
    list_remove(&state->lease);
    work_item_fini(&state->job.item);
    state->phase = PHASE_FREE;
    desk->held_count--;
    list_prepend(&desk->free, &state->node);
}

/* --- telling the engine what became of a job --- */

/* 1 s, 2 s, 4 s ... and up to half as much again, so that what failed together is not tried again together.
 */
static int64_t retry_delay_ms(int64_t token)
{
    int64_t delay_ms = RETRY_MS_FIRST;
    for (int64_t i = 1; i < token && delay_ms < RETRY_MS_MAX; i++)
        delay_ms *= 2;
    if (delay_ms > RETRY_MS_MAX)
        delay_ms = RETRY_MS_MAX;
    return delay_ms + randombytes_uniform((uint32_t)(delay_ms / 2));
}

/*
 * Is it no use to say it again? Not when the engine is only busy; but a shutdown waits for no store, and not
 * for ever: the lease will run out. Nor is it said twice that something was not begun: the place that it got
 * by the first time may have come.
 */
static bool is_given_up(const struct worker_job_state *state)
{
    const struct worker *worker = state->desk->worker;
    bool is_late = engine_state(worker->engine) != ENGINE_SERVING || clock_mono_ns() >= worker->give_up_ns;
    return (worker->is_last_turn && is_late) ||
           (state->is_unsure && state->report.verdict == WORKER_NOT_BEGUN);
}

/* Nothing was told, or perhaps. */
static void tell_later(struct worker_job_state *state)
{
    struct desk *desk = state->desk;
    if (is_given_up(state)) {
        free_state(state);
        return;
    }
    bool is_last_turn = desk->worker->is_last_turn;
    if (list_is_empty(&desk->untold))
        desk->tell_at_ns =
            is_last_turn ? clock_mono_ns() + (int64_t)STOP_RETRY_MS * NS_PER_MS : poll_time_ns();
    state->phase = PHASE_DONE;
    list_append(&desk->untold, &state->node);
}

static void count_lost(struct worker_job_state *state)
{
    const struct work_item *item = &state->job.item;
    count(&state->desk->lost_total, 1);
    log_warn("worker", "%.*s %lld (%.*s) was claimed by somebody else before it was finished here",
        SLICE_ARGS(work_kind_name(item->kind)), (long long)item->id, SLICE_ARGS(item->subject));
}

static void count_told(struct worker_job_state *state, enum result result)
{
    struct desk *desk = state->desk;
    bool is_finish = state->call.command.kind == COMMAND_WORK_FINISH;
    if (result == RESULT_OK || (is_finish && state->is_unsure))
        count(is_finish ? &desk->finished_total : &desk->postponed_total, 1);
    else
        count_lost(state);
}

static void on_told(struct engine_call *call)
{
    struct worker_job_state *state = CONTAINER_OF(call, struct worker_job_state, call);
    enum result result = call->command.outcome.result;
    if (result == RESULT_OK || result == RESULT_WORK_NOT_YOURS) {
        count_told(state, result);
        state->desk->may_have_more = state->desk->may_have_more || state->report.is_next;
        free_state(state);
        return;
    }
    state->is_unsure = state->is_unsure || result == RESULT_OUTCOME_UNKNOWN;
    tell_later(state);
}

static enum work_report report_of(const struct worker_report *report)
{
    switch (report->verdict) {
    case WORKER_FINISHED:
        return report->report;
    case WORKER_NOT_BEGUN:
        return REPORT_NOT_BEGUN;
    case WORKER_DEAD:
        return REPORT_DEAD;
    case WORKER_FAILED:
        break;
    }
    return REPORT_NONE;
}

static int64_t delay_of(const struct worker_report *report, int64_t token)
{
    if (report->verdict != WORKER_FAILED)
        return 0;
    if (report->is_next)
        return -NEXT_MS;
    return report->delay_ms > 0 ? report->delay_ms : retry_delay_ms(token);
}

static void tell(struct worker_job_state *state)
{
    struct worker *worker = state->desk->worker;
    const struct worker_report *report = &state->report;
    const struct work_item *item = &state->job.item;
    bool is_finish = report->verdict == WORKER_FINISHED;
    state->order = (struct work_order){.kind = item->kind,
        .id = item->id,
        .token = item->token,
        .report = report_of(report),
        .due_ms = engine_now_ms(worker->engine) + delay_of(report, item->token)};
    prepare_call(
        &state->call, is_finish ? COMMAND_WORK_FINISH : COMMAND_WORK_POSTPONE, &state->order, on_told);
    state->phase = PHASE_TELLING;
    if (!engine_port_push(worker->port, &state->call))
        tell_later(state);
}

/* The verdict is there, and the engine has no renewal of it. */
static void settle(struct worker_job_state *state)
{
    if (state->is_lost)
        free_state(state);
    else
        tell(state);
}

/* One that comes while a renewal is under way is told after that. */
void desk_take_verdict(struct worker_job_state *state)
{
    ENSURE(state->phase == PHASE_RUNNING);
    state->phase = PHASE_DONE;
    if (!state->is_renewing)
        settle(state);
}

/* --- renewing the lease of what runs --- */

static int64_t lease_half_ns(const struct desk *desk, int64_t from_ns)
{
    return from_ns + desk->handler.lease_ms * NS_PER_MS / 2;
}

/* Goes to its place, which is the end but for the odd answer that came out of turn. */
static void set_leased(struct worker_job_state *state, int64_t from_ns)
{
    struct list *before = &state->desk->leased;
    state->lease_half_ns = lease_half_ns(state->desk, from_ns);
    while (before->prev != &state->desk->leased &&
           CONTAINER_OF(before->prev, struct worker_job_state, lease)->lease_half_ns > state->lease_half_ns)
        before = before->prev;
    list_append(before, &state->lease);
    set_in_doubt(state, false);
}

static void renew_again(struct worker_job_state *state)
{
    struct desk *desk = state->desk;
    state->renew_at_ns = clock_mono_ns() + desk->handler.lease_ms * NS_PER_MS / RENEWALS_PER_LEASE;
    list_append(&desk->renewals, &state->lease);
}

/* After an unknown outcome it is renewed once more, which does no harm. */
static void on_renewed(struct engine_call *call)
{
    struct worker_job_state *state = CONTAINER_OF(call, struct worker_job_state, call);
    enum result result = call->command.outcome.result;
    state->is_renewing = false;
    if (result == RESULT_OK) {
        set_leased(state, state->renewed_ns);
    } else if (result == RESULT_WORK_NOT_YOURS) {
        state->is_lost = true;
        set_in_doubt(state, false);
        count_lost(state);
    } else if (state->phase == PHASE_RUNNING) {
        renew_again(state);
    }
    if (state->phase == PHASE_DONE)
        settle(state);
}

/* Stands on neither list. */
static void renew(struct worker_job_state *state, int64_t now_ns)
{
    struct desk *desk = state->desk;
    const struct work_item *item = &state->job.item;
    state->renewed_ns = now_ns;
    state->order = (struct work_order){.kind = item->kind,
        .id = item->id,
        .token = item->token,
        .due_ms = engine_now_ms(desk->worker->engine) + desk->handler.lease_ms};
    prepare_call(&state->call, COMMAND_WORK_POSTPONE, &state->order, on_renewed);
    state->is_renewing = engine_port_push(desk->worker->port, &state->call);
    if (!state->is_renewing)
        renew_again(state);
}

static struct worker_job_state *first_leased(const struct list *leases)
{
    struct list *first = list_first(leases);
    return first == NULL ? NULL : CONTAINER_OF(first, struct worker_job_state, lease);
}

static void renew_what_is_due(struct desk *desk, int64_t now_ns)
{
    struct worker_job_state *state;
    while ((state = first_leased(&desk->leased)) != NULL && now_ns >= state->lease_half_ns) {
        list_remove(&state->lease);
        set_in_doubt(state, true);
        if (state->phase == PHASE_RUNNING)
            renew(state, now_ns);
    }
    while ((state = first_leased(&desk->renewals)) != NULL && now_ns >= state->renew_at_ns) {
        list_remove(&state->lease);
        if (state->phase == PHASE_RUNNING)
            renew(state, now_ns);
    }
}

/* --- claiming --- */

static void take_item(struct desk *desk, const struct work_item *item)
{
    struct list *node = list_first(&desk->free);
    ENSURE(node != NULL);
    struct worker_job_state *state = state_of(node);
    list_remove(node);
    *state = (struct worker_job_state){
        .job = {.item = *item, .state = state}, .desk = desk, .phase = PHASE_CLAIMED};
    list_init(&state->lease);
    list_init(&state->done);
    list_append(&desk->claimed, &state->node);
    set_leased(state, desk->claimed_ns);
    desk->held_count++;
}

/* After an unknown outcome it may be claimed or not; the lease will tell. */
static void on_claimed(struct engine_call *call)
{
    struct desk *desk = CONTAINER_OF(call, struct desk, call);
    const struct work_order *order = &desk->order;
    bool is_ours = call->command.outcome.result == RESULT_OK;
    desk->is_claiming = false;
    desk->claim_at_ns = poll_time_ns();
    for (size_t i = 0; i < order->count; i++) {
        if (is_ours)
            take_item(desk, &desk->items[i]);
        else
            work_item_fini(&desk->items[i]);
    }
    if (!is_ours)
        return;
    count(&desk->claimed_total, order->count);
    desk->may_have_more = desk->may_have_more || order->count + order->dropped_count >= order->count_max;
}

/* How many jobs may be claimed now. */
static size_t claim_count(struct desk *desk)
{
    const struct worker_handler *handler = &desk->handler;
    size_t allowed = handler->in_flight_max - desk->held_count;
    size_t room = handler->room == NULL || allowed == 0 ? allowed : handler->room(handler->context);
    if (room < allowed)
        allowed = room;
    if (allowed > desk->items_size)
        allowed = desk->items_size;
    return make_states(desk, allowed);
}

/* Without room it is asked for again at the next turn, since whoever makes room wakes the thread. */
static void claim(struct desk *desk, int64_t now_ns)
{
    struct worker *worker = desk->worker;
    const struct worker_handler *handler = &desk->handler;
    if (now_ns >= desk->claim_at_ns) {
        desk->claim_at_ns = poll_time_ns();
        desk->may_have_more = true;
    }
    if (desk->is_claiming || !desk->may_have_more || desk->doubt_count > 0 ||
        engine_state(worker->engine) != ENGINE_SERVING)
        return;
    size_t count_max = claim_count(desk);
    if (count_max == 0)
        return;
    desk->may_have_more = false;
    desk->claimed_ns = now_ns;
    desk->order = (struct work_order){.kind = handler->kind,
        .count_max = count_max,
        .lease_ms = handler->lease_ms,
        .payment_ms = handler->payment_ms == NULL ? 0 : handler->payment_ms(handler->context),
        .items = desk->items};
    prepare_call(&desk->call, COMMAND_WORK_CLAIM, &desk->order, on_claimed);
    desk->is_claiming = engine_port_push(worker->port, &desk->call);
}

/* --- a turn --- */

static void begin(struct worker_job_state *state, int64_t now_ns)
{
    struct desk *desk = state->desk;
    state->phase = PHASE_RUNNING;
    if (desk->worker->is_last_turn || now_ns >= state->lease_half_ns) {
        state->phase = PHASE_DONE;
        state->report = (struct worker_report){.verdict = WORKER_NOT_BEGUN};
        settle(state);
        return;
    }
    desk->handler.run(&state->job, desk->handler.context);
}

static void tell_what_waits(struct desk *desk, int64_t now_ns)
{
    if (list_is_empty(&desk->untold) || now_ns < desk->tell_at_ns)
        return;
    struct list waiting; /* what cannot be told now either comes to the emptied list */
    list_init(&waiting);
    while (!list_is_empty(&desk->untold)) {
        struct list *node = list_first(&desk->untold);
        list_remove(node);
        list_append(&waiting, node);
    }
    struct list *node;
    while ((node = list_first(&waiting)) != NULL) {
        list_remove(node);
        settle(state_of(node));
    }
}

void desk_serve(struct desk *desk)
{
    struct list *node;
    int64_t now_ns = clock_mono_ns();
    while ((node = list_first(&desk->claimed)) != NULL) {
        list_remove(node);
        begin(state_of(node), now_ns);
    }
    renew_what_is_due(desk, now_ns);
    tell_what_waits(desk, now_ns);
    if (!desk->worker->is_last_turn)
        claim(desk, now_ns);
}

/* When this desk has something to do though nothing happens. */
int64_t desk_wake_at_ns(const struct desk *desk)
{
    bool claims = !desk->is_claiming && !desk->worker->is_last_turn;
    int64_t wake_ns = claims ? desk->claim_at_ns : INT64_MAX;
    const struct worker_job_state *leased = first_leased(&desk->leased);
    const struct worker_job_state *renewal = first_leased(&desk->renewals);
    if (leased != NULL && leased->lease_half_ns < wake_ns)
        wake_ns = leased->lease_half_ns;
    if (renewal != NULL && renewal->renew_at_ns < wake_ns)
        wake_ns = renewal->renew_at_ns;
    if (!list_is_empty(&desk->untold) && desk->tell_at_ns < wake_ns)
        wake_ns = desk->tell_at_ns;
    return wake_ns;
}

/* --- life --- */

bool desk_init(struct desk *desk, struct worker *worker, const struct worker_handler *handler)
{
    ENSURE(handler->in_flight_max > 0 && handler->lease_ms > 0);
    desk->worker = worker;
    desk->handler = *handler;
    list_init(&desk->free);
    list_init(&desk->claimed);
    list_init(&desk->leased);
    list_init(&desk->renewals);
    list_init(&desk->untold);
    desk->items_size = handler->in_flight_max < CLAIM_COUNT_MAX ? handler->in_flight_max : CLAIM_COUNT_MAX;
    desk->items = calloc(desk->items_size, sizeof *desk->items);
    return desk->items != NULL;
}

void desk_fini(struct desk *desk)
{
    while (desk->blocks != NULL) {
        struct job_block *block = desk->blocks;
        desk->blocks = block->next;
        free(block);
    }
    free(desk->items);
}
