/* SPDX-License-Identifier: Apache-2.0 */
#include "wallet_audit.h"

#include <stdlib.h>

#include "base/ensure.h"

void wallet_audit_fini(struct wallet_audit *audit)
{
    free(audit->rows);
}

static void append(struct wallet_audit *audit, const struct transfer_row *row)
{
    if (audit->count == audit->size) {
        audit->size = audit->size == 0 ? 256 : 2 * audit->size;
        audit->rows = realloc(audit->rows, audit->size * sizeof *audit->rows);
        ENSURE(audit->rows != NULL);
    }
    audit->rows[audit->count] = *row;
    audit->rows[audit->count++].nonce = slice_make("", 0);
    audit->issued += row->from_account == 0 ? row->amount_minor : 0;
    audit->spent += row->to_account == 0 ? row->amount_minor : 0;
}

/* Is it told rightly who has paid whom? */
static bool is_sound(const struct transfer_row *row)
{
    bool is_issue = row->kind == TRANSFER_OPENING || row->kind == TRANSFER_CREDIT;
    bool is_spend = row->kind == TRANSFER_SPEND;
    return row->amount_minor > 0 && (row->from_account == 0) == is_issue &&
           (row->to_account == 0) == is_spend && (row->purchase_id != 0) == is_spend &&
           (row->product_id != 0) == is_spend && row->from_account != row->to_account &&
           (row->nonce.len == 0) == (row->kind == TRANSFER_OPENING) && row->from_balance_minor >= 0 &&
           row->to_balance_minor >= 0;
}

const char *wallet_audit_note(struct wallet_audit *audit, const struct world *world)
{
    int64_t purchases = 0;
    int64_t spends = 0;
    for (size_t i = 0; i < world->change_count; i++) {
        const struct change *change = &world->changes[i];
        if (change->kind == CHANGE_PURCHASE_ADDED) {
            purchases++;
            if (change->purchase.id <= audit->purchase_last)
                return "a purchase has an old number";
            audit->purchase_last = change->purchase.id;
        }
        if (change->kind != CHANGE_TRANSFER_ADDED)
            continue;
        const struct transfer_row *row = &change->transfer.transfer->row;
        if (audit->count > 0 && row->id <= audit->rows[audit->count - 1].id)
            return "a transfer has an old number";
        if (!is_sound(row))
            return "a transfer does not tell who has paid whom";
        if (row->kind == TRANSFER_SPEND &&
            (++spends != purchases || row->purchase_id != audit->purchase_last))
            return "a spend has no purchase of its own";
        append(audit, row);
    }
    return purchases == spends ? NULL : "something was bought for nothing";
}

static int compare_rows(const void *a, const void *b)
{
    int64_t left = ((const struct transfer_row *)a)->id;
    int64_t right = ((const struct transfer_row *)b)->id;
    return left < right ? -1 : left > right;
}

static const struct transfer_row *find_row(const struct wallet_audit *audit, int64_t id)
{
    const struct transfer_row wanted = {.id = id};
    return audit->count == 0 ? NULL
                             : bsearch(&wanted, audit->rows, audit->count, sizeof wanted, compare_rows);
}

/* Back from what the wallet holds to nothing; adds the number of transfers. */
static const char *check_chain(const struct wallet_audit *audit, const struct wallet *wallet, size_t *length)
{
    int64_t balance = wallet->values.balance_minor;
    int64_t id = wallet->values.last_transfer_id;
    int64_t id_above = INT64_MAX;
    while (id != 0) {
        const struct transfer_row *row = find_row(audit, id);
        if (row == NULL || id >= id_above)
            return "a chain leads nowhere";
        bool is_payer = row->from_account == wallet->account_id;
        if (!is_payer && row->to_account != wallet->account_id)
            return "a chain leads to somebody else's transfer";
        if (balance != (is_payer ? row->from_balance_minor : row->to_balance_minor))
            return "a transfer tells another balance";
        balance += is_payer ? row->amount_minor : -row->amount_minor;
        id_above = id;
        id = is_payer ? row->from_previous_id : row->to_previous_id;
        (*length)++;
    }
    return balance == 0 ? NULL : "a chain does not add up to what its wallet holds";
}

const char *wallet_audit_check(const struct wallet_audit *audit, const struct world *world)
{
    int64_t held = 0;
    size_t ends = 0;
    size_t cursor = 0;
    const struct wallet *wallet;
    while ((wallet = map_next(&world->wallets_by_key, &cursor)) != NULL) {
        const char *wrong = check_chain(audit, wallet, &ends);
        if (wrong != NULL)
            return wrong;
        held += wallet->values.balance_minor;
    }
    for (size_t i = 0; i < audit->count; i++)
        ends -= (audit->rows[i].from_account != 0) + (audit->rows[i].to_account != 0);
    if (ends != 0)
        return "a transfer stands in no chain";
    return audit->issued == held + audit->spent ? NULL : "coins have come from nowhere, or are lost";
}
