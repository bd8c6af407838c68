/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

enum { MS_PER_S = 1000, NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

/* Two clocks are read together when no more than this lies between; else the best of some readings counts. */
enum { GAP_NS = 5000, READINGS_MAX = 16 };

static const int64_t YEAR_0000_MS = -62167219200000;
static const int64_t YEAR_9999_MS = 253402300799999;

static int64_t read_ns(clockid_t id)
{
    struct timespec now;
    (void)clock_gettime(id, &now); /* cannot fail for these clocks on Linux */
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t clock_mono_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

int64_t clock_wall_ms(void)
{
    return read_ns(CLOCK_REALTIME) / NS_PER_MS;
}

int64_t clock_thread_cpu_ns(void)
{
    return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* Splits a time into UTC calendar fields and milliseconds. */
static void to_fields(int64_t wall_ms, struct tm *fields, int *ms)
{
    if (wall_ms < YEAR_0000_MS)
        wall_ms = YEAR_0000_MS;
    if (wall_ms > YEAR_9999_MS)
        wall_ms = YEAR_9999_MS;
    int64_t rest = wall_ms % MS_PER_S;
    if (rest < 0)
        rest += MS_PER_S;
    time_t seconds = (time_t)((wall_ms - rest) / MS_PER_S);
    (void)gmtime_r(&seconds, fields);
    *ms = (int)rest;
}

static void put_digits(char *at, int width, int value)
{
    for (int i = width - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
}

void clock_format_iso(int64_t wall_ms, char text[CLOCK_ISO_LEN])
{
    struct tm f;
    int ms;
    to_fields(wall_ms, &f, &ms);
    memcpy(text, "0000-00-00T00:00:00.000Z", CLOCK_ISO_LEN);
    put_digits(text, 4, f.tm_year + 1900);
    put_digits(text + 5, 2, f.tm_mon + 1);
    put_digits(text + 8, 2, f.tm_mday);
    put_digits(text + 11, 2, f.tm_hour);
    put_digits(text + 14, 2, f.tm_min);
    put_digits(text + 17, 2, f.tm_sec);
    put_digits(text + 20, 3, ms);
}

void clock_format_http(int64_t wall_ms, char text[CLOCK_HTTP_LEN])
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm f;
    int ms;
    to_fields(wall_ms, &f, &ms);
    memcpy(text, "Sun, 00 Jan 0000 00:00:00 GMT", CLOCK_HTTP_LEN);
    memcpy(text, days + 3 * f.tm_wday, 3);
    put_digits(text + 5, 2, f.tm_mday);
    memcpy(text + 8, months + 3 * f.tm_mon, 3);
    put_digits(text + 12, 4, f.tm_year + 1900);
    put_digits(text + 17, 2, f.tm_hour);
    put_digits(text + 20, 2, f.tm_min);
    put_digits(text + 23, 2, f.tm_sec);
}

void clock_format_date(int64_t wall_ms, char text[CLOCK_DATE_LEN])
{
    struct tm f;
    int ms;
    to_fields(wall_ms, &f, &ms);
    put_digits(text, 4, f.tm_year + 1900);
    put_digits(text + 4, 2, f.tm_mon + 1);
    put_digits(text + 6, 2, f.tm_mday);
}

/* Takes exactly `width` digits off the front. */
static bool take_number(struct slice *text, size_t width, int *value)
{
    if (text->len < width)
        return false;
    *value = 0;
    for (size_t i = 0; i < width; i++) {
        char c = text->base[i];
        if (c < '0' || c > '9')
            return false;
        *value = *value * 10 + (c - '0');
    }
    text->base += width;
    text->len -= width;
    return true;
}

static bool take_char(struct slice *text, char c)
{
    if (text->len == 0 || text->base[0] != c)
        return false;
    text->base++;
    text->len--;
    return true;
}

/* Digits after the decimal sign; what is finer than a millisecond is cut off. */
static bool take_fraction(struct slice *text, int *ms)
{
    int digit;
    int scale = 100;
    if (!take_number(text, 1, &digit))
        return false;
    do {
        *ms += digit * scale;
        scale /= 10;
    } while (take_number(text, 1, &digit));
    return true;
}

/* HH:MM[:SS[.fraction]] */
static bool take_time(struct slice *text, struct tm *fields, int *ms)
{
    if (!take_number(text, 2, &fields->tm_hour) || !take_char(text, ':') ||
        !take_number(text, 2, &fields->tm_min))
        return false;
    if (take_char(text, ':')) {
        if (!take_number(text, 2, &fields->tm_sec))
            return false;
        if ((take_char(text, '.') || take_char(text, ',')) && !take_fraction(text, ms))
            return false;
    }
    return fields->tm_hour <= 23 && fields->tm_min <= 59 && fields->tm_sec <= 59;
}

/* Z, +HH:MM, +HHMM or +HH; the rest of the text must be nothing else. */
static bool take_offset(struct slice *text, int *offset_min)
{
    int hours = 0;
    int minutes = 0;
    if (take_char(text, 'Z') || take_char(text, 'z')) {
        *offset_min = 0;
        return text->len == 0;
    }
    int sign = take_char(text, '+') ? 1 : take_char(text, '-') ? -1 : 0;
    if (sign == 0 || !take_number(text, 2, &hours))
        return false;
    if (text->len > 0) {
        (void)take_char(text, ':');
        if (!take_number(text, 2, &minutes))
            return false;
    }
    *offset_min = sign * (hours * 60 + minutes);
    return text->len == 0 && hours <= 23 && minutes <= 59;
}

static bool is_day(int year, int month, int day)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (month < 1 || month > 12 || day < 1)
        return false;
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day <= days[month - 1] + (month == 2 && is_leap);
}

bool clock_parse_iso(struct slice text, int64_t *wall_ms)
{
    struct tm fields = {.tm_isdst = -1};
    int year;
    int month;
    int ms = 0;
    if (!take_number(&text, 4, &year) || !take_char(&text, '-') || !take_number(&text, 2, &month) ||
        !take_char(&text, '-') || !take_number(&text, 2, &fields.tm_mday) ||
        !is_day(year, month, fields.tm_mday))
        return false;
    fields.tm_year = year - 1900;
    fields.tm_mon = month - 1;

    bool is_local = false;
    int offset_min = 0;
    if (text.len > 0) {
        if (!take_char(&text, 'T') && !take_char(&text, 't') && !take_char(&text, ' '))
            return false;
        if (!take_time(&text, &fields, &ms))
            return false;
        is_local = text.len == 0;
        if (!is_local && !take_offset(&text, &offset_min))
            return false;
    }
    time_t seconds = is_local ? mktime(&fields) : timegm(&fields);
    *wall_ms = ((int64_t)seconds - (int64_t)offset_min * 60) * MS_PER_S + ms;
    return true;
}

/* How far the wall clock is ahead of the monotonic one. Who is put aside between the readings reads again. */
static int64_t wall_ahead_of_mono_ns(void)
{
    int64_t least_gap_ns = INT64_MAX;
    int64_t ahead_ns = 0;
    for (int i = 0; i < READINGS_MAX && least_gap_ns > GAP_NS; i++) {
        int64_t before_ns = clock_mono_ns();
        int64_t wall_ns = read_ns(CLOCK_REALTIME);
        int64_t gap_ns = clock_mono_ns() - before_ns;
        if (gap_ns < least_gap_ns) {
            least_gap_ns = gap_ns;
            ahead_ns = wall_ns - (before_ns + gap_ns / 2);
        }
    }
    return ahead_ns;
}

/* What it was at the first call. */
static int64_t first_ahead_ns(void)
{
    static atomic_int_fast64_t first_ns; /* 0: not yet known */
    int64_t ahead_ns = atomic_load(&first_ns);
    if (ahead_ns == 0) {
        int64_t now_ns = wall_ahead_of_mono_ns();
        if (atomic_compare_exchange_strong(&first_ns, &ahead_ns, now_ns))
            ahead_ns = now_ns;
    }
    return ahead_ns;
}

int64_t clock_steady_ns(int64_t mono_ns)
{
    return mono_ns + first_ahead_ns();
}

int64_t clock_steady_ms(void)
{
    return clock_steady_ns(clock_mono_ns()) / NS_PER_MS;
}

int64_t clock_wall_set_ms(void)
{
    int64_t first_ns = first_ahead_ns();
    return (wall_ahead_of_mono_ns() - first_ns) / NS_PER_MS;
}
