/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the wallets (marketplace contract): coins are issued (opening, credits), handed on (transfer)
 * and spent, and never come from anywhere else; no balance is ever below 0. A payer names each transfer by a
 * nonce; the same one again is answered again, and another one under the same nonce is refused. What was
 * spent and what was bought for it are one decision: the purchase is the order, the transfer the receipt.
 *
 * Whoever fills the command has checked the payer's signature; the rules see only checked intents. Engine
 * thread. All return false when memory is out: the batch must be rolled back.
 */
#ifndef DOORBUSTER_CORE_WALLET_H
#define DOORBUSTER_CORE_WALLET_H

#include "core/world_wallet.h"

enum {
    WALLET_USER_LEN_MAX = 80,
    WALLET_AMOUNT_DIGITS_MAX = 15,
};

/* The largest amount and the largest balance, in hundredths: 15 digits, which every client's JSON keeps. */
#define WALLET_AMOUNT_MAX INT64_C(999999999999999)

/* What the WALLET_ commands ask for, and their answers. */
struct wallet_request {
    /* asked */
    unsigned char key[WALLET_KEY_BYTES];          /* whose wallet: the payer's; of CREDIT: who gets it */
    unsigned char to[WALLET_KEY_BYTES];           /* TRANSFER */
    int64_t amount_minor;                         /* 1 to WALLET_AMOUNT_MAX */
    struct slice nonce;                           /* 1 to NONCE_LEN_MAX bytes; of CREDIT: the reference */
    unsigned char fingerprint[FINGERPRINT_BYTES]; /* of what makes it the same one */
    /* answered, with OK: as the transfer says it */
    struct transfer_row transfer; /* its nonce is left out */
    int64_t balance_minor;        /* afterwards, of the payer; of CREDIT: of who gets it */
};

/* Writes the name of the user that buys with a wallet, " key <64 hexadecimal digits>", which no client can
 * send: see machine_user. */
struct slice wallet_user(const unsigned char key[WALLET_KEY_BYTES], char memory[WALLET_USER_LEN_MAX]);

/* A wallet for an account that has just been made, with so many coins to begin with. */
bool wallet_open(struct world *world, int64_t account_id, const unsigned char key[WALLET_KEY_BYTES],
    int64_t opening_minor, int64_t now_ms);

/*
 * In this order: WALLET_NOT_FOUND; OK once more (is_replay) or NONCE_REUSED; PRODUCT_NOT_FOUND,
 * PRICE_DIFFERS, INSUFFICIENT_FUNDS, SOLD_OUT, OK. The command names the product by sku (empty: there is
 * none) and id (0: whichever has the sku), and wallet_user as the user. How many one buyer may have is a rule
 * of the sale for users who cost nothing; who pays may have more.
 */
bool wallet_spend(struct world *world, struct command *command, int64_t now_ms);

/* WALLET_NOT_FOUND (the payer's), OK once more or NONCE_REUSED, PAYEE_NOT_FOUND, INSUFFICIENT_FUNDS,
 * BALANCE_TOO_LARGE, OK. */
bool wallet_transfer(struct world *world, struct command *command, int64_t now_ms);

/* WALLET_NOT_FOUND, OK once more or NONCE_REUSED, BALANCE_TOO_LARGE, OK. */
bool wallet_credit(struct world *world, struct command *command, int64_t now_ms);

#endif
