/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `failed` is always the number of true places among the last `seen` ones, and both start again with each
 * round. Open becomes half-open when somebody asks or calls after its time; breaker_state says so before
 * that.
 */
#include "service/breaker.h"

#include "base/ensure.h"

const struct breaker_config breaker_defaults = {
    .window = 20,
    .calls_min = 10,
    .failed_percent = 50,
    .slow_ns = 0,
    .open_ns = INT64_C(5) * 1000 * 1000 * 1000,
    .probe_count = 3,
};

/* The ticket of a call that had no leave to begin; no round has this number. */
static const breaker_ticket NO_ROUND = UINT64_MAX;

void breaker_init(struct breaker *breaker, const struct breaker_config *config)
{
    ENSURE(config->window >= 1 && config->window <= BREAKER_WINDOW_MAX);
    ENSURE(config->calls_min >= 1 && config->calls_min <= config->window);
    ENSURE(config->failed_percent >= 1 && config->failed_percent <= 100);
    ENSURE(config->slow_ns >= 0 && config->open_ns >= 1 && config->probe_count >= 1);
    *breaker = (struct breaker){.config = *config, .state = BREAKER_CLOSED};
}

static void enter(struct breaker *breaker, enum breaker_state state)
{
    breaker->state = state;
    breaker->round++;
    breaker->next = breaker->seen = breaker->failed = 0;
    breaker->probes_begun = breaker->probes_succeeded = 0;
}

static void open_up(struct breaker *breaker, int64_t now_ns)
{
    enter(breaker, BREAKER_OPEN);
    breaker->retry_ns = now_ns + breaker->config.open_ns;
    breaker->opened_total++;
}

enum breaker_state breaker_state(const struct breaker *breaker, int64_t now_ns)
{
    if (breaker->state == BREAKER_OPEN && now_ns >= breaker->retry_ns)
        return BREAKER_HALF_OPEN;
    return breaker->state;
}

static void catch_up(struct breaker *breaker, int64_t now_ns)
{
    enum breaker_state state = breaker_state(breaker, now_ns);
    if (state != breaker->state)
        enter(breaker, state);
}

size_t breaker_may_call(struct breaker *breaker, int64_t now_ns)
{
    catch_up(breaker, now_ns);
    switch (breaker->state) {
    case BREAKER_CLOSED:
        return SIZE_MAX;
    case BREAKER_OPEN:
        return 0;
    case BREAKER_HALF_OPEN:
        break;
    }
    return breaker->config.probe_count - breaker->probes_begun;
}

breaker_ticket breaker_began(struct breaker *breaker, int64_t now_ns)
{
    if (breaker_may_call(breaker, now_ns) == 0)
        return NO_ROUND;
    if (breaker->state == BREAKER_HALF_OPEN)
        breaker->probes_begun++;
    return breaker->round;
}

static void note_call(struct breaker *breaker, bool has_failed, int64_t now_ns)
{
    const struct breaker_config *config = &breaker->config;
    bool *place = &breaker->has_failed[breaker->next];
    if (breaker->seen == config->window)
        breaker->failed -= *place;
    else
        breaker->seen++;
    *place = has_failed;
    breaker->failed += has_failed;
    breaker->next = (breaker->next + 1) % config->window;
    if (breaker->seen >= config->calls_min && breaker->failed * 100 >= breaker->seen * config->failed_percent)
        open_up(breaker, now_ns);
}

static void note_probe(struct breaker *breaker, bool has_failed, int64_t now_ns)
{
    if (has_failed)
        open_up(breaker, now_ns);
    else if (++breaker->probes_succeeded == breaker->config.probe_count)
        enter(breaker, BREAKER_CLOSED);
}

void breaker_ended(
    struct breaker *breaker, breaker_ticket ticket, int64_t now_ns, bool was_success, int64_t duration_ns)
{
    bool is_slow = breaker->config.slow_ns > 0 && duration_ns > breaker->config.slow_ns;
    if (ticket != breaker->round)
        return;
    if (breaker->state == BREAKER_CLOSED)
        note_call(breaker, !was_success || is_slow, now_ns);
    else
        note_probe(breaker, !was_success || is_slow, now_ns);
}

void breaker_dropped(struct breaker *breaker, breaker_ticket ticket)
{
    if (ticket == breaker->round && breaker->state == BREAKER_HALF_OPEN)
        breaker->probes_begun--;
}

int64_t breaker_retry_at_ns(const struct breaker *breaker, int64_t now_ns)
{
    return breaker_state(breaker, now_ns) == BREAKER_OPEN ? breaker->retry_ns : 0;
}

uint64_t breaker_opened_total(const struct breaker *breaker)
{
    return breaker->opened_total;
}

struct slice breaker_state_name(enum breaker_state state)
{
    switch (state) {
    case BREAKER_CLOSED:
        return SLICE("closed");
    case BREAKER_OPEN:
        return SLICE("open");
    case BREAKER_HALF_OPEN:
        break;
    }
    return SLICE("half-open");
}
