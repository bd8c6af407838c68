/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the world fails: a disk, a socket, a file. Business outcomes are not errors (core/result.h) and bugs
 * are not either (base/ensure.h). A function that can fail returns enum err and fills a struct error with one
 * sentence that says what happened, what was expected and what to do, once, where that is known.
 */
#ifndef DOORBUSTER_BASE_ERR_H
#define DOORBUSTER_BASE_ERR_H

#include <stdbool.h>

enum err {
    ERR_NONE = 0,
    ERR_USAGE,          /* what the caller asked for makes no sense: exit status 2 */
    ERR_MEMORY,         /* no memory */
    ERR_IO,             /* read, write or open failed; nothing was changed */
    ERR_FULL,           /* disk full or quota; nothing was changed; works again once there is room */
    ERR_COMMIT_UNKNOWN, /* a flush failed or the answer is lost: what was sent may or may not be on disk; only
                           a restart or a read tells */
    ERR_CORRUPT,        /* the store is damaged or not a store */
    ERR_NEWER,          /* the store was written by a newer doorbuster */
    ERR_LOCKED,         /* another process holds it */
    ERR_ADDRESS,        /* cannot listen or connect there */
    ERR_REFUSED,        /* the other side answered, but not with what is needed */
    ERR_TIMEOUT,
    ERR_OLDER,       /* the store was written by an older doorbuster and has to be migrated first */
    ERR_UNAVAILABLE, /* a server that is needed does not answer or lets nobody in; nothing was changed */
    ERR_CONFLICT, /* another node changed the same thing at the same time; nothing was changed: try again */
    ERR_COUNT
};

#define ERROR_MESSAGE_MAX 512

struct error {
    enum err code;
    char message[ERROR_MESSAGE_MAX]; /* UTF-8, one line, no full stop at the end; cut when too long */
};

/* Fills *error and returns `code`, so that a failing function ends with `return error_set(...)`. Any thread.
 * `error` may be NULL when nobody wants the text. */
enum err error_set(struct error *error, enum err code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Does it pass by itself, so that it is worth asking again? */
static inline bool err_is_passing(enum err code)
{
    return code == ERR_UNAVAILABLE || code == ERR_TIMEOUT || code == ERR_CONFLICT || code == ERR_LOCKED ||
           code == ERR_MEMORY;
}

/* A short name such as "disk full", for logs and metrics. */
const char *err_name(enum err code);

#define MUST_CHECK __attribute__((warn_unused_result))

#endif
