/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands about orders, accounts and trading orders, drawn by lot as random_command.h draws those about
 * products: few names, so that they meet often. The same seed draws the same commands.
 */
#ifndef DOORBUSTER_TESTS_UNIT_RANDOM_ORDER_H
#define DOORBUSTER_TESTS_UNIT_RANDOM_ORDER_H

#include "core/account.h"
#include "core/intake.h"
#include "core/order.h"
#include "random_command.h"

/* What the command points to; it must not be moved. */
struct random_order {
    struct order_request order;
    struct account_request account;
    struct intake_request intake;
    char name_text[24];
    char email_text[32];
};

/* Turns `command` into one of these. `intake` is what the world says before the batch: ids are drawn around
 * it. */
void draw_order_command(struct id_source *random, int64_t now_ms, const struct intake_values *intake,
    struct random_order *out, struct command *command);

#endif
