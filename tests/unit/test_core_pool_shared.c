/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool as a node of a shared store has it: a copy that is brought up to date now and then, with what has
 * changed since or with everything, and sometimes not to the end. A world in which a crowd drawn by lot is at
 * work stands for the store. After each refresh the copy is the pool, and the tickets that have ended in
 * between are told once.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/world_pool.h"
#include "random_pool.h"
#include "world_kit.h"

enum { RUNS = 20, ROUNDS = 150, IDS_MAX = 20000 };

/* What stands for the store: the pool, and which of its rows have changed since the copy was up to date. */
static struct world source;
static bool has_machine_changed[IDS_MAX];
static bool has_ticket_changed[IDS_MAX];
static struct ticket tickets[IDS_MAX]; /* all there ever were, by id */

static struct world copy;
static bool was_waiting[IDS_MAX]; /* in the copy, and not told of since */

static struct strbuf source_text;
static struct strbuf copy_text;

/* --- the store --- */

static void note_change(const struct change *change)
{
    if (change->kind == CHANGE_MACHINE_ADDED || change->kind == CHANGE_MACHINE_UPDATED) {
        assert_true(change->machine.machine->id < IDS_MAX);
        has_machine_changed[change->machine.machine->id] = true;
    }
    if (change->kind != CHANGE_TICKET_ADDED && change->kind != CHANGE_TICKET_UPDATED)
        return;
    const struct ticket *ticket = change->ticket.ticket;
    assert_true(ticket->id < IDS_MAX);
    has_ticket_changed[ticket->id] = true;
    tickets[ticket->id] = *ticket;
}

static void work(struct id_source *random, const struct rules *rules, const struct pool_crowd *crowd,
    struct pool_seen *seen, int64_t now_ms)
{
    world_begin(&source);
    assert_true(rules_tick(rules, &source, now_ms));
    for (unsigned i = draw(random, 12); i > 0; i--) {
        struct random_pool lot;
        struct command command;
        draw_pool_command(random, crowd, seen, now_ms, &lot, &command);
        assert_true(rules_decide(rules, &source, &command, now_ms));
        pool_seen_note(seen, &lot, &command);
    }
    for (size_t i = 0; i < source.change_count; i++)
        note_change(&source.changes[i]);
    world_accept(&source);
}

/* --- the copy --- */

static bool feed_machines(bool is_everything, int *left)
{
    LIST_FOR_EACH (node, &source.pool.machines) {
        const struct machine *machine = CONTAINER_OF(node, struct machine, node);
        if (!is_everything && !has_machine_changed[machine->id])
            continue;
        if ((*left)-- == 0)
            return false;
        assert_true(world_refresh_machine(&copy, machine));
    }
    return true;
}

static bool feed_tickets(bool is_first, int *left)
{
    for (int64_t id = 1; id < source.pool.values.next_ticket_id; id++) {
        bool comes = is_first ? tickets[id].values.state == TICKET_WAITING : has_ticket_changed[id];
        if (!comes)
            continue;
        if ((*left)-- == 0)
            return false;
        assert_true(world_refresh_ticket(&copy, &tickets[id]));
    }
    return true;
}

/* From the first line about the pool; the average of leases is each node's own. */
static struct slice pool_text(struct world *world, struct strbuf *text)
{
    world->pool.lease_ms = 0;
    world_dump(world, text);
    const char *start = text->len == 0 ? NULL : memmem(text->base, text->len, "pool next", 9);
    return start == NULL ? SLICE("") : slice_make(start, (size_t)(text->base + text->len - start));
}

/* Every ticket that has ended was waiting before, is told once, and says how it has ended. */
static void check_ended(void)
{
    LIST_FOR_EACH (node, &copy.pool.ended_tickets) {
        const struct ticket *ticket = CONTAINER_OF(node, struct ticket, node);
        assert_true(ticket->has_ended && was_waiting[ticket->id]);
        assert_int_equal(ticket->values.state, tickets[ticket->id].values.state);
        assert_int_equal(ticket->values.machine_id, tickets[ticket->id].values.machine_id);
        assert_int_equal(ticket->values.end_lease_id, tickets[ticket->id].values.end_lease_id);
        assert_int_equal(ticket->values.ended_ms, tickets[ticket->id].values.ended_ms);
        was_waiting[ticket->id] = false;
    }
    for (int64_t id = 1; id < source.pool.values.next_ticket_id; id++) {
        bool waits = world_ticket(&copy, id) != NULL;
        assert_true(!was_waiting[id] || waits);
        was_waiting[id] = waits;
    }
    world_accept_ended_tickets(&copy);
}

/* Up to `left` rows come, and then the connection breaks. */
static void refresh(bool is_held, int left)
{
    const struct pool_values before = copy.pool.values;
    bool is_first = copy.pool.refresh_number == 0;
    world_begin(&copy);
    bool is_everything = world_refresh_pool(&copy, &source.pool.values, is_held);
    assert_true(is_everything || !is_first);
    assert_int_equal(world_holds_pool(&copy), is_held);
    if (!feed_machines(is_everything, &left) || !feed_tickets(is_first, &left)) {
        world_refresh_pool_failed(&copy, &before);
        assert_false(world_holds_pool(&copy));
        assert_int_equal(copy.pool.values.version, before.version);
        for (int64_t id = 1; id < source.pool.values.next_ticket_id; id++) /* some may have come */
            was_waiting[id] = was_waiting[id] || world_ticket(&copy, id) != NULL;
        return;
    }
    world_refresh_pool_end(&copy, is_everything);
    assert_true(slice_eq(pool_text(&source, &source_text), pool_text(&copy, &copy_text)));
    check_ended();
    memset(has_machine_changed, 0, sizeof has_machine_changed);
    memset(has_ticket_changed, 0, sizeof has_ticket_changed);
}

static void run(uint64_t seed)
{
    struct id_source random;
    struct pool_crowd crowd;
    struct pool_seen seen = {0};
    const struct rules rules = {.idempotency_ttl_ms = 1000,
        .idempotency_count_max = SIZE_MAX,
        .dispense_ms = (int64_t)(seed % 3) * 100,
        .choose_timeout_ms = 200,
        .line_max = 20};
    int64_t now_ms = 1000;
    id_source_init_seed(&random, seed);
    draw_pool_crowd(&random, &crowd);
    world_init(&source, &world_kit_hash_key);
    world_init(&copy, &world_kit_hash_key);
    world_share(&copy);
    memset(has_machine_changed, 0, sizeof has_machine_changed);
    memset(has_ticket_changed, 0, sizeof has_ticket_changed);
    memset(was_waiting, 0, sizeof was_waiting);
    for (int i = 0; i < ROUNDS; i++) {
        for (unsigned batches = draw(&random, 4); batches > 0; batches--) {
            now_ms += draw(&random, 60);
            work(&random, &rules, &crowd, &seen, now_ms);
        }
        bool breaks = draw(&random, 5) == 0;
        refresh(draw(&random, 2) == 0, breaks ? (int)draw(&random, 12) : INT32_MAX);
    }
    world_fini(&source);
    world_fini(&copy);
}

/* A node decides about machines as they were, or tells somebody of a ticket that is not his. */
static void a_copy_follows_the_pool(void **state)
{
    (void)state;
    strbuf_init_heap(&source_text, 1 << 24);
    strbuf_init_heap(&copy_text, 1 << 24);
    for (uint64_t seed = 1; seed <= RUNS; seed++)
        run(seed);
    strbuf_fini(&source_text);
    strbuf_fini(&copy_text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_copy_follows_the_pool)};
    return cmocka_run_group_tests_name("core pool shared", tests, NULL, NULL);
}
