/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/crowd_report.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 1 << 20, NAME_WIDTH = 40, VALUE_WIDTH = 14, CELL_SIZE = 32 };

/* --- reading --- */

/* The heap's; NULL when it cannot be read. */
static char *read_all(const char *path, size_t *len)
{
    struct stat info;
    char *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &info) == 0 && info.st_size <= FILE_BYTES_MAX)
        text = malloc((size_t)info.st_size + 1);
    ssize_t got = text == NULL ? -1 : read(fd, text, (size_t)info.st_size);
    if (fd >= 0)
        (void)close(fd);
    if (got < 0) {
        free(text);
        return NULL;
    }
    *len = (size_t)got;
    return text;
}

enum err crowd_report_read(struct crowd_report *report, const char *path, struct error *error)
{
    size_t len = 0;
    *report = (struct crowd_report){0};
    char *text = read_all(path, &len);
    if (text == NULL)
        return error_set(error, ERR_IO, "cannot read %s: %s", path, strerror(errno));
    enum json_status status = json_parse(slice_make(text, len), &report->whole);
    free(text);
    if (status != JSON_OK)
        report->whole = NULL;
    report->run = json_item(json_member(report->whole, "runs"), 0);
    return report->run != NULL
               ? ERR_NONE
               : error_set(error, ERR_IO, "%s is not the report of a rush; the rush ended early", path);
}

void crowd_report_fini(struct crowd_report *report)
{
    json_free(report->whole);
    *report = (struct crowd_report){0};
}

/* --- looking up --- */

/* The item whose member `key` is this text; NULL: none. */
static const struct json *find(const struct json *array, const char *key, const char *wanted)
{
    struct slice text;
    for (size_t i = 0; i < json_item_count(array); i++) {
        const struct json *item = json_item(array, i);
        if (json_text(json_member(item, key), &text) && slice_eq(text, slice_cstr(wanted)))
            return item;
    }
    return NULL;
}

static double number_of(const struct json *object, const char *member)
{
    double number;
    return json_double(json_member(object, member), &number) ? number : NAN;
}

static const struct json *figure_of(const struct crowd_report *report, const char *figure)
{
    return find(json_member(report->run, "figures"), "figure", figure);
}

double crowd_report_here(const struct crowd_report *report, const char *figure)
{
    return number_of(figure_of(report, figure), "here");
}

double crowd_report_median_ms(const struct crowd_report *report, const char *outcome)
{
    const struct json *row = find(json_member(report->run, "outcomes"), "outcome", outcome);
    return number_of(json_member(json_member(row, "latency"), "percentilesMs"), "50");
}

bool crowd_report_holds(const struct crowd_report *report)
{
    const struct json *invariants = json_member(report->run, "invariants");
    bool is_passed = json_item_count(invariants) > 0;
    for (size_t i = 0; is_passed && i < json_item_count(invariants); i++)
        if (!json_bool(json_member(json_item(invariants, i), "passed"), &is_passed))
            is_passed = false;
    return is_passed;
}

/* --- the table --- */

/* A count as it is, other figures with as many digits as say something; "-" when there is none. */
static void put_value(char cell[CELL_SIZE], struct slice unit, double value)
{
    int digits = value < 10 ? 2 : value < 1000 ? 1 : 0;
    if (isnan(value))
        (void)snprintf(cell, CELL_SIZE, "-");
    else if (unit.len == 0)
        (void)snprintf(cell, CELL_SIZE, "%.0f", value);
    else
        (void)snprintf(cell, CELL_SIZE, "%.*f%s%.*s", digits, value, unit.base[0] == '/' ? "" : " ",
            (int)unit.len, unit.base);
}

void crowd_report_show(const struct crowd_report *report, const char *const *figures)
{
    (void)printf("%-*s%*s%*s\n", NAME_WIDTH, "", VALUE_WIDTH, "the original", VALUE_WIDTH, "here");
    for (size_t i = 0; figures[i] != NULL; i++) {
        const struct json *figure = figure_of(report, figures[i]);
        struct slice unit = slice_make("", 0);
        char original[CELL_SIZE];
        char here[CELL_SIZE];
        (void)json_text(json_member(figure, "unit"), &unit); /* none is none */
        put_value(original, unit, number_of(figure, "original"));
        put_value(here, unit, number_of(figure, "here"));
        (void)printf("%-*s%*s%*s\n", NAME_WIDTH, figures[i], VALUE_WIDTH, original, VALUE_WIDTH, here);
    }
    (void)fflush(stdout);
}
