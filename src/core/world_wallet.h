/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wallets in the world, and the transfers that moved their coins (world.h tells how it changes). With the
 * embedded store every wallet is there, and every transfer that somebody signed or an admin named, for the
 * day on which it is sent again; in a shared world those that the batch's commands name.
 *
 * A transfer moves coins from one wallet to another, or out of the issue into one (opening, credit), or out
 * of one into the shop (spend). A wallet knows its last transfer and each transfer the one that its wallets
 * had before it, so that a wallet's history is a chain from the newest back, without an index. Engine thread.
 */
#ifndef DOORBUSTER_CORE_WORLD_WALLET_H
#define DOORBUSTER_CORE_WORLD_WALLET_H

#include "core/world.h"

enum { WALLET_KEY_BYTES = 32, NONCE_LEN_MAX = 256 /* bytes: 64 characters */ };

/* "opening", "credit", "transfer", "spend": on the wire and in the store. */
enum transfer_kind { TRANSFER_OPENING, TRANSFER_CREDIT, TRANSFER_TRANSFER, TRANSFER_SPEND };
struct slice transfer_kind_name(enum transfer_kind kind);
bool transfer_kind_from_name(struct slice name, enum transfer_kind *kind);

struct wallet {
    int64_t account_id;
    uint64_t hash;
    unsigned char key[WALLET_KEY_BYTES]; /* Ed25519 */
    struct wallet_values values;
    uint64_t touched_batch; /* world.batch in which it was added, or a pre-image was last kept */
};

/* What a transfer says, in the store and when it is asked for again. */
struct transfer_row {
    int64_t id;
    enum transfer_kind kind;
    int64_t from_account;     /* 0: issued */
    int64_t to_account;       /* 0: the shop's */
    int64_t from_previous_id; /* the transfer that the wallet had before this one; 0: none */
    int64_t to_previous_id;
    int64_t amount_minor;       /* > 0 */
    int64_t from_balance_minor; /* afterwards; 0 when there is no such wallet */
    int64_t to_balance_minor;
    int64_t product_id;  /* SPEND; else 0 */
    int64_t purchase_id; /* SPEND; else 0 */
    int64_t created_ms;
    struct slice nonce; /* what the payer, or for CREDIT the admin, has named it by; empty for OPENING */
    unsigned char fingerprint[FINGERPRINT_BYTES]; /* of all that makes it the same one */
};

struct transfer {
    uint64_t hash;
    struct transfer_row row; /* its nonce lies behind it */
};

/* --- what rules read: borrowed; NULL when there is none --- */

struct wallet *world_wallet(const struct world *world, const unsigned char key[WALLET_KEY_BYTES]);

/* The one that this payer (0: the admin) has named so. */
const struct transfer *world_transfer(const struct world *world, int64_t from_account, struct slice nonce);

/* --- what rules change: false (NULL) when memory is out, see world.h --- */

/* With no coins. */
struct wallet *world_add_wallet(
    struct world *world, int64_t account_id, const unsigned char key[WALLET_KEY_BYTES], int64_t now_ms);

/*
 * Moves coins: `from` NULL: out of the issue; `to` NULL: to the shop. Kind, amount, what was bought, nonce
 * and fingerprint are taken from the row, the rest is filled in; its nonce must be new. The payer must have
 * enough, and nobody more than an int64 holds.
 */
bool world_add_transfer(
    struct world *world, struct wallet *from, struct wallet *to, struct transfer_row *row, int64_t now_ms);

/* --- loading: no change is recorded. False when memory is out; one that is there already stays --- */

bool world_load_wallet(struct world *world, const struct wallet *record);
bool world_load_transfer(struct world *world, const struct transfer_row *row);

#endif
