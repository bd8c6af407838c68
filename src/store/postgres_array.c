/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The format (array_recv in PostgreSQL's source): number of dimensions, has-null flag, element type, then for
 * the one dimension its length and lower bound, then each element as length and bytes; a NULL has the length
 * -1. All numbers are 32 bits, big end first. A timestamptz is microseconds since 2000-01-01 UTC in 64 bits.
 */
#include "store/postgres_array.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

enum { HEAD_BYTES = 20, SIZE_FIRST = 1024, US_PER_MS = 1000 };

static const int64_t epoch_2000_ms = 946684800000;

void column_fini(struct column *column)
{
    free(column->base);
    *column = (struct column){0};
}

static bool make_room(struct column *column, size_t more)
{
    if (column->has_overflowed)
        return false;
    if (column->len + more <= column->size)
        return true;
    size_t size = column->size == 0 ? SIZE_FIRST : column->size;
    while (size < column->len + more)
        size *= 2;
    char *base = realloc(column->base, size);
    if (base == NULL) {
        column->has_overflowed = true;
        return false;
    }
    column->base = base;
    column->size = size;
    return true;
}

/* There is room. */
static void put_u32(struct column *column, uint32_t value)
{
    uint32_t bytes = htobe32(value);
    memcpy(column->base + column->len, &bytes, sizeof bytes);
    column->len += sizeof bytes;
}

void column_start(struct column *column, enum postgres_type type)
{
    column->len = 0;
    column->count = 0;
    column->type = type;
    column->has_nulls = false;
    column->has_overflowed = false;
    if (make_room(column, HEAD_BYTES))
        column->len = HEAD_BYTES; /* filled in at the end */
}

void column_put_text(struct column *column, struct slice text)
{
    ENSURE(column->type == POSTGRES_TEXT || column->type == POSTGRES_BYTEA);
    if (!make_room(column, sizeof(uint32_t) + text.len))
        return;
    put_u32(column, (uint32_t)text.len);
    if (text.len > 0)
        memcpy(column->base + column->len, text.base, text.len);
    column->len += text.len;
    column->count++;
}

static void put_eight(struct column *column, struct slice eight)
{
    if (!make_room(column, sizeof(uint32_t) + eight.len))
        return;
    put_u32(column, (uint32_t)eight.len);
    memcpy(column->base + column->len, eight.base, eight.len);
    column->len += eight.len;
    column->count++;
}

void column_put_i64(struct column *column, int64_t value)
{
    char memory[8];
    ENSURE(column->type == POSTGRES_INT8);
    put_eight(column, postgres_i64(memory, value));
}

void column_put_ms(struct column *column, int64_t time_ms)
{
    char memory[8];
    ENSURE(column->type == POSTGRES_TIMESTAMPTZ);
    put_eight(column, postgres_ms(memory, time_ms));
}

void column_put_null(struct column *column)
{
    if (!make_room(column, sizeof(uint32_t)))
        return;
    put_u32(column, UINT32_MAX);
    column->has_nulls = true;
    column->count++;
}

void column_put_i64_or_null(struct column *column, int64_t value)
{
    if (value == 0)
        column_put_null(column);
    else
        column_put_i64(column, value);
}

void column_put_ms_or_null(struct column *column, int64_t time_ms)
{
    if (time_ms == 0)
        column_put_null(column);
    else
        column_put_ms(column, time_ms);
}

bool column_is_empty(const struct column *column)
{
    return column->count == 0 && !column->has_overflowed;
}

bool column_finish(struct column *column, struct slice *array)
{
    if (column->has_overflowed)
        return false;
    size_t len = column->len;
    column->len = 0;
    put_u32(column, 1); /* dimensions */
    put_u32(column, column->has_nulls ? 1 : 0);
    put_u32(column, (uint32_t)column->type);
    put_u32(column, (uint32_t)column->count);
    put_u32(column, 1); /* lower bound */
    column->len = len;
    *array = slice_make(column->base, len);
    return true;
}

struct slice postgres_i64(char memory[8], int64_t value)
{
    uint64_t bytes = htobe64((uint64_t)value);
    memcpy(memory, &bytes, sizeof bytes);
    return slice_make(memory, sizeof bytes);
}

struct slice postgres_ms(char memory[8], int64_t time_ms)
{
    return postgres_i64(memory, (time_ms - epoch_2000_ms) * US_PER_MS);
}

int64_t postgres_get_i64(const char *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return (int64_t)be64toh(value);
}

bool postgres_is_finite(const char *bytes)
{
    int64_t us = postgres_get_i64(bytes);
    return us != INT64_MAX && us != INT64_MIN;
}

int64_t postgres_get_ms(const char *bytes)
{
    int64_t us = postgres_is_finite(bytes) ? postgres_get_i64(bytes) : 0;
    int64_t ms = us / US_PER_MS;
    return (us % US_PER_MS < 0 ? ms - 1 : ms) + epoch_2000_ms;
}
