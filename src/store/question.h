/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be asked of a reader (store.h), and the answers: plain rows for the faces to show. The asker fills
 * in the kind and what is asked; the reader writes the answer, whose texts and lists live in memory of the
 * question's own until question_fini. One thread at a time.
 */
#ifndef DOORBUSTER_STORE_QUESTION_H
#define DOORBUSTER_STORE_QUESTION_H

#include "base/err.h"
#include "base/slice.h"
#include "core/account.h"
#include "core/intake.h"
#include "core/machine.h"
#include "core/world_order.h"
#include "core/world_wallet.h"

enum question_kind {
    QUESTION_PURCHASE,      /* the latest purchase of a product by a user */
    QUESTION_ORDER,         /* an order by its order_id */
    QUESTION_ORDER_STATES,  /* the present state of some orders by their ids, for who waits for them */
    QUESTION_ORDER_TOTALS,  /* how many orders are in which state */
    QUESTION_DEAD_LETTERS,  /* notifications that are not tried any more */
    QUESTION_ACCOUNT,       /* an account by its e-mail address or its id */
    QUESTION_INTAKE_ORDER,  /* a trading order by its id */
    QUESTION_INTAKE_ORDERS, /* trading orders of an account, newest first */
    QUESTION_INTAKE_RANGE,  /* trading orders to be sent to the sink, oldest first */
    QUESTION_MACHINE,       /* a machine by its id */
    QUESTION_MACHINES,      /* machines, by id */
    QUESTION_PRODUCT,       /* a product by its id */
    QUESTION_PRODUCTS,      /* products, by id */
    QUESTION_TICKET,        /* a ticket by its id, and the machine that it was served with */
    QUESTION_WALLET,        /* a wallet and its account, by its key or its account's id */
    QUESTION_TRANSFERS,     /* transfers of an account, newest first */
};

/* A purchase as GET /api/v1/purchases tells it. */
struct purchase_row {
    int64_t id;
    int64_t purchased_ms;
};

struct purchase_lookup {
    struct slice sku;
    struct slice user;
    bool is_found;
    struct purchase_row row; /* when it is found */
};

struct order_row {
    int64_t id;
    struct slice order_id;
    int64_t customer_id;
    struct slice items; /* JSON */
    int64_t amount_minor;
    int priority;
    bool is_sync;
    enum order_status status;
    int64_t attempts;
    int64_t created_ms;
    int64_t updated_ms;
    int64_t paid_ms;  /* 0: not paid */
    int64_t position; /* pending: how many payments are before it, at most QUESTION_POSITION_MAX; else 0 */
};

enum { QUESTION_POSITION_MAX = 10000, QUESTION_ROWS_MAX = 1000 };

struct order_state {
    int64_t id; /* asked */
    bool is_found;
    enum order_status status;
    int64_t attempts;
    int64_t updated_ms;
    int64_t paid_ms;
};

struct order_totals {
    int64_t counts[ORDER_STATUS_COUNT];
    int64_t oldest_pending_ms; /* when it was created; 0: none is pending */
};

struct dead_letter {
    int64_t id; /* of the notification and its work */
    struct slice order_id;
    enum channel channel;
    struct slice target; /* e-mail: the address; webhook: empty */
    int64_t attempts;
    int64_t created_ms;
};

struct account_row {
    int64_t id;
    struct slice username; /* as shown */
    struct slice email;
    struct slice full_name;
    struct slice password_hash;
    int64_t created_ms;
};

enum intake_status { INTAKE_QUEUED, INTAKE_EXECUTED, INTAKE_CANCELLED };

struct intake_row {
    int64_t id;
    int64_t account_id;
    struct slice symbol;
    enum intake_side side;
    enum intake_type type;
    int64_t quantity; /* 1/INTAKE_SCALE */
    struct optional_decimal price;
    struct optional_decimal stop_price;
    struct optional_decimal trailing_stop_pct;
    struct optional_decimal iceberg_qty;
    struct slice time_in_force;
    enum intake_status status;
    int64_t created_ms;
    int64_t updated_ms; /* when it was cancelled or executed; else created_ms */
};

/* A place in the waiting line. */
struct ticket_row {
    int64_t id;
    enum ticket_state state;
    bool is_attached;
    int64_t until_ms; /* it expires then, unless it is kept */
    int64_t created_ms;
    int64_t ended_ms;   /* 0: it waits */
    int64_t lease_id;   /* served; else 0 */
    int64_t machine_id; /* served; else 0 */
};

/* A wallet, and whose it is. */
struct wallet_row {
    int64_t account_id;
    unsigned char key[WALLET_KEY_BYTES];
    int64_t balance_minor;
    struct slice email;
    struct slice name;
    int64_t created_ms; /* of the account */
};

/* A transfer as one of its two accounts sees it. */
struct transfer_line {
    struct transfer_row row; /* its texts live as long as the question */
    bool is_debit;           /* the account has paid */
    bool has_other;          /* it was to or from another wallet, with the key below */
    unsigned char other_key[WALLET_KEY_BYTES];
};

struct question_memory;

struct question {
    enum question_kind kind;
    /* asked */
    struct slice name; /* ORDER: order_id; ACCOUNT: e-mail in lower case, or empty for `id` */
    int64_t id;      /* ACCOUNT, INTAKE_ORDER, MACHINE, PRODUCT, TICKET; DEAD_LETTERS, INTAKE_RANGE, MACHINES,
                        PRODUCTS: only ids above it */
    int64_t id_last; /* INTAKE_RANGE: up to it */
    int64_t id_before; /* INTAKE_ORDERS, TRANSFERS: only ids below it, which for TRANSFERS is the id of one of
                          the account's own, or INT64_MAX */
    int64_t account_id; /* INTAKE_ORDERS, TRANSFERS, WALLET */
    bool has_status;    /* INTAKE_ORDERS: only those with `status` */
    enum intake_status status;
    bool is_open_only; /* ORDER_TOTALS: who asks often wants to know of open orders only; others may be 0 */
    size_t limit;      /* of lists: rows at most, 1..QUESTION_ROWS_MAX */
    const unsigned char *key; /* WALLET: WALLET_KEY_BYTES, or NULL for `account_id`; until it is answered */
    /* asked and answered */
    struct purchase_lookup purchase;
    struct order_state *states; /* ORDER_STATES: the asker's array */
    size_t state_count;
    /* answered */
    bool is_found; /* ORDER, ACCOUNT, INTAKE_ORDER, MACHINE, PRODUCT, TICKET, WALLET */
    struct order_row order;
    struct order_totals totals;
    struct account_row account;
    struct intake_row intake;         /* INTAKE_ORDER */
    struct intake_row *intake_rows;   /* INTAKE_ORDERS, INTAKE_RANGE: `count` of them */
    struct dead_letter *dead_letters; /* `count` of them */
    struct machine_row machine;       /* MACHINE; TICKET: of its lease, as it is now, when has_machine */
    bool has_machine;                 /* TICKET: that lease has not ended */
    struct machine_row *machines;     /* MACHINES: `count` of them */
    struct product_row product;       /* PRODUCT */
    struct product_row *products;     /* PRODUCTS: `count` of them */
    struct ticket_row ticket;
    struct wallet_row wallet;
    struct transfer_line *transfers; /* TRANSFERS: `count` of them */
    size_t count;
    struct question_memory *memory; /* begins as NULL */
};

/* Memory that lives until question_fini; NULL when there is none left. For readers. */
void *question_alloc(struct question *question, size_t size);

/* A copy in such memory; false when there is none left. */
MUST_CHECK bool question_copy(struct question *question, struct slice text, struct slice *copy);

/* Gives the answer's memory back; harmless on one that was never asked. */
void question_fini(struct question *question);

#endif
