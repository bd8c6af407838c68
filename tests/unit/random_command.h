/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands drawn by lot, for tests that compare what the rules do with what they should do: a few SKUs, users
 * and keys, so that they meet often, and times around the present. The same seed draws the same commands.
 */
#ifndef DOORBUSTER_TESTS_UNIT_RANDOM_COMMAND_H
#define DOORBUSTER_TESTS_UNIT_RANDOM_COMMAND_H

#include "base/id.h"
#include "core/command.h"

struct crowd {
    unsigned sku_count;
    unsigned user_count;
    unsigned key_count;        /* different Idempotency-Keys; 0: none are used */
    unsigned key_percent;      /* how many commands carry one */
    unsigned purchase_percent; /* the rest are changes of products */
    int64_t stock_max;
    int64_t sale_ms_max; /* how long a sale lasts at most; it starts up to half that before or after now */
};

/* The slices of the command lie in the texts beside it, so it must not be moved. */
struct random_command {
    struct command command;
    unsigned sku; /* numbers behind the texts, from 0 */
    unsigned user;
    unsigned key; /* UINT_MAX: none */
    char sku_text[16];
    char user_text[16];
    char key_text[16];
    char name_text[16];
};

/* From 0 to below `limit`. */
unsigned draw(struct id_source *random, uint64_t limit);

void draw_command(
    struct id_source *random, const struct crowd *crowd, int64_t now_ms, struct random_command *out);

#endif
