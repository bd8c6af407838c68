/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passwords are hashed and checked on the pool's threads, too many are refused at once, none is left in
 * memory, and an unknown user costs what a known one costs. The hashes here are cheap ones, but for one.
 */
#include "service/passwords.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/clock.h"

enum { QUEUE_MAX = 6 };

static const struct passwords_config cheap = {
    .thread_count = 1, .queue_max = QUEUE_MAX, .passes = 1, .memory_bytes = 8192};

static sem_t done;
static sem_t gate; /* a job with a context waits here in on_done */
static sem_t entered;
static atomic_int done_count;
static atomic_int_fast64_t cpu_ns; /* of the pool's thread, when a job was done */

static bool is_wiped(const struct password_job *job)
{
    for (size_t i = 0; i < sizeof job->password; i++) {
        if (job->password[i] != '\0')
            return false;
    }
    return true;
}

static void on_done(struct password_job *job)
{
    assert_true(is_wiped(job));
    if (job->context != NULL) {
        sem_post(&entered);
        sem_wait(&gate);
    }
    atomic_store(&cpu_ns, clock_thread_cpu_ns());
    atomic_fetch_add(&done_count, 1);
    sem_post(&done);
}

static int set_up(void **state)
{
    sem_init(&done, 0, 0);
    sem_init(&gate, 0, 0);
    sem_init(&entered, 0, 0);
    atomic_store(&done_count, 0);
    return 0;
}

static struct passwords *made(const struct passwords_config *config)
{
    struct passwords *passwords;
    struct error error;
    assert_int_equal(passwords_create(config, &passwords, &error), ERR_NONE);
    return passwords;
}

static void set_password(struct password_job *job, struct slice password)
{
    memset(job->password, 0, sizeof job->password);
    memcpy(job->password, password.base, password.len);
    job->password_len = password.len;
    job->on_done = on_done;
}

static void hash_now(struct passwords *passwords, struct password_job *job, struct slice password)
{
    set_password(job, password);
    assert_true(passwords_hash(passwords, job));
    sem_wait(&done);
    assert_int_equal(job->status, PASSWORD_OK);
}

static enum password_status verify_now(
    struct passwords *passwords, struct password_job *job, struct slice password)
{
    set_password(job, password);
    assert_true(passwords_verify(passwords, job));
    sem_wait(&done);
    return job->status;
}

static void only_the_right_password_matches(void **state)
{
    static char longest[PASSWORD_LEN_MAX];
    memset(longest, 'x', sizeof longest);
    const struct slice texts[] = {SLICE("correct horse"), SLICE(""), SLICE("with\0a NUL"),
        SLICE("p\xC3\xA4ss"), slice_make(longest, sizeof longest)};
    struct passwords *passwords = made(&cheap);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct password_job job = {0};
        hash_now(passwords, &job, texts[i]);
        assert_true(slice_starts_with(slice_cstr(job.hash), SLICE("$argon2id$v=19$m=8,t=1,p=1$")));
        assert_int_equal(verify_now(passwords, &job, texts[i]), PASSWORD_OK);
        assert_int_equal(verify_now(passwords, &job, SLICE("with\0another NUL")), PASSWORD_WRONG);
        assert_int_equal(
            verify_now(passwords, &job, slice_make(longest, sizeof longest - 1)), PASSWORD_WRONG);
    }
    passwords_destroy(passwords);
}

static void equal_passwords_have_different_hashes(void **state)
{
    struct passwords *passwords = made(&cheap);
    struct password_job a = {0};
    struct password_job b = {0};
    hash_now(passwords, &a, SLICE("same"));
    hash_now(passwords, &b, SLICE("same"));
    assert_string_not_equal(a.hash, b.hash);
    passwords_destroy(passwords);
}

static void a_damaged_hash_gives_no_verdict(void **state)
{
    static const char *const damaged[] = {"x", "$argon2id$", "$argon2id$v=19$m=8,t=1,p=1$", "plain text"};
    struct passwords *passwords = made(&cheap);
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        struct password_job job = {0};
        snprintf(job.hash, sizeof job.hash, "%s", damaged[i]);
        assert_int_equal(verify_now(passwords, &job, SLICE("x")), PASSWORD_FAILED);
    }
    passwords_destroy(passwords);
}

/* Five checks; the time that the pool's thread was on a processor, so that other programs do not count. */
static int64_t cpu_time_of_checks(struct passwords *passwords, struct password_job *job)
{
    (void)verify_now(passwords, job, SLICE("wrong"));
    int64_t before_ns = atomic_load(&cpu_ns);
    for (int i = 0; i < 5; i++)
        assert_int_equal(verify_now(passwords, job, SLICE("wrong")), PASSWORD_WRONG);
    return atomic_load(&cpu_ns) - before_ns;
}

static void an_unknown_user_costs_what_a_known_one_costs(void **state)
{
    struct passwords_config config = cheap;
    config.memory_bytes = 8 << 20;
    struct passwords *passwords = made(&config);
    struct password_job known = {0};
    struct password_job unknown = {0};
    hash_now(passwords, &known, SLICE("right"));
    int64_t known_ns = cpu_time_of_checks(passwords, &known);
    int64_t unknown_ns = cpu_time_of_checks(passwords, &unknown);
    if (unknown_ns < known_ns / 4 || unknown_ns > known_ns * 4)
        fail_msg("five checks of a known user took %lld ns of a processor, of an unknown one %lld ns",
            (long long)known_ns, (long long)unknown_ns);
    assert_int_equal(verify_now(passwords, &unknown, SLICE("")), PASSWORD_WRONG);
    passwords_destroy(passwords);
}

/* The only thread stands in on_done; the queue is empty. */
static void hold_the_thread(struct passwords *passwords, struct password_job *job)
{
    set_password(job, SLICE("holds"));
    job->context = job;
    assert_true(passwords_hash(passwords, job));
    sem_wait(&entered);
}

static void put_metrics(struct passwords *passwords, char *memory, size_t size)
{
    struct strbuf text;
    strbuf_init(&text, memory, size - 1);
    passwords_put_metrics(passwords, &text);
    assert_false(text.has_overflowed);
    memory[text.len] = '\0';
}

static void too_many_are_refused_at_once(void **state)
{
    struct passwords *passwords = made(&cheap);
    static struct password_job jobs[QUEUE_MAX + 2];
    char text[2048];
    int64_t idle_ns = passwords_wait_ns(passwords);
    assert_true(idle_ns > 0);
    hold_the_thread(passwords, &jobs[0]);
    for (size_t i = 1; i <= QUEUE_MAX; i++) {
        set_password(&jobs[i], SLICE("waits"));
        assert_true(passwords_verify(passwords, &jobs[i]));
    }
    set_password(&jobs[QUEUE_MAX + 1], SLICE("refused"));
    assert_false(passwords_verify(passwords, &jobs[QUEUE_MAX + 1]));
    assert_true(is_wiped(&jobs[QUEUE_MAX + 1]));
    assert_true(passwords_wait_ns(passwords) == (QUEUE_MAX + 2) * idle_ns);
    put_metrics(passwords, text, sizeof text);
    assert_non_null(strstr(text, "\ndoorbuster_passwords_waiting 6\n"));
    assert_non_null(strstr(text, "\ndoorbuster_passwords_refused_total 1\n"));
    sem_post(&gate);
    for (int i = 0; i < QUEUE_MAX + 1; i++)
        sem_wait(&done);
    assert_int_equal(verify_now(passwords, &jobs[QUEUE_MAX + 1], SLICE("again")), PASSWORD_WRONG);
    passwords_stop(passwords);
    put_metrics(passwords, text, sizeof text);
    assert_non_null(strstr(text, "\ndoorbuster_passwords_waiting 0\n"));
    assert_non_null(strstr(text, "\ndoorbuster_passwords_done_total 8\n"));
    passwords_destroy(passwords);
}

static void a_stop_finishes_what_waits_and_refuses_more(void **state)
{
    struct passwords *passwords = made(&cheap);
    static struct password_job jobs[4];
    hold_the_thread(passwords, &jobs[0]);
    for (int i = 1; i < 4; i++) {
        set_password(&jobs[i], SLICE("waits"));
        assert_true(passwords_hash(passwords, &jobs[i]));
    }
    sem_post(&gate);
    passwords_stop(passwords);
    assert_int_equal(atomic_load(&done_count), 4);
    set_password(&jobs[0], SLICE("late"));
    assert_false(passwords_hash(passwords, &jobs[0]));
    assert_true(is_wiped(&jobs[0]));
    passwords_stop(passwords);
    passwords_destroy(passwords);
    assert_int_equal(atomic_load(&done_count), 4);
}

/* --- many at once --- */

enum { PUSHERS = 4, PUSHES = 100 };

static struct password_job many[PUSHERS][PUSHES];

struct pusher {
    struct passwords *passwords;
    struct password_job *jobs;
    int taken;
};

static void *push_many(void *context)
{
    struct pusher *pusher = context;
    for (int i = 0; i < PUSHES; i++) {
        set_password(&pusher->jobs[i], SLICE("many"));
        pusher->taken += passwords_hash(pusher->passwords, &pusher->jobs[i]);
    }
    return NULL;
}

static void each_job_of_many_threads_is_done_once(void **state)
{
    struct passwords_config config = cheap;
    struct pusher pushers[PUSHERS];
    pthread_t threads[PUSHERS];
    config.thread_count = 3;
    struct passwords *passwords = made(&config);
    int taken = 0;
    for (int i = 0; i < PUSHERS; i++) {
        pushers[i] = (struct pusher){passwords, many[i], 0};
        assert_int_equal(pthread_create(&threads[i], NULL, push_many, &pushers[i]), 0);
    }
    for (int i = 0; i < PUSHERS; i++) {
        pthread_join(threads[i], NULL);
        taken += pushers[i].taken;
    }
    passwords_stop(passwords);
    assert_true(taken >= QUEUE_MAX);
    assert_int_equal(atomic_load(&done_count), taken);
    passwords_destroy(passwords);
}

static void the_default_cost_is_two_passes_over_64_mib(void **state)
{
    struct passwords *passwords = made(&passwords_defaults);
    struct password_job job = {0};
    hash_now(passwords, &job, SLICE("correct horse"));
    assert_true(slice_starts_with(slice_cstr(job.hash), SLICE("$argon2id$v=19$m=65536,t=2,p=1$")));
    assert_int_equal(verify_now(passwords, &job, SLICE("correct horse")), PASSWORD_OK);
    passwords_destroy(passwords);
}

static void what_cannot_be_had_is_said_at_the_start(void **state)
{
    struct passwords_config config = cheap;
    struct passwords *passwords;
    struct error error;
    config.memory_bytes = SIZE_MAX;
    assert_int_equal(passwords_create(&config, &passwords, &error), ERR_MEMORY);
    assert_non_null(strstr(error.message, "KiB of memory are needed"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(only_the_right_password_matches, set_up),
        cmocka_unit_test_setup(equal_passwords_have_different_hashes, set_up),
        cmocka_unit_test_setup(a_damaged_hash_gives_no_verdict, set_up),
        cmocka_unit_test_setup(an_unknown_user_costs_what_a_known_one_costs, set_up),
        cmocka_unit_test_setup(too_many_are_refused_at_once, set_up),
        cmocka_unit_test_setup(a_stop_finishes_what_waits_and_refuses_more, set_up),
        cmocka_unit_test_setup(each_job_of_many_threads_is_done_once, set_up),
        cmocka_unit_test_setup(the_default_cost_is_two_passes_over_64_mib, set_up),
        cmocka_unit_test_setup(what_cannot_be_had_is_said_at_the_start, set_up),
    };
    return cmocka_run_group_tests_name("passwords", tests, NULL, NULL);
}
