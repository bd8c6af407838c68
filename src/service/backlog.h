/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many orders wait for their payment, on all nodes: exact for an embedded store as of its last commit; a
 * shared one is asked twice a second, and what this node has let in since is added.
 */
#ifndef DOORBUSTER_SERVICE_BACKLOG_H
#define DOORBUSTER_SERVICE_BACKLOG_H

#include <stdatomic.h>

#include "engine/engine.h"

struct backlog {
    struct engine *engine;
    struct engine_port *port; /* NULL: the store is embedded */
    struct engine_lookup lookup;
    bool is_asking;
    int64_t ask_at_ns;
    uint64_t let_in_when_asked;
    atomic_size_t told;               /* the store's last answer */
    atomic_uint_fast64_t let_in_told; /* let_in when that was asked */
    atomic_uint_fast64_t let_in;
};

/* Before engine_start. Stays where it is until backlog_fini. */
MUST_CHECK enum err backlog_init(struct backlog *backlog, struct engine *engine, struct error *error);

/* After engine_stop. */
void backlog_fini(struct backlog *backlog);

/* Asks when it is time. After engine_start, one thread. */
void backlog_turn(struct backlog *backlog, int64_t now_ns);

/* One more is about to be placed. Any thread. */
void backlog_note_let_in(struct backlog *backlog);

/* Any thread. Orders that are on their way through the line are missing with an embedded store. */
size_t backlog_count(const struct backlog *backlog);

#endif
