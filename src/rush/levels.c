/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/levels.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/ensure.h"

enum { CELL_SIZE = 64 };

static const double NS_PER_MS = 1e6;

/* --- the option --- */

static enum err check_options(
    const struct level_rules *rules, const struct rush_options *options, struct error *error)
{
    if (options->rate > 0)
        return error_set(
            error, ERR_USAGE, "%s has no --rate: all users of a level come at once", rules->scenario);
    if (options->users > 0)
        return error_set(error, ERR_USAGE,
            "%s has no --users: its users come level by level; for one level use --levels %lld",
            rules->scenario, (long long)options->users);
    return ERR_NONE;
}

static enum err refuse(const struct level_rules *rules, const char *text, struct error *error)
{
    return error_set(error, ERR_USAGE,
        "'%.200s' does not say how many users: expected up to %d numbers from 1 to %lld, for example "
        "--levels %s",
        text, RUSH_RUNGS_MAX, (long long)rules->users_max, rules->usual);
}

enum err levels_read(const struct level_rules *rules, const struct rush_options *options,
    uint64_t levels[RUSH_RUNGS_MAX], size_t *level_count, struct error *error)
{
    const char *text = options->levels != NULL ? options->levels : rules->usual;
    struct slice rest = slice_cstr(text);
    size_t count = 0;
    enum err err = check_options(rules, options, error);
    if (err != ERR_NONE)
        return err;
    do {
        int64_t users;
        if (!slice_to_i64(slice_trim(slice_split(rest, ',', &rest)), &users) || users < 1 ||
            users > rules->users_max || count == RUSH_RUNGS_MAX)
            return refuse(rules, text, error);
        levels[count++] = (uint64_t)users;
    } while (rest.len > 0);
    *level_count = count;
    return ERR_NONE;
}

/* --- tables --- */

void level_table_begin(struct level_table *table, struct strbuf *out, bool is_markdown, const char *title,
    const struct level_column *columns)
{
    *table = (struct level_table){.out = out, .is_markdown = is_markdown, .columns = columns};
    strbuf_printf(out, is_markdown ? "### %s\n\n" : "%s\n", title);
    level_table_begin_row(table);
    for (const struct level_column *column = columns; column->title != NULL; column++)
        level_table_put(
            table, "%s", is_markdown || column->short_title == NULL ? column->title : column->short_title);
    if (is_markdown) {
        strbuf_lit(out, "\n|");
        for (const struct level_column *column = columns; column->title != NULL; column++)
            strbuf_lit(out, "--:|");
    }
    level_table_end_row(table);
}

void level_table_begin_row(struct level_table *table)
{
    table->next = table->columns;
    if (table->is_markdown)
        strbuf_put_char(table->out, '|');
}

void level_table_end_row(struct level_table *table)
{
    ENSURE(table->next->title == NULL);
    strbuf_put_char(table->out, '\n');
}

void level_table_put(struct level_table *table, const char *format, ...)
{
    char text[CELL_SIZE];
    const struct level_column *column = table->next++;
    va_list args;
    ENSURE(column->title != NULL);
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (table->is_markdown)
        strbuf_printf(table->out, " %s |", text);
    else
        strbuf_printf(table->out, "%*s", column->width > 0 ? column->width : LEVEL_WIDTH, text);
}

void level_table_put_count(struct level_table *table, uint64_t count)
{
    level_table_put(table, "%llu", (unsigned long long)count);
}

void level_table_put_ms(struct level_table *table, uint64_t ns)
{
    level_table_put(table, "%.1f", (double)ns / NS_PER_MS);
}
