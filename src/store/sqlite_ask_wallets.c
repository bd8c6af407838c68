/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about wallets and their transfers; see sqlite_ask.c. */
#include <string.h>

#include "base/ensure.h"
#include "store/sqlite_priv.h"

static enum err take_wallet(struct ask *ask, sqlite3_stmt *row)
{
    struct wallet_row *wallet = &ask->question->wallet;
    *wallet = (struct wallet_row){
        .account_id = sqlite3_column_int64(row, 0),
        .balance_minor = sqlite3_column_int64(row, 2),
        .created_ms = sqlite3_column_int64(row, 3),
    };
    if (sqlite3_column_bytes(row, 1) != WALLET_KEY_BYTES)
        return ask_damaged(ask, "wallets", wallet->account_id);
    memcpy(wallet->key, sqlite3_column_blob(row, 1), WALLET_KEY_BYTES);
    ask->question->is_found = true;
    return ask_copy(ask, row, 4, &wallet->email) && ask_copy(ask, row, 5, &wallet->name) ? ERR_NONE
                                                                                         : ask_no_memory(ask);
}

static enum err ask_wallet(struct ask *ask)
{
    const struct question *question = ask->question;
    if (question->key == NULL) {
        bind_i64(ask->reader->asks[ASK_WALLET_BY_ACCOUNT], 1, question->account_id);
        return ask_run(ask, ASK_WALLET_BY_ACCOUNT, take_wallet);
    }
    bind_blob(ask->reader->asks[ASK_WALLET_BY_KEY], 1, question->key, WALLET_KEY_BYTES);
    return ask_run(ask, ASK_WALLET_BY_KEY, take_wallet);
}

static enum err take_transfer(struct ask *ask, sqlite3_stmt *row)
{
    struct transfer_line *line = &ask->question->transfers[ask->question->count++];
    *line = (struct transfer_line){
        .row =
            {
                .id = sqlite3_column_int64(row, 0),
                .amount_minor = sqlite3_column_int64(row, 1),
                .created_ms = sqlite3_column_int64(row, 2),
                .from_account = sqlite3_column_int64(row, 3),
                .to_account = sqlite3_column_int64(row, 4),
                .from_balance_minor = sqlite3_column_int64(row, 5),
                .to_balance_minor = sqlite3_column_int64(row, 6),
                .product_id = sqlite3_column_int64(row, 7),
                .purchase_id = sqlite3_column_int64(row, 8),
            },
        .has_other = sqlite3_column_bytes(row, 11) == WALLET_KEY_BYTES,
    };
    line->is_debit = line->row.from_account == ask->question->account_id;
    if (!transfer_kind_from_name(row_text(row, 9), &line->row.kind))
        return ask_damaged(ask, "transfers", line->row.id);
    if (line->has_other)
        memcpy(line->other_key, sqlite3_column_blob(row, 11), WALLET_KEY_BYTES);
    return ask_copy(ask, row, 10, &line->row.nonce) ? ERR_NONE : ask_no_memory(ask);
}

static enum err ask_transfers(struct ask *ask)
{
    struct question *question = ask->question;
    sqlite3_stmt *statement = ask->reader->asks[ASK_TRANSFERS];
    question->transfers = ask_make_list(ask, sizeof *question->transfers);
    if (question->transfers == NULL)
        return ask_no_memory(ask);
    bind_i64(statement, 1, question->account_id);
    bind_i64(statement, 2, question->id_before);
    bind_i64(statement, 3, (int64_t)question->limit);
    return ask_run(ask, ASK_TRANSFERS, take_transfer);
}

enum err ask_wallets(struct ask *ask)
{
    if (ask->question->kind == QUESTION_WALLET)
        return ask_wallet(ask);
    ENSURE(ask->question->kind == QUESTION_TRANSFERS);
    return ask_transfers(ask);
}
