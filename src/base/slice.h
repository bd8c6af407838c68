/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slice is a piece of somebody else's bytes: a base and a length, no NUL at the end, no ownership.
 * Text travels as slices from the socket to the rules; whoever keeps a slice longer than its owner lives
 * copies the bytes (slice_copy, arena_copy). Any thread; nothing here allocates, blocks or fails.
 */
#ifndef DOORBUSTER_BASE_SLICE_H
#define DOORBUSTER_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *base;
    size_t len; /* bytes */
};

/* A slice of a string literal, usable in initialisers of static tables. */
/* clang-format off */
#define SLICE_INIT(literal) {(literal), sizeof(literal) - 1}
/* clang-format on */
#define SLICE(literal) ((struct slice)SLICE_INIT(literal))

/* For printf("%.*s", SLICE_ARGS(s)). */
#define SLICE_ARGS(s) (int)(s).len, (s).base

static inline struct slice slice_make(const void *base, size_t len)
{
    return (struct slice){.base = base, .len = len};
}

/* The bytes of a C string without its NUL; NULL gives the empty slice. */
static inline struct slice slice_cstr(const char *text)
{
    return text == NULL ? (struct slice){"", 0} : (struct slice){text, strlen(text)};
}

/* The same bytes in memory of the caller's, which has room for them. */
static inline struct slice slice_copy(char *memory, struct slice text)
{
    if (text.len > 0)
        memcpy(memory, text.base, text.len);
    return slice_make(memory, text.len);
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.base, b.base, a.len) == 0);
}

/* Below, at or above 0 as `a` comes before, is, or comes after `b` in order of bytes. */
int slice_compare(struct slice a, struct slice b);

/* ASCII letters compare without case; everything else byte for byte. */
bool slice_eq_nocase(struct slice a, struct slice b);

bool slice_starts_with(struct slice text, struct slice prefix);

/* Without the blanks (space, tab, CR, LF, VT, FF) at both ends. */
struct slice slice_trim(struct slice text);

/* The part before the first `separator`; *rest becomes what follows it, empty when there is none. */
struct slice slice_split(struct slice text, char separator, struct slice *rest);

/* A decimal integer that fills the slice: optional '-', digits, no blanks. False if not one or if it
 * overflows. */
bool slice_to_i64(struct slice text, int64_t *value);

#endif
