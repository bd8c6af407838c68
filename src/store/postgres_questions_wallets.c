/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about wallets and their transfers; see postgres_questions.c. */
#include "store/postgres_reader.h"

#include <string.h>

static enum err put_wallet(struct postgres_reader *reader, const void *asked, struct error *error)
{
    const struct question *question = asked;
    if (question->key == NULL)
        postgres_put_number(reader, question->account_id);
    else
        link_param(&reader->link, slice_make(question->key, WALLET_KEY_BYTES));
    return ERR_NONE;
}

static enum err take_wallet(
    struct postgres_reader *reader, const PGresult *result, void *asked, struct error *error)
{
    struct question *question = asked;
    struct wallet_row *wallet = &question->wallet;
    question->is_found = PQntuples(result) == 1;
    if (!question->is_found)
        return ERR_NONE;
    *wallet = (struct wallet_row){
        .account_id = result_i64(result, 0, 0),
        .balance_minor = result_i64(result, 0, 2),
        .created_ms = result_ms(result, 0, 3),
    };
    if (PQgetlength(result, 0, 1) != WALLET_KEY_BYTES)
        return postgres_question_damaged(reader, "wallet of account", wallet->account_id, error);
    memcpy(wallet->key, PQgetvalue(result, 0, 1), WALLET_KEY_BYTES);
    bool is_copied = question_copy(question, result_text(result, 0, 4), &wallet->email) &&
                     question_copy(question, result_text(result, 0, 5), &wallet->name);
    return is_copied ? ERR_NONE : postgres_question_no_memory(error);
}

static enum err put_transfers(struct postgres_reader *reader, const void *asked, struct error *error)
{
    const struct question *question = asked;
    postgres_put_number(reader, question->account_id);
    postgres_put_number(reader, question->id_before);
    postgres_put_limit(reader, question);
    return ERR_NONE;
}

static enum err take_transfer(struct postgres_reader *reader, const PGresult *result, int row,
    struct question *question, struct transfer_line *line, struct error *error)
{
    *line = (struct transfer_line){
        .row =
            {
                .id = result_i64(result, row, 0),
                .amount_minor = result_i64(result, row, 1),
                .created_ms = result_ms(result, row, 2),
                .from_account = result_i64(result, row, 3),
                .to_account = result_i64(result, row, 4),
                .from_balance_minor = result_i64(result, row, 5),
                .to_balance_minor = result_i64(result, row, 6),
                .product_id = result_i64(result, row, 7),
                .purchase_id = result_i64(result, row, 8),
            },
        .has_other = PQgetlength(result, row, 11) == WALLET_KEY_BYTES,
    };
    line->is_debit = line->row.from_account == question->account_id;
    if (!transfer_kind_from_name(result_text(result, row, 9), &line->row.kind))
        return postgres_question_damaged(reader, "transfer", line->row.id, error);
    if (line->has_other)
        memcpy(line->other_key, PQgetvalue(result, row, 11), WALLET_KEY_BYTES);
    return question_copy(question, result_text(result, row, 10), &line->row.nonce)
               ? ERR_NONE
               : postgres_question_no_memory(error);
}

static enum err take_transfers(
    struct postgres_reader *reader, const PGresult *result, void *asked, struct error *error)
{
    struct question *question = asked;
    enum err err = ERR_NONE;
    question->transfers = postgres_make_list(question, result, sizeof *question->transfers);
    if (question->transfers == NULL)
        return postgres_question_no_memory(error);
    for (int row = 0; row < PQntuples(result) && err == ERR_NONE; row++)
        err = take_transfer(reader, result, row, question, &question->transfers[question->count++], error);
    return err;
}

bool postgres_wallet_inquiry(struct question *question, struct inquiry *inquiry)
{
    switch (question->kind) {
    case QUESTION_WALLET:
        *inquiry =
            (struct inquiry){.read = question->key != NULL ? READ_WALLET_BY_KEY : READ_WALLET_BY_ACCOUNT,
                .put = put_wallet,
                .take = take_wallet};
        return true;
    case QUESTION_TRANSFERS:
        *inquiry = (struct inquiry){.read = READ_TRANSFERS, .put = put_transfers, .take = take_transfers};
        return true;
    default:
        return false;
    }
}
