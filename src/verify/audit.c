/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/audit.h"

#include <stdlib.h>

#include "verify/db.h"
#include "verify/order_items.h"
#include "verify/words.h"

/* integrity_check is to look at the structure only: what the CHECKs of the schema demand are invariants here,
 * each with a name, and a row broken on purpose or by accident is reported once. */
enum err audit_init(struct audit *audit, sqlite3 *db, struct error *error)
{
    *audit = (struct audit){.db = db, .claims = calloc(invariant_count(), sizeof *audit->claims)};
    strbuf_init_heap(&audit->finding.numbers, FINDING_TEXT_MAX);
    for (size_t i = 0; i < WITNESS_MAX; i++)
        strbuf_init_heap(&audit->finding.witnesses[i].text, FINDING_TEXT_MAX);
    if (audit->claims == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the audit");
    enum err err = db_exec(db, "PRAGMA ignore_check_constraints = ON", "set up the audit", error);
    if (err == ERR_NONE)
        err = words_register(db, error);
    return err == ERR_NONE ? order_items_register(db, error) : err;
}

void audit_fini(struct audit *audit)
{
    for (size_t i = 0; i < invariant_count() && audit->claims != NULL; i++)
        sqlite3_finalize(audit->claims[i]);
    free(audit->claims);
    strbuf_fini(&audit->finding.numbers);
    for (size_t i = 0; i < WITNESS_MAX; i++)
        strbuf_fini(&audit->finding.witnesses[i].text);
}

static bool applies_to_store(const struct invariant *invariant, const struct subject *store)
{
    switch (invariant->scope) {
    case INVARIANT_OF_STORE:
        return true;
    case INVARIANT_OF_ORDERS:
        return store->has_order_journal;
    case INVARIANT_OF_ORDERS_COMPLETE:
        return store->has_order_journal && store->is_complete;
    case INVARIANT_OF_TRADING:
        return store->has_trading_journal;
    case INVARIANT_OF_TRADING_COMPLETE:
        return store->has_trading_journal && store->is_complete;
    case INVARIANT_OF_VENDING:
        return store->has_vending_journal;
    case INVARIANT_OF_VENDING_COMPLETE:
        return store->has_vending_journal && store->is_complete;
    case INVARIANT_OF_MARKET:
        return store->has_market_journal;
    case INVARIANT_OF_MARKET_COMPLETE:
        return store->has_market_journal && store->is_complete;
    default:
        return false;
    }
}

bool audit_applies(const struct invariant *invariant, const struct subject *subject)
{
    if (subject->is_store)
        return applies_to_store(invariant, subject);
    switch (invariant->scope) {
    case INVARIANT_OF_PRODUCT:
        return subject->product_id != 0;
    case INVARIANT_OF_USERS:
        return subject->product_id != 0 && subject->has_users;
    case INVARIANT_OF_JOURNAL:
        return subject->has_journal;
    case INVARIANT_OF_COMPLETE:
        return subject->product_id != 0 && subject->is_complete;
    default:
        return false;
    }
}

static void bind_subject(sqlite3_stmt *stmt, const struct subject *subject)
{
    if (subject->is_store)
        return;
    db_bind_i64(stmt, ":product", subject->product_id);
    db_bind_text(stmt, ":sku", subject->sku);
}

static void put_failure(struct audit *audit)
{
    audit->finding.status = FINDING_UNCHECKED;
    strbuf_reset(&audit->finding.numbers);
    strbuf_printf(&audit->finding.numbers, "could not be checked: %s", sqlite3_errmsg(audit->db));
}

static void ask_claim(struct audit *audit, sqlite3_stmt *claim)
{
    struct finding *finding = &audit->finding;
    int rc = sqlite3_step(claim);
    if (rc == SQLITE_ROW) {
        bool holds = sqlite3_column_type(claim, 0) != SQLITE_NULL && sqlite3_column_int(claim, 0) == 1;
        finding->status = holds ? FINDING_HOLDS : FINDING_VIOLATED;
        strbuf_put(&finding->numbers, db_text(claim, 1));
    } else if (rc == SQLITE_DONE) {
        finding->status = FINDING_UNCHECKED;
        strbuf_lit(&finding->numbers, "could not be checked: there is nothing to look at");
    } else {
        put_failure(audit);
        /* A file so damaged that the search for damage stops there. */
        if ((rc & 0xff) == SQLITE_CORRUPT && finding->invariant == &inv_store_sound)
            finding->status = FINDING_VIOLATED;
    }
    sqlite3_reset(claim);
}

static void ask_witness(struct audit *audit, const struct subject *subject)
{
    struct finding *finding = &audit->finding;
    sqlite3_stmt *stmt;
    int rc = sqlite3_prepare_v2(audit->db, finding->invariant->witness, -1, &stmt, NULL);
    if (rc == SQLITE_OK) {
        bind_subject(stmt, subject);
        while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
            if (finding->witness_count < WITNESS_MAX) {
                struct witness *witness = &finding->witnesses[finding->witness_count];
                strbuf_reset(&witness->text);
                witness->id = sqlite3_column_int64(stmt, 0);
                strbuf_put(&witness->text, db_text(stmt, 1));
            }
            finding->witness_count++;
        }
    }
    finding->is_count_cut = rc != SQLITE_DONE;
    sqlite3_finalize(stmt);
}

const struct finding *audit_check(struct audit *audit, size_t index, const struct subject *subject)
{
    struct finding *finding = &audit->finding;
    finding->invariant = invariant_at(index);
    finding->witness_count = 0;
    finding->is_count_cut = false;
    strbuf_reset(&finding->numbers);
    sqlite3_stmt **claim = &audit->claims[index];
    if (*claim == NULL &&
        sqlite3_prepare_v2(audit->db, finding->invariant->claim, -1, claim, NULL) != SQLITE_OK) {
        put_failure(audit);
        return finding;
    }
    bind_subject(*claim, subject);
    ask_claim(audit, *claim);
    if (finding->status == FINDING_VIOLATED)
        ask_witness(audit, subject);
    return finding;
}
