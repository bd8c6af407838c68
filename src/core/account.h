/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts: who may place trading orders, by a password. A username and an e-mail address belong to one
 * account; letters are told apart by neither (ASCII letters, which is what an address's domain has). What a
 * password's hash is, only the net side knows. Engine thread.
 */
#ifndef DOORBUSTER_CORE_ACCOUNT_H
#define DOORBUSTER_CORE_ACCOUNT_H

#include "core/world.h"

enum {
    ACCOUNT_USERNAME_LEN_MAX = 128, /* bytes */
    ACCOUNT_EMAIL_LEN_MAX = 254,
    ACCOUNT_FULL_NAME_LEN_MAX = 400,
    ACCOUNT_PASSWORD_HASH_LEN_MAX = 128,
};

/* What ACCOUNT_REGISTER asks for. */
struct account_request {
    struct slice username; /* as shown */
    struct slice email;
    struct slice username_key; /* the same in lower case: unique */
    struct slice email_key;
    struct slice full_name;          /* may be empty */
    struct slice password_hash;      /* empty: nobody can log in with a password */
    const unsigned char *public_key; /* WALLET_KEY_BYTES, or NULL: it has no wallet; the username is
                                        wallet_user then, so that a key has one account as a username has */
    int64_t opening_minor;           /* what the wallet holds to begin with, >= 0 */
};

struct account {
    int64_t id;
    uint64_t username_hash;
    uint64_t email_hash;
    struct slice username_key; /* owned by the world */
    struct slice email_key;
};

/* OK, USERNAME_TAKEN, EMAIL_TAKEN, PUBLIC_KEY_TAKEN. With a key, it comes with a wallet. False when memory is
 * out: the batch must be rolled back. */
bool account_register(struct world *world, struct command *command, int64_t now_ms);

/* --- the world's side --- */

struct account *world_account_by_username(const struct world *world, struct slice username_key);
struct account *world_account_by_email(const struct world *world, struct slice email_key);

/* NULL when memory is out, see world.h. */
struct account *world_add_account(struct world *world, const struct account_request *request, int64_t now_ms);

/* No change is recorded. False when memory is out; one that is there already stays. */
bool world_load_account(struct world *world, int64_t id, struct slice username_key, struct slice email_key);

#endif
