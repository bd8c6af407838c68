/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands about machines, the line and their products, drawn by lot as random_command.h draws those of the
 * flash sale: few machines and products, so that they meet often. What they name is what answers have told
 * (struct pool_seen), so they can be sent to any world or store; the same seed and the same answers draw the
 * same commands.
 */
#ifndef DOORBUSTER_TESTS_UNIT_RANDOM_POOL_H
#define DOORBUSTER_TESTS_UNIT_RANDOM_POOL_H

#include "core/machine.h"
#include "random_command.h"

enum {
    POOL_MACHINES_MAX = 16, /* at a time */
    POOL_SKUS = 5,
    POOL_USERS = 6,         /* of the flash sale, who buy of the same stock */
    POOL_TICKETS_NAMED = 3, /* in one command */
};

enum pool_lot {
    LOT_TAKE,
    LOT_TAKE_OR_WAIT,
    LOT_TICKET,
    LOT_KEEP,
    LOT_LEAVE,
    LOT_CHOOSE,
    LOT_RESET,
    LOT_CREATE,
    LOT_UPDATE,
    LOT_DELETE,
    LOT_ADD_PRODUCT,
    LOT_SET_STOCK,
    LOT_DELETE_PRODUCT,
    LOT_PURCHASE,
};

enum { POOL_LOT_COUNT = LOT_PURCHASE + 1 };

struct pool_crowd {
    unsigned weights[POOL_LOT_COUNT]; /* how often each is drawn, in proportion */
    unsigned machine_count;           /* no more than these are made at a time; at least 1 */
    int64_t stock_max;
    int64_t units_max; /* in one choice, at least 1 */
    int64_t wait_ms_max;
};

/* What answers have told; all 0 at first. After a batch that was taken back it is as it was before it. */
struct pool_seen {
    int64_t machine_ids[POOL_MACHINES_MAX]; /* 0: a free place */
    int64_t lease_ids[POOL_MACHINES_MAX];   /* that the machine had when it was last seen */
    int64_t product_ids[POOL_SKUS];         /* 0: not known */
    int64_t machine_last;
    int64_t lease_last;
    int64_t ticket_last;
};

/* What the command points to; it must not be moved. */
struct random_pool {
    struct pool_request request;
    int64_t ticket_ids[POOL_TICKETS_NAMED];
    unsigned sku; /* numbers behind the texts, from 0; of those about a product */
    unsigned user;
    unsigned name;
    char sku_text[16];
    char user_text[32];
    char name_text[16];
};

/* A crowd of its own shape. */
void draw_pool_crowd(struct id_source *random, struct pool_crowd *crowd);

/* Turns `command` into one of these. */
void draw_pool_command(struct id_source *random, const struct pool_crowd *crowd, const struct pool_seen *seen,
    int64_t now_ms, struct random_pool *out, struct command *command);

/* What there is to learn from an answer. */
void pool_seen_note(struct pool_seen *seen, const struct random_pool *lot, const struct command *command);

#endif
