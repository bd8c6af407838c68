/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pictures of the waiting line, made by the engine after a commit and never changed afterwards: of a ticket
 * that has ended, for who waits with it, and of the line as a whole, for who wants to know his place.
 * Reference-counted like a sale_view; the count is atomic, everything else constant.
 */
#ifndef DOORBUSTER_ENGINE_POOL_VIEW_H
#define DOORBUSTER_ENGINE_POOL_VIEW_H

#include <stdatomic.h>

#include "core/machine.h"

/* How a ticket has ended. */
struct ticket_view {
    atomic_uint reference_count;
    int64_t id;
    enum ticket_state state;    /* never TICKET_WAITING */
    int64_t lease_id;           /* SERVED; else 0 */
    bool has_machine;           /* SERVED, and the lease had not ended again by the end of the batch */
    struct machine_row machine; /* then; its name lies in the view's own memory */
};

/* With one reference. NULL when memory is out. */
struct ticket_view *ticket_view_create(const struct world *world, const struct ticket *ticket);
struct ticket_view *ticket_view_get(struct ticket_view *view);
void ticket_view_put(struct ticket_view *view);

struct line_view {
    atomic_uint reference_count;
    int64_t count;         /* users who wait */
    int64_t machine_count; /* machines that take users */
    int64_t lease_ms;      /* how long a lease lasts on average; never 0 */
    size_t id_count;       /* `count`, or 0 when all who wait are attached: nobody asks for their places */
    int64_t ids[];         /* of the tickets that wait, ascending */
};

/* lease_ms: what to reckon with as long as no lease has ended. NULL when memory is out. */
struct line_view *line_view_create(const struct world *world, int64_t lease_ms);
struct line_view *line_view_get(struct line_view *view);
void line_view_put(struct line_view *view);

/* 1 is the first; 0: it is not among them. O(log count). */
int64_t line_view_position(const struct line_view *view, int64_t ticket_id);

/* How long who has this place will wait, as far as can be told; INT64_MAX when there is no machine. */
int64_t line_view_wait_ms(const struct line_view *view, int64_t position);

#endif
