/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wallets into the world, locked, and then what their owners have named by the nonces of this batch. The
 * transfers are looked up by a statement of their own after the locks: it sees what those whom it had to wait
 * for have written, so a nonce that two nodes race for is decided once. Credits are named by the admin, who
 * has no row to lock: two of one reference run into one another when they are written, and one of them
 * decides again.
 */
#include "store/postgres_load.h"

#include <string.h>

#include "core/wallet.h"

/* The i-th command, or NULL when it names no wallet. */
static const struct command *wallet_command(const struct loader *loader, size_t i)
{
    const struct command *command = loader_command(loader, i);
    return command_names_wallet(command->kind) ? command : NULL;
}

static size_t command_count(const struct loader *loader)
{
    return loader->entry_count + loader->other_count;
}

/* --- sending --- */

static enum err send_locks(struct loader *loader)
{
    struct column *keys = &loader->store->columns[0];
    column_start(keys, POSTGRES_BYTEA);
    for (size_t i = 0; i < command_count(loader); i++) {
        const struct command *command = wallet_command(loader, i);
        if (command == NULL)
            continue;
        column_put_text(keys, slice_make(command->wallet->key, WALLET_KEY_BYTES));
        if (command->kind == COMMAND_WALLET_TRANSFER)
            column_put_text(keys, slice_make(command->wallet->to, WALLET_KEY_BYTES));
    }
    return loader_send_columns(loader, 1, STATEMENT_LOCK_WALLETS);
}

static enum err send_nonces(struct loader *loader)
{
    struct column *payers = &loader->store->columns[0];
    struct column *nonces = &loader->store->columns[1];
    column_start(payers, POSTGRES_BYTEA);
    column_start(nonces, POSTGRES_TEXT);
    for (size_t i = 0; i < command_count(loader); i++) {
        const struct command *command = wallet_command(loader, i);
        if (command == NULL)
            continue;
        if (command->kind == COMMAND_WALLET_CREDIT)
            column_put_null(payers);
        else
            column_put_text(payers, slice_make(command->wallet->key, WALLET_KEY_BYTES));
        column_put_text(nonces, command->wallet->nonce);
    }
    return loader_send_columns(loader, 2, STATEMENT_FIND_TRANSFERS);
}

enum err loader_send_wallets(struct loader *loader)
{
    enum err err = send_locks(loader);
    return err == ERR_NONE ? send_nonces(loader) : err;
}

/* --- receiving --- */

static enum err not_ours(struct loader *loader, const char *what, int64_t id)
{
    return error_set(loader->error, ERR_CORRUPT,
        "%s %lld holds what doorbuster never writes; run doorbuster verify and restore a backup", what,
        (long long)id);
}

static enum err take_one_wallet(struct loader *loader, const PGresult *result, int row)
{
    struct wallet wallet = {
        .account_id = result_i64(result, row, 0),
        .values = {.balance_minor = result_i64(result, row, 1),
            .last_transfer_id = result_i64(result, row, 2),
            .updated_ms = result_ms(result, row, 3)},
    };
    bool is_sound = wallet.account_id > 0 && wallet.values.balance_minor >= 0 &&
                    wallet.values.balance_minor <= WALLET_AMOUNT_MAX &&
                    postgres_is_finite(PQgetvalue(result, row, 3)) &&
                    PQgetlength(result, row, 4) == WALLET_KEY_BYTES;
    if (!is_sound)
        return not_ours(loader, "wallet of account", wallet.account_id);
    memcpy(wallet.key, PQgetvalue(result, row, 4), WALLET_KEY_BYTES);
    return world_load_wallet(loader->world, &wallet) ? ERR_NONE : loader_no_memory(loader);
}

static enum err take_wallets(struct loader *loader, const PGresult *result)
{
    enum err err = ERR_NONE;
    for (int row = 0; row < PQntuples(result) && err == ERR_NONE; row++)
        err = take_one_wallet(loader, result, row);
    return err;
}

static enum err take_one_transfer(struct loader *loader, const PGresult *result, int row)
{
    struct transfer_row transfer = {
        .id = result_i64(result, row, 0),
        .from_account = result_i64(result, row, 1),
        .to_account = result_i64(result, row, 2),
        .from_previous_id = result_i64(result, row, 3),
        .to_previous_id = result_i64(result, row, 4),
        .amount_minor = result_i64(result, row, 5),
        .from_balance_minor = result_i64(result, row, 6),
        .to_balance_minor = result_i64(result, row, 7),
        .product_id = result_i64(result, row, 8),
        .purchase_id = result_i64(result, row, 9),
        .created_ms = result_ms(result, row, 10),
        .nonce = result_text(result, row, 12),
    };
    bool is_sound = transfer.id > 0 && transfer.amount_minor > 0 &&
                    postgres_is_finite(PQgetvalue(result, row, 10)) &&
                    transfer_kind_from_name(result_text(result, row, 11), &transfer.kind) &&
                    transfer.nonce.len <= NONCE_LEN_MAX && PQgetlength(result, row, 13) == FINGERPRINT_BYTES;
    if (!is_sound)
        return not_ours(loader, "transfer", transfer.id);
    memcpy(transfer.fingerprint, PQgetvalue(result, row, 13), FINGERPRINT_BYTES);
    return world_load_transfer(loader->world, &transfer) ? ERR_NONE : loader_no_memory(loader);
}

/* Two commands of the batch may carry the same nonce: one that is there already stays. */
static enum err take_transfers(struct loader *loader, const PGresult *result)
{
    enum err err = ERR_NONE;
    for (int row = 0; row < PQntuples(result) && err == ERR_NONE; row++)
        err = take_one_transfer(loader, result, row);
    return err;
}

enum err loader_receive_wallets(struct loader *loader)
{
    enum err err = loader_receive(loader, STATEMENT_LOCK_WALLETS, take_wallets);
    return err == ERR_NONE ? loader_receive(loader, STATEMENT_FIND_TRANSFERS, take_transfers) : err;
}
