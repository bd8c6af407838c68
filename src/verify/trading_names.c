/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/trading_names.h"

#include <sodium.h>

#include "base/uuid.h"
#include "verify/db.h"
#include "verify/store_secret.h"

_Static_assert((int)STORE_SECRET_BYTES == (int)UUID_SECRET_BYTES, "one secret for all");

static const char doing[] = "read the names of trading orders in";
static const char resolve_sql[] = "UPDATE temp.audit_order_journal SET number = audit_trading_id(order_id)"
                                  " WHERE face = 'intake' AND order_id IS NOT NULL";

static void audit_trading_id(sqlite3_context *context, int count, sqlite3_value **values)
{
    int64_t number;
    (void)count;
    const unsigned char *text = sqlite3_value_text(values[0]);
    struct slice name = text == NULL ? SLICE("") : slice_make(text, (size_t)sqlite3_value_bytes(values[0]));
    if (uuid_to_number(sqlite3_user_data(context), name, &number))
        sqlite3_result_int64(context, number);
    else
        sqlite3_result_null(context);
}

static enum err resolve(sqlite3 *db, struct uuid_key *key, struct error *error)
{
    static const char name[] = "audit_trading_id";
    int rc = sqlite3_create_function_v2(db, name, 1, SQLITE_UTF8, key, audit_trading_id, NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        return db_fail(db, doing, error);
    enum err err = db_exec(db, resolve_sql, doing, error);
    (void)sqlite3_create_function_v2(db, name, 1, SQLITE_UTF8, NULL, NULL, NULL, NULL, NULL);
    return err;
}

enum err trading_names_resolve(
    const struct snapshot *snapshot, const char *store, struct pg_conn *within, struct error *error)
{
    struct uuid_key key;
    unsigned char secret[STORE_SECRET_BYTES];
    enum err err = store_secret_read(snapshot, store, within, "trading orders are named", secret, error);
    if (err != ERR_NONE)
        return err;
    uuid_key_init(&key, secret, SLICE("intake order"));
    sodium_memzero(secret, sizeof secret);
    err = resolve(snapshot->db, &key, error);
    sodium_memzero(&key, sizeof key);
    return err;
}
