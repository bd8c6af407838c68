/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of wallets share: each wish in one line, decided at the kit's time. People have numbers, from
 * which their keys and addresses are made. A refusal must have changed nothing. The answer stays in the kit
 * until the next one.
 */
#ifndef DOORBUSTER_TESTS_UNIT_WALLET_KIT_H
#define DOORBUSTER_TESTS_UNIT_WALLET_KIT_H

#include "core/account.h"
#include "core/wallet.h"
#include "world_kit.h"

struct wallet_kit {
    struct world *world;
    struct rules rules;
    int64_t now_ms;
    struct account_request account; /* of the last registration */
    struct wallet_request request;  /* of the last wish, with its answer */
    struct outcome outcome;
    char username[WALLET_USER_LEN_MAX];
    char email[32];
};

/* The time is 1,000. */
void wallet_kit_init(struct wallet_kit *kit, struct world *world);

/* The key of a person, 0 to 255. */
void wallet_kit_key(int person, unsigned char key[WALLET_KEY_BYTES]);

/* What makes an intent the same one: who gets it or what is bought, and the amount. */
void wallet_kit_fingerprint(
    struct slice subject, int64_t amount_minor, unsigned char fingerprint[FINGERPRINT_BYTES]);

/* The address of one person with the key of another, or of the same. */
enum result ask_register(struct wallet_kit *kit, int key, int address, int64_t opening_minor);
enum result ask_credit(struct wallet_kit *kit, int person, int64_t amount_minor, const char *reference);
enum result ask_spend(
    struct wallet_kit *kit, int person, const char *sku, int64_t amount_minor, const char *nonce);

/* The product must have this id too. */
enum result ask_spend_on(struct wallet_kit *kit, int person, const char *sku, int64_t product_id,
    int64_t amount_minor, const char *nonce);
enum result ask_transfer(
    struct wallet_kit *kit, int person, int payee, int64_t amount_minor, const char *nonce);

/* A sale that is open; its end is far. */
void put_sale(struct wallet_kit *kit, const char *sku, int64_t stock, int64_t price_minor);
void delete_sale(struct wallet_kit *kit, const char *sku);

/* The wallet of a person, who must have one. */
const struct wallet *wallet_of(const struct wallet_kit *kit, int person);
int64_t balance_of(const struct wallet_kit *kit, int person);

#endif
