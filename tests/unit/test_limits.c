/* SPDX-License-Identifier: Apache-2.0 */
/* The limiter as all net threads share it: of a burst, exactly one attempt of each user is admitted
 * (contract, 5). */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/limits.h"

enum { THREADS = 4, USERS = 2000, BURSTS = 3, INTERVAL_MS = 1000 };

static struct limits *limits;
static atomic_int admitted[BURSTS][USERS];
static pthread_barrier_t barrier;

static struct slice user_name(int user, char text[24])
{
    return slice_make(text, (size_t)snprintf(text, 24, "buyer-%d", user));
}

/* Every thread tries every user, each in an order of its own, at times that differ a little. */
static void *hammer(void *argument)
{
    int thread = (int)(intptr_t)argument;
    for (int burst = 0; burst < BURSTS; burst++) {
        (void)pthread_barrier_wait(&barrier);
        for (int i = 0; i < USERS; i++) {
            char text[24];
            int user = (i * 7 + thread * 501) % USERS;
            int64_t now_ms = 10000 + (int64_t)burst * (2 * INTERVAL_MS) + thread;
            if (limits_attempt(limits, user_name(user, text), now_ms))
                atomic_fetch_add(&admitted[burst][user], 1);
        }
    }
    return NULL;
}

static void exactly_one_attempt_of_a_burst_is_admitted(void **state)
{
    pthread_t threads[THREADS];
    (void)state;
    limits = limits_create(INTERVAL_MS);
    assert_non_null(limits);
    assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    for (intptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int burst = 0; burst < BURSTS; burst++)
        for (int user = 0; user < USERS; user++)
            assert_int_equal(admitted[burst][user], 1);
    pthread_barrier_destroy(&barrier);
    limits_destroy(limits);
}

static void users_do_not_disturb_each_other(void **state)
{
    char text[24];
    (void)state;
    limits = limits_create(INTERVAL_MS);
    assert_non_null(limits);
    for (int user = 0; user < 10000; user++)
        assert_true(limits_attempt(limits, user_name(user, text), 5000));
    int remembered = 0;
    for (int user = 0; user < 10000; user++)
        remembered += !limits_attempt(limits, user_name(user, text), 5999);
    assert_int_equal(remembered, 10000);
    assert_true(limits_attempt(limits, user_name(7, text), 6999));
    limits_destroy(limits);
}

static void an_interval_of_zero_is_no_limit(void **state)
{
    (void)state;
    limits = limits_create(0);
    assert_non_null(limits);
    assert_int_equal(limits_interval_ms(limits), 0);
    for (int i = 0; i < 10; i++)
        assert_true(limits_attempt(limits, SLICE("anna"), 5000));
    limits_destroy(limits);
    limits = limits_create(250);
    assert_int_equal(limits_interval_ms(limits), 250);
    assert_true(limits_attempt(limits, SLICE("anna"), 5000));
    assert_false(limits_attempt(limits, SLICE("anna"), 5249));
    assert_true(limits_attempt(limits, SLICE("anna"), 5499));
    limits_destroy(limits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_one_attempt_of_a_burst_is_admitted),
        cmocka_unit_test(users_do_not_disturb_each_other),
        cmocka_unit_test(an_interval_of_zero_is_no_limit),
    };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
