/* SPDX-License-Identifier: Apache-2.0 */
/* The changes of wallets and transfers; see sqlite_write.c. */
#include "base/ensure.h"
#include "core/world_wallet.h"
#include "store/sqlite_priv.h"

static void bind_wallet(sqlite3_stmt *statement, const struct wallet *wallet)
{
    bind_i64(statement, 1, wallet->account_id);
    bind_i64(statement, 2, wallet->values.balance_minor);
    bind_i64_or_null(statement, 3, wallet->values.last_transfer_id);
    bind_i64(statement, 4, wallet->values.updated_ms);
}

static enum err write_wallet(struct sqlite_batch *batch, const struct wallet *wallet, bool is_new)
{
    enum statement which = is_new ? STATEMENT_WALLET_ADD : STATEMENT_WALLET_SET;
    sqlite3_stmt *statement = batch->store->statements[which];
    bind_wallet(statement, wallet);
    if (!is_new)
        return run_write_one(batch, which);
    bind_blob(statement, 5, wallet->key, WALLET_KEY_BYTES);
    return run_write(batch, which);
}

static enum err add_transfer(struct sqlite_batch *batch, const struct transfer_row *row)
{
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_TRANSFER_ADD];
    const int64_t ids[] = {row->from_account, row->to_account, row->from_previous_id, row->to_previous_id,
        row->product_id, row->purchase_id};
    bind_i64(statement, 1, row->id);
    bind_text(statement, 2, transfer_kind_name(row->kind));
    bind_i64(statement, 3, row->amount_minor);
    for (int i = 0; i < 6; i++)
        bind_i64_or_null(statement, 4 + i, ids[i]);
    bind_i64(statement, 10, row->created_ms);
    bind_null(statement, 11);
    bind_null(statement, 12);
    bind_null(statement, 13);
    bind_null(statement, 14);
    if (row->from_account != 0)
        bind_i64(statement, 11, row->from_balance_minor);
    if (row->to_account != 0)
        bind_i64(statement, 12, row->to_balance_minor);
    if (row->nonce.len > 0) {
        bind_text(statement, 13, row->nonce);
        bind_blob(statement, 14, row->fingerprint, FINGERPRINT_BYTES);
    }
    return run_write(batch, STATEMENT_TRANSFER_ADD);
}

enum err write_wallet_change(struct sqlite_batch *batch, const struct change *change)
{
    switch (change->kind) {
    case CHANGE_WALLET_ADDED:
    case CHANGE_WALLET_UPDATED:
        return write_wallet(batch, change->wallet.wallet, change->kind == CHANGE_WALLET_ADDED);
    default:
        ENSURE(change->kind == CHANGE_TRANSFER_ADDED);
        return add_transfer(batch, &change->transfer.transfer->row);
    }
}
