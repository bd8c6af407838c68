/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the flash-sale contract (sections 2.1, 2.5 to 2.8, 4 and 17) says, written a second time and as simply
 * as can be: arrays over numbered SKUs, users and keys, no memory, no undo. A copy of the struct is a copy of
 * the model, so a batch that fails is forgotten by an assignment. It shares no line with core/.
 */
#ifndef DOORBUSTER_TESTS_UNIT_SALE_MODEL_H
#define DOORBUSTER_TESTS_UNIT_SALE_MODEL_H

#include "random_command.h"

enum { MODEL_SKUS = 6, MODEL_USERS = 40, MODEL_KEYS = 5 };

enum model_state { MODEL_UPCOMING, MODEL_ACTIVE, MODEL_ENDED };

struct model_sale {
    bool exists;
    enum model_state state;
    bool was_sold_out;
    int64_t initial_stock;
    int64_t sold;
    int64_t price;
    int64_t limit;
    int64_t start_ms;
    int64_t end_ms;
    int64_t created_ms;
    char name[16];
    int64_t bought[MODEL_USERS];
};

struct model_key {
    bool is_used;
    int64_t batch;
    int64_t created_ms;
    int body;
    int result;
    int64_t time_ms;
    int64_t number;
};

struct sale_model {
    bool says_sold_out;
    int64_t key_ttl_ms;
    int64_t batch;
    struct model_sale sales[MODEL_SKUS];
    struct model_key keys[MODEL_USERS][MODEL_KEYS];
};

/* What is expected of an answer. */
struct model_answer {
    int result; /* a number of result.def */
    bool is_replay;
    bool has_number; /* a purchase that took a unit: the number is the world's to choose */
    int64_t number;  /* replay: as stored */
    int64_t time_ms; /* looked at when the result is 0 */
};

void model_tick(struct sale_model *model, int64_t now_ms);

struct model_answer model_decide(struct sale_model *model, const struct random_command *lot, int64_t now_ms);

/* Tells the model which number the world gave to the purchase just decided, for its replay. */
void model_note_number(struct sale_model *model, const struct random_command *lot, int64_t number);

#endif
