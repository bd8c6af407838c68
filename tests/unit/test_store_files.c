/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded store and the files it is given: whom it lets in, what it refuses and how it says so, and how
 * an old store becomes a new one. What is refused is left byte for byte as it was.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "core/world_work.h"
#include "sqlite_fixture.h"
#include "store/sqlite_priv.h"

/* Opening and loading must fail with this code and say all of these words, and change no byte. */
static void assert_refused(struct fixture *b, enum err expected, const char *const *words)
{
    const char *log = place_path(b->place, "store.db-wal");
    struct error error = {.message = ""};
    struct store *store;
    bool was_there = file_size(b->path) >= 0;
    bool had_log = file_size(log) >= 0;
    size_t lens[4] = {0};
    char *before = was_there ? file_read(b->path, &lens[0]) : NULL;
    char *log_before = had_log ? file_read(log, &lens[1]) : NULL;
    enum err err = sqlite_store_open(b->path, &store, &error);
    if (err == ERR_NONE) {
        test_world_init(&b->world);
        err = store_load(store, &b->world, NULL, 0, &error);
        world_fini(&b->world);
        store_close(store);
    }
    if (err != expected)
        fail_msg("error %d (%s) where %d is right: %s", err, err_name(err), expected, error.message);
    assert_int_equal(error.code, expected);
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strstr(error.message, words[i]) == NULL)
            fail_msg("'%s' does not say '%s'", error.message, words[i]);
    }
    assert_int_equal(file_size(b->path) >= 0, was_there);
    assert_int_equal(file_size(log) >= 0, had_log);
    if (was_there) {
        char *after = file_read(b->path, &lens[2]);
        assert_int_equal(lens[2], lens[0]);
        assert_memory_equal(after, before, lens[0]);
        free(after);
    }
    if (had_log) {
        char *after = file_read(log, &lens[3]);
        assert_int_equal(lens[3], lens[1]);
        assert_memory_equal(after, log_before, lens[1]);
        free(after);
    }
    free(before);
    free(log_before);
}

#define REFUSED(b, code, ...) assert_refused(b, code, (const char *const[]){__VA_ARGS__, NULL})

/* --- one server a store --- */

static void a_second_server_is_told_who_is_there(void **state)
{
    struct fixture *b = *state;
    char pid[32];
    struct error error = {.message = ""};
    struct store *second;
    (void)snprintf(pid, sizeof pid, "(process %ld)", (long)getpid());
    fixture_open(b);
    test_add_product(&b->world, "A", 10);
    fixture_commit(b);
    assert_int_equal(sqlite_store_open(b->path, &second, &error), ERR_LOCKED);
    assert_non_null(strstr(error.message, b->path));
    assert_non_null(strstr(error.message, "another doorbuster"));
    assert_non_null(strstr(error.message, pid));
    assert_non_null(strstr(error.message, "--store"));
    /* The attempt has not loosened the first one's locks. */
    test_add_product(&b->world, "B", 10);
    fixture_commit(b);
    assert_int_equal(sqlite_store_open(b->path, &second, &error), ERR_LOCKED);
    fixture_close(b);
    assert_int_equal(file_size(place_path(b->place, "store.db.lock")), -1);
    fixture_open(b);
}

static void one_file_has_one_lock_by_whatever_name(void **state)
{
    struct fixture *b = *state;
    const char *link = place_path(b->place, "link.db");
    struct error error = {.message = ""};
    struct store *second;
    fixture_open(b);
    assert_int_equal(symlink(b->path, link), 0);
    assert_int_equal(sqlite_store_open(link, &second, &error), ERR_LOCKED);
    fixture_close(b);
    assert_int_equal(sqlite_store_open(link, &second, &error), ERR_NONE);
    assert_int_equal(sqlite_store_open(b->path, &b->store, &error), ERR_LOCKED);
    b->store = NULL;
    store_close(second);
}

static void the_lock_of_a_killed_server_is_free(void **state)
{
    struct fixture *b = *state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct store *store;
        if (sqlite_store_open(b->path, &store, NULL) != ERR_NONE || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            (void)pause();
    }
    assert_int_equal(close(ready[1]), 0);
    wait_for_child(ready[0]);
    assert_int_equal(close(ready[0]), 0);
    struct store *store;
    assert_int_equal(sqlite_store_open(b->path, &store, NULL), ERR_LOCKED);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    fixture_open(b);
}

/* --- what is refused --- */

static void a_newer_store_is_left_alone(void **state)
{
    struct fixture *b = *state;
    fixture_make_store(b);
    run_sql(b->path, "PRAGMA user_version = 6");
    REFUSED(b, ERR_NEWER, b->path, "newer doorbuster", "version 6", "knows 5");
}

/* The version stands in the log only, and the log must not be brought into the file. */
static void a_newer_store_after_a_crash_is_left_alone(void **state)
{
    struct fixture *b = *state;
    fixture_make_store(b);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(b->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 7", NULL, NULL, NULL), SQLITE_OK);
    (void)snprintf(b->path, sizeof b->path, "%s/crashed.db", b->place);
    file_copy(place_path(b->place, "store.db"), b->path);
    file_copy(place_path(b->place, "store.db-wal"), place_path(b->place, "crashed.db-wal"));
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    size_t lens[2];
    char *before = file_read(place_path(b->place, "crashed.db-wal"), &lens[0]);
    assert_true(lens[0] > 0);
    REFUSED(b, ERR_NEWER, "version 7");
    char *after = file_read(place_path(b->place, "crashed.db-wal"), &lens[1]);
    assert_int_equal(lens[1], lens[0]);
    assert_memory_equal(after, before, lens[0]);
    free(before);
    free(after);
}

static void files_of_others_are_left_alone(void **state)
{
    struct fixture *b = *state;
    run_sql(b->path, "CREATE TABLE mine (x); INSERT INTO mine VALUES (1)");
    REFUSED(b, ERR_CORRUPT, b->path, "another program", "--store");
    run_sql(b->path, "PRAGMA journal_mode = WAL; INSERT INTO mine VALUES (2)");
    REFUSED(b, ERR_CORRUPT, "another program");
    run_sql(b->path, "PRAGMA application_id = 5");
    run_sql(b->path, "PRAGMA wal_checkpoint(TRUNCATE)");
    REFUSED(b, ERR_CORRUPT, "another program");
    static const char text[] =
        "Dear diary, today I put my notes where a program thought its store was. It was polite"
        " and did not touch them, however often I started it.\n";
    file_write(b->path, text, sizeof text - 1);
    REFUSED(b, ERR_CORRUPT, "no doorbuster store", "no SQLite file");
    file_write(b->path, text, 20);
    REFUSED(b, ERR_CORRUPT, "no doorbuster store");
}

static void a_cut_store_is_refused(void **state)
{
    struct fixture *b = *state;
    fixture_make_store(b);
    size_t len;
    char *bytes = file_read(b->path, &len);
    static const double parts[] = {0.95, 0.5, 0.2, 0.1};
    assert_true(len >= 8 * 4096);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        file_write(b->path, bytes, (size_t)((double)len * parts[i]) / 4096 * 4096);
        REFUSED(b, ERR_CORRUPT, b->path, "restore a backup");
    }
    file_write(b->path, bytes, 99);
    REFUSED(b, ERR_CORRUPT, "no doorbuster store");
    free(bytes);
}

/* Any page but those of free space: the store is refused, or, if the damage is in a text, opens; never a
 * crash. */
static void overwritten_pages_are_found(void **state)
{
    struct fixture *b = *state;
    fixture_make_store(b);
    size_t len;
    char *bytes = file_read(b->path, &len);
    for (size_t page = 0; page < len / 4096; page++) {
        char *damaged = malloc(len);
        assert_non_null(damaged);
        memcpy(damaged, bytes, len);
        memset(damaged + page * 4096 + (page == 0 ? 100 : 0), 0xA5, 600);
        file_write(b->path, damaged, len);
        REFUSED(b, ERR_CORRUPT, b->path);
        free(damaged);
    }
    free(bytes);
}

#define IDLE "'idle', 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, 1"
#define ROOM "; UPDATE pool SET next_machine_id = 9, next_lease_id = 9, next_ticket_id = 9"

/* The key, the balance and the last transfer of a wallet; and of a transfer all but its id. */
#define WALLET(key, balance, last) "INSERT INTO wallets VALUES (1, " key ", " balance ", " last ", 1)"
#define KEY "zeroblob(32)"
#define TRANSFER(id, rest) "INSERT INTO transfers VALUES (" id ", " rest ", 1)"
#define CREDIT "'credit', NULL, 1, NULL, NULL, 5, NULL, 5, NULL, NULL, 'n', zeroblob(16)"
#define SPEND "'spend', 1, NULL, NULL, NULL, 5, 0, NULL, 1, 1, 'n', zeroblob(16)"

static void rows_that_no_doorbuster_wrote_are_found(void **state)
{
    struct fixture *b = *state;
    static const char *const damages[] = {
        /* The first is sound, or the others would tell nothing. */
        TRANSFER("1", CREDIT) ";" TRANSFER("2", SPEND) ";" WALLET(KEY, "0", "2"),
        "UPDATE products SET state = 'OPEN' WHERE id = 1",
        "UPDATE products SET stock = -1 WHERE id = 1",
        "UPDATE products SET stock = initial_stock + 1 WHERE id = 1",
        "UPDATE products SET end_time = start_time WHERE id = 1",
        "UPDATE products SET end_reason = 'SOLD_OUT' WHERE id = 1",
        "UPDATE products SET stock = 'many' WHERE id = 1",
        "UPDATE products SET sku = '' WHERE id = 1",
        "UPDATE products SET sku = hex(zeroblob(40)) WHERE id = 1",
        "UPDATE products SET id = -5 WHERE id = 1",
        "DELETE FROM products WHERE id = 1",
        "UPDATE purchase_log SET product_id = 77 WHERE id = 100",
        "UPDATE purchase_log SET nth = 0 WHERE id = 100",
        "UPDATE purchase_log SET user_id = x'00ff' WHERE id = 100",
        "UPDATE purchase_log SET user_id = '' WHERE id = 100",
        "UPDATE purchase_log SET user_id = hex(zeroblob(300)) WHERE id = 100",
        "UPDATE purchase_log SET id = 0 WHERE id = 100",
        "UPDATE purchase_log SET id = 9223372036854775807 WHERE id = 100",
        "UPDATE idempotency_keys SET fingerprint = x'00' WHERE id = 1",
        "UPDATE idempotency_keys SET fingerprint = 'sixteen letters!' WHERE id = 1",
        "DELETE FROM sequences WHERE name = 'purchases'",
        "UPDATE sequences SET next_value = 0 WHERE name = 'purchases'",
        "DELETE FROM pool",
        "UPDATE pool SET next_lease_id = 0",
        "UPDATE pool SET next_ticket_id = 'many'",
        "INSERT INTO leases VALUES (1, 1, NULL, 1, NULL, NULL, NULL, NULL, 'reset', 1)",
        "INSERT INTO machines VALUES (1, 'm'," IDLE "); UPDATE pool SET next_lease_id = 9",
        "INSERT INTO machines VALUES (-1, 'm'," IDLE ")" ROOM,
        "INSERT INTO machines VALUES (1, ''," IDLE ")" ROOM,
        "INSERT INTO machines VALUES (1, x'00'," IDLE ")" ROOM,
        "INSERT INTO machines VALUES (1, 'm'," IDLE ")" ROOM "; UPDATE machines SET status = 'lost'",
        "INSERT INTO machines VALUES (1, 'm'," IDLE ")" ROOM "; UPDATE machines SET lease_id = 1",
        "INSERT INTO machines VALUES (1, 'm'," IDLE ")" ROOM "; UPDATE machines SET due_at = 1",
        "INSERT INTO machines VALUES (1, 'm'," IDLE ")" ROOM "; UPDATE machines SET usage_count = -1",
        ("INSERT INTO machines VALUES (1, 'm'," IDLE ")" ROOM
         "; UPDATE machines SET status = 'processing', lease_id = 1, started_at = 1, due_at = 1"),
        "INSERT INTO tickets VALUES (1, 0, 'waiting', 1, 1, NULL, NULL, 1, NULL)",
        "INSERT INTO tickets VALUES (-1, 0, 'waiting', 1, 1, NULL, NULL, 1, NULL)",
        "INSERT INTO tickets VALUES (1, 0, 'waiting', 'soon', 1, NULL, NULL, 1, NULL)" ROOM,
        WALLET(KEY, "-1", "NULL"),
        WALLET(KEY, "1000000000000000", "NULL"),
        WALLET(KEY, "'many'", "NULL"),
        WALLET(KEY, "0", "1"),
        WALLET(KEY, "0", "-1"),
        WALLET(KEY, "0", "'last'"),
        WALLET("zeroblob(31)", "0", "NULL"),
        WALLET("'thirty-two letters are not a key'", "0", "NULL"),
        WALLET(KEY, "0", "NULL") "; UPDATE wallets SET account_id = -1",
        TRANSFER("-1", CREDIT),
        TRANSFER("9223372036854775807", CREDIT),
        TRANSFER("1", CREDIT) "; UPDATE transfers SET kind = 'gift'",
        TRANSFER("1", CREDIT) "; UPDATE transfers SET kind = 'opening'",
        TRANSFER("1", CREDIT) "; UPDATE transfers SET kind = 'transfer'",
        TRANSFER("1", CREDIT) "; UPDATE transfers SET amount_minor = 0",
        TRANSFER("1", CREDIT) "; UPDATE transfers SET amount_minor = 'much'",
        TRANSFER("1", CREDIT) "; UPDATE transfers SET to_account = NULL",
        TRANSFER("1", CREDIT) "; UPDATE transfers SET to_balance_minor = -5",
        TRANSFER("1", CREDIT) "; UPDATE transfers SET purchase_id = 1",
        TRANSFER("1", CREDIT) "; UPDATE transfers SET nonce = NULL",
        TRANSFER("1", CREDIT) "; UPDATE transfers SET nonce = ''",
        TRANSFER("1", CREDIT) "; UPDATE transfers SET nonce = x'6e'",
        TRANSFER("1", CREDIT) "; UPDATE transfers SET nonce = hex(zeroblob(129))",
        TRANSFER("1", CREDIT) "; UPDATE transfers SET fingerprint = zeroblob(15)",
        TRANSFER("1", CREDIT) "; UPDATE transfers SET fingerprint = NULL",
        TRANSFER("1", CREDIT) ";" TRANSFER("2", CREDIT),
        TRANSFER("1", SPEND) ";" TRANSFER("2", SPEND),
        TRANSFER("1", SPEND) "; UPDATE transfers SET product_id = NULL",
        TRANSFER("1", SPEND) "; UPDATE transfers SET purchase_id = NULL",
        TRANSFER("1", SPEND) "; UPDATE transfers SET from_account = NULL",
        TRANSFER("1", SPEND) "; UPDATE transfers SET to_account = 2",
        "DROP TABLE wallets",
        "DROP TABLE tickets",
        "DROP TABLE purchase_log",
        "ALTER TABLE products DROP COLUMN price_minor",
    };
    fixture_make_store(b);
    size_t len;
    char *bytes = file_read(b->path, &len);
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        char sql[768];
        file_write(b->path, bytes, len);
        (void)snprintf(sql, sizeof sql, "%s%s",
            "PRAGMA journal_mode = DELETE; PRAGMA ignore_check_constraints = ON;"
            " PRAGMA writable_schema = ON; DROP VIEW purchases;",
            damages[i]);
        if (strstr(damages[i], "DROP COLUMN") != NULL) /* it looks at the checks */
            (void)snprintf(sql, sizeof sql,
                "PRAGMA journal_mode = DELETE; DROP VIEW purchases; ALTER TABLE products"
                " RENAME COLUMN price_minor TO price");
        run_sql(b->path, sql);
        run_sql(b->path, "PRAGMA journal_mode = WAL");
        struct error error = {.message = ""};
        struct store *store;
        enum err err = sqlite_store_open(b->path, &store, &error);
        if (err == ERR_NONE) {
            test_world_init(&b->world);
            err = store_load(store, &b->world, NULL, 0, &error);
            world_fini(&b->world);
            store_close(store);
        }
        if (err != (i == 0 ? ERR_NONE : ERR_CORRUPT))
            fail_msg("'%s' gives %s: %s", damages[i], err_name(err), error.message);
    }
    free(bytes);
}

static void a_log_without_its_file_is_not_thrown_away(void **state)
{
    struct fixture *b = *state;
    fixture_open(b);
    test_add_product(&b->world, "A", 10);
    fixture_commit(b);
    (void)snprintf(b->path, sizeof b->path, "%s/lost.db", b->place);
    file_copy(place_path(b->place, "store.db-wal"), place_path(b->place, "lost.db-wal"));
    long len = file_size(place_path(b->place, "lost.db-wal"));
    assert_true(len > 0);
    struct error error = {.message = ""};
    struct store *store;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(sqlite_store_open(b->path, &store, &error), ERR_CORRUPT);
        assert_non_null(strstr(error.message, "-wal"));
        assert_int_equal(file_size(place_path(b->place, "lost.db-wal")), len);
        file_write(b->path, "", 0);
    }
    assert_int_equal(unlink(place_path(b->place, "lost.db-wal")), 0);
    assert_int_equal(sqlite_store_open(b->path, &store, &error), ERR_NONE); /* an empty file is a new store */
    store_close(store);
}

/* --- places that do not serve --- */

static void assert_no_place(const char *path, enum err expected, const char *word)
{
    struct error error = {.message = ""};
    struct store *store;
    enum err err = sqlite_store_open(path, &store, &error);
    if (err != expected || strstr(error.message, word) == NULL)
        fail_msg("'%.40s' gives %s: %s", path, err_name(err), error.message);
}

static void impossible_places_are_named(void **state)
{
    struct fixture *b = *state;
    char long_path[PATH_MAX * 2];
    memset(long_path, 'x', sizeof long_path);
    long_path[0] = '/';
    long_path[sizeof long_path - 1] = '\0';
    assert_no_place(place_path(b->place, "no/such/dir/store.db"), ERR_IO, "No such file or directory");
    assert_no_place(b->place, ERR_IO, "not a regular file");
    assert_no_place("/dev/null", ERR_IO, "not a regular file");
    assert_no_place("", ERR_USAGE, "empty");
    assert_no_place(long_path, ERR_IO, "too long");
}

enum { NOBODY = 65534 };

/* Root may write anywhere; so that permissions mean something, root becomes somebody else for the while. */
static void become_powerless(void)
{
    if (geteuid() == 0)
        assert_int_equal(seteuid(NOBODY), 0);
}

static void become_oneself(void)
{
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
}

static void what_may_not_be_written_is_refused(void **state)
{
    struct fixture *b = *state;
    fixture_make_store(b);
    assert_int_equal(chmod(b->place, 0555), 0);
    become_powerless();
    REFUSED(b, ERR_IO, "Permission denied", "writable");
    assert_no_place(place_path(b->place, "new.db"), ERR_IO, "Permission denied");
    become_oneself();
    assert_int_equal(chmod(b->place, 0777), 0);
    assert_int_equal(chmod(b->path, 0444), 0);
    become_powerless();
    REFUSED(b, ERR_IO, "cannot write to", b->path);
    become_oneself();
    assert_int_equal(chmod(b->path, 0000), 0);
    become_powerless();
    struct store *store;
    assert_int_equal(sqlite_store_open(b->path, &store, NULL), ERR_IO);
    become_oneself();
    assert_int_equal(chmod(b->path, 0644), 0);
    fixture_open(b);
    assert_int_equal(world_product(&b->world, SLICE("A"))->buyers.count, 300);
}

/* --- versions --- */

static const struct schema_step future_steps[] = {
    {1, sqlite_001_sql}, {2, sqlite_002_sql}, {3, sqlite_003_sql}, {4, sqlite_004_sql}, {5, sqlite_005_sql},
    {6, "ALTER TABLE products ADD COLUMN colour TEXT; UPDATE products SET colour = 'red'; PRAGMA "
        "user_version = 6;"},
    {7, "CREATE TABLE shelves (id INTEGER PRIMARY KEY); PRAGMA user_version = 7;"},
    {8, "CREATE TABLE boxes (id INTEGER PRIMARY KEY); INSERT INTO nowhere VALUES (1); PRAGMA user_version = "
        "8;"},
    {8, "CREATE TABLE crates (id INTEGER PRIMARY KEY);"}, /* forgets to say its version */
};

static int query(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int value = sqlite3_column_int(statement, 0);
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    return value;
}

static void an_old_store_is_brought_up_step_by_step(void **state)
{
    struct fixture *b = *state;
    struct error error = {.message = ""};
    sqlite3 *db;
    fixture_make_store(b);
    assert_int_equal(sqlite3_open(b->path, &db), SQLITE_OK);
    assert_int_equal(schema_bring_up(db, b->path, future_steps, 7, &error), ERR_NONE);
    assert_int_equal(query(db, "PRAGMA user_version"), 7);
    assert_int_equal(query(db, "SELECT count(*) FROM products WHERE colour = 'red'"), 2);
    assert_int_equal(query(db, "SELECT count(*) FROM purchases"), 300);
    assert_int_equal(
        schema_bring_up(db, b->path, future_steps, 7, &error), ERR_NONE); /* nothing left to do */
    assert_int_equal(schema_bring_up(db, b->path, future_steps, 6, &error), ERR_NEWER);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    REFUSED(b, ERR_NEWER, "version 7");
}

/* A store that was made before there was work for later is opened, keeps all it has, and takes work. */
static void a_store_of_version_1_is_brought_up(void **state)
{
    struct fixture *b = *state;
    sqlite3 *db;
    assert_int_equal(sqlite3_open(b->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sqlite_001_sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db,
            "PRAGMA journal_mode = WAL; INSERT INTO products VALUES (7, 'A', 'A', 5, 4, 0, 1, 1, 2,"
            " 'ENDED', 'TIME_EXPIRED', 1, 'admin', 1, 'admin');"
            "INSERT INTO purchase_log VALUES (9, 7, 'ann', 1, 1)",
            NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(query(db, "PRAGMA user_version"), 1);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    fixture_open(b);
    assert_int_equal(world_product(&b->world, SLICE("A"))->buyers.count, 1);
    assert_int_equal(b->world.next_purchase_id, 10);
    assert_int_equal(b->world.next_work_id, 2); /* one is there from the start */
    assert_non_null(world_add_work(&b->world, WORK_SALE_CLOSEOUT, SLICE("A"), SLICE("7 9 9"), 5, 5));
    fixture_commit(b);
    fixture_close(b);
    assert_int_equal(sqlite3_open_v2(b->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(query(db, "PRAGMA user_version"), SCHEMA_VERSION);
    assert_int_equal(
        query(db, "SELECT count(*) FROM work WHERE body = '7 9 9' AND kind = 'sale-closeout'"), 1);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    fixture_open(b);
    assert_int_equal(world_next_work(&b->world, WORK_SALE_CLOSEOUT)->id, 2);
}

static void a_step_that_fails_leaves_the_version_before(void **state)
{
    struct fixture *b = *state;
    struct error error = {.message = ""};
    sqlite3 *db;
    fixture_make_store(b);
    assert_int_equal(sqlite3_open(b->path, &db), SQLITE_OK);
    assert_int_equal(schema_bring_up(db, b->path, future_steps, 8, &error), ERR_CORRUPT);
    assert_non_null(strstr(error.message, "nowhere"));
    assert_int_equal(query(db, "PRAGMA user_version"), 7);
    assert_int_equal(query(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'boxes'"), 0);
    const struct schema_step forgetful[] = {{8, future_steps[8].sql}};
    assert_int_equal(schema_bring_up(db, b->path, forgetful, 1, &error), ERR_CORRUPT);
    assert_int_equal(query(db, "PRAGMA user_version"), 7);
    assert_int_equal(query(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'crates'"), 0);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_new_store_says_what_it_is(void **state)
{
    struct fixture *b = *state;
    sqlite3 *db;
    fixture_open(b);
    assert_int_equal(sqlite3_open_v2(b->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(query(db, "PRAGMA user_version"), SCHEMA_VERSION);
    assert_int_equal(query(db, "PRAGMA application_id"), SCHEMA_APPLICATION_ID);
    assert_int_equal(
        query(db, "SELECT count(*) FROM sequences WHERE next_value = 1 + (name = 'work')"), SEQUENCE_COUNT);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_second_server_is_told_who_is_there),
        TEST(one_file_has_one_lock_by_whatever_name),
        TEST(the_lock_of_a_killed_server_is_free),
        TEST(a_newer_store_is_left_alone),
        TEST(a_newer_store_after_a_crash_is_left_alone),
        TEST(files_of_others_are_left_alone),
        TEST(a_cut_store_is_refused),
        TEST(overwritten_pages_are_found),
        TEST(rows_that_no_doorbuster_wrote_are_found),
        TEST(a_log_without_its_file_is_not_thrown_away),
        TEST(impossible_places_are_named),
        TEST(what_may_not_be_written_is_refused),
        TEST(an_old_store_is_brought_up_step_by_step),
        TEST(a_store_of_version_1_is_brought_up),
        TEST(a_step_that_fails_leaves_the_version_before),
        TEST(a_new_store_says_what_it_is),
    };
    log_init(LOG_ERROR, LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
