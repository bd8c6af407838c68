/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker on a real engine: each piece of work is done once, whoever of several does it, and however long
 * it takes; one that cannot renew its lease loses it and cannot finish it any more; what failed comes again;
 * a store that fails in between changes nothing of that.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "core/world_work.h"
#include "engine_client.h"
#include "service/worker.h"
#include "world_kit.h"

enum { HOUR_MS = 3600000, WORKERS = 2, JOBS_MAX = 64 };

/* What a handler does with its jobs, and what it has seen of them. */
struct hand {
    struct worker *worker;
    atomic_bool hangs;    /* keeps the job */
    atomic_int fail_left; /* so many fail */
    int64_t delay_ms;     /* these: before they are tried again; 0: as the worker does */
    atomic_bool dies;     /* says that the work is dead */
    atomic_int room;      /* make_house_with_room: so many may begin */
    atomic_int room_questions;
    bool gives_back; /* at a stop, what it keeps */
    atomic_bool is_stopped;
    void (*before_done)(void);
    _Atomic(struct worker_job *) held;
    atomic_int run_count;
    atomic_int_fast64_t ids[JOBS_MAX];
    atomic_int_fast64_t tokens[JOBS_MAX];
};

static struct fake_store store;
static struct engine *engine;
static struct client client;
static struct hand hands[WORKERS];

static void say(struct worker_job *job, enum worker_verdict verdict)
{
    worker_done(job, (struct worker_report){.verdict = verdict});
}

static void run(struct worker_job *job, void *context)
{
    struct hand *hand = context;
    int at = atomic_load(&hand->run_count);
    ENSURE(at < JOBS_MAX);
    hand->ids[at] = job->item.id;
    hand->tokens[at] = job->item.token;
    if (atomic_load(&hand->hangs)) {
        atomic_store(&hand->held, job);
        atomic_store(&hand->run_count, at + 1);
        return;
    }
    if (hand->before_done != NULL)
        hand->before_done();
    bool fails = atomic_load(&hand->fail_left) > 0;
    if (fails)
        atomic_fetch_sub(&hand->fail_left, 1);
    atomic_store(&hand->run_count, at + 1);
    enum worker_verdict verdict = fails ? WORKER_FAILED : WORKER_FINISHED;
    if (atomic_load(&hand->dies))
        verdict = WORKER_DEAD;
    atomic_fetch_sub(&hand->room, 1);
    worker_done(job, (struct worker_report){.verdict = verdict, .delay_ms = hand->delay_ms});
}

static void stop(void *context)
{
    struct hand *hand = context;
    atomic_store(&hand->is_stopped, true);
    if (hand->gives_back)
        say(atomic_load(&hand->held), WORKER_NOT_BEGUN);
}

static size_t room(void *context)
{
    struct hand *hand = context;
    int answer = atomic_load(&hand->room);
    atomic_fetch_add(&hand->room_questions, 1);
    return answer > 0 ? (size_t)answer : 0;
}

static void make_house_with(int64_t lease_ms, size_t in_flight_max, size_t (*room_or_null)(void *context))
{
    const struct engine_config config = {
        .rules = {.idempotency_ttl_ms = HOUR_MS, .idempotency_count_max = SIZE_MAX}, .line_depth_max = 1000};
    struct error error;
    fake_store_init(&store);
    assert_int_equal(engine_create(&config, &store.base, &engine, &error), ERR_NONE);
    client_open(&client, engine, &store);
    for (int i = 0; i < WORKERS; i++) {
        hands[i] = (struct hand){0};
        struct worker_handler handler = {.kind = WORK_SALE_CLOSEOUT,
            .lease_ms = lease_ms,
            .in_flight_max = in_flight_max,
            .room = room_or_null,
            .run = run,
            .stop = stop,
            .context = &hands[i]};
        assert_int_equal(worker_create(engine, &handler, 1, &hands[i].worker, &error), ERR_NONE);
    }
    assert_int_equal(engine_start(engine, &error), ERR_NONE);
}

static void make_house(int64_t lease_ms, size_t in_flight_max)
{
    make_house_with(lease_ms, in_flight_max, NULL);
}

static void start(struct hand *hand)
{
    struct error error;
    assert_int_equal(worker_start(hand->worker, &error), ERR_NONE);
}

static void end_house(void)
{
    for (int i = 0; i < WORKERS; i++)
        worker_stop(hands[i].worker);
    engine_stop(engine);
    client_drain(&client);
    client_close(&client);
    for (int i = 0; i < WORKERS; i++)
        worker_destroy(hands[i].worker);
    engine_destroy(engine);
    fake_store_fini(&store);
}

/* Spins, giving way; the program ends when it waits in vain. */
#define AWAIT(condition)                                                                                     \
    for (int64_t end_ns = clock_mono_ns() + WAIT_LIMIT_MS * (int64_t)1000000; !(condition); sched_yield()) { \
        if (clock_mono_ns() > end_ns)                                                                        \
            wait_failed(#condition);                                                                         \
    }

/* A sale of one unit that is sold out at once: one piece of work. */
static void sell_out(const char *sku)
{
    int64_t now_ms = clock_wall_ms();
    assert_int_equal(
        client_do(&client, make_create(sku, 1, now_ms - 1000, now_ms + HOUR_MS)).result, RESULT_OK);
    AWAIT(client_do(&client, make_purchase(sku, "ann")).result == RESULT_OK);
}

/* A figure of one worker's. */
static int figure(struct hand *hand, const char *name)
{
    char memory[4096];
    char wanted[100];
    struct strbuf text;
    strbuf_init(&text, memory, sizeof memory - 1);
    worker_put_metrics(hand->worker, &text);
    assert_false(text.has_overflowed);
    memory[text.len] = '\0';
    (void)snprintf(wanted, sizeof wanted, "\ndoorbuster_work_%s_total{kind=\"sale-closeout\"} ", name);
    const char *at = strstr(memory, wanted);
    assert_non_null(at);
    struct slice rest;
    int64_t value = -1;
    assert_true(slice_to_i64(slice_split(slice_cstr(at + strlen(wanted)), '\n', &rest), &value));
    return (int)value;
}

/* Two nodes do the same thing, or none does it. */
static void each_thing_is_done_once(void **state)
{
    enum { COUNT = 20 };
    (void)state;
    make_house(HOUR_MS, 3);
    start(&hands[0]);
    start(&hands[1]);
    for (int i = 0; i < COUNT; i++) {
        char sku[16];
        (void)snprintf(sku, sizeof sku, "S-%d", i);
        sell_out(sku);
    }
    AWAIT(figure(&hands[0], "finished") + figure(&hands[1], "finished") == COUNT);
    bool is_done[COUNT + 1] = {false};
    for (int i = 0; i < WORKERS; i++) {
        for (int job = 0; job < atomic_load(&hands[i].run_count); job++) {
            assert_false(is_done[hands[i].ids[job]]);
            is_done[hands[i].ids[job]] = true;
        }
    }
    assert_int_equal(atomic_load(&hands[0].run_count) + atomic_load(&hands[1].run_count), COUNT);
    end_house();
}

static uint64_t commands_decided(void)
{
    struct engine_stats stats;
    engine_stats(engine, &stats);
    return stats.commands_total;
}

/* Work that takes longer than a lease is begun a second time. */
static void what_takes_long_is_done_once(void **state)
{
    enum { LEASE_MS = 3000, LEASES = 2, QUESTIONS = 10 };
    (void)state;
    make_house(LEASE_MS, 1);
    atomic_store(&hands[0].hangs, true);
    start(&hands[0]);
    sell_out("A");
    AWAIT(atomic_load(&hands[0].held) != NULL);
    int64_t until_ns = clock_mono_ns() + LEASES * LEASE_MS * (int64_t)1000000;
    uint64_t asked = commands_decided();
    start(&hands[1]);
    /* The time is what is tested. The renewals, and what the other asks for in vain. */
    AWAIT(clock_mono_ns() > until_ns && commands_decided() >= asked + QUESTIONS);
    say(atomic_load(&hands[0].held), WORKER_FINISHED);
    AWAIT(figure(&hands[0], "finished") == 1);
    assert_int_equal(figure(&hands[0], "claimed"), 1);
    assert_int_equal(figure(&hands[0], "lost"), 0);
    assert_int_equal(figure(&hands[1], "claimed"), 0);
    end_house();
}

/* Work was claimed before and is made due at another time: what a renewal does. */
static bool renews(const struct world *world)
{
    for (size_t i = 0; i < world->change_count; i++) {
        const struct change *change = &world->changes[i];
        if (change->kind == CHANGE_WORK_UPDATED &&
            change->work.work->values.token == change->work.before.token)
            return true;
    }
    return false;
}

/* Who cannot renew keeps the work for ever; or what it says at last counts. */
static void who_cannot_renew_loses_the_work(void **state)
{
    (void)state;
    make_house(3000, 1);
    for (int i = 0; i < WORKERS; i++)
        atomic_store(&hands[i].hangs, true);
    start(&hands[0]);
    sell_out("A");
    AWAIT(atomic_load(&hands[0].held) != NULL);
    fake_store_fail_which(&store, renews);
    start(&hands[1]);
    AWAIT(atomic_load(&hands[1].held) != NULL);
    fake_store_fail_which(&store, NULL);
    assert_true(hands[1].tokens[0] > hands[0].tokens[0]);
    AWAIT(figure(&hands[0], "lost") == 1);
    say(atomic_load(&hands[0].held), WORKER_FINISHED);
    worker_stop(hands[0].worker);
    assert_int_equal(figure(&hands[0], "finished"), 0);
    assert_int_equal(figure(&hands[0], "lost"), 1);
    say(atomic_load(&hands[1].held), WORKER_FINISHED);
    AWAIT(figure(&hands[1], "finished") == 1);
    assert_int_equal(figure(&hands[1], "lost"), 0);
    assert_true(fake_store_read(&store, &store.commits_failed) >= 1);
    end_house();
}

/* A store that fails for a while takes the work away though nobody else wants it. */
static void a_renewal_is_tried_again(void **state)
{
    (void)state;
    make_house(300, 3);
    atomic_store(&hands[0].hangs, true);
    start(&hands[0]);
    sell_out("A");
    AWAIT(atomic_load(&hands[0].held) != NULL);
    fake_store_fail_commits(&store, ERR_FULL, 2);
    AWAIT(fake_store_read(&store, &store.commits_failed) == 2);
    int done = fake_store_read(&store, &store.commits_done);
    AWAIT(fake_store_read(&store, &store.commits_done) > done);
    say(atomic_load(&hands[0].held), WORKER_FINISHED);
    AWAIT(figure(&hands[0], "finished") == 1);
    assert_int_equal(figure(&hands[0], "claimed"), 1);
    assert_int_equal(figure(&hands[0], "lost"), 0);
    end_house();
}

static void what_failed_comes_again(void **state)
{
    (void)state;
    make_house(HOUR_MS, 3);
    atomic_store(&hands[0].fail_left, 1);
    start(&hands[0]);
    sell_out("A");
    AWAIT(figure(&hands[0], "finished") == 1);
    assert_int_equal(figure(&hands[0], "postponed"), 1);
    assert_int_equal(figure(&hands[0], "claimed"), 2);
    assert_int_equal(hands[0].ids[0], hands[0].ids[1]);
    assert_int_equal(hands[0].tokens[1], 2);
    end_house();
}

/* The worker has asked for work in vain so many times from now on. */
static void await_polls(void)
{
    enum { POLLS = 3 };
    uint64_t asked = commands_decided();
    AWAIT(commands_decided() >= asked + POLLS);
}

/* A handler that knows better when to try again is not heard. */
static void a_handler_says_when_to_try_again(void **state)
{
    (void)state;
    make_house(HOUR_MS, 3);
    atomic_store(&hands[0].fail_left, 1);
    hands[0].delay_ms = HOUR_MS;
    start(&hands[0]);
    sell_out("A");
    AWAIT(figure(&hands[0], "postponed") == 1);
    await_polls();
    assert_int_equal(atomic_load(&hands[0].run_count), 1);
    end_house();
}

/* Work that can never succeed is tried for ever, or is lost to the person who wants to try it again. */
static void what_is_dead_waits_for_a_person(void **state)
{
    (void)state;
    make_house(HOUR_MS, 3);
    atomic_store(&hands[0].dies, true);
    start(&hands[0]);
    sell_out("A");
    AWAIT(figure(&hands[0], "postponed") == 1);
    await_polls();
    assert_int_equal(atomic_load(&hands[0].run_count), 1);
    atomic_store(&hands[0].dies, false);
    struct work_order order = {.id = hands[0].ids[0]};
    struct command revive = {.kind = COMMAND_WORK_REVIVE, .work = &order};
    assert_int_equal(client_do(&client, revive).result, RESULT_OK);
    AWAIT(figure(&hands[0], "finished") == 1);
    assert_int_equal(client_do(&client, revive).result, RESULT_WORK_NOT_DEAD);
    end_house();
}

/* More is claimed than the handler has room for, or new room is not noticed. */
static void no_more_is_claimed_than_there_is_room_for(void **state)
{
    enum { COUNT = 5, ROOM = 2, QUESTIONS = 3 };
    (void)state;
    make_house_with(HOUR_MS, COUNT, room);
    start(&hands[0]);
    for (int i = 0; i < COUNT; i++) {
        char sku[16];
        (void)snprintf(sku, sizeof sku, "S-%d", i);
        sell_out(sku);
    }
    AWAIT(atomic_load(&hands[0].room_questions) >= QUESTIONS);
    assert_int_equal(figure(&hands[0], "claimed"), 0);
    atomic_store(&hands[0].room, ROOM);
    worker_wake(hands[0].worker);
    AWAIT(figure(&hands[0], "finished") == ROOM);
    int asked = atomic_load(&hands[0].room_questions);
    AWAIT(atomic_load(&hands[0].room_questions) >= asked + QUESTIONS);
    assert_int_equal(figure(&hands[0], "claimed"), ROOM);
    atomic_store(&hands[0].room, COUNT);
    worker_wake(hands[0].worker);
    AWAIT(figure(&hands[0], "finished") == COUNT);
    end_house();
}

/* For longer than the lease: the engine looks at the store again after a quarter of a second each time. */
static void fail_next_commits(void)
{
    fake_store_fail_commits(&store, ERR_FULL, 3);
}

/* What was done while the disk was full is done once more, or never counted as done. */
static void a_store_that_fails_is_waited_for(void **state)
{
    (void)state;
    make_house(300, 3);
    hands[0].before_done = fail_next_commits;
    start(&hands[0]);
    sell_out("A");
    AWAIT(figure(&hands[0], "finished") == 1);
    assert_int_equal(atomic_load(&hands[0].run_count), 1);
    assert_int_equal(fake_store_read(&store, &store.commits_failed), 3);
    end_house();
}

/* Work is begun though its lease will not last. */
static void what_cannot_be_done_in_time_is_given_back(void **state)
{
    (void)state;
    make_house(20, 3);
    store.commit_ns = 30 * 1000000; /* so a claim takes longer than the lease */
    start(&hands[0]);
    sell_out("A");
    AWAIT(figure(&hands[0], "postponed") + figure(&hands[0], "lost") > 0);
    assert_int_equal(atomic_load(&hands[0].run_count), 0);
    end_house();
}

static void *stop_first(void *unused)
{
    (void)unused;
    worker_stop(hands[0].worker);
    return NULL;
}

/* A shutdown forgets a job that runs, or lets its lease run out. */
static void a_shutdown_waits_for_what_runs(void **state)
{
    enum { LEASE_MS = 3000, LEASES = 2 };
    pthread_t thread;
    (void)state;
    make_house(LEASE_MS, 1);
    atomic_store(&hands[0].hangs, true);
    start(&hands[0]);
    sell_out("A");
    AWAIT(atomic_load(&hands[0].held) != NULL);
    start(&hands[1]);
    assert_int_equal(pthread_create(&thread, NULL, stop_first, NULL), 0);
    AWAIT(atomic_load(&hands[0].is_stopped));
    int64_t until_ns = clock_mono_ns() + LEASES * LEASE_MS * (int64_t)1000000;
    AWAIT(clock_mono_ns() > until_ns); /* the time is what is tested */
    say(atomic_load(&hands[0].held), WORKER_FINISHED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(figure(&hands[0], "finished"), 1);
    assert_int_equal(figure(&hands[1], "claimed"), 0);
    end_house();
}

/* What waits in a handler when the process ends is done only when its lease has run out. */
static void a_shutdown_gives_back_what_waits(void **state)
{
    (void)state;
    make_house(HOUR_MS, 1);
    atomic_store(&hands[0].hangs, true);
    hands[0].gives_back = true;
    start(&hands[0]);
    sell_out("A");
    AWAIT(atomic_load(&hands[0].held) != NULL);
    worker_stop(hands[0].worker);
    assert_int_equal(figure(&hands[0], "postponed"), 1);
    start(&hands[1]);
    AWAIT(figure(&hands[1], "finished") == 1);
    end_house();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_thing_is_done_once),
        cmocka_unit_test(what_takes_long_is_done_once),
        cmocka_unit_test(who_cannot_renew_loses_the_work),
        cmocka_unit_test(a_renewal_is_tried_again),
        cmocka_unit_test(what_failed_comes_again),
        cmocka_unit_test(a_handler_says_when_to_try_again),
        cmocka_unit_test(what_is_dead_waits_for_a_person),
        cmocka_unit_test(no_more_is_claimed_than_there_is_room_for),
        cmocka_unit_test(a_store_that_fails_is_waited_for),
        cmocka_unit_test(what_cannot_be_done_in_time_is_given_back),
        cmocka_unit_test(a_shutdown_waits_for_what_runs),
        cmocka_unit_test(a_shutdown_gives_back_what_waits),
    };
    log_init(LOG_ERROR + 1, LOG_JSON);
    return cmocka_run_group_tests_name("service worker", tests, NULL, NULL);
}
