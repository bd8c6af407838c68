/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded store among files, processes and disks as they come: whom it lets in, what it refuses and how
 * it says so, what it does when there is no room, and what a kill leaves.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "store/sqlite_priv.h"
#include "store_support.h"

struct fixture {
    char place[PATH_MAX];
    char path[PATH_MAX + 32];
    struct store *store; /* NULL: closed */
    struct world world;
};

static int set_up(void **state)
{
    struct fixture *b = calloc(1, sizeof *b);
    assert_non_null(b);
    place_make(b->place);
    (void)snprintf(b->path, sizeof b->path, "%s/store.db", b->place);
    *state = b;
    return 0;
}

static void close_fixture(struct fixture *b)
{
    if (b->store == NULL)
        return;
    world_fini(&b->world);
    store_close(b->store);
    b->store = NULL;
}

static int tear_down(void **state)
{
    struct fixture *b = *state;
    close_fixture(b);
    place_remove(b->place);
    free(b);
    return 0;
}

static void open_fixture(struct fixture *b)
{
    struct error error = {.message = ""};
    if (sqlite_store_open(b->path, &b->store, &error) != ERR_NONE)
        fail_msg("cannot open: %s", error.message);
    test_world_init(&b->world);
    if (store_load(b->store, &b->world, NULL, 0, &error) != ERR_NONE)
        fail_msg("cannot load: %s", error.message);
    world_begin(&b->world);
}

static void commit(struct fixture *b)
{
    test_commit(b->store, &b->world);
    world_begin(&b->world);
}

/* A closed store with two products and 300 purchases: some 10 pages. */
static void make_store(struct fixture *b)
{
    open_fixture(b);
    test_add_product(&b->world, "A", 1000);
    test_add_product(&b->world, "B", 1000);
    for (int i = 0; i < 300; i++) {
        char user[80];
        (void)snprintf(user, sizeof user, "a user with a long name, such as those that are given by machines %d", i);
        test_buy(&b->world, "A", user, i);
    }
    test_add_key(&b->world, "admin", "k", 1);
    commit(b);
    close_fixture(b);
}

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db;
    char *message = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

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

/* --- one server a store --------------------------------------------------------------------------------- */

static void a_second_server_is_told_who_is_there(void **state)
{
    struct fixture *b = *state;
    char pid[32];
    struct error error = {.message = ""};
    struct store *second;
    (void)snprintf(pid, sizeof pid, "(process %ld)", (long)getpid());
    open_fixture(b);
    test_add_product(&b->world, "A", 10);
    commit(b);
    assert_int_equal(sqlite_store_open(b->path, &second, &error), ERR_LOCKED);
    assert_non_null(strstr(error.message, b->path));
    assert_non_null(strstr(error.message, "another doorbuster"));
    assert_non_null(strstr(error.message, pid));
    assert_non_null(strstr(error.message, "--store"));
    /* The attempt has not loosened the first one's locks. */
    test_add_product(&b->world, "B", 10);
    commit(b);
    assert_int_equal(sqlite_store_open(b->path, &second, &error), ERR_LOCKED);
    close_fixture(b);
    assert_int_equal(file_size(place_path(b->place, "store.db.lock")), -1);
    open_fixture(b);
}

static void one_file_has_one_lock_by_whatever_name(void **state)
{
    struct fixture *b = *state;
    const char *link = place_path(b->place, "link.db");
    struct error error = {.message = ""};
    struct store *second;
    open_fixture(b);
    assert_int_equal(symlink(b->path, link), 0);
    assert_int_equal(sqlite_store_open(link, &second, &error), ERR_LOCKED);
    close_fixture(b);
    assert_int_equal(sqlite_store_open(link, &second, &error), ERR_NONE);
    assert_int_equal(sqlite_store_open(b->path, &b->store, &error), ERR_LOCKED);
    b->store = NULL;
    store_close(second);
}

/* Reads the child's one byte, or learns that it has ended. */
static void wait_for_child(int fd)
{
    char byte;
    assert_int_equal(read(fd, &byte, 1), 1);
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
    open_fixture(b);
}

/* --- what is refused ------------------------------------------------------------------------------------ */

static void a_newer_store_is_left_alone(void **state)
{
    struct fixture *b = *state;
    make_store(b);
    run_sql(b->path, "PRAGMA user_version = 2");
    REFUSED(b, ERR_NEWER, b->path, "newer doorbuster", "version 2", "knows 1");
}

/* The version stands in the log only, and the log must not be brought into the file. */
static void a_newer_store_after_a_crash_is_left_alone(void **state)
{
    struct fixture *b = *state;
    make_store(b);
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
    static const char text[] = "Dear diary, today I put my notes where a program thought its store was. It was polite"
                               " and did not touch them, however often I started it.\n";
    file_write(b->path, text, sizeof text - 1);
    REFUSED(b, ERR_CORRUPT, "no doorbuster store", "no SQLite file");
    file_write(b->path, text, 20);
    REFUSED(b, ERR_CORRUPT, "no doorbuster store");
}

static void a_cut_store_is_refused(void **state)
{
    struct fixture *b = *state;
    make_store(b);
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
    make_store(b);
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

static void rows_that_no_doorbuster_wrote_are_found(void **state)
{
    struct fixture *b = *state;
    static const char *const damages[] = {
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
        "DROP TABLE purchase_log",
        "ALTER TABLE products DROP COLUMN price_minor",
    };
    make_store(b);
    size_t len;
    char *bytes = file_read(b->path, &len);
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        char sql[512];
        file_write(b->path, bytes, len);
        (void)snprintf(sql, sizeof sql, "%s%s", "PRAGMA journal_mode = DELETE; PRAGMA ignore_check_constraints = ON;"
            " PRAGMA writable_schema = ON; DROP VIEW purchases;", damages[i]);
        if (strstr(damages[i], "DROP COLUMN") != NULL) /* it looks at the checks */
            (void)snprintf(sql, sizeof sql, "PRAGMA journal_mode = DELETE; DROP VIEW purchases; ALTER TABLE products"
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
        if (err != ERR_CORRUPT)
            fail_msg("'%s' gives %s: %s", damages[i], err_name(err), error.message);
    }
    free(bytes);
}

static void a_log_without_its_file_is_not_thrown_away(void **state)
{
    struct fixture *b = *state;
    open_fixture(b);
    test_add_product(&b->world, "A", 10);
    commit(b);
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

/* --- places that do not serve --------------------------------------------------------------------------- */

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
    make_store(b);
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
    open_fixture(b);
    assert_int_equal(world_product(&b->world, SLICE("A"))->buyers.count, 300);
}

/* --- versions ------------------------------------------------------------------------------------------- */

static const struct schema_step future_steps[] = {
    {1, sqlite_001_sql},
    {2, "ALTER TABLE products ADD COLUMN colour TEXT; UPDATE products SET colour = 'red'; PRAGMA user_version = 2;"},
    {3, "CREATE TABLE shelves (id INTEGER PRIMARY KEY); PRAGMA user_version = 3;"},
    {4, "CREATE TABLE boxes (id INTEGER PRIMARY KEY); INSERT INTO nowhere VALUES (1); PRAGMA user_version = 4;"},
    {5, "CREATE TABLE crates (id INTEGER PRIMARY KEY);"}, /* forgets to say its version */
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
    make_store(b);
    assert_int_equal(sqlite3_open(b->path, &db), SQLITE_OK);
    assert_int_equal(schema_bring_up(db, b->path, future_steps, 3, &error), ERR_NONE);
    assert_int_equal(query(db, "PRAGMA user_version"), 3);
    assert_int_equal(query(db, "SELECT count(*) FROM products WHERE colour = 'red'"), 2);
    assert_int_equal(query(db, "SELECT count(*) FROM purchases"), 300);
    assert_int_equal(schema_bring_up(db, b->path, future_steps, 3, &error), ERR_NONE); /* nothing left to do */
    assert_int_equal(schema_bring_up(db, b->path, future_steps, 2, &error), ERR_NEWER);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    REFUSED(b, ERR_NEWER, "version 3");
}

static void a_step_that_fails_leaves_the_version_before(void **state)
{
    struct fixture *b = *state;
    struct error error = {.message = ""};
    sqlite3 *db;
    make_store(b);
    assert_int_equal(sqlite3_open(b->path, &db), SQLITE_OK);
    assert_int_equal(schema_bring_up(db, b->path, future_steps, 4, &error), ERR_CORRUPT);
    assert_non_null(strstr(error.message, "nowhere"));
    assert_int_equal(query(db, "PRAGMA user_version"), 3);
    assert_int_equal(query(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'boxes'"), 0);
    const struct schema_step forgetful[] = {{4, future_steps[4].sql}};
    assert_int_equal(schema_bring_up(db, b->path, forgetful, 1, &error), ERR_CORRUPT);
    assert_int_equal(query(db, "PRAGMA user_version"), 3);
    assert_int_equal(query(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'crates'"), 0);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_new_store_says_what_it_is(void **state)
{
    struct fixture *b = *state;
    sqlite3 *db;
    open_fixture(b);
    assert_int_equal(sqlite3_open_v2(b->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(query(db, "PRAGMA user_version"), SCHEMA_VERSION);
    assert_int_equal(query(db, "PRAGMA application_id"), SCHEMA_APPLICATION_ID);
    assert_int_equal(query(db, "SELECT count(*) FROM sequences WHERE next_value = 1"), 3);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* --- others who look ------------------------------------------------------------------------------------ */

/* One look: SQLITE_ROW when what an auditor sees is whole batches of 7, else what is wrong. */
static int look(sqlite3_stmt *statement)
{
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW && (sqlite3_column_int64(statement, 0) != 0 || sqlite3_column_int64(statement, 1) % 7 != 0))
        rc = SQLITE_CORRUPT;
    (void)sqlite3_reset(statement);
    return rc;
}

/* Looks at a store that is written meanwhile until there is nobody any more at the other end of `stop`. */
static int audit(const char *path, int started, int stop)
{
    static const char text[] = "SELECT initial_stock - stock - (SELECT count(*) FROM purchases), initial_stock - stock"
                               " FROM products";
    sqlite3 *db;
    sqlite3_stmt *statement;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK
        || sqlite3_busy_timeout(db, 5000) != SQLITE_OK
        || sqlite3_prepare_v2(db, text, -1, &statement, NULL) != SQLITE_OK)
        return 1;
    struct pollfd end = {.fd = stop};
    do {
        if (look(statement) != SQLITE_ROW)
            return 2;
        if (started >= 0 && (write(started, "x", 1) != 1 || close(started) != 0))
            return 3;
        started = -1;
    } while (poll(&end, 1, 0) == 0);
    (void)sqlite3_finalize(statement);
    return sqlite3_close(db) == SQLITE_OK ? 0 : 4;
}

static void an_auditor_reads_beside_the_writer(void **state)
{
    struct fixture *b = *state;
    int started[2];
    int stop[2];
    int status = 0;
    open_fixture(b);
    ((struct sqlite_store *)b->store)->wal.checkpoint_frames = 50;
    test_add_product(&b->world, "A", 1000000);
    commit(b);
    assert_int_equal(pipe(started), 0);
    assert_int_equal(pipe(stop), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(stop[1]);
        _exit(audit(b->path, started[1], stop[0]));
    }
    assert_int_equal(close(started[1]), 0);
    wait_for_child(started[0]);
    for (int round = 0; round < 500; round++) {
        for (int i = 0; i < 7; i++)
            test_buy(&b->world, "A", "ann", i);
        commit(b);
    }
    assert_int_equal(close(stop[1]), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(close(stop[0]), 0);
    assert_int_equal(close(started[0]), 0);
}

static void a_writer_that_is_no_doorbuster_is_waited_for_and_named(void **state)
{
    struct fixture *b = *state;
    struct error error = {.message = ""};
    sqlite3 *db;
    open_fixture(b);
    (void)sqlite3_busy_timeout(((struct sqlite_store *)b->store)->db, 10);
    assert_int_equal(sqlite3_open(b->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    test_add_product(&b->world, "A", 10);
    assert_int_equal(store_commit(b->store, &b->world, &error), ERR_LOCKED);
    assert_non_null(strstr(error.message, "another program"));
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    commit(b);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void rows_changed_behind_its_back_stop_a_batch(void **state)
{
    struct fixture *b = *state;
    struct error error = {.message = ""};
    open_fixture(b);
    test_add_product(&b->world, "A", 10);
    commit(b);
    run_sql(b->path, "DELETE FROM products");
    test_buy(&b->world, "A", "ann", 1);
    assert_int_equal(store_commit(b->store, &b->world, &error), ERR_CORRUPT);
    assert_non_null(strstr(error.message, "another program"));
    world_rollback(&b->world);
    run_sql(b->path, "INSERT INTO purchase_log VALUES (1000, 1, 'x', 1, 1)");
    b->world.next_purchase_id = 1000;
    world_begin(&b->world);
    test_add_product(&b->world, "B", 10);
    test_buy(&b->world, "B", "ann", 1);
    assert_int_equal(store_commit(b->store, &b->world, &error), ERR_CORRUPT);
    assert_non_null(strstr(error.message, "UNIQUE"));
}

/* --- the index of purchases ----------------------------------------------------------------------------- */

static size_t index_entries(struct fixture *b, size_t *reserved)
{
    struct purchase_index *index = &((struct sqlite_store *)b->store)->index;
    size_t count = 0;
    *reserved = 0;
    for (int i = 0; i < PURCHASE_INDEX_PART_COUNT; i++) {
        count += index->parts[i].count;
        *reserved += index->parts[i].count_reserved;
    }
    return count;
}

static void the_index_has_one_entry_a_buyer(void **state)
{
    struct fixture *b = *state;
    size_t reserved;
    make_store(b);
    open_fixture(b);
    assert_int_equal(index_entries(b, &reserved), 300);
    for (int i = 0; i < 50; i++)
        test_buy(&b->world, "B", i % 2 == 0 ? "ann" : "ben", i);
    commit(b);
    assert_int_equal(index_entries(b, &reserved), 302);
    assert_int_equal(reserved, 0);
    assert_true(world_clear_purchases(&b->world, world_product(&b->world, SLICE("A"))));
    commit(b);
    assert_int_equal(index_entries(b, &reserved), 2);
    run_sql(b->path, "INSERT INTO purchase_log VALUES (351, 2, 'x', 1, 1)");
    assert_int_equal(test_buy(&b->world, "B", "cat", 1), 351);
    assert_int_equal(store_commit(b->store, &b->world, NULL), ERR_CORRUPT);
    assert_int_equal(index_entries(b, &reserved), 2);
    assert_int_equal(reserved, 0);
}

/* As if two buyers had the same hash: the row decides whose it is. */
static void the_index_only_proposes(void **state)
{
    struct fixture *b = *state;
    struct store_reader *reader;
    struct purchase_row row;
    bool is_found;
    open_fixture(b);
    test_add_product(&b->world, "A", 10);
    int64_t id = test_buy(&b->world, "A", "ann", 1);
    int64_t other_id = test_buy(&b->world, "A", "ben", 2);
    commit(b);
    struct purchase_index *index = &((struct sqlite_store *)b->store)->index;
    uint64_t hash = purchase_index_hash(index, SLICE("A"), SLICE("ann"));
    assert_true(purchase_index_reserve(index, hash));
    purchase_index_add(index, hash, other_id, 1);
    assert_true(purchase_index_reserve(index, hash));
    purchase_index_add(index, hash, 999, 1); /* there is no such row */
    assert_int_equal(store_reader_open(b->store, &reader, NULL), ERR_NONE);
    assert_int_equal(store_read_purchase(reader, SLICE("A"), SLICE("ann"), &row, &is_found, NULL), ERR_NONE);
    assert_true(is_found);
    assert_int_equal(row.id, id);
    store_reader_close(reader);
}

/* --- the log -------------------------------------------------------------------------------------------- */

static void the_log_stays_bounded(void **state)
{
    struct fixture *b = *state;
    const char *log = place_path(b->place, "store.db-wal");
    char log_path[PATH_MAX + 16];
    (void)snprintf(log_path, sizeof log_path, "%s", log);
    open_fixture(b);
    ((struct sqlite_store *)b->store)->wal.checkpoint_frames = 100;
    test_add_product(&b->world, "A", 1000000);
    commit(b);
    struct store_reader *reader;
    assert_int_equal(store_reader_open(b->store, &reader, NULL), ERR_NONE);
    for (int i = 0; i < 2000; i++) {
        struct purchase_row row;
        bool is_found;
        test_buy(&b->world, "A", "ann", i);
        commit(b);
        assert_int_equal(store_read_purchase(reader, SLICE("A"), SLICE("ann"), &row, &is_found, NULL), ERR_NONE);
        assert_true(is_found && row.purchased_ms == i);
    }
    assert_true(file_size(log_path) < 120 * 4120);
    assert_true(file_size(log_path) > 90 * 4120); /* used again, not cut */
    store_reader_close(reader);
    close_fixture(b);
    assert_int_equal(file_size(log_path), -1);
}

/* --- no room -------------------------------------------------------------------------------------------- */

/* Buys in batches until the store refuses; the refused batch is rolled back. */
static enum err fill(struct fixture *b, int *bought, struct error *error)
{
    for (int batch = 0; batch < 10000; batch++) {
        for (int i = 0; i < 20; i++) {
            char user[300];
            (void)snprintf(user, sizeof user, "%0250d", *bought + i);
            test_buy(&b->world, "A", user, i);
        }
        enum err err = store_commit(b->store, &b->world, error);
        if (err != ERR_NONE) {
            world_rollback(&b->world);
            world_begin(&b->world);
            return err;
        }
        world_accept(&b->world);
        world_begin(&b->world);
        *bought += 20;
    }
    return ERR_NONE;
}

static void assert_holds(struct fixture *b, int bought)
{
    assert_int_equal(world_product(&b->world, SLICE("A"))->buyers.count, bought);
    assert_int_equal(world_product(&b->world, SLICE("A"))->values.stock, 1000000 - bought);
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes > limit.rlim_max ? limit.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_limit_on_files_is_a_full_disk(void **state)
{
    struct fixture *b = *state;
    struct error error = {.message = ""};
    int bought = 0;
    open_fixture(b);
    test_add_product(&b->world, "A", 1000000);
    commit(b);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    for (rlim_t limit = 200000; limit < 700000; limit += 100003) {
        limit_files(limit);
        enum err err = fill(b, &bought, &error);
        limit_files(RLIM_INFINITY);
        if (err != ERR_FULL || strstr(error.message, "make room") == NULL)
            fail_msg("a limit on files gives %s: %s", err_name(err), error.message);
        assert_holds(b, bought);
    }
    assert_int_equal(store_probe(b->store, &error), ERR_NONE);
    close_fixture(b);
    open_fixture(b);
    assert_holds(b, bought);
}

static void make_ballast(const char *path, size_t len)
{
    char *bytes = calloc(1, len);
    assert_non_null(bytes);
    file_write(path, bytes, len);
    free(bytes);
}

static void a_full_file_system_is_survived(void **state)
{
    struct fixture *b = *state;
    struct error error = {.message = ""};
    int bought = 0;
    char disk[PATH_MAX + 8];
    char ballast[PATH_MAX + 32];
    (void)snprintf(disk, sizeof disk, "%s/disk", b->place);
    assert_int_equal(mkdir(disk, 0755), 0);
    if (mount("tmpfs", disk, "tmpfs", 0, "size=24m") != 0) {
        print_message("# skipped: a small file system cannot be mounted here: %s\n", strerror(errno));
        skip();
    }
    (void)snprintf(b->path, sizeof b->path, "%s/store.db", disk);
    (void)snprintf(ballast, sizeof ballast, "%s/ballast", disk);
    make_ballast(ballast, 12 * 1024 * 1024);
    open_fixture(b);
    ((struct sqlite_store *)b->store)->wal.checkpoint_frames = 200;
    test_add_product(&b->world, "A", 1000000);
    commit(b);
    assert_int_equal(fill(b, &bought, &error), ERR_FULL);
    assert_int_equal(store_probe(b->store, &error), ERR_FULL);
    assert_non_null(strstr(error.message, "make room"));
    assert_holds(b, bought);
    int before = bought;
    assert_int_equal(unlink(ballast), 0);
    assert_int_equal(store_probe(b->store, &error), ERR_NONE);
    assert_int_equal(fill(b, &bought, &error), ERR_FULL);
    assert_true(bought > before);
    close_fixture(b); /* with no room to bring the log into the file */
    open_fixture(b);
    assert_holds(b, bought);
    close_fixture(b);
    assert_int_equal(umount(disk), 0);
}

/* --- kill ----------------------------------------------------------------------------------------------- */

/* Commits batches for ever and tells each acknowledged id, one number a batch. */
static _Noreturn void commit_until_killed(const char *path, int acknowledgements)
{
    struct fixture child = {0};
    (void)snprintf(child.path, sizeof child.path, "%s", path);
    if (sqlite_store_open(child.path, &child.store, NULL) != ERR_NONE)
        _exit(1);
    ((struct sqlite_store *)child.store)->wal.checkpoint_frames = 40;
    test_world_init(&child.world);
    if (store_load(child.store, &child.world, NULL, 0, NULL) != ERR_NONE)
        _exit(2);
    for (int i = 0;; i++) {
        int64_t id = 0;
        world_begin(&child.world);
        struct product *product = world_product(&child.world, SLICE("A"));
        for (int n = 0; n < 1 + i % 5; n++)
            if (!world_add_purchase(&child.world, product, SLICE("ann"), i, &id))
                _exit(3);
        if (store_commit(child.store, &child.world, NULL) != ERR_NONE)
            _exit(4);
        world_accept(&child.world);
        if (write(acknowledgements, &id, sizeof id) != (ssize_t)sizeof id)
            _exit(5);
    }
}

/* Returns the last id that was acknowledged before the kill, which comes after `count` acknowledgements. */
static int64_t run_and_kill(const char *path, int count)
{
    int pipes[2];
    int64_t id = 0;
    int64_t last = 0;
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        commit_until_killed(path, pipes[1]);
    assert_int_equal(close(pipes[1]), 0);
    for (int i = 0; i < count; i++) {
        assert_int_equal(read(pipes[0], &id, sizeof id), sizeof id);
        last = id;
    }
    assert_int_equal(kill(child, SIGKILL), 0);
    while (read(pipes[0], &id, sizeof id) == (ssize_t)sizeof id)
        last = id;
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(close(pipes[0]), 0);
    return last;
}

static void nothing_acknowledged_is_lost_by_a_kill(void **state)
{
    struct fixture *b = *state;
    open_fixture(b);
    test_add_product(&b->world, "A", 1000000000);
    commit(b);
    close_fixture(b);
    for (int round = 0; round < 25; round++) {
        int64_t acknowledged = run_and_kill(b->path, 1 + round * 37 % 101);
        open_fixture(b);
        struct product *product = world_product(&b->world, SLICE("A"));
        int64_t bought = world_buyer(&b->world, product, SLICE("ann"))->count;
        assert_true(product->purchase_id_last >= acknowledged);
        assert_true(product->purchase_id_last <= acknowledged + 5); /* one batch more was on its way */
        assert_int_equal(product->purchase_id_last, bought);         /* no id missing, none twice */
        assert_int_equal(product->values.stock, 1000000000 - bought);
        close_fixture(b);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
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
        TEST(a_step_that_fails_leaves_the_version_before),
        TEST(a_new_store_says_what_it_is),
        TEST(an_auditor_reads_beside_the_writer),
        TEST(a_writer_that_is_no_doorbuster_is_waited_for_and_named),
        TEST(rows_changed_behind_its_back_stop_a_batch),
        TEST(the_index_has_one_entry_a_buyer),
        TEST(the_index_only_proposes),
        TEST(the_log_stays_bounded),
        TEST(a_limit_on_files_is_a_full_disk),
        TEST(a_full_file_system_is_survived),
        TEST(nothing_acknowledged_is_lost_by_a_kill),
    };
    log_init(LOG_ERROR, LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
