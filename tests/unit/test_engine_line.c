/* SPDX-License-Identifier: Apache-2.0 */
/* The line: first come first served, bounded, and never losing a call, whoever pushes and whenever it closes.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine/engine.h"
#include "engine/line.h"
#include "fake_store.h"

enum { NS_PER_MS = 1000000 };

static struct engine_call calls[64];

static struct call_list list_of(size_t first, size_t count)
{
    struct call_list list = {0};
    for (size_t i = 0; i < count; i++)
        call_list_append(&list, &calls[first + i]);
    return list;
}

/* The list holds exactly calls[first], calls[first + 1], ...; it is emptied. */
static void assert_calls(struct call_list *list, size_t first, size_t count)
{
    assert_int_equal(list->count, count);
    for (size_t i = 0; i < count; i++)
        assert_ptr_equal(call_list_take(list), &calls[first + i]);
    assert_null(call_list_take(list));
    assert_int_equal(list->count, 0);
}

static void lists_keep_order_when_joined(void **state)
{
    (void)state;
    struct call_list list = {0};
    struct call_list more = list_of(0, 3);
    call_list_splice(&list, &more);
    assert_int_equal(more.count, 0);
    call_list_splice(&list, &more);
    more = list_of(3, 1);
    call_list_splice(&list, &more);
    call_list_append(&list, &calls[4]);
    assert_calls(&list, 0, 5);
    call_list_append(&list, &calls[7]);
    assert_calls(&list, 7, 1);
}

static void what_does_not_fit_stays_outside_in_order(void **state)
{
    struct line line;
    struct call_list taken;
    (void)state;
    line_init(&line, 5);
    struct call_list list = list_of(0, 3);
    line_append(&line, &list);
    assert_int_equal(list.count, 0);
    list = list_of(3, 7);
    line_append(&line, &list);
    assert_int_equal(atomic_load(&line.depth), 5);
    assert_calls(&list, 5, 5);
    list = list_of(10, 1);
    line_append(&line, &list);
    assert_calls(&list, 10, 1);
    assert_true(line_take(&line, INT64_MAX, &taken));
    assert_calls(&taken, 0, 5);
    assert_int_equal(atomic_load(&line.depth), 0);
    list = list_of(0, 5);
    line_append(&line, &list);
    assert_true(line_take(&line, INT64_MAX, &taken));
    assert_calls(&taken, 0, 5);
    line_fini(&line);
}

static void a_closed_line_gives_what_it_has_then_ends(void **state)
{
    struct line line;
    struct call_list taken;
    (void)state;
    line_init(&line, 5);
    struct call_list list = list_of(0, 2);
    line_append(&line, &list);
    line_close(&line);
    list = list_of(2, 2);
    line_append(&line, &list);
    assert_calls(&list, 2, 2);
    assert_true(line_take(&line, INT64_MAX, &taken));
    assert_calls(&taken, 0, 2);
    assert_false(line_take(&line, INT64_MAX, &taken));
    assert_int_equal(taken.count, 0);
    line_fini(&line);
}

static void an_open_line_waits_until_its_time(void **state)
{
    struct line line;
    struct call_list taken;
    (void)state;
    line_init(&line, 5);
    assert_true(line_take(&line, 0, &taken));
    assert_int_equal(taken.count, 0);
    int64_t until_ns = clock_mono_ns() + 20 * NS_PER_MS;
    assert_true(line_take(&line, until_ns, &taken));
    assert_int_equal(taken.count, 0);
    assert_true(clock_mono_ns() >= until_ns);
    line_fini(&line);
}

/* --- several threads --- */

enum { PRODUCERS = 3, CALLS_EACH = 5000, DEPTH = 64 };

struct producer {
    struct line *line;
    struct engine_call *calls; /* CALLS_EACH */
    int refused;               /* because the line was closed */
};

/* Appends in pieces of 1 to 7; what does not fit is tried again, unless the line is closed. */
static void *produce(void *argument)
{
    struct producer *producer = argument;
    struct call_list list = {0};
    int next = 0;
    for (int size = 1; next < CALLS_EACH || list.count > 0; size = size % 7 + 1) {
        for (int i = 0; i < size && next < CALLS_EACH; i++)
            call_list_append(&list, &producer->calls[next++]);
        line_append(producer->line, &list);
        pthread_mutex_lock(&producer->line->lock);
        bool is_closed = producer->line->is_closed;
        pthread_mutex_unlock(&producer->line->lock);
        while (is_closed && call_list_take(&list) != NULL)
            producer->refused++;
        (void)sched_yield();
    }
    return NULL;
}

/* `close_after`: the line is closed once so many calls have come. */
static void run_producers(int close_after)
{
    struct line line;
    struct producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    struct engine_call *all = calloc((size_t)PRODUCERS * CALLS_EACH, sizeof *all);
    assert_non_null(all);
    line_init(&line, DEPTH);
    for (int i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){.line = &line, .calls = all + (ptrdiff_t)i * CALLS_EACH};
        assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    int expected[PRODUCERS] = {0};
    int count = 0;
    bool is_closed = false;
    struct call_list taken;
    while (line_take(&line, clock_mono_ns() + (int64_t)WAIT_LIMIT_MS * NS_PER_MS, &taken)) {
        assert_in_range(taken.count, 1, DEPTH);
        for (struct engine_call *call; (call = call_list_take(&taken)) != NULL; count++) {
            ptrdiff_t producer = (call - all) / CALLS_EACH;
            assert_int_equal((call - all) % CALLS_EACH, expected[producer]);
            expected[producer]++;
        }
        if (count >= close_after && !is_closed) {
            line_close(&line);
            is_closed = true;
        }
    }
    int refused = 0;
    for (int i = 0; i < PRODUCERS; i++) {
        pthread_join(threads[i], NULL);
        refused += producers[i].refused;
    }
    assert_int_equal(count + refused, PRODUCERS * CALLS_EACH);
    line_fini(&line);
    free(all);
}

static void every_call_of_every_thread_comes_once_and_in_order(void **state)
{
    (void)state;
    run_producers(PRODUCERS * CALLS_EACH);
}

static void closing_in_the_middle_loses_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        run_producers(1 + i * 700);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_keep_order_when_joined),
        cmocka_unit_test(what_does_not_fit_stays_outside_in_order),
        cmocka_unit_test(a_closed_line_gives_what_it_has_then_ends),
        cmocka_unit_test(an_open_line_waits_until_its_time),
        cmocka_unit_test(every_call_of_every_thread_comes_once_and_in_order),
        cmocka_unit_test(closing_in_the_middle_loses_nothing),
    };
    return cmocka_run_group_tests_name("engine line", tests, NULL, NULL);
}
