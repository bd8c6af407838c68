/* SPDX-License-Identifier: Apache-2.0 */
/* See test_verify_support.h. The schema is read from the source tree; nothing of the store's code is used. */
#include "test_verify_support.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SQL_MAX = 64 * 1024, SCHEMA_VERSION = 5 };

#define ONE_ITEM "[{\"product_id\":\"P\",\"quantity\":2,\"price\":9.99}]"
#define PASSWORD_HASH "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"

int audit_place_make(void **state)
{
    struct audit_place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    (void)snprintf(place->directory, sizeof place->directory, "/tmp/doorbuster-verify-XXXXXX");
    assert_non_null(mkdtemp(place->directory));
    (void)snprintf(place->store, sizeof place->store, "%s/shop.db", place->directory);
    (void)snprintf(place->journal, sizeof place->journal, "%s/rush.journal", place->directory);
    (void)snprintf(place->report, sizeof place->report, "%s/report.json", place->directory);
    *state = place;
    return 0;
}

int audit_place_remove(void **state)
{
    struct audit_place *place = *state;
    DIR *directory = opendir(place->directory);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] != '.')
            assert_int_equal(unlinkat(dirfd(directory), entry->d_name, 0), 0);
    }
    (void)closedir(directory);
    assert_int_equal(rmdir(place->directory), 0);
    free(place);
    return 0;
}

sqlite3 *store_connect(const char *path)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

void db_run(sqlite3 *db, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s in %.200s", message, sql);
}

void store_run(const char *path, const char *sql)
{
    sqlite3 *db = store_connect(path);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    db_run(db, "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; PRAGMA writable_schema = ON;"
               "PRAGMA synchronous = OFF");
    db_run(db, sql);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

void text_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static void run_schema(const char *path, int version)
{
    static char sql[SQL_MAX];
    char script[PATH_MAX];
    (void)snprintf(script, sizeof script, "%s/sqlite_%03d.sql", SCHEMA_DIRECTORY, version);
    FILE *file = fopen(script, "r");
    assert_non_null(file);
    size_t len = fread(sql, 1, sizeof sql - 1, file);
    assert_true(len > 0 && len < sizeof sql - 1);
    sql[len] = '\0';
    (void)fclose(file);
    store_run(path, sql);
}

/* The work of version 3 has the id 1: see the schema. */
static const char orders_sql[] =
    "BEGIN;"
    "INSERT INTO orders (id, order_id, customer_id, customer_email, items, amount_minor, priority, is_sync, "
    "deadline, fingerprint, status, attempts, created_at, updated_at, paid_at)"
    " SELECT column1, column2, 7, column3, column4, column5, 5, column6, CASE column6 WHEN 1 THEN 19000 END, "
    "zeroblob(16), column7, column8, 9000, 9500, CASE column7 WHEN 'completed' THEN 9500 END FROM (VALUES"
    " (2, 'o-pending', '', '" ONE_ITEM "', 1998, 0, 'pending', 0),"
    " (3, 'o-processing', '', '" ONE_ITEM "', 1998, 1, 'processing', 1),"
    " (4, 'o-paid', 'a@x.example', '[{\"product_id\":\"P\",\"quantity\":3,\"price\":0.335},"
    "{\"product_id\":\"Q\",\"quantity\":1,\"price\":1e1}]', 1101, 1, 'completed', 2),"
    " (7, 'o-declined', '', '" ONE_ITEM "', 1998, 1, 'failed', 1),"
    " (9, 'o-abandoned', '', '" ONE_ITEM "', 1998, 0, 'failed', 3),"
    " (11, 'o-cancelled', '', '" ONE_ITEM "', 1998, 1, 'cancelled', 0),"
    " (12, 'o-given-back', '', '" ONE_ITEM "', 1998, 0, 'pending', 0));"
    "INSERT INTO payments VALUES (4, 1101, 'paid', 2, 9500), (7, 1998, 'declined', 1, 9500),"
    " (9, 1998, 'abandoned', 3, 9500);"
    "INSERT INTO notifications VALUES (5, 4, 'webhook', 'order.completed', 9500, 9600),"
    " (6, 4, 'email', 'order.completed', 9500, NULL), (8, 7, 'webhook', 'order.failed', 9500, NULL),"
    " (10, 9, 'webhook', 'order.failed', 9500, 9700);"
    "INSERT INTO work (id, kind, subject, body, due_at, token, created_at) VALUES"
    " (2, 'payment', 'o-pending', '{}', 1, 0, 9000), (3, 'payment', 'o-processing', '{}', 1, 1, 9000),"
    " (6, 'email', 'a@x.example', '{}', 1, 3, 9500), (8, 'webhook', 'o-declined', '{}', 253402300799000, 9, "
    "9500),"
    " (12, 'payment', 'o-given-back', '{}', 1, 1, 9000), (13, 'sale-closeout', 'A', '', 1, 0, 1);"
    "UPDATE sequences SET next_value = 14 WHERE name = 'work';"
    "INSERT INTO accounts VALUES"
    " (1, 'Ann', 'ann', 'Ann@x.example', 'ann@x.example', 'Ann A', '" PASSWORD_HASH "', 1),"
    " (2, 'bob', 'bob', 'bob@x.example', 'bob@x.example', '', '" PASSWORD_HASH "', 1);"
    "UPDATE sequences SET next_value = 3 WHERE name = 'accounts';"
    "INSERT INTO intake_orders (id, account_id, symbol, side, order_type, quantity, price, time_in_force, "
    "created_at, cancelled_at) VALUES"
    " (1, 1, 'AAPL', 'BUY', 'LIMIT', 100000000, 150000000, 'GTC', 1000, NULL),"
    " (2, 2, 'AAPL', 'SELL', 'MARKET', 100000000, NULL, 'GTC', 1001, 1002),"
    " (3, 1, 'AAPL', 'BUY', 'STOP', 1, NULL, 'GTC', 1003, NULL),"
    " (4, 1, 'AAPL', 'BUY', 'LIMIT', 1, 1, 'GTC', 1004, NULL),"
    " (5, 1, 'AAPL', 'SELL', 'ICEBERG', 1, 1, 'GTC', 1005, 9999);"
    "INSERT INTO intake_deliveries VALUES (2, 1, 2000), (3, 3, 3000);"
    "UPDATE intake_state SET sent_id = 4, executed_id = 3;"
    "COMMIT";

#define FOR_EVER "253402300799000" /* 9999-12-31T23:59:59Z */

/* Machine 3 was deleted with lease 3, and what that one had bought is gone with its product. */
static const char machines_sql[] =
    "BEGIN;"
    "INSERT INTO products (id, sku, product_name, initial_stock, stock, price_minor, per_user_limit, "
    "start_time,"
    " end_time, state, end_reason, created_at, updated_at) VALUES"
    " (5, 'E', 'e', 10, 5, 0, 1, 1795218421000, " FOR_EVER ", 'ACTIVE', NULL, 1, 1),"
    " (6, 'F', 'f', 2, 0, 0, 1, 1795218421000, " FOR_EVER ", 'ENDED', 'SOLD_OUT', 1, 1),"
    " (7, 'G', 'g', 0, 0, 0, 1, 1000, " FOR_EVER ", 'ENDED', 'SOLD_OUT', 1000, 1000);"
    "INSERT INTO purchase_log (id, product_id, user_id, nth, purchased_at)"
    " SELECT column1, column2, column3, column4, 1795218421000 + 1000 * column1 FROM (VALUES"
    " (13, 5, ' machine 1', 1), (14, 5, ' machine 1', 2), (15, 5, 'e1', 1), (16, 5, ' machine 1', 3),"
    " (17, 5, ' machine 2', 1), (18, 6, ' machine 1', 1), (19, 6, ' machine 1', 2));"
    "UPDATE sequences SET next_value = 24 WHERE name = 'purchases';"
    "UPDATE sequences SET next_value = 8 WHERE name = 'products';"
    "INSERT INTO machines (id, name, status, is_draining, usage_count, lease_id, started_at, chosen_at, "
    "product_id, units, purchase_id, due_at, created_at, updated_at) VALUES"
    " (1, 'one', 'processing', 0, 1, 7, 360, 365, 6, 2, 18, 9000, 1, 365),"
    " (2, 'two', 'choose_product', 0, 1, 8, 510, NULL, NULL, NULL, NULL, 9000, 1, 510),"
    " (4, 'four', 'idle', 1, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, 1);"
    "INSERT INTO leases (id, machine_id, ticket_id, started_at, chosen_at, product_id, units, purchase_id, "
    "outcome, ended_at) VALUES"
    " (1, 1, NULL, 100, 110, 5, 2, 13, 'completed', 200),"
    " (2, 2, NULL, 120, NULL, NULL, NULL, NULL, 'timed_out', 300),"
    " (3, 3, NULL, 130, 140, 66, 2, 21, 'deleted', 400),"
    " (4, 1, 1, 200, 210, 5, 1, 16, 'reset', 350),"
    " (5, 2, 3, 300, NULL, NULL, NULL, NULL, 'given_up', 310),"
    " (6, 2, NULL, 330, 335, 5, 1, 17, 'completed', 500);"
    "INSERT INTO tickets (id, is_attached, state, expires_at, first_lease_id, end_lease_id, machine_id, "
    "created_at, ended_at) VALUES"
    " (1, 1, 'served', 9000, 4, 4, 1, 150, 200), (2, 0, 'left', 9000, 4, 5, NULL, 160, 250),"
    " (3, 0, 'served', 9000, 5, 5, 2, 260, 300), (4, 1, 'expired', 308, 6, 6, NULL, 305, 308),"
    " (5, 0, 'waiting', 9000, 9, NULL, NULL, 520, NULL);"
    "UPDATE pool SET next_machine_id = 5, next_lease_id = 9, next_ticket_id = 6;"
    "COMMIT";

#define SALE_S "1795218421000" /* and the purchase's number in seconds later, as for all purchases */
#define AT(seconds) "(" SALE_S " + 1000 * " #seconds ")"

static const char wallets_sql[] =
    "BEGIN;"
    "INSERT INTO products (id, sku, product_name, initial_stock, stock, price_minor, per_user_limit, "
    "start_time, end_time, state, end_reason, created_at, updated_at) VALUES"
    " (8, 'W', 'w', 5, 2, 1250, 1, " SALE_S ", " FOR_EVER ", 'ACTIVE', NULL, 1, " AT(
        26) ");"
            "INSERT INTO purchase_log (id, product_id, user_id, nth, purchased_at) VALUES"
            " (24, 8, ' key " KEY_C "', 1, " AT(24) "), (25, 8, ' key " KEY_D "', 1, " AT(
                25) "),"
                    " (26, 8, ' key " KEY_C "', 2, " AT(
                        26) ");"
                            "UPDATE sequences SET next_value = 27 WHERE name = 'purchases';"
                            "UPDATE sequences SET next_value = 9 WHERE name = 'products';"
                            "INSERT INTO accounts VALUES"
                            " (3, ' key " KEY_C "', ' key " KEY_C
                            "', 'Cid@x.example', 'cid@x.example', 'Cid', '', 1),"
                            " (4, ' key " KEY_D "', ' key " KEY_D
                            "', 'dot@x.example', 'dot@x.example', 'Dot', '', 1),"
                            " (5, ' key " KEY_E "', ' key " KEY_E
                            "', 'eve@x.example', 'eve@x.example', 'Eve', '', 1);"
                            "UPDATE sequences SET next_value = 6 WHERE name = 'accounts';"
                            "INSERT INTO wallets VALUES (3, x'" KEY_C "', 5500, 7, 1), (4, x'" KEY_D
                            "', 10000, 8, 1),"
                            " (5, x'" KEY_E "', 0, NULL, 1);"
                            "INSERT INTO transfers SELECT column1, column2, column3, column4, column5, "
                            "column6, column7, column8, column9,"
                            " column10, column11, column12, CASE WHEN column12 IS NOT NULL THEN zeroblob(16) "
                            "END,"
                            " " SALE_S " + 1000 * ifnull(column11, 20) FROM (VALUES"
                            " (1, 'opening', NULL, 3, NULL, NULL, 10000, NULL, 10000, NULL, NULL, NULL),"
                            " (2, 'opening', NULL, 4, NULL, NULL, 10000, NULL, 10000, NULL, NULL, NULL),"
                            " (3, 'credit', NULL, 4, NULL, 2, 500, NULL, 10500, NULL, NULL, 'gift'),"
                            " (4, 'spend', 3, NULL, 1, NULL, 1250, 8750, NULL, 8, 24, 'n-1'),"
                            " (5, 'transfer', 3, 4, 4, 3, 2000, 6750, 12500, NULL, NULL, 'n-2'),"
                            " (6, 'spend', 4, NULL, 5, NULL, 1250, 11250, NULL, 8, 25, 'n-1'),"
                            " (7, 'spend', 3, NULL, 5, NULL, 1250, 5500, NULL, 8, 26, 'n-3'),"
                            " (8, 'spend', 4, NULL, 6, NULL, 1250, 10000, NULL, 66, 23, 'n-4'));"
                            "UPDATE sequences SET next_value = 9 WHERE name = 'transfers';"
                            "COMMIT";

void sale_store_make(const struct audit_place *place, int version)
{
    static char sql[SQL_MAX];
    (void)unlink(place->store);
    for (int script = 1; script <= version; script++)
        run_schema(place->store, script);
    (void)snprintf(sql, sizeof sql,
        "PRAGMA journal_mode = WAL;"
        "BEGIN;"
        "INSERT INTO products (id, sku, product_name, initial_stock, stock, price_minor, per_user_limit, "
        "start_time,"
        " end_time, state, end_reason, created_at, updated_at) VALUES"
        " (1, 'A', 'a', 5, 0, 100, 1, %lld, %lld, 'ENDED', 'SOLD_OUT', 1, 1),"
        " (2, 'B', 'b', 10, 4, 100, 3, %lld, %lld, 'ACTIVE', NULL, 1, 1),"
        " (3, 'C', 'c', 7, 7, 100, 1, %lld, %lld, 'UPCOMING', NULL, 1, 1),"
        " (4, 'D', 'd', 0, 0, 100, 1, %lld, %lld, 'ACTIVE', NULL, 1, 1);"
        "INSERT INTO purchase_log (id, product_id, user_id, nth, purchased_at)"
        " SELECT column1, column2, column3, column4, %lld + %d * column1 FROM (VALUES"
        " (1, 1, 'a1', 1), (2, 1, 'a2', 1), (3, 1, 'a3', 1), (4, 1, 'a4', 1), (5, 1, 'a5', 1),"
        " (6, 2, 'b1', 1), (7, 2, 'b1', 2), (8, 2, 'b2', 1), (9, 2, 'b2', 2), (10, 2, 'b2', 3), (11, 2, "
        "'b3', 1));"
        "UPDATE sequences SET next_value = 21 WHERE name = 'purchases';"
        "UPDATE sequences SET next_value = 5 WHERE name = 'products';"
        "INSERT INTO idempotency_keys VALUES (1, 'purchase:z', 'k', zeroblob(16), 0, 20, 1, 1);"
        "COMMIT;",
        (long long)SALE_START_MS, (long long)SALE_END_MS, (long long)SALE_START_MS, (long long)SALE_END_MS,
        (long long)SALE_START_MS, (long long)SALE_END_MS, (long long)SALE_START_MS, (long long)SALE_END_MS,
        (long long)SALE_START_MS, PURCHASE_STEP_MS);
    store_run(place->store, sql);
}

void good_store_make(const struct audit_place *place)
{
    sale_store_make(place, SCHEMA_VERSION);
    store_run(place->store, orders_sql);
    store_run(place->store, machines_sql);
}

void market_store_make(const struct audit_place *place)
{
    good_store_make(place);
    store_run(place->store, wallets_sql);
}

void good_journal_make(const struct audit_place *place)
{
    static const struct {
        char sku;
        const char *user;
        int id;
    } sold[] = {{'A', "a1", 1}, {'A', "a2", 2}, {'A', "a3", 3}, {'A', "a4", 4}, {'A', "a5", 5},
        {'B', "b1", 6}, {'B', "b1", 7}, {'B', "b2", 8}, {'B', "b2", 9}, {'B', "b2", 10}, {'B', "b3", 11}};
    FILE *file = fopen(place->journal, "w");
    assert_non_null(file);
    (void)fputs("{\"journal\":1,\"scenario\":\"purchase-load\",\"sku\":\"A\",\"users\":8}\n", file);
    for (size_t i = 0; i < sizeof sold / sizeof sold[0]; i++)
        (void)fprintf(file,
            "{\"sku\":\"%c\",\"user\":\"%s\",\"outcome\":\"acknowledged\",\"purchaseNo\":\"PUR-20261120-%"
            "04d\"}\n",
            sold[i].sku, sold[i].user, sold[i].id);
    (void)fputs("{\"user\":\"a6\",\"outcome\":\"refused\",\"code\":\"SALE_NOT_ACTIVE\"}\n"
                "{\"user\":\"a7\",\"outcome\":\"refused\",\"code\":\"RATE_LIMIT_EXCEEDED\"}\n"
                "{\"user\":\"a1\",\"outcome\":\"refused\",\"code\":\"ALREADY_PURCHASED\"}\n"
                "{\"user\":\"a8\",\"outcome\":\"unknown\",\"code\":\"timeout\"}\n"
                "{\"sku\":\"B\",\"user\":\"b4\",\"outcome\":\"refused\",\"code\":\"SALE_NOT_ACTIVE\"}\n",
        file);
    assert_int_equal(fclose(file), 0);
}

/* The words between "  FAIL  " and ":" at the start of a line. */
static void gather_failed(struct audit_result *result)
{
    static const char mark[] = "\n  FAIL  ";
    const char *at = result->text;
    while ((at = strstr(at, mark)) != NULL) {
        at += sizeof mark - 1;
        size_t len = strlen(result->failed);
        (void)snprintf(result->failed + len, sizeof result->failed - len, "%s%.*s", len > 0 ? " " : "",
            (int)strcspn(at, ":"), at);
    }
}

struct audit_result audit_run(const struct verify_options *options)
{
    struct audit_result result = {.text = NULL};
    size_t len;
    FILE *out = open_memstream(&result.text, &len);
    assert_non_null(out);
    result.err = verify_run(options, out, &result.summary);
    assert_int_equal(fclose(out), 0);
    gather_failed(&result);
    return result;
}

void audit_result_put(struct audit_result *result)
{
    free(result->text);
}
