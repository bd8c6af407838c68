/* SPDX-License-Identifier: Apache-2.0 */
/* See world_wallet.h; the ways of world.c hold here too: all memory first, then the change. */
#include "core/world_wallet.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "core/world_priv.h"

static const struct slice kind_names[] = {
    SLICE_INIT("opening"), SLICE_INIT("credit"), SLICE_INIT("transfer"), SLICE_INIT("spend")};

struct slice transfer_kind_name(enum transfer_kind kind)
{
    return kind_names[kind];
}

bool transfer_kind_from_name(struct slice name, enum transfer_kind *kind)
{
    for (int i = TRANSFER_OPENING; i <= TRANSFER_SPEND; i++) {
        if (slice_eq(name, kind_names[i])) {
            *kind = (enum transfer_kind)i;
            return true;
        }
    }
    return false;
}

void world_init_wallets(struct world *world)
{
    map_init(&world->wallets_by_key);
    map_init(&world->transfers_by_nonce);
}

/* --- look-ups --- */

static uint64_t hash_key(const struct world *world, const unsigned char key[WALLET_KEY_BYTES])
{
    return map_hash(&world->hash_key, slice_make(key, WALLET_KEY_BYTES));
}

static bool wallet_has_key(const void *value, const void *key)
{
    return memcmp(((const struct wallet *)value)->key, key, WALLET_KEY_BYTES) == 0;
}

struct wallet *world_wallet(const struct world *world, const unsigned char key[WALLET_KEY_BYTES])
{
    return map_get(&world->wallets_by_key, hash_key(world, key), wallet_has_key, key);
}

struct transfer_name {
    int64_t from_account;
    struct slice nonce;
};

static bool transfer_has_name(const void *value, const void *key)
{
    const struct transfer_row *row = &((const struct transfer *)value)->row;
    const struct transfer_name *name = key;
    return row->from_account == name->from_account && slice_eq(row->nonce, name->nonce);
}

/* Payer and nonce together: many clients count their nonces from 1, so each payer has the same ones. */
static uint64_t hash_name(const struct world *world, int64_t from_account, struct slice nonce)
{
    const uint64_t parts[2] = {map_hash(&world->hash_key, nonce), (uint64_t)from_account};
    return map_hash(&world->hash_key, slice_make(parts, sizeof parts));
}

const struct transfer *world_transfer(const struct world *world, int64_t from_account, struct slice nonce)
{
    const struct transfer_name name = {from_account, nonce};
    return map_get(
        &world->transfers_by_nonce, hash_name(world, from_account, nonce), transfer_has_name, &name);
}

/* --- memory --- */

static struct wallet *wallet_put(struct world *world, const struct wallet *record)
{
    struct wallet *wallet = malloc(sizeof *wallet);
    if (wallet == NULL)
        return NULL;
    *wallet = *record;
    wallet->hash = hash_key(world, record->key);
    if (!map_put(&world->wallets_by_key, wallet->hash, wallet)) {
        free(wallet);
        return NULL;
    }
    return wallet;
}

/* One block: the record, then its nonce. Found by that, if it has one. */
static struct transfer *transfer_put(struct world *world, const struct transfer_row *row)
{
    struct transfer *transfer = malloc(sizeof *transfer + row->nonce.len);
    if (transfer == NULL)
        return NULL;
    transfer->row = *row;
    transfer->row.nonce = slice_copy((char *)(transfer + 1), row->nonce);
    transfer->hash = hash_name(world, row->from_account, transfer->row.nonce);
    if (row->nonce.len > 0 && !map_put(&world->transfers_by_nonce, transfer->hash, transfer)) {
        free(transfer);
        return NULL;
    }
    return transfer;
}

static void transfer_take_out(struct world *world, struct transfer *transfer)
{
    bool was_in = map_remove(&world->transfers_by_nonce, transfer->hash, transfer);
    ENSURE(was_in == (transfer->row.nonce.len > 0));
    free(transfer);
}

/* --- changes --- */

static void touch_wallet(struct world *world, struct wallet *wallet)
{
    if (wallet->touched_batch == world->batch)
        return;
    wallet->touched_batch = world->batch;
    struct change *change = world_changes_append(world, CHANGE_WALLET_UPDATED, NULL);
    change->wallet.wallet = wallet;
    change->wallet.before = wallet->values;
}

struct wallet *world_add_wallet(
    struct world *world, int64_t account_id, const unsigned char key[WALLET_KEY_BYTES], int64_t now_ms)
{
    struct wallet record = {
        .account_id = account_id, .values = {.updated_ms = now_ms}, .touched_batch = world->batch};
    memcpy(record.key, key, WALLET_KEY_BYTES);
    struct wallet *wallet = world_changes_make_room(world, 1) ? wallet_put(world, &record) : NULL;
    if (wallet != NULL)
        world_changes_append(world, CHANGE_WALLET_ADDED, NULL)->wallet.wallet = wallet;
    return wallet;
}

/* Coins come to the wallet, or go when the amount is negative. */
static void move_coins(
    struct world *world, struct wallet *wallet, int64_t amount_minor, int64_t transfer_id, int64_t now_ms)
{
    touch_wallet(world, wallet);
    wallet->values.balance_minor += amount_minor;
    wallet->values.last_transfer_id = transfer_id;
    wallet->values.updated_ms = now_ms;
}

bool world_add_transfer(
    struct world *world, struct wallet *from, struct wallet *to, struct transfer_row *row, int64_t now_ms)
{
    int64_t ignored;
    ENSURE(row->amount_minor > 0 && from != to && world->next_transfer_id < world->transfer_id_end);
    ENSURE(from == NULL || from->values.balance_minor >= row->amount_minor);
    ENSURE(to == NULL || !__builtin_add_overflow(to->values.balance_minor, row->amount_minor, &ignored));
    if (!world_changes_make_room(world, 3))
        return false;
    row->id = world->next_transfer_id;
    row->from_account = from == NULL ? 0 : from->account_id;
    row->to_account = to == NULL ? 0 : to->account_id;
    row->from_previous_id = from == NULL ? 0 : from->values.last_transfer_id;
    row->to_previous_id = to == NULL ? 0 : to->values.last_transfer_id;
    row->from_balance_minor = from == NULL ? 0 : from->values.balance_minor - row->amount_minor;
    row->to_balance_minor = to == NULL ? 0 : to->values.balance_minor + row->amount_minor;
    row->created_ms = now_ms;
    struct transfer *transfer = transfer_put(world, row);
    if (transfer == NULL)
        return false;
    world->next_transfer_id++;
    if (from != NULL)
        move_coins(world, from, -row->amount_minor, row->id, now_ms);
    if (to != NULL)
        move_coins(world, to, row->amount_minor, row->id, now_ms);
    world_changes_append(world, CHANGE_TRANSFER_ADDED, NULL)->transfer.transfer = transfer;
    return true;
}

void world_accept_wallet(const struct change *change)
{
    struct transfer *transfer = change->transfer.transfer;
    if (transfer->row.nonce.len == 0)
        free(transfer);
}

void world_undo_wallet(struct world *world, const struct change *change)
{
    struct wallet *wallet = change->wallet.wallet;
    switch (change->kind) {
    case CHANGE_WALLET_ADDED: {
        bool was_in = map_remove(&world->wallets_by_key, wallet->hash, wallet);
        ENSURE(was_in);
        free(wallet);
        break;
    }
    case CHANGE_WALLET_UPDATED:
        wallet->values = change->wallet.before;
        wallet->touched_batch = 0;
        break;
    default:
        ENSURE(change->kind == CHANGE_TRANSFER_ADDED);
        transfer_take_out(world, change->transfer.transfer);
    }
}

/* --- loading --- */

bool world_load_wallet(struct world *world, const struct wallet *record)
{
    struct wallet copy = *record;
    copy.touched_batch = 0;
    return world_wallet(world, record->key) != NULL || wallet_put(world, &copy) != NULL;
}

bool world_load_transfer(struct world *world, const struct transfer_row *row)
{
    ENSURE(row->nonce.len > 0);
    return world_transfer(world, row->from_account, row->nonce) != NULL || transfer_put(world, row) != NULL;
}

static void drop_all(struct map *map)
{
    size_t cursor = 0;
    void *value;
    while ((value = map_next(map, &cursor)) != NULL)
        free(value);
    map_fini(map);
    map_init(map);
}

void world_drop_wallets(struct world *world)
{
    drop_all(&world->wallets_by_key);
    drop_all(&world->transfers_by_nonce);
}
