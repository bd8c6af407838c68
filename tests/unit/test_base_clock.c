/* SPDX-License-Identifier: Apache-2.0 */
/* How times are written and read: a sale that starts at the wrong second is a wrong sale. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"

static const int64_t DAY_MS = 86400000;

static void set_zone(const char *zone)
{
    assert_int_equal(setenv("TZ", zone, 1), 0);
    tzset();
}

static int use_utc(void **state)
{
    (void)state;
    set_zone("UTC0");
    return 0;
}

static void assert_iso(int64_t wall_ms, const char *expected)
{
    char text[CLOCK_ISO_LEN + 1] = "";
    clock_format_iso(wall_ms, text);
    assert_string_equal(text, expected);
}

static void times_are_written_with_24_characters(void **state)
{
    (void)state;
    assert_iso(0, "1970-01-01T00:00:00.000Z");
    assert_iso(-1, "1969-12-31T23:59:59.999Z");
    assert_iso(-1000, "1969-12-31T23:59:59.000Z");
    assert_iso(1795218481620, "2026-11-20T23:48:01.620Z");
    assert_iso(951782400000, "2000-02-29T00:00:00.000Z");
    assert_iso(253402300799999, "9999-12-31T23:59:59.999Z");
    assert_iso(-62167219200000, "0000-01-01T00:00:00.000Z");
}

static void times_that_cannot_be_written_are_clamped(void **state)
{
    (void)state;
    assert_iso(253402300800000, "9999-12-31T23:59:59.999Z");
    assert_iso(INT64_MAX, "9999-12-31T23:59:59.999Z");
    assert_iso(-62167219200001, "0000-01-01T00:00:00.000Z");
    assert_iso(INT64_MIN, "0000-01-01T00:00:00.000Z");
}

static void http_dates_and_plain_dates(void **state)
{
    (void)state;
    char http[CLOCK_HTTP_LEN + 1] = "";
    char date[CLOCK_DATE_LEN + 1] = "";
    clock_format_http(784111777000, http);
    assert_string_equal(http, "Sun, 06 Nov 1994 08:49:37 GMT");
    clock_format_http(1795218481620, http);
    assert_string_equal(http, "Fri, 20 Nov 2026 23:48:01 GMT");
    clock_format_date(1795218481620, date);
    assert_string_equal(date, "20261120");
    clock_format_date(-1, date);
    assert_string_equal(date, "19691231");
}

static void assert_parses(const char *text, int64_t expected)
{
    int64_t wall_ms = 42;
    if (!clock_parse_iso(slice_cstr(text), &wall_ms) || wall_ms != expected)
        fail_msg("\"%s\" was read as %lld, expected %lld", text, (long long)wall_ms, (long long)expected);
}

static void assert_no_time(const char *text)
{
    int64_t wall_ms = 42;
    if (clock_parse_iso(slice_cstr(text), &wall_ms))
        fail_msg("\"%s\" was taken for the time %lld", text, (long long)wall_ms);
}

static void every_form_of_the_contract_is_read(void **state)
{
    const int64_t day = 1795132800000; /* 2026-11-20T00:00:00Z */
    const int64_t noon = day + DAY_MS / 2;
    (void)state;
    assert_parses("2026-11-20", day);
    assert_parses("2026-11-20T12:00:00.000Z", noon);
    assert_parses("2026-11-20t12:00:00Z", noon);
    assert_parses("2026-11-20 12:00:00Z", noon);
    assert_parses("2026-11-20T12:00Z", noon);
    assert_parses("2026-11-20T12:00:00z", noon);
    assert_parses("2026-11-20T12:00:00.1Z", noon + 100);
    assert_parses("2026-11-20T12:00:00.12Z", noon + 120);
    assert_parses("2026-11-20T12:00:00.123456789Z", noon + 123);
    assert_parses("2026-11-20T12:00:00.0009999Z", noon);
    assert_parses("2026-11-20T12:00:00,5Z", noon + 500);
    assert_parses("2026-11-20T14:00:00+02:00", noon);
    assert_parses("2026-11-20T14:00:00+0200", noon);
    assert_parses("2026-11-20T14:00:00+02", noon);
    assert_parses("2026-11-20T06:30-05:30", noon);
    assert_parses("2026-11-20T12:00-00:00", noon);
    assert_parses("2026-11-20T00:30+01:00", day - DAY_MS / 48);
    assert_parses("2026-11-20T23:59:59.999Z", day + DAY_MS - 1);
    assert_parses("1970-01-01T00:00:00Z", 0);
    assert_parses("1969-12-31T23:59:59.999Z", -1);
    assert_parses("0000-01-01T00:00:00Z", -62167219200000);
    assert_parses("9999-12-31T23:59:59.999Z", 253402300799999);
}

static void what_is_no_time_is_refused(void **state)
{
    static const char *const bad[] = {"", "2026", "2026-11", "20261120", "2026-11-20T", "2026-11-20 ",
        "2026-11-20Z", "2026-11-20T12", "2026-11-20T12Z", "2026-11-20T12:00:", "2026-11-20T12:0",
        "2026-11-20T12:00:0Z", "2026-11-20T12:00:00.", "2026-11-20T12:00:00.Z", "2026-11-20T12:00:00+",
        "2026-11-20T12:00:00+2", "2026-11-20T12:00:00+020",
        "2026-11-20T12:00:00+02:", "2026-11-20T12:00:00+02:0", "2026-11-20T12:00:00+02:60",
        "2026-11-20T12:00:00+24:00", "2026-11-20T12:00:00ZZ", "2026-11-20T12:00:00Z ", " 2026-11-20",
        "2026-11-20T12:00:00 Z", "2026-11-20T12:00:00 +02:00", "2026-11-20T24:00:00Z", "2026-11-20T12:60:00Z",
        "2026-11-20T12:00:60Z", "2026-00-20", "2026-13-20", "2026-11-00", "2026-11-31", "2026-1-20",
        "26-11-20", "+02026-11-20", "-2026-11-20", "2026/11/20", "2026-W47-5", "2026-324",
        "2026-11-20T120000Z", "2026-11-20T-1:00:00Z", "2026-11-20X12:00:00Z", "now", "1795132800000"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_no_time(bad[i]);
    int64_t wall_ms;
    assert_false(clock_parse_iso(slice_make("2026-11-20\0", 11), &wall_ms));
}

static void leap_days_exist_in_leap_years_only(void **state)
{
    (void)state;
    assert_parses("2024-02-29", 1709164800000);
    assert_parses("2000-02-29", 951782400000);
    assert_no_time("2023-02-29");
    assert_no_time("1900-02-29");
    assert_no_time("2100-02-29");
    assert_no_time("2024-02-30");
    assert_parses("2024-12-31", 1735603200000);
    assert_no_time("2024-04-31");
    assert_no_time("2024-06-31");
    assert_no_time("2024-09-31");
}

/* Every day of four centuries comes back as it was written, in order and 24 hours apart. */
static void days_round_trip(void **state)
{
    (void)state;
    int64_t wall_ms = -11676096000000; /* 1600-01-01 */
    for (int day = 0; day < 146097; day++) {
        char text[CLOCK_ISO_LEN];
        int64_t back;
        clock_format_iso(wall_ms + 45296789, text);
        assert_true(clock_parse_iso(slice_make(text, CLOCK_ISO_LEN), &back));
        assert_int_equal(back, wall_ms + 45296789);
        assert_true(clock_parse_iso(slice_make(text, 10), &back));
        assert_int_equal(back, wall_ms);
        wall_ms += DAY_MS;
    }
    assert_iso(wall_ms, "2000-01-01T00:00:00.000Z");
}

static void without_an_offset_the_time_is_local_and_the_date_is_utc(void **state)
{
    const int64_t day = 1795132800000;
    const int64_t summer_noon = 1783425600000; /* 2026-07-07T12:00:00Z */
    (void)state;
    set_zone("CET-1CEST,M3.5.0,M10.5.0/3");
    assert_parses("2026-11-20T13:00:00", day + DAY_MS / 2);
    assert_parses("2026-07-07T14:00", summer_noon);
    assert_parses("2026-07-07 14:00:00.250", summer_noon + 250);
    assert_parses("2026-11-20", day);
    assert_parses("2026-11-20T12:00:00Z", day + DAY_MS / 2);
    set_zone("EST5EDT,M3.2.0,M11.1.0");
    assert_parses("2026-11-20T07:00:00", day + DAY_MS / 2);
    assert_parses("2026-07-07T08:00:00", summer_noon);
    set_zone("<+0545>-5:45");
    assert_parses("2026-11-20T17:45", day + DAY_MS / 2);
    set_zone("UTC0");
}

static void the_clocks_run(void **state)
{
    (void)state;
    int64_t mono_ns = clock_mono_ns();
    int64_t cpu_ns = clock_thread_cpu_ns();
    while (clock_thread_cpu_ns() < cpu_ns + 1000000)
        ;
    assert_true(clock_mono_ns() >= mono_ns + 1000000);
    int64_t before_s = (int64_t)time(NULL);
    int64_t wall_s = clock_wall_ms() / 1000;
    assert_true(before_s <= wall_s && wall_s <= (int64_t)time(NULL) + 1); /* time() may be a little behind */
}

/* A node's time is a millisecond beside the wall clock when the two are cut to milliseconds each for itself.
 */
static void steady_clock_is_the_wall_clock_to_the_microsecond(void **state)
{
    const int64_t doubt_ns = 100000; /* at the first call, when nothing else is running then */
    (void)state;
    for (int i = 0; i < 10000; i++) {
        int64_t mono_ns = clock_mono_ns();
        struct timespec wall;
        assert_int_equal(clock_gettime(CLOCK_REALTIME, &wall), 0);
        int64_t wall_ns = (int64_t)wall.tv_sec * 1000000000 + wall.tv_nsec;
        assert_true(clock_steady_ns(mono_ns) <= wall_ns + doubt_ns);
        assert_true(clock_steady_ns(clock_mono_ns()) >= wall_ns - doubt_ns);
    }
    int64_t before_ms = clock_steady_ns(clock_mono_ns()) / 1000000;
    int64_t now_ms = clock_steady_ms();
    assert_true(before_ms <= now_ms && now_ms <= clock_steady_ns(clock_mono_ns()) / 1000000);
    assert_int_equal(clock_wall_set_ms(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_written_with_24_characters),
        cmocka_unit_test(times_that_cannot_be_written_are_clamped),
        cmocka_unit_test(http_dates_and_plain_dates),
        cmocka_unit_test_setup(every_form_of_the_contract_is_read, use_utc),
        cmocka_unit_test_setup(what_is_no_time_is_refused, use_utc),
        cmocka_unit_test_setup(leap_days_exist_in_leap_years_only, use_utc),
        cmocka_unit_test_setup(days_round_trip, use_utc),
        cmocka_unit_test_teardown(without_an_offset_the_time_is_local_and_the_date_is_utc, use_utc),
        cmocka_unit_test(the_clocks_run),
        cmocka_unit_test(steady_clock_is_the_wall_clock_to_the_microsecond),
    };
    return cmocka_run_group_tests_name("base clock", tests, NULL, NULL);
}
