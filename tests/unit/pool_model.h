/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the vending contract says, written a second time and as simply as can be: arrays that are walked from
 * end to end, no memory, no undo. A copy of the struct is a copy of the model, so a batch that fails is
 * forgotten by an assignment. It shares no line with core/: of a command it reads what is asked, nothing
 * else.
 */
#ifndef DOORBUSTER_TESTS_UNIT_POOL_MODEL_H
#define DOORBUSTER_TESTS_UNIT_POOL_MODEL_H

#include "random_pool.h"

enum { MODEL_TICKETS = 40 /* who wait at a time */ };

enum model_status { MODEL_IDLE, MODEL_CHOOSING, MODEL_PROCESSING };

struct model_machine {
    int64_t id; /* 0: a free place */
    char name[16];
    enum model_status status;
    bool is_draining;
    int64_t used;
    int64_t lease; /* 0: idle, and so are those below then */
    int64_t ticket;
    int64_t started_ms;
    int64_t due_ms;
    int64_t units;
    int64_t product_id;
    int64_t created_ms;
    int64_t updated_ms;
};

struct model_ticket {
    int64_t id; /* 0: a free place */
    int64_t until_ms;
    int64_t first_lease;
    bool is_attached;
};

struct model_product {
    bool exists;
    int64_t id; /* the world's to choose: model_note_product */
    char name[16];
    int64_t supplied;
    int64_t left;
    int64_t price;
    int64_t by_machines; /* units sold */
    bool bought[POOL_USERS];
    int64_t created_ms;
    int64_t updated_ms;
};

struct pool_model {
    int64_t dispense_ms;
    int64_t choose_timeout_ms;
    int64_t line_max;
    bool says_sold_out;
    int64_t machines_made;
    int64_t leases_made;
    int64_t tickets_made;
    struct model_machine machines[POOL_MACHINES_MAX];
    struct model_ticket tickets[MODEL_TICKETS];
    struct model_product products[POOL_SKUS];
};

/* What is expected of an answer. */
struct pool_expected {
    int result;     /* a number of result.def */
    int64_t number; /* what the outcome says; not looked at when a product is sold or added */
    bool has_machine;
    struct model_machine machine;        /* as it is shown */
    const struct model_product *product; /* as it is shown, or NULL */
    bool is_machine_unknown;
    bool is_product_unknown;
    int64_t ticket;
    int64_t position;
};

void model_tick(struct pool_model *model, int64_t now_ms);

/* When time alone changes something next; INT64_MAX: never. */
int64_t model_due_ms(const struct pool_model *model);

struct pool_expected model_decide(
    struct pool_model *model, const struct random_pool *lot, const struct command *command, int64_t now_ms);

/* Tells the model which id the world gave to the product just added. */
void model_note_product(struct pool_model *model, const struct random_pool *lot, int64_t id);

#endif
