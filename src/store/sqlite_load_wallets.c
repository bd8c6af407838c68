/* SPDX-License-Identifier: Apache-2.0 */
/* Wallets and the transfers that may be sent again; see sqlite_load.c. */
#include <string.h>

#include "core/wallet.h"
#include "store/sqlite_priv.h"

static const char wallets_text[] =
    "SELECT account_id, balance_minor, updated_at, last_transfer_id, public_key FROM wallets"
    " ORDER BY account_id";

static enum err load_wallet(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    struct wallet wallet = {
        .account_id = sqlite3_column_int64(row, 0),
        .values = {.balance_minor = sqlite3_column_int64(row, 1),
            .updated_ms = sqlite3_column_int64(row, 2),
            .last_transfer_id = sqlite3_column_int64(row, 3)},
    };
    bool is_sound = row_has_types(row, "iiinb") && wallet.account_id > 0 &&
                    wallet.values.balance_minor >= 0 && wallet.values.balance_minor <= WALLET_AMOUNT_MAX &&
                    wallet.values.last_transfer_id >= 0 &&
                    wallet.values.last_transfer_id <= loader->id_last[SEQUENCE_TRANSFERS] &&
                    sqlite3_column_bytes(row, 4) == WALLET_KEY_BYTES;
    if (!is_sound)
        return load_damaged(loader, "wallets", wallet.account_id);
    memcpy(wallet.key, sqlite3_column_blob(row, 4), WALLET_KEY_BYTES);
    if (world_wallet(loader->world, wallet.key) != NULL)
        return load_damaged(loader, "wallets", wallet.account_id);
    return world_load_wallet(loader->world, &wallet) ? ERR_NONE : load_no_memory(loader);
}

static const char transfers_text[] =
    "SELECT id, amount_minor, created_at, from_account, to_account, from_previous_id, to_previous_id,"
    " product_id, purchase_id, from_balance_minor, to_balance_minor, kind, nonce, fingerprint"
    " FROM transfers ORDER BY id";

/* Coins go from where this kind takes them to where it brings them, and what was bought goes with a spend. */
static bool parties_are_sound(const struct transfer_row *transfer)
{
    bool is_issue = transfer->kind == TRANSFER_OPENING || transfer->kind == TRANSFER_CREDIT;
    bool is_spend = transfer->kind == TRANSFER_SPEND;
    return transfer->amount_minor > 0 && (transfer->from_account == 0) == is_issue &&
           (transfer->to_account == 0) == is_spend && (transfer->product_id == 0) == !is_spend &&
           (transfer->purchase_id == 0) == !is_spend && transfer->from_balance_minor >= 0 &&
           transfer->to_balance_minor >= 0;
}

/* Openings are never asked for again. */
static enum err load_transfer(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    bool is_opening = sqlite3_column_type(row, 12) == SQLITE_NULL;
    bool is_sound =
        row_has_types(row, is_opening ? "iiinnnnnnnnt" : "iiinnnnnnnnttb"); /* before they are read */
    struct transfer_row transfer = {
        .id = sqlite3_column_int64(row, 0),
        .amount_minor = sqlite3_column_int64(row, 1),
        .created_ms = sqlite3_column_int64(row, 2),
        .from_account = sqlite3_column_int64(row, 3),
        .to_account = sqlite3_column_int64(row, 4),
        .from_previous_id = sqlite3_column_int64(row, 5),
        .to_previous_id = sqlite3_column_int64(row, 6),
        .product_id = sqlite3_column_int64(row, 7),
        .purchase_id = sqlite3_column_int64(row, 8),
        .from_balance_minor = sqlite3_column_int64(row, 9),
        .to_balance_minor = sqlite3_column_int64(row, 10),
        .nonce = row_text(row, 12),
    };
    is_sound = is_sound && transfer.id > loader->id_last[SEQUENCE_TRANSFERS] &&
               transfer_kind_from_name(row_text(row, 11), &transfer.kind) &&
               is_opening == (transfer.kind == TRANSFER_OPENING) && parties_are_sound(&transfer) &&
               (is_opening || (transfer.nonce.len > 0 && transfer.nonce.len <= NONCE_LEN_MAX &&
                                  sqlite3_column_bytes(row, 13) == FINGERPRINT_BYTES));
    loader->id_last[SEQUENCE_TRANSFERS] = transfer.id;
    if (!is_sound)
        return load_damaged(loader, "transfers", transfer.id);
    if (is_opening)
        return ERR_NONE;
    memcpy(transfer.fingerprint, sqlite3_column_blob(row, 13), FINGERPRINT_BYTES);
    if (world_transfer(loader->world, transfer.from_account, transfer.nonce) != NULL)
        return load_damaged(loader, "transfers", transfer.id);
    return world_load_transfer(loader->world, &transfer) ? ERR_NONE : load_no_memory(loader);
}

enum err load_wallets(struct sqlite_loader *loader)
{
    enum err err = load_table(loader, transfers_text, load_transfer);
    return err == ERR_NONE ? load_table(loader, wallets_text, load_wallet) : err;
}
