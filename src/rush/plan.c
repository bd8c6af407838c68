/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/plan.h"

#include "base/ensure.h"

static const double NS_PER_S = 1e9;

struct plan plan_burst(int64_t begin_ns, uint64_t users, uint64_t sessions_per_user)
{
    return (struct plan){
        .kind = PLAN_BURST, .begin_ns = begin_ns, .vu_count = users, .sessions_per_vu = sessions_per_user};
}

struct plan plan_closed(int64_t begin_ns, int64_t duration_ns, uint64_t users, int64_t interval_ns)
{
    return (struct plan){.kind = PLAN_CLOSED,
        .begin_ns = begin_ns,
        .vu_count = users,
        .users_first = users,
        .stages = {{duration_ns, users}},
        .stage_count = 1,
        .interval_ns = interval_ns};
}

struct plan plan_ramp(
    int64_t begin_ns, int64_t up_ns, int64_t hold_ns, int64_t down_ns, uint64_t users, int64_t interval_ns)
{
    return (struct plan){.kind = PLAN_CLOSED,
        .begin_ns = begin_ns,
        .vu_count = users,
        .users_first = 0,
        .stages = {{up_ns, users}, {hold_ns, users}, {down_ns, 0}},
        .stage_count = 3,
        .interval_ns = interval_ns};
}

struct plan plan_spawn(int64_t begin_ns, int64_t duration_ns, uint64_t users, double per_second,
    int64_t think_min_ns, int64_t think_max_ns)
{
    ENSURE(per_second > 0 && users > 0 && think_min_ns <= think_max_ns);
    int64_t up_ns = (int64_t)((double)(users - 1) / per_second * NS_PER_S);
    if (up_ns > duration_ns) {
        users = 1 + (uint64_t)((double)duration_ns / NS_PER_S * per_second);
        up_ns = duration_ns;
    }
    return (struct plan){.kind = PLAN_CLOSED,
        .begin_ns = begin_ns,
        .vu_count = users,
        .users_first = 1,
        .stages = {{up_ns, users}, {duration_ns - up_ns, users}},
        .stage_count = 2,
        .think_min_ns = think_min_ns,
        .think_max_ns = think_max_ns};
}

struct plan plan_open(int64_t begin_ns, double rate, uint64_t connections, uint64_t session_count)
{
    ENSURE(rate > 0);
    return (struct plan){.kind = PLAN_OPEN,
        .begin_ns = begin_ns,
        .vu_count = connections,
        .rate = rate,
        .session_count = session_count};
}

/* When a number that goes from `before` to `after` in the stage's time passes `level`. */
static int64_t crossing_ns(const struct plan_stage *stage, uint64_t before, uint64_t level)
{
    double way = (double)level - (double)before;
    double whole = (double)stage->users - (double)before;
    return (int64_t)((double)stage->duration_ns * (way / whole));
}

void plan_vu_window(const struct plan *plan, uint64_t vu, int64_t *from_ns, int64_t *until_ns)
{
    *from_ns = plan->begin_ns;
    *until_ns = INT64_MAX;
    if (plan->kind != PLAN_CLOSED)
        return;
    uint64_t level = vu + 1; /* this user is there while there are at least so many */
    uint64_t users = plan->users_first;
    int64_t at_ns = plan->begin_ns;
    bool is_there = users >= level;
    *from_ns = INT64_MAX;
    if (is_there)
        *from_ns = at_ns;
    for (size_t i = 0; i < plan->stage_count; i++) {
        const struct plan_stage *stage = &plan->stages[i];
        if (!is_there && stage->users >= level) {
            *from_ns = at_ns + crossing_ns(stage, users, level);
            is_there = true;
        } else if (is_there && stage->users < level) {
            *until_ns = at_ns + crossing_ns(stage, users, level);
            return;
        }
        users = stage->users;
        at_ns += stage->duration_ns;
    }
    *until_ns = at_ns;
}

int64_t plan_next_ns(const struct plan *plan, int64_t due_ns, int64_t over_ns, uint64_t draw)
{
    int64_t turn_ns = due_ns + plan->interval_ns;
    if (plan->think_max_ns > 0) {
        uint64_t range_ns = (uint64_t)(plan->think_max_ns - plan->think_min_ns) + 1;
        turn_ns = over_ns + plan->think_min_ns + (int64_t)(draw % range_ns);
    }
    return turn_ns > over_ns ? turn_ns : over_ns;
}

/* The finalizer of splitmix64: every bit of the result depends on every bit of what goes in. */
static uint64_t mix(uint64_t value)
{
    value += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

uint64_t plan_draw(uint64_t series, uint64_t index)
{
    return mix(mix(series) ^ index);
}

int64_t plan_arrival_ns(const struct plan *plan, uint64_t index)
{
    return plan->begin_ns + (int64_t)((double)index * NS_PER_S / plan->rate);
}

int64_t plan_end_ns(const struct plan *plan)
{
    int64_t end_ns = plan->begin_ns;
    if (plan->kind == PLAN_OPEN && plan->session_count > 0)
        return plan_arrival_ns(plan, plan->session_count - 1);
    for (size_t i = 0; i < plan->stage_count; i++)
        end_ns += plan->stages[i].duration_ns;
    return end_ns;
}

uint64_t plan_session_count(const struct plan *plan)
{
    switch (plan->kind) {
    case PLAN_BURST:
        return plan->vu_count * plan->sessions_per_vu;
    case PLAN_OPEN:
        return plan->session_count;
    case PLAN_CLOSED:
        return 0;
    }
    return 0;
}
