/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded store at work: beside auditors and strangers, with its log and its index of purchases, when
 * there is no room, and after a kill.
 */
#include <errno.h>
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
#include "sqlite_fixture.h"
#include "store/sqlite_priv.h"

/* --- others who look --- */

/* One look: SQLITE_ROW when what an auditor sees is whole batches of 7, else what is wrong. */
static int look(sqlite3_stmt *statement)
{
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW &&
        (sqlite3_column_int64(statement, 0) != 0 || sqlite3_column_int64(statement, 1) % 7 != 0))
        rc = SQLITE_CORRUPT;
    (void)sqlite3_reset(statement);
    return rc;
}

/* Looks at a store that is written meanwhile until there is nobody any more at the other end of `stop`. */
static int audit(const char *path, int started, int stop)
{
    static const char text[] =
        "SELECT initial_stock - stock - (SELECT count(*) FROM purchases), initial_stock - stock"
        " FROM products";
    sqlite3 *db;
    sqlite3_stmt *statement;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(db, 5000) != SQLITE_OK ||
        sqlite3_prepare_v2(db, text, -1, &statement, NULL) != SQLITE_OK)
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
    fixture_open(b);
    ((struct sqlite_store *)b->store)->wal.checkpoint_frames = 50;
    test_add_product(&b->world, "A", 1000000);
    fixture_commit(b);
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
        fixture_commit(b);
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
    fixture_open(b);
    (void)sqlite3_busy_timeout(((struct sqlite_store *)b->store)->db, 10);
    assert_int_equal(sqlite3_open(b->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    test_add_product(&b->world, "A", 10);
    assert_int_equal(store_commit(b->store, &b->world, &error), ERR_LOCKED);
    assert_non_null(strstr(error.message, "another program"));
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    fixture_commit(b);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void rows_changed_behind_its_back_stop_a_batch(void **state)
{
    struct fixture *b = *state;
    struct error error = {.message = ""};
    fixture_open(b);
    test_add_product(&b->world, "A", 10);
    fixture_commit(b);
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

/* --- the index of purchases --- */

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
    fixture_make_store(b);
    fixture_open(b);
    assert_int_equal(index_entries(b, &reserved), 300);
    for (int i = 0; i < 50; i++)
        test_buy(&b->world, "B", i % 2 == 0 ? "ann" : "ben", i);
    fixture_commit(b);
    assert_int_equal(index_entries(b, &reserved), 302);
    assert_int_equal(reserved, 0);
    assert_true(world_clear_purchases(&b->world, world_product(&b->world, SLICE("A"))));
    fixture_commit(b);
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
    fixture_open(b);
    test_add_product(&b->world, "A", 10);
    int64_t id = test_buy(&b->world, "A", "ann", 1);
    int64_t other_id = test_buy(&b->world, "A", "ben", 2);
    fixture_commit(b);
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

/* --- the log --- */

static void the_log_stays_bounded(void **state)
{
    struct fixture *b = *state;
    const char *log = place_path(b->place, "store.db-wal");
    char log_path[PATH_MAX + 16];
    (void)snprintf(log_path, sizeof log_path, "%s", log);
    fixture_open(b);
    ((struct sqlite_store *)b->store)->wal.checkpoint_frames = 100;
    test_add_product(&b->world, "A", 1000000);
    fixture_commit(b);
    struct store_reader *reader;
    assert_int_equal(store_reader_open(b->store, &reader, NULL), ERR_NONE);
    for (int i = 0; i < 2000; i++) {
        struct purchase_row row;
        bool is_found;
        test_buy(&b->world, "A", "ann", i);
        fixture_commit(b);
        assert_int_equal(
            store_read_purchase(reader, SLICE("A"), SLICE("ann"), &row, &is_found, NULL), ERR_NONE);
        assert_true(is_found && row.purchased_ms == i);
    }
    assert_true(file_size(log_path) < 120 * 4120);
    assert_true(file_size(log_path) > 90 * 4120); /* used again, not cut */
    store_reader_close(reader);
    fixture_close(b);
    assert_int_equal(file_size(log_path), -1);
}

/* --- no room --- */

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
    fixture_open(b);
    test_add_product(&b->world, "A", 1000000);
    fixture_commit(b);
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
    fixture_close(b);
    fixture_open(b);
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
    fixture_open(b);
    ((struct sqlite_store *)b->store)->wal.checkpoint_frames = 200;
    test_add_product(&b->world, "A", 1000000);
    fixture_commit(b);
    assert_int_equal(fill(b, &bought, &error), ERR_FULL);
    assert_int_equal(store_probe(b->store, &error), ERR_FULL);
    assert_non_null(strstr(error.message, "make room"));
    assert_holds(b, bought);
    int before = bought;
    assert_int_equal(unlink(ballast), 0);
    assert_int_equal(store_probe(b->store, &error), ERR_NONE);
    assert_int_equal(fill(b, &bought, &error), ERR_FULL);
    assert_true(bought > before);
    fixture_close(b); /* with no room to bring the log into the file */
    fixture_open(b);
    assert_holds(b, bought);
    fixture_close(b);
    assert_int_equal(umount(disk), 0);
}

/* --- kill --- */

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
    fixture_open(b);
    test_add_product(&b->world, "A", 1000000000);
    fixture_commit(b);
    fixture_close(b);
    for (int round = 0; round < 25; round++) {
        int64_t acknowledged = run_and_kill(b->path, 1 + round * 37 % 101);
        fixture_open(b);
        struct product *product = world_product(&b->world, SLICE("A"));
        int64_t bought = world_buyer(&b->world, product, SLICE("ann"))->count;
        assert_true(product->purchase_id_last >= acknowledged);
        assert_true(product->purchase_id_last <= acknowledged + 5); /* one batch more was on its way */
        assert_int_equal(product->purchase_id_last, bought);        /* no id missing, none twice */
        assert_int_equal(product->values.stock, 1000000000 - bought);
        fixture_close(b);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
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
