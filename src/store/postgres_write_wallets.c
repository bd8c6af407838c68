/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The changes of wallets and transfers. A wallet is written once a batch, as it is at its end; whoever
 * changes one holds its row. Accounts are written before, which the wallets of new ones refer to.
 */
#include "store/postgres_write.h"

#include "core/world_wallet.h"

static void put_wallet(struct writer *writer, const struct wallet *wallet, bool is_new)
{
    struct column *row = writer_row(writer, is_new ? SHEET_WALLETS : SHEET_SET_WALLETS);
    column_put_i64(&row[0], wallet->account_id);
    column_put_i64(&row[1], wallet->values.balance_minor);
    column_put_i64_or_null(&row[2], wallet->values.last_transfer_id);
    column_put_ms(&row[3], wallet->values.updated_ms);
    if (is_new)
        column_put_text(&row[4], slice_make(wallet->key, WALLET_KEY_BYTES));
}

/* Nobody's balance is none; somebody's may be 0. */
static void put_balance(struct column *column, int64_t account_id, int64_t balance_minor)
{
    if (account_id == 0)
        column_put_null(column);
    else
        column_put_i64(column, balance_minor);
}

static void put_name(struct column *nonces, struct column *fingerprints, const struct transfer_row *transfer)
{
    if (transfer->nonce.len == 0) {
        column_put_null(nonces);
        column_put_null(fingerprints);
        return;
    }
    column_put_text(nonces, transfer->nonce);
    column_put_text(fingerprints, slice_make(transfer->fingerprint, FINGERPRINT_BYTES));
}

static void put_transfer(struct writer *writer, const struct transfer_row *transfer)
{
    struct column *row = writer_row(writer, SHEET_TRANSFERS);
    column_put_i64(&row[0], transfer->id);
    column_put_i64_or_null(&row[1], transfer->from_account);
    column_put_i64_or_null(&row[2], transfer->to_account);
    column_put_i64_or_null(&row[3], transfer->from_previous_id);
    column_put_i64_or_null(&row[4], transfer->to_previous_id);
    column_put_i64(&row[5], transfer->amount_minor);
    put_balance(&row[6], transfer->from_account, transfer->from_balance_minor);
    put_balance(&row[7], transfer->to_account, transfer->to_balance_minor);
    column_put_i64_or_null(&row[8], transfer->product_id);
    column_put_i64_or_null(&row[9], transfer->purchase_id);
    column_put_ms(&row[10], transfer->created_ms);
    column_put_text(&row[11], transfer_kind_name(transfer->kind));
    put_name(&row[12], &row[13], transfer);
}

bool writer_put_wallet_change(struct writer *writer, const struct change *change)
{
    switch (change->kind) {
    case CHANGE_WALLET_ADDED:
    case CHANGE_WALLET_UPDATED:
        put_wallet(writer, change->wallet.wallet, change->kind == CHANGE_WALLET_ADDED);
        return true;
    case CHANGE_TRANSFER_ADDED:
        put_transfer(writer, &change->transfer.transfer->row);
        return true;
    default:
        return false;
    }
}
