/* SPDX-License-Identifier: Apache-2.0 */
#include "core/account.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "core/wallet.h"
#include "core/world_priv.h"

bool account_register(struct world *world, struct command *command, int64_t now_ms)
{
    const struct account_request *request = command->account;
    struct outcome *outcome = &command->outcome;
    if (world_account_by_username(world, request->username_key) != NULL) {
        outcome->result = request->public_key != NULL ? RESULT_PUBLIC_KEY_TAKEN : RESULT_USERNAME_TAKEN;
        return true;
    }
    if (world_account_by_email(world, request->email_key) != NULL) {
        outcome->result = RESULT_EMAIL_TAKEN;
        return true;
    }
    const struct account *account = world_add_account(world, request, now_ms);
    if (account == NULL ||
        (request->public_key != NULL &&
            !wallet_open(world, account->id, request->public_key, request->opening_minor, now_ms)))
        return false;
    outcome->result = RESULT_OK;
    outcome->number = account->id;
    outcome->time_ms = now_ms;
    return true;
}

/* --- the world's side --- */

static bool account_has_username(const void *value, const void *key)
{
    return slice_eq(((const struct account *)value)->username_key, *(const struct slice *)key);
}

static bool account_has_email(const void *value, const void *key)
{
    return slice_eq(((const struct account *)value)->email_key, *(const struct slice *)key);
}

struct account *world_account_by_username(const struct world *world, struct slice username_key)
{
    uint64_t hash = map_hash(&world->hash_key, username_key);
    return map_get(&world->accounts_by_username, hash, account_has_username, &username_key);
}

struct account *world_account_by_email(const struct world *world, struct slice email_key)
{
    uint64_t hash = map_hash(&world->hash_key, email_key);
    return map_get(&world->accounts_by_email, hash, account_has_email, &email_key);
}

/* One block: the record, then its two keys. */
static struct account *account_new(
    const struct world *world, int64_t id, struct slice username_key, struct slice email_key)
{
    struct account *account = calloc(1, sizeof *account + username_key.len + email_key.len);
    if (account == NULL)
        return NULL;
    char *text = (char *)(account + 1);
    memcpy(text, username_key.base, username_key.len);
    memcpy(text + username_key.len, email_key.base, email_key.len);
    account->id = id;
    account->username_key = slice_make(text, username_key.len);
    account->email_key = slice_make(text + username_key.len, email_key.len);
    account->username_hash = map_hash(&world->hash_key, username_key);
    account->email_hash = map_hash(&world->hash_key, email_key);
    return account;
}

static struct account *account_put(
    struct world *world, int64_t id, struct slice username_key, struct slice email_key)
{
    ENSURE(username_key.len > 0 && email_key.len > 0);
    struct account *account = account_new(world, id, username_key, email_key);
    if (account == NULL)
        return NULL;
    if (!map_put(&world->accounts_by_username, account->username_hash, account)) {
        free(account);
        return NULL;
    }
    if (!map_put(&world->accounts_by_email, account->email_hash, account)) {
        (void)map_remove(&world->accounts_by_username, account->username_hash, account);
        free(account);
        return NULL;
    }
    return account;
}

struct account *world_add_account(struct world *world, const struct account_request *request, int64_t now_ms)
{
    ENSURE(world->next_account_id < world->account_id_end);
    struct account *account =
        world_changes_make_room(world, 1)
            ? account_put(world, world->next_account_id, request->username_key, request->email_key)
            : NULL;
    if (account == NULL)
        return NULL;
    world->next_account_id++;
    struct change *change = world_changes_append(world, CHANGE_ACCOUNT_ADDED, NULL);
    change->account.account = account;
    change->account.request = request;
    change->account.time_ms = now_ms;
    return account;
}

void world_undo_account(struct world *world, const struct change *change)
{
    struct account *account = change->account.account;
    bool was_in = map_remove(&world->accounts_by_username, account->username_hash, account);
    was_in = map_remove(&world->accounts_by_email, account->email_hash, account) && was_in;
    ENSURE(was_in);
    free(account);
}

/* Two accounts may come in, one for each name. */
bool world_load_account(struct world *world, int64_t id, struct slice username_key, struct slice email_key)
{
    const struct account *present = world_account_by_username(world, username_key);
    return present != NULL || account_put(world, id, username_key, email_key) != NULL;
}

void world_drop_accounts(struct world *world)
{
    size_t cursor = 0;
    void *account;
    while ((account = map_next(&world->accounts_by_username, &cursor)) != NULL)
        free(account);
    map_fini(&world->accounts_by_username);
    map_fini(&world->accounts_by_email);
    map_init(&world->accounts_by_username);
    map_init(&world->accounts_by_email);
}
