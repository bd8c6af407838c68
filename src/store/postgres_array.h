/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values for PostgreSQL in its binary format: the columns of a batch as arrays, and the few single ones. A
 * column grows as needed and keeps its memory for the next batch. One thread.
 */
#ifndef DOORBUSTER_STORE_POSTGRES_ARRAY_H
#define DOORBUSTER_STORE_POSTGRES_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Types by their numbers in pg_type, which never change. */
enum postgres_type {
    POSTGRES_BYTEA = 17,
    POSTGRES_INT8 = 20,
    POSTGRES_TEXT = 25,
    POSTGRES_TIMESTAMPTZ = 1184,
};

/* One array. Zero-initialised: empty and without memory. */
struct column {
    char *base;
    size_t len;
    size_t size;
    size_t count;
    enum postgres_type type;
    bool has_nulls;
    bool has_overflowed; /* memory ran out: what was appended since is lost; look once, before use */
};

void column_fini(struct column *column);

/* Empties it; the type of what follows. */
void column_start(struct column *column, enum postgres_type type);

void column_put_text(struct column *column, struct slice text); /* TEXT and BYTEA */
void column_put_i64(struct column *column, int64_t value);      /* INT8 */
void column_put_ms(struct column *column, int64_t time_ms);     /* TIMESTAMPTZ, from ms since 1970 UTC */
void column_put_null(struct column *column);

/* The same, where 0 stands for NULL. */
void column_put_i64_or_null(struct column *column, int64_t value);
void column_put_ms_or_null(struct column *column, int64_t time_ms);

/* Has nothing been put? What memory did not suffice for counts as put: column_finish tells. */
bool column_is_empty(const struct column *column);

/* The array as PostgreSQL takes it; borrowed until the next change. False: memory has run out. */
bool column_finish(struct column *column, struct slice *array);

/* One value: eight bytes into `memory`. */
struct slice postgres_i64(char memory[8], int64_t value);
struct slice postgres_ms(char memory[8], int64_t time_ms);

/* The other way, from binary results: eight bytes each. */
int64_t postgres_get_i64(const char *bytes);
int64_t postgres_get_ms(const char *bytes); /* timestamptz, rounded down to ms; 0 when it is not finite */
bool postgres_is_finite(const char *bytes); /* timestamptz: neither 'infinity' nor '-infinity' */

#endif
