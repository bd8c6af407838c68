/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to Redis on the loop of one thread, which comes back by itself. It resolves the name, tries
 * its addresses one after the other, lets itself in (AUTH, SELECT) and is then open; whatever goes wrong
 * closes it, answers every call under way with NULL, and starts it again after a pause that grows with each
 * failure and is never quite the same, so that nodes that lost the same Redis do not return in step.
 *
 * All functions are called on the loop's thread, and nothing blocks. A Redis that only stays silent is not
 * noticed here once the link is open: how long an answer may take is known to who asked (redis_link_fail).
 */
#ifndef DOORBUSTER_API_REDIS_LINK_H
#define DOORBUSTER_API_REDIS_LINK_H

#include <hiredis/hiredis.h>
#include <uv.h>

#include "api/redis_url.h"

struct redis_link;

/* A command under way; the caller's memory until on_reply has been called, which happens exactly once. */
struct redis_call {
    /* NULL: there will be no answer; what was asked may have been done. The reply is gone afterwards. */
    void (*on_reply)(struct redis_call *call, const redisReply *reply);
};

struct redis_link_events {
    void (*on_open)(void *context);
    /* Once for each attempt to open that failed and each loss, after the NULLs. One sentence without a full
     * stop, and without secrets. */
    void (*on_down)(const char *reason, void *context);
    /* Replies have been handed out, a whole turn's worth: the place to pass on what they have set free. */
    void (*on_turn_end)(void *context);
    void *context;
};

enum { REDIS_REASON_MAX = 256 }; /* bytes of on_down's reason with its NUL */

/* Begins to connect when the loop runs. `address` must outlive the link. NULL when memory is out. */
struct redis_link *redis_link_create(
    uv_loop_t *loop, const struct redis_address *address, struct redis_link_events events);

/* Sends a command, whose parts are copied. False: the link is not open, and `call` is forgotten. */
MUST_CHECK bool redis_link_send(
    struct redis_link *link, struct redis_call *call, const struct slice *parts, int part_count);

/* Closes it for this reason, answers all calls with NULL (before this returns, or when the on_reply that it
 * is called from has returned) and begins anew after the pause. */
void redis_link_fail(struct redis_link *link, const char *reason);

/* Answers all calls with NULL and closes for good, without on_down; the loop must then be run until it has no
 * handles. A name that is being looked up keeps it for as long as that takes. */
void redis_link_close(struct redis_link *link);
void redis_link_destroy(struct redis_link *link);

#endif
