/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool in the world: all machines, and the line of users who wait for one (world.h tells how the world
 * changes; machine.h and ticket.h are the rules).
 *
 * A lease is one assignment of a machine to a user. Its number is the fence: it is given out once, in order
 * of assignment, and whoever acts on a lease that has ended changes nothing. The present lease stands with
 * its machine; one that has ended is a change without an entity.
 *
 * With a shared store the pool is a copy that every load brings up to date while it holds the row that stands
 * for the whole pool (pool_values.version): whoever decides about a machine has all of them as they are.
 * Between loads it is as it was last seen. Tickets that have ended are not kept. Engine thread.
 */
#ifndef DOORBUSTER_CORE_WORLD_POOL_H
#define DOORBUSTER_CORE_WORLD_POOL_H

#include "core/world.h"

enum {
    MACHINE_NAME_CHARS_MAX = 255,
    MACHINE_NAME_LEN_MAX = 1020, /* bytes of UTF-8 */
    MACHINES_MAX = 100000,       /* a list of all of them is one answer */
};

/* "idle", "choose_product", "processing": on the wire and in the store. */
struct slice machine_status_name(enum machine_status status);
bool machine_status_from_name(struct slice name, enum machine_status *status);

/* How a lease has ended; "completed", "reset", "timed_out", "deleted" (with its machine), "given_up" (by a
 * user who had gone before he heard of it): in the store. */
enum lease_end { LEASE_COMPLETED, LEASE_RESET, LEASE_TIMED_OUT, LEASE_DELETED, LEASE_GIVEN_UP };
struct slice lease_end_name(enum lease_end end);

/* "waiting", "served", "left", "expired": on the wire and in the store. */
enum ticket_state { TICKET_WAITING, TICKET_SERVED, TICKET_LEFT, TICKET_EXPIRED };
struct slice ticket_state_name(enum ticket_state state);
bool ticket_state_from_name(struct slice name, enum ticket_state *state);

struct machine {
    int64_t id; /* counts up from 1, never re-used */
    int64_t created_ms;
    struct slice name; /* owned by the world */
    struct machine_values values;
    struct list node;       /* on pool.machines, or off it once removed */
    size_t idle_place;      /* in pool.idle, while it may be taken */
    size_t due_place;       /* in pool.machines_due, while it has a lease */
    uint64_t touched_batch; /* world.batch in which a pre-image was last kept */
    uint64_t added_batch;   /* world.batch in which it was added, 0 when it was loaded */
    uint64_t seen_refresh;  /* shared: pool.refresh_number in which it was last seen in the store */
    bool is_removed;        /* waits for the end of the batch */
};

/* A place in the waiting line. */
struct ticket {
    int64_t id; /* counts up from 1, never re-used: who has the lower one comes first */
    int64_t created_ms;
    int64_t first_lease_id; /* leases from this one on were given out while it waited */
    bool is_attached;       /* it stands and falls with a connection */
    struct ticket_values values;
    struct list node; /* on pool.waiting */
    size_t due_place; /* in pool.tickets_due */
    uint64_t touched_batch;
    uint64_t added_batch;
    bool has_ended; /* waits for the end of the batch */
};

/* --- what rules read: borrowed; NULL when there is none --- */

struct machine *world_machine(const struct world *world, int64_t id);

/* The one to be taken next: idle, not draining, the fewest completed leases, then the lowest id. */
struct machine *world_idle_machine(const struct world *world);

/* The one whose time has come first: of choosing, or of processing. */
struct machine *world_due_machine(const struct world *world);

/* Only those that wait. */
struct ticket *world_ticket(const struct world *world, int64_t id);
struct ticket *world_first_ticket(const struct world *world);
struct ticket *world_due_ticket(const struct world *world);

/* Are machines and tickets as they are in the store, and will they stay so until the end of the batch? */
bool world_holds_pool(const struct world *world);

/* When the first machine or ticket is due; INT64_MAX: none. */
int64_t world_pool_due_ms(const struct world *world);

/* --- what rules change: false (NULL) when memory is out, see world.h; the pool must be held --- */

/* Idle, never used. The name is copied. */
struct machine *world_add_machine(struct world *world, struct slice name, int64_t now_ms);
bool world_set_machine(struct world *world, struct machine *machine, const struct machine_values *values);
bool world_rename_machine(struct world *world, struct machine *machine, struct slice name);

/* Its lease has been ended before. */
bool world_remove_machine(struct world *world, struct machine *machine);

/* The next number of a lease. */
bool world_take_lease_id(struct world *world, int64_t *id);

/* Remembers how the machine's present lease has ended; the machine itself is set by the caller. */
bool world_add_ended_lease(
    struct world *world, const struct machine *machine, enum lease_end end, int64_t now_ms);

/* At the end of the line. */
struct ticket *world_add_ticket(struct world *world, bool is_attached, int64_t until_ms, int64_t now_ms);
bool world_keep_ticket(struct world *world, struct ticket *ticket, int64_t until_ms);

/* Takes it out of the line: SERVED with this lease, else LEFT or EXPIRED and 0. */
bool world_end_ticket(struct world *world, struct ticket *ticket, enum ticket_state state, int64_t lease_id,
    int64_t machine_id, int64_t now_ms);

/* --- loading: no change is recorded. False when memory is out --- */

/* As the store has it; id, created_ms, name and values are taken. It must not be there. */
bool world_load_machine(struct world *world, const struct machine *record);

/* One that waits; in order of id. */
bool world_load_ticket(struct world *world, const struct ticket *record);

/*
 * --- what a shared store brings in, with no changes under way ---
 *
 * world_refresh_pool, then every machine and every ticket that has changed since the version known before
 * (all machines when it says so), then world_refresh_pool_end. Tickets that have ended land on
 * pool.ended_tickets, for the engine to publish.
 */

/* is_held: its row stays locked until the batch ends. True: machines may be missing from what has changed
 * since, because they were removed, so all of them have to come. */
bool world_refresh_pool(struct world *world, const struct pool_values *values, bool is_held);
bool world_refresh_machine(struct world *world, const struct machine *record);

/* One that has ended leaves the line. */
bool world_refresh_ticket(struct world *world, const struct ticket *record);

/* All have come. With all machines: those that were not among them are gone. */
void world_refresh_pool_end(struct world *world, bool was_everything);

/* Or they have not: the copy counts as it was before world_refresh_pool, when its values were `before`; what
 * has come by then comes again. */
void world_refresh_pool_failed(struct world *world, const struct pool_values *before);

/* What is on pool.ended_tickets has been published. */
void world_accept_ended_tickets(struct world *world);

#endif
