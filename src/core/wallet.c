/* SPDX-License-Identifier: Apache-2.0 */
#include "core/wallet.h"

#include "base/ensure.h"
#include "base/hex.h"
#include "core/sale.h"
#include "core/world_priv.h"

/* --- names --- */

struct slice wallet_user(const unsigned char key[WALLET_KEY_BYTES], char memory[WALLET_USER_LEN_MAX])
{
    struct strbuf text;
    strbuf_init(&text, memory, WALLET_USER_LEN_MAX);
    strbuf_lit(&text, " key ");
    hex_put(&text, key, WALLET_KEY_BYTES);
    ENSURE(!text.has_overflowed);
    return strbuf_slice(&text);
}

/* --- what all of them have in common --- */

static void answer(struct command *command, const struct transfer_row *row, bool is_to)
{
    struct wallet_request *request = command->wallet;
    request->transfer = *row;
    request->transfer.nonce = slice_make("", 0); /* it may lie in the world's memory */
    request->balance_minor = is_to ? row->to_balance_minor : row->from_balance_minor;
    command->outcome = (struct outcome){.result = RESULT_OK, .number = row->id, .time_ms = row->created_ms};
}

/* Was it decided before? Then it has been answered. */
static bool is_decided(struct world *world, struct command *command, int64_t from_account)
{
    const struct wallet_request *request = command->wallet;
    const struct transfer *transfer = world_transfer(world, from_account, request->nonce);
    if (transfer == NULL)
        return false;
    world->repeats_answers = true;
    if (memcmp(transfer->row.fingerprint, request->fingerprint, FINGERPRINT_BYTES) != 0) {
        command->outcome.result = RESULT_NONCE_REUSED;
        return true;
    }
    answer(command, &transfer->row, from_account == 0);
    command->outcome.is_replay = true;
    return true;
}

static struct transfer_row new_row(const struct wallet_request *request, enum transfer_kind kind)
{
    struct transfer_row row = {.kind = kind, .amount_minor = request->amount_minor, .nonce = request->nonce};
    memcpy(row.fingerprint, request->fingerprint, FINGERPRINT_BYTES);
    return row;
}

static bool has_room(const struct wallet *wallet, int64_t amount_minor)
{
    return wallet->values.balance_minor <= WALLET_AMOUNT_MAX - amount_minor;
}

bool wallet_open(struct world *world, int64_t account_id, const unsigned char key[WALLET_KEY_BYTES],
    int64_t opening_minor, int64_t now_ms)
{
    struct wallet *wallet = world_add_wallet(world, account_id, key, now_ms);
    struct transfer_row row = {.kind = TRANSFER_OPENING, .amount_minor = opening_minor};
    return wallet != NULL && (opening_minor == 0 || world_add_transfer(world, NULL, wallet, &row, now_ms));
}

/* --- spend --- */

static enum result find_refusal(const struct wallet_request *request, const struct wallet *wallet,
    const struct product *product, int64_t now_ms)
{
    if (product->values.price_minor != request->amount_minor)
        return RESULT_PRICE_DIFFERS;
    if (wallet->values.balance_minor < request->amount_minor)
        return RESULT_INSUFFICIENT_FUNDS;
    return sale_available(product, now_ms) < 1 ? RESULT_SOLD_OUT : RESULT_OK;
}

bool wallet_spend(struct world *world, struct command *command, int64_t now_ms)
{
    const struct wallet_request *request = command->wallet;
    struct outcome *outcome = &command->outcome;
    struct wallet *wallet = world_wallet(world, request->key);
    if (wallet == NULL) {
        outcome->result = RESULT_WALLET_NOT_FOUND;
        return true;
    }
    if (is_decided(world, command, wallet->account_id))
        return true;
    struct product *product = command->sku.len == 0 ? NULL : world_product(world, command->sku);
    if (product == NULL || (command->product_id != 0 && product->id != command->product_id)) {
        outcome->result = RESULT_PRODUCT_NOT_FOUND;
        return true;
    }
    outcome->result = find_refusal(request, wallet, product, now_ms);
    if (outcome->result != RESULT_OK)
        return true;
    struct transfer_row row = new_row(request, TRANSFER_SPEND);
    row.product_id = product->id;
    if (!sale_take_units(world, product, command->user, 1, now_ms, &row.purchase_id) ||
        !world_add_transfer(world, wallet, NULL, &row, now_ms))
        return false;
    answer(command, &row, false);
    return true;
}

/* --- transfer and credit --- */

bool wallet_transfer(struct world *world, struct command *command, int64_t now_ms)
{
    const struct wallet_request *request = command->wallet;
    struct outcome *outcome = &command->outcome;
    struct wallet *from = world_wallet(world, request->key);
    if (from == NULL) {
        outcome->result = RESULT_WALLET_NOT_FOUND;
        return true;
    }
    if (is_decided(world, command, from->account_id))
        return true;
    struct wallet *to = world_wallet(world, request->to);
    ENSURE(to != from); /* the face refuses a transfer to oneself */
    outcome->result = to == NULL                                           ? RESULT_PAYEE_NOT_FOUND
                      : from->values.balance_minor < request->amount_minor ? RESULT_INSUFFICIENT_FUNDS
                      : !has_room(to, request->amount_minor)               ? RESULT_BALANCE_TOO_LARGE
                                                                           : RESULT_OK;
    if (outcome->result != RESULT_OK)
        return true;
    struct transfer_row row = new_row(request, TRANSFER_TRANSFER);
    if (!world_add_transfer(world, from, to, &row, now_ms))
        return false;
    answer(command, &row, false);
    return true;
}

bool wallet_credit(struct world *world, struct command *command, int64_t now_ms)
{
    const struct wallet_request *request = command->wallet;
    struct wallet *to = world_wallet(world, request->key);
    if (to == NULL) {
        command->outcome.result = RESULT_WALLET_NOT_FOUND;
        return true;
    }
    if (is_decided(world, command, 0))
        return true;
    if (!has_room(to, request->amount_minor)) {
        command->outcome.result = RESULT_BALANCE_TOO_LARGE;
        return true;
    }
    struct transfer_row row = new_row(request, TRANSFER_CREDIT);
    if (!world_add_transfer(world, NULL, to, &row, now_ms))
        return false;
    answer(command, &row, true);
    return true;
}
