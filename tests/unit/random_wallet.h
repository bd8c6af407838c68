/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands about wallets, drawn by lot as random_command.h draws those of the flash sale: few people and
 * products, so that they meet often. What a nonce asks for follows from the nonce, so that an old one usually
 * comes with the intent that it had before; now and then it comes with another. The same seed draws the same
 * commands.
 */
#ifndef DOORBUSTER_TESTS_UNIT_RANDOM_WALLET_H
#define DOORBUSTER_TESTS_UNIT_RANDOM_WALLET_H

#include "core/account.h"
#include "core/wallet.h"
#include "random_command.h"

enum { WALLET_PEOPLE = 8, WALLET_SKUS = 4 };

struct wallet_crowd {
    unsigned people;           /* 2 to WALLET_PEOPLE, of whom some may not have registered yet */
    unsigned nonces;           /* how many different ones there are */
    unsigned register_percent; /* of the commands; the rest is credits, transfers and spends */
    unsigned credit_percent;
    unsigned spend_percent;
    int64_t opening_minor;
    int64_t amount_max; /* of credits and transfers */
    bool is_rich;       /* credits are now and then as large as they can be */
};

/* What the command points to; it must not be moved. Numbers that are not asked for are 0. */
struct random_wallet {
    struct account_request account;
    struct wallet_request request;
    unsigned person; /* whose key; of a credit: who gets it */
    unsigned payee;
    unsigned sku; /* WALLET_SKUS: the empty one, of a product that nobody knows */
    unsigned address;
    unsigned nonce;
    unsigned char key[WALLET_KEY_BYTES];
    char user_text[WALLET_USER_LEN_MAX];
    char email_text[32];
    char sku_text[16];
    char nonce_text[16];
};

/* A crowd of its own shape. */
void draw_wallet_crowd(struct id_source *random, struct wallet_crowd *crowd);

/* Which of the products costs what, as the crowd believes. */
int64_t wallet_price(unsigned sku);

/* "GOOD-<number>" */
void wallet_sku(unsigned sku, char text[16]);

void wallet_person_key(unsigned person, unsigned char key[WALLET_KEY_BYTES]);

/* Turns `command` into a registration, a credit, a transfer or a spend. */
void draw_wallet_command(struct id_source *random, const struct wallet_crowd *crowd,
    struct random_wallet *out, struct command *command);

#endif
