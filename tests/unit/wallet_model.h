/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the marketplace contract says of coins, written a second time and as simply as can be: arrays that are
 * walked from end to end, no undo. A copy of the struct is a copy of the model, since what was decided is
 * only ever appended. It shares no line with core/: of a command it reads what is asked, nothing else.
 */
#ifndef DOORBUSTER_TESTS_UNIT_WALLET_MODEL_H
#define DOORBUSTER_TESTS_UNIT_WALLET_MODEL_H

#include "random_wallet.h"

struct model_wallet {
    bool exists;
    int64_t account_id; /* the world's to choose: model_note_answer */
    int64_t balance;
    int64_t last_id; /* of its last transfer; the world's to choose */
    bool has_address[WALLET_PEOPLE];
};

struct model_good {
    bool exists;
    int64_t id;
    int64_t stock;
    int64_t price;
    int64_t end_ms;
};

/* What was decided under a name. */
struct model_deed {
    int payer; /* -1: the admin */
    unsigned nonce;
    int kind;
    unsigned person;
    unsigned payee;
    unsigned sku;
    int64_t amount;
    int64_t balance; /* as it was answered */
    int64_t id;      /* the world's to choose */
    int64_t time_ms;
};

struct wallet_model {
    struct model_wallet wallets[WALLET_PEOPLE];
    struct model_good goods[WALLET_SKUS];
    struct model_deed *deeds; /* with room for all; those beyond the count are free */
    size_t deed_count;
    int64_t issued;
    int64_t spent;
    int64_t spend_count;
};

/* What is expected of an answer. */
struct wallet_expected {
    int result; /* a number of result.def */
    bool is_replay;
    int64_t balance;
    int64_t id;      /* of a repetition */
    int64_t time_ms; /* with OK */
};

/* There must be room for one more deed. */
struct wallet_expected model_decide(struct wallet_model *model, const struct random_wallet *lot,
    const struct command *command, int64_t now_ms);

/* Tells the model which number the world gave to what was just done. */
void model_note_number(
    struct wallet_model *model, const struct random_wallet *lot, const struct command *command);

#endif
