/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the machines (vending contract): idle --take--> choose_product --choose--> processing
 * --done--> idle, with one more completed lease; reset: any --> idle.
 *
 * Whoever frees a machine, by what means ever, hands it to the first in the line within the same decision. So
 * while anybody waits, no machine is idle that could be taken, and who comes without a ticket finds none.
 *
 * What a machine sells is bought by a user of its own (machine_user), by way of sale.h. Engine thread; time
 * comes in as an argument. All that return bool return false when memory is out: the batch must be rolled
 * back.
 */
#ifndef DOORBUSTER_CORE_MACHINE_H
#define DOORBUSTER_CORE_MACHINE_H

#include "core/world_pool.h"

struct rules;

enum {
    MACHINE_UNITS_MAX = 1000, /* in one choice: each is a row, and all of them are one decision */
    MACHINE_USER_LEN_MAX = 32,
};

/* A machine as it is shown. */
struct machine_row {
    int64_t id;
    struct slice name; /* lies in memory of whoever has the row */
    enum machine_status status;
    bool is_draining;
    int64_t usage_count;
    int64_t lease_id; /* 0: idle */
    int64_t created_ms;
    int64_t updated_ms;
};

/* A product as it is shown by this face. */
struct product_row {
    int64_t id;
    struct slice sku; /* of a reader; the answers of commands leave it out */
    struct slice name;
    int64_t stock;
    int64_t created_ms;
    int64_t updated_ms;
};

/* What the commands of machines, tickets and their products ask for, and their answers. */
struct pool_request {
    /* asked */
    int64_t machine_id; /* MACHINE_UPDATE, _DELETE, _RESET, _CHOOSE */
    int64_t lease_id;   /* _RESET, _CHOOSE: only while this is its lease; 0: whichever */
    bool is_given_up;   /* _RESET: its user had gone before he heard of it */
    bool has_name;      /* _UPDATE */
    bool has_draining;  /* _UPDATE */
    bool is_draining;   /* _UPDATE */
    struct slice name;  /* _CREATE, _UPDATE: 1 to MACHINE_NAME_LEN_MAX bytes */
    int64_t units;      /* _CHOOSE: 1..MACHINE_UNITS_MAX */
    int64_t coins;      /* _CHOOSE: at least 1 */
    int64_t until_ms;   /* _TAKE: 0, or wait in the line until then; TICKET_TAKE, _KEEP: expires then */
    const int64_t *ticket_ids; /* TICKET_KEEP, _LEAVE */
    size_t ticket_count;
    /* answered */
    struct machine_row
        machine; /* with OK, but of _DELETE and TICKET_*: as it is now, named in machine_name */
    struct product_row product; /* _CHOOSE, PRODUCT_ADD, _SET_STOCK: as it is now, named in product_name */
    bool is_machine_unknown;    /* CHOICE_UNKNOWN: one of these, or both */
    bool is_product_unknown;
    int64_t ticket_id; /* TICKET_WAITS: of the place in the line */
    int64_t position;  /* TICKET_WAITS: 1 is the first; TICKET_TAKE: 0 when it was served at once */
    char machine_name[MACHINE_NAME_LEN_MAX];
    char product_name[PRODUCT_NAME_LEN_MAX];
};

/* Writes the name of the user that buys for a machine: " machine 7". A user whom a client names never begins
 * with a blank (flash-sale contract 2.1: the header is trimmed), so nobody can pass for one. */
struct slice machine_user(int64_t machine_id, char memory[MACHINE_USER_LEN_MAX]);

/* Shows a product in the answer. */
void product_show(const struct product *product, struct pool_request *request);

/* OK, MACHINES_FULL. */
bool machine_create(const struct rules *rules, struct world *world, struct command *command, int64_t now_ms);

/* OK, MACHINE_NOT_FOUND. */
bool machine_update(const struct rules *rules, struct world *world, struct command *command, int64_t now_ms);

/* OK, MACHINE_NOT_FOUND. A lease that it has ends. */
bool machine_delete(struct world *world, struct command *command, int64_t now_ms);

/* OK, MACHINE_NOT_FOUND, MACHINE_IS_IDLE: also when it has another lease than the one named, or would be
 * given up though somebody has chosen. */
bool machine_reset(const struct rules *rules, struct world *world, struct command *command, int64_t now_ms);

/* OK; when none is idle: NO_IDLE_MACHINE, or, of who wants to wait, TICKET_WAITS or LINE_FULL. */
bool machine_take(const struct rules *rules, struct world *world, struct command *command, int64_t now_ms);

/* In this order: CHOICE_UNKNOWN, COINS_NOT_COUNT, NOT_CHOOSING, STOCK_INSUFFICIENT, OK. The command names the
 * product by sku and id (an empty sku: there is none), and machine_user as the user. */
bool machine_choose(const struct rules *rules, struct world *world, struct command *command, int64_t now_ms);

/* Ends what is due: leases whose time is over, tickets that expire. */
bool machine_tick(const struct rules *rules, struct world *world, int64_t now_ms);

/* The machine is the holder's of this ticket (0: of nobody who had to wait) from now on. It is idle. */
bool machine_assign(const struct rules *rules, struct world *world, struct machine *machine,
    int64_t ticket_id, int64_t now_ms);

#endif
