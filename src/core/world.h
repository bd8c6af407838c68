/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world: the entities that the rules look at. It belongs to one thread, the engine's.
 *
 * A rule reads entities, decides, and then changes them through the functions below, one function per kind of
 * change. Each of them appends a struct change with what was there before: the list of changes is what the
 * store writes in one transaction, in that order, and it is the undo list too. After a commit world_accept
 * forgets it; when the commit fails world_rollback takes everything back, last change first. Nothing that a
 * change refers to is freed before one of the two.
 *
 * With the embedded store the world is complete. With a store that several nodes share (is_shared) products
 * stay in it as they were last seen, for pictures; only what the store has loaded for the batch and holds
 * locked is certain, and buyers, stored answers and work are there for one batch only. Commands touch nothing
 * else, so most rules cannot tell the difference; what walks over all products asks world_is_certain.
 */
#ifndef DOORBUSTER_CORE_WORLD_H
#define DOORBUSTER_CORE_WORLD_H

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/slice.h"
#include "core/command.h"
#include "core/work.h"

enum sale_state { SALE_UPCOMING, SALE_ACTIVE, SALE_ENDED };
enum end_reason { END_NONE, END_SOLD_OUT, END_TIME_EXPIRED };

/* "UPCOMING", "ACTIVE", "ENDED"; "", "SOLD_OUT", "TIME_EXPIRED": on the wire and in the store. */
struct slice sale_state_name(enum sale_state state);
struct slice end_reason_name(enum end_reason reason);
bool sale_state_from_name(struct slice name, enum sale_state *state);
bool end_reason_from_name(struct slice name, enum end_reason *reason);

/* The part of a product that changes; copied whole as the pre-image. */
struct product_values {
    struct slice name;     /* owned by the world */
    int64_t initial_stock; /* units */
    int64_t stock;         /* units, 0 <= stock <= initial_stock */
    int64_t price_minor;
    int64_t per_user_limit; /* units, >= 1 */
    int64_t start_ms;
    int64_t end_ms; /* exclusive, > start_ms */
    enum sale_state state;
    enum end_reason end_reason; /* END_NONE exactly while the state is not SALE_ENDED */
    int64_t created_ms;
    int64_t updated_ms;
};

/* Somebody who has bought a product at least once. */
struct buyer {
    uint64_t hash;
    int64_t count; /* units */
    uint16_t user_len;
    char user[]; /* bytes, no NUL */
};

struct product {
    int64_t id;
    struct slice sku; /* owned by the world */
    uint64_t sku_hash;
    struct product_values values;
    struct product_labels labels; /* its category owned by the world; constant once it is there */
    struct map buyers;            /* struct buyer by user */
    int64_t purchase_id_first;    /* all its purchases have ids in first..last; 0 and 0: none yet */
    int64_t purchase_id_last;
    struct list node;      /* on world.products or off every list once removed */
    struct list same_name; /* in a ring with all that have its name; of those one is in products_by_name */
    struct list held_node; /* on world.held, or off it */
    struct list refreshed_node; /* on world.refreshed, or off it */
    uint64_t held_batch;        /* shared: world.batch for which the store has locked its row */
    uint64_t refresh_number;    /* shared: world.refresh_number in which it was last seen in the store */
    uint64_t touched_batch;     /* world.batch in which a pre-image was last kept */
    uint64_t published_batch;   /* the engine: world.batch in which a picture of it was last sent out */
    uint64_t written_batch;     /* a store that writes it once a batch: world.batch in which it did */
    bool is_removed;            /* waits for the end of the batch */
};

/* A stored answer (command.h, struct idempotency and struct outcome). */
struct key_record {
    int64_t id;
    uint64_t hash;
    uint64_t batch; /* world.batch in which it was made, 0 for one that was loaded */
    int64_t created_ms;
    struct slice scope; /* owned by the world */
    struct slice key;
    unsigned char fingerprint[FINGERPRINT_BYTES];
    enum result result;
    int64_t number;
    int64_t time_ms;
    struct list node; /* on world.keys, oldest first */
};

/* The part of a piece of work that changes (work.h, world_work.h). */
struct work_values {
    int64_t due_ms; /* not before; while it is claimed: the end of the lease */
    int64_t token;  /* claims so far */
};

/* The part of an order that changes (world_order.h). */
struct order_values {
    enum order_status status;
    int64_t attempts; /* payments begun */
    int64_t updated_ms;
    int64_t paid_ms; /* 0: it is not completed */
};

/* What stands for all trading orders (intake.h): 0 <= executed_id <= sent_id < next_id. */
struct intake_values {
    int64_t next_id;     /* of the next order; without gaps */
    int64_t sent_id;     /* the last that may have reached the sink */
    int64_t executed_id; /* the last that the sink has acknowledged */
};

/* The part of a wallet that changes (world_wallet.h). */
struct wallet_values {
    int64_t balance_minor;    /* >= 0 */
    int64_t last_transfer_id; /* 0: none */
    int64_t updated_ms;
};

enum machine_status { MACHINE_IDLE, MACHINE_CHOOSING, MACHINE_PROCESSING };

/* A machine in somebody's hands (world_pool.h). */
struct lease {
    int64_t id;          /* 0: there is none */
    int64_t ticket_id;   /* 0: its user did not have to wait */
    int64_t started_ms;  /* when the machine was assigned */
    int64_t chosen_ms;   /* 0: its user still chooses; so are the three below then */
    int64_t product_id;  /* what was chosen */
    int64_t units;       /* how many */
    int64_t purchase_id; /* of the first unit; the others follow it */
};

/* The part of a machine that changes, but for its name. */
struct machine_values {
    enum machine_status status;
    bool is_draining;    /* takes no more users */
    int64_t usage_count; /* completed leases */
    int64_t updated_ms;
    struct lease lease; /* all 0 exactly while it is idle */
    int64_t due_ms;     /* when the choice times out, or the processing is done; 0 while it is idle */
};

/* The part of a ticket that changes. */
struct ticket_values {
    int64_t until_ms;     /* it expires then, unless it is kept */
    int state;            /* enum ticket_state */
    int64_t end_lease_id; /* ended: leases below it were given out while it waited; its own one when served */
    int64_t machine_id;   /* served: of its lease; else 0 */
    int64_t ended_ms;     /* 0: it waits */
};

/* What stands for the whole pool. */
struct pool_values {
    int64_t next_machine_id;
    int64_t next_lease_id;
    int64_t next_ticket_id;
    int64_t version;       /* shared: raised with each commit that changes the pool */
    int64_t whole_version; /* shared: copies older than this miss that something was removed */
};

struct pool {
    struct pool_values values;
    uint64_t held_batch;       /* shared: world.batch for which the store has locked it */
    uint64_t touched_batch;    /* world.batch in which a pre-image was last kept */
    struct map machines_by_id; /* struct machine */
    struct list machines;      /* the same, in no particular order */
    struct heap idle;          /* those that may be taken, the next one first */
    struct heap machines_due;  /* those that have a lease, by when it is over */
    struct map tickets_by_id;  /* struct ticket: those that wait */
    struct list waiting;       /* the same, first come first */
    struct heap tickets_due;   /* the same, by when they expire */
    struct list ended_tickets; /* shared: a load has seen that they have ended; not published yet */
    size_t detached_count;     /* of those that wait: not attached */
    uint64_t refresh_number;   /* shared: of world_refresh_pool */
    int64_t lease_ms;          /* moving average of how long a lease lasts; 0: none has ended yet */
};

enum change_kind {
    CHANGE_PRODUCT_ADDED,
    CHANGE_PRODUCT_UPDATED, /* write the product's values as they are now; may come more than once a batch */
    CHANGE_PRODUCT_REMOVED, /* its purchases were cleared by a change before this one */
    CHANGE_PURCHASES_CLEARED, /* all purchases of the product, ids id_first..id_last */
    CHANGE_PURCHASE_ADDED,
    CHANGE_KEY_ADDED,
    CHANGE_KEY_REMOVED,
    CHANGE_WORK_ADDED,   /* those of work: write its values as they are at the end of the batch */
    CHANGE_WORK_UPDATED, /* once a batch at the most, and not for work that was added in it */
    CHANGE_WORK_REMOVED,
    CHANGE_ORDER_ADDED,   /* write its values as they are at the end of the batch */
    CHANGE_ORDER_UPDATED, /* once a batch at the most, and not for one that was added in it */
    CHANGE_PAYMENT_ADDED,
    CHANGE_NOTIFICATION_ADDED,
    CHANGE_NOTIFICATION_ENDED,
    CHANGE_ACCOUNT_ADDED,
    CHANGE_INTAKE_ADDED,
    CHANGE_INTAKE_CANCELLED, /* unless it was cancelled before */
    CHANGE_INTAKE_EXECUTED,  /* the range first_id..last_id was acknowledged */
    CHANGE_PRODUCT_LABELLED, /* write product.labels */
    CHANGE_MACHINE_ADDED,    /* write its values as they are at the end of the batch */
    CHANGE_MACHINE_UPDATED,  /* once a batch at the most, and not for one that was added in it */
    CHANGE_MACHINE_RENAMED,  /* comes with one of the two above, which writes the name */
    CHANGE_MACHINE_REMOVED,
    CHANGE_LEASE_ENDED,
    CHANGE_TICKET_ADDED, /* as for machines */
    CHANGE_TICKET_UPDATED,
    CHANGE_TICKET_ENDED,   /* leaves the line; comes with one of the two above */
    CHANGE_POOL_UPDATED,   /* write world.pool.values as they are at the end; once a batch at the most */
    CHANGE_WALLET_ADDED,   /* write its values as they are at the end of the batch */
    CHANGE_WALLET_UPDATED, /* once a batch at the most, and not for one that was added in it */
    CHANGE_TRANSFER_ADDED,
    CHANGE_INTAKE_UPDATED, /* write world.intake as it is at the end of the batch; once a batch at the most */
};

struct change {
    enum change_kind kind;
    struct product *product; /* of the CHANGE_PRODUCT_ and CHANGE_PURCHASE ones; else NULL */
    union {
        struct {
            struct product_values before;
            bool is_name_new; /* the name before is freed by accept, the name now by rollback */
        } updated;
        struct {
            struct map buyers;
            int64_t id_first; /* 0: there were none */
            int64_t id_last;
        } cleared;
        struct {
            struct buyer *buyer;
            int64_t id;
            int64_t nth; /* of this buyer and product, from 1 */
            int64_t purchased_ms;
            int64_t id_first_before;
            int64_t id_last_before;
        } purchase;
        struct key_record *key;
        struct {
            struct work *work;
            struct work_values before; /* UPDATED */
        } work;
        struct {
            struct order *order;
            struct order_values before;          /* UPDATED */
            const struct order_request *request; /* ADDED: borrowed from the command */
        } order;
        struct {
            struct order *order;
            int outcome; /* enum payment_outcome */
            int64_t time_ms;
        } payment;
        struct {
            int64_t id;
            struct order *order; /* ADDED */
            int channel;         /* ADDED: enum channel */
            int64_t time_ms;
        } notification;
        struct {
            struct account *account;
            const struct account_request *request; /* borrowed from the command */
            int64_t time_ms;
        } account;
        struct {
            const struct intake_request *request; /* ADDED: borrowed from the command */
            int64_t id;                           /* ADDED, CANCELLED */
            int64_t first_id;                     /* EXECUTED */
            int64_t last_id;
            int64_t time_ms;
            struct intake_values before; /* UPDATED */
        } intake;
        struct {
            struct machine *machine;
            struct machine_values before; /* UPDATED */
            struct slice name_before;     /* RENAMED: freed by accept, the name now by rollback */
        } machine;
        struct {
            struct lease lease;
            int64_t machine_id;
            int end; /* enum lease_end */
            int64_t time_ms;
        } lease;
        struct {
            struct ticket *ticket;
            struct ticket_values before; /* UPDATED, ENDED */
        } ticket;
        struct {
            struct pool_values before;
            int64_t lease_ms_before;
        } pool;
        struct {
            struct wallet *wallet;
            struct wallet_values before; /* UPDATED */
        } wallet;
        struct {
            struct transfer *transfer; /* freed by accept when it has no nonce: nobody asks for it again */
        } transfer;
    };
};

struct order;
struct account;
struct machine;
struct ticket;
struct transfer;
struct wallet;

struct world {
    struct map_key hash_key;
    struct map products_by_sku;
    struct map products_by_name; /* one for each name */
    struct list products;        /* struct product, in no particular order */
    struct map keys_by_name;
    struct list keys;                         /* struct key_record, oldest first */
    struct map work_by_id;                    /* struct work */
    struct heap work_queues[WORK_KIND_COUNT]; /* the same, by when it is due */
    struct map orders_by_name;                /* struct order */
    struct map orders_by_id;                  /* the same */
    struct list pending_orders; /* those that are pending, oldest first; not in a shared world */
    int64_t order_counts[ORDER_STATUS_COUNT]; /* not in a shared world */
    struct map accounts_by_username;          /* struct account */
    struct map accounts_by_email;             /* the same */
    struct map wallets_by_key;                /* struct wallet */
    struct map transfers_by_nonce;            /* struct transfer */
    struct intake_values intake;              /* shared: certain while intake_held_batch is the present one */
    uint64_t intake_held_batch;
    uint64_t intake_touched_batch; /* world.batch in which a pre-image was last kept */
    struct pool pool;              /* machines, and who waits for them (world_pool.h) */
    int64_t next_edge_ms;          /* no sale changes its state by time before this (sale.h) */
    /* The next ids to give out. Taken ids are not given back by a rollback: a gap is harmless, an id twice is
     * not. */
    int64_t next_product_id;
    int64_t next_purchase_id;
    int64_t next_key_id;
    int64_t next_work_id; /* of orders and notifications too, whose work has their id */
    int64_t next_account_id;
    int64_t next_transfer_id;
    /* Beyond the last one that may be given out: a shared store reserves them in blocks; else INT64_MAX. */
    int64_t product_id_end;
    int64_t purchase_id_end;
    int64_t work_id_end;
    int64_t account_id_end;
    int64_t transfer_id_end;
    bool is_shared;          /* other nodes change the store too; set once, before anything is loaded */
    struct list held;        /* shared: products whose rows are locked for the batch */
    struct list refreshed;   /* shared: products that a load has changed or removed, not published yet */
    uint64_t refresh_number; /* shared: of world_refresh_begin */
    size_t keys_surplus; /* shared, in a tick: stored answers that are loaded because there are too many */
    struct change *changes;
    size_t change_count;
    size_t change_size;
    uint64_t batch;       /* number of the batch being decided, from 1 */
    bool repeats_answers; /* in this batch an answer was given again that an earlier batch has stored */
};

/* The secret keys the hashes against crafted collisions; any fixed value replays a run. */
void world_init(struct world *world, const struct map_key *hash_key);
void world_fini(struct world *world);

/* Before anything is loaded: other nodes change the store too, and ids have to be reserved there first. */
void world_share(struct world *world);

/* --- what rules read --- */

/* Borrowed; NULL when there is none. */
struct product *world_product(const struct world *world, struct slice sku);

/* One of those that have this name. */
struct product *world_product_by_name(const struct world *world, struct slice name);
struct buyer *world_buyer(const struct world *world, const struct product *product, struct slice user);
struct key_record *world_key(const struct world *world, struct slice scope, struct slice key);
/* Is the product as it is in the store, and will it stay so until the end of the batch? */
bool world_is_certain(const struct world *world, const struct product *product);

/*
 * --- what rules change
 * -------------------------------------------------------------------------------------- Each returns false
 * (or NULL) when memory is out. Nothing has been changed by that call then, but earlier calls of the same
 * decision stand, so the batch must be rolled back.
 */

/* The sku and the name are copied. */
struct product *world_add_product(struct world *world, struct slice sku, const struct product_values *values);

/* Replaces the values; a name that differs from the present one is copied. */
bool world_set_product(struct world *world, struct product *product, const struct product_values *values);

/* What it is listed under; for products that were added in this batch, once. Nobody decides by it. */
bool world_label_product(struct world *world, struct product *product, const struct product_labels *labels);

/* Forgets all purchases of the product. */
bool world_clear_purchases(struct world *world, struct product *product);

/* Clears the purchases, then takes the product out. */
bool world_remove_product(struct world *world, struct product *product);

/* One unit to one user: stock - 1, buyer's count + 1, one purchase. Requires stock > 0. *purchase_id is its
 * id. */
bool world_add_purchase(
    struct world *world, struct product *product, struct slice user, int64_t now_ms, int64_t *purchase_id);

/* Stores the outcome of a command that carried a key. */
bool world_add_key(struct world *world, const struct idempotency *idempotency, const struct outcome *outcome,
    int64_t now_ms);
bool world_remove_key(struct world *world, struct key_record *record);

/* --- the end of a batch --- */

void world_begin(struct world *world);    /* a new batch; there must be no changes left */
void world_accept(struct world *world);   /* the store has written them */
void world_rollback(struct world *world); /* the store has not */

/* --- filling at start: no changes are recorded --- */

/* A product as the store has it; id and values are taken as they are. NULL when memory is out. */
struct product *world_load_product(
    struct world *world, int64_t id, struct slice sku, const struct product_values *values);

/* What a product that has just come in is listed under. False when memory is out. */
bool world_load_labels(struct product *product, const struct product_labels *labels);

/* A purchase as the store has it, in order of id. False when memory is out. */
bool world_load_purchase(
    struct world *world, struct product *product, struct slice user, int64_t purchase_id);

/* A stored answer, in order of id. The slices of `record` are copied. False when memory is out. */
bool world_load_key(struct world *world, const struct key_record *record);

/*
 * --- what a shared store brings in, with no changes under way; none of it is recorded as a change ---
 *
 * A load for a batch: world_unload, then what the commands name: world_hold_product or world_forget_product
 * for each product, world_load_buyer, world_load_key. What differs from what was known lands on
 * world->refreshed, for the engine to publish.
 */

/* Forgets what earlier batches brought in and no lock holds any more: buyers, stored answers, work, held
 * products. */
void world_unload(struct world *world);

/* A product as it is now, its row locked until the batch ends. NULL when memory is out. */
struct product *world_hold_product(
    struct world *world, int64_t id, struct slice sku, const struct product_values *values);

/* A product as it was a moment ago, for pictures. NULL when memory is out. */
struct product *world_refresh_product(
    struct world *world, int64_t id, struct slice sku, const struct product_values *values);

/* The store has no such product any more. */
void world_forget_product(struct world *world, struct product *product);

/* Around the refreshing of all products there are: those that do not come are forgotten. */
void world_refresh_begin(struct world *world);
void world_refresh_end(struct world *world);

/* How many units the user has bought of a held product. False when memory is out. */
bool world_load_buyer(struct world *world, struct product *product, struct slice user, int64_t count);

/* The values that stand for all trading orders, their row locked until the batch ends. */
void world_hold_intake(struct world *world, const struct intake_values *values);

/* What is on world->refreshed has been published: empties it and frees the products that are gone. */
void world_accept_refreshed(struct world *world);

#endif
