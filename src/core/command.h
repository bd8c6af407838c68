/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command is a checked wish to change the world, and, once decided, the answer to it. A face fills it on a
 * net thread; the line hands it to the engine thread, whose rules write the outcome; then it goes back. The
 * slices belong to the request that the command came from and live until its answer. Plain values, no I/O.
 */
#ifndef DOORBUSTER_CORE_COMMAND_H
#define DOORBUSTER_CORE_COMMAND_H

#include "base/slice.h"
#include "core/result.h"

enum command_kind {
    COMMAND_PURCHASE,       /* take one unit (flash-sale contract 2.1) */
    COMMAND_MACHINE_CHOOSE, /* take some by a machine (vending contract) */
    COMMAND_WALLET_SPEND,   /* buy one with a wallet (marketplace contract) */
    COMMAND_PRODUCT_CREATE, /* create, or overwrite and start again (2.5) */
    COMMAND_PRODUCT_UPDATE, /* change what is named, only while UPCOMING (2.7) */
    COMMAND_PRODUCT_PATCH,  /* price and per-user limit, at any time (17) */
    COMMAND_PRODUCT_DELETE, /* remove it and its purchases (2.8) */
    COMMAND_PRODUCT_ADD,    /* a new one under a new name, on sale at once (vending contract) */
    COMMAND_PRODUCT_SET_STOCK,
    COMMAND_WORK_CLAIM,       /* what is due of one kind, for a while (work.h) */
    COMMAND_WORK_FINISH,      /* it is done */
    COMMAND_WORK_POSTPONE,    /* it shall be done at another time */
    COMMAND_WORK_REVIVE,      /* dead work shall be tried again (world_work.h) */
    COMMAND_ORDER_PLACE,      /* take an order, to be paid behind (orders contract) */
    COMMAND_ORDER_CANCEL,     /* its client has gone before its payment began */
    COMMAND_ACCOUNT_REGISTER, /* a name and an e-mail address that nobody has (intake contract) */
    COMMAND_INTAKE_PLACE,     /* take a trading order */
    COMMAND_INTAKE_CANCEL,    /* it shall not be executed */
    COMMAND_INTAKE_SEND,      /* the next ones for the sink */
    COMMAND_INTAKE_EXECUTED,  /* the sink has them */
    COMMAND_MACHINE_CREATE,   /* these: vending contract */
    COMMAND_MACHINE_UPDATE,   /* its name, and whether it takes more users */
    COMMAND_MACHINE_DELETE,
    COMMAND_MACHINE_RESET,   /* back to idle, whatever it does */
    COMMAND_MACHINE_TAKE,    /* the next idle one, or a place in the line */
    COMMAND_TICKET_TAKE,     /* a place in the line, even when a machine is idle */
    COMMAND_TICKET_KEEP,     /* their users are still there */
    COMMAND_TICKET_LEAVE,    /* they are not */
    COMMAND_WALLET_TRANSFER, /* coins to another wallet (marketplace contract) */
    COMMAND_WALLET_CREDIT,   /* coins out of the issue */
};

enum { COMMAND_KIND_COUNT = COMMAND_WALLET_CREDIT + 1 };

struct work_order;
struct order_request;
struct account_request;
struct intake_request;
struct pool_request;
struct wallet_request;

/* Is it about a product, which `sku` names? */
static inline bool command_names_product(enum command_kind kind)
{
    return kind < COMMAND_WORK_CLAIM;
}

/* Is it about work, which `work` names or asks for? */
static inline bool command_names_work(enum command_kind kind)
{
    return kind >= COMMAND_WORK_CLAIM && kind <= COMMAND_WORK_REVIVE;
}

/* Is it about a trading order? */
static inline bool command_names_intake(enum command_kind kind)
{
    return kind >= COMMAND_INTAKE_PLACE && kind <= COMMAND_INTAKE_EXECUTED;
}

/* Is it about wallets, which `wallet` names? */
static inline bool command_names_wallet(enum command_kind kind)
{
    return kind == COMMAND_WALLET_SPEND || (kind >= COMMAND_WALLET_TRANSFER && kind <= COMMAND_WALLET_CREDIT);
}

/* Is it about machines or tickets? A name for a product is given out once, which takes the same lock. */
static inline bool command_names_pool(enum command_kind kind)
{
    return (kind >= COMMAND_MACHINE_CREATE && kind <= COMMAND_TICKET_LEAVE) ||
           kind == COMMAND_MACHINE_CHOOSE || kind == COMMAND_PRODUCT_ADD;
}

enum {
    PRODUCT_CATEGORY_LEN_MAX = 256, /* bytes of UTF-8 */
    SKU_LEN_MAX = 64,               /* ^[A-Za-z0-9-]{1,64}$ */
    USER_LEN_MAX = 510,             /* bytes of UTF-8; 255 characters of ISO 8859-1 at the most on the wire */
    PRODUCT_NAME_CHARS_MAX = 255,
    PRODUCT_NAME_LEN_MAX = 1020, /* bytes of UTF-8 */
    KEY_LEN_MAX = 510,           /* bytes of UTF-8; 255 characters of ISO 8859-1 at the most on the wire */
    FINGERPRINT_BYTES = 16,
};

/* Which members of struct product_fields were sent. */
enum product_field {
    FIELD_NAME = 1 << 0,
    FIELD_INITIAL_STOCK = 1 << 1,
    FIELD_START = 1 << 2,
    FIELD_END = 1 << 3,
    FIELD_PRICE = 1 << 4,
    FIELD_PER_USER_LIMIT = 1 << 5,
    FIELDS_ALL_REQUIRED = FIELD_NAME | FIELD_INITIAL_STOCK | FIELD_START | FIELD_END,
};

struct product_fields {
    unsigned present; /* enum product_field, or'ed */
    struct slice name;
    int64_t initial_stock;  /* units, >= 0 */
    int64_t start_ms;       /* wall clock */
    int64_t end_ms;         /* wall clock, exclusive */
    int64_t price_minor;    /* >= 0 */
    int64_t per_user_limit; /* units, >= 1 */
};

/* What a product is listed under. */
struct product_labels {
    struct slice category; /* empty: none */
    bool is_featured;
};

/* The request's Idempotency-Key, if it had one. */
struct idempotency {
    struct slice key;   /* empty: none */
    struct slice scope; /* whose key it is; the same key in another scope is another key */
    unsigned char fingerprint[FINGERPRINT_BYTES]; /* hash of method, path and body */
};

/* Of an order (order.h); numbers in the store are names. */
enum order_status { ORDER_PENDING, ORDER_PROCESSING, ORDER_COMPLETED, ORDER_FAILED, ORDER_CANCELLED };
enum { ORDER_STATUS_COUNT = ORDER_CANCELLED + 1 };

/* What a command came to. Everything needed to write the answer, now or when it is asked for again. */
struct outcome {
    enum result result;
    int64_t number; /* PURCHASE: purchase id; ORDER_PLACE, ACCOUNT_REGISTER, INTAKE_PLACE: its id; CHOOSE that
                       is refused for its stock: what is left; else 0 */
    int64_t
        time_ms;    /* PURCHASE: purchased at; CREATE, UPDATE, PATCH, ADD, SET_STOCK, ORDER_*, INTAKE_PLACE,
                       ACCOUNT_REGISTER: creation time of what is named; INTAKE_CANCEL: when it was cancelled */
    bool is_replay; /* this is the stored answer to an earlier request with the same key; ORDER_PLACE: the
                       order was there already */
    enum order_status order_status; /* ORDER_PLACE, ORDER_CANCEL: as it is now */
};

struct command {
    enum command_kind kind;
    struct slice sku;   /* PURCHASE, PRODUCT_* */
    struct slice user;  /* PURCHASE */
    int64_t product_id; /* CHOOSE, SET_STOCK, PRODUCT_DELETE: the one that is meant has this id; 0: whichever
                           has the sku */
    struct product_fields product; /* CREATE, UPDATE, PATCH; ADD: name, initial_stock, price_minor; SET_STOCK:
                                      the new stock as initial_stock */
    struct product_labels labels;  /* ADD */
    struct idempotency idempotency; /* PURCHASE, PRODUCT_*; others have none: an order's id or a work's token
                                       does its job */
    /* The caller's memory, which lives until the answer. */
    union {
        struct work_order *work;               /* WORK_* (work.h) */
        const struct order_request *order;     /* ORDER_* (order.h) */
        const struct account_request *account; /* ACCOUNT_* (account.h) */
        struct intake_request *intake;         /* INTAKE_* (intake.h) */
        struct wallet_request *wallet;         /* WALLET_* (wallet.h) */
        struct pool_request *pool;             /* MACHINE_*, TICKET_*, ADD, SET_STOCK (machine.h) */
    };
    struct outcome outcome; /* written by the rules */
};

#endif
