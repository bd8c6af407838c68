/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What scenarios have in common whose users come level by level: --levels, which says how many, and tables
 * with a row a level. One thread.
 *
 * A cell takes its width from its column, so a row's cells are put from left to right, all of them.
 */
#ifndef DOORBUSTER_RUSH_LEVELS_H
#define DOORBUSTER_RUSH_LEVELS_H

#include "base/err.h"
#include "base/strbuf.h"
#include "rush/rush.h"

/* --- the option --- */

struct level_rules {
    const char *scenario; /* its name */
    const char *usual;    /* --levels when there is none */
    int64_t users_max;    /* at once */
};

/* Reads how many users each level has. ERR_USAGE for what is no such list, and for options that a crowd of
 * levels has no use for. */
MUST_CHECK enum err levels_read(const struct level_rules *rules, const struct rush_options *options,
    uint64_t levels[RUSH_RUNGS_MAX], size_t *level_count, struct error *error);

/* --- tables --- */

/* Right-aligned. */
struct level_column {
    const char *title;       /* NULL: behind the last column */
    const char *short_title; /* for the terminal; NULL: the title is short */
    int width;               /* there; 0: LEVEL_WIDTH */
};

enum { LEVEL_WIDTH = 11 };

struct level_table {
    struct strbuf *out;
    bool is_markdown;
    const struct level_column *columns;
    const struct level_column *next; /* the column of the next cell */
};

/* Puts the table's title and head; `columns` must outlive the table. */
void level_table_begin(struct level_table *table, struct strbuf *out, bool is_markdown, const char *title,
    const struct level_column *columns);

void level_table_begin_row(struct level_table *table);
void level_table_end_row(struct level_table *table);

/* A cell with at most 63 bytes. */
__attribute__((format(printf, 2, 3))) void level_table_put(
    struct level_table *table, const char *format, ...);

void level_table_put_count(struct level_table *table, uint64_t count);

/* Nanoseconds as milliseconds. */
void level_table_put_ms(struct level_table *table, uint64_t ns);

#endif
