/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The auditor reads any store there is, beside a server at work too, as it was at one moment, and leaves
 * every file as it found it.
 */
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "test_verify_support.h"
#include "verify/snapshot.h"

enum { FILES_MAX = 8, FILE_BYTES_MAX = 1 << 20, AUDITS_WHILE_SELLING = 40 };

struct picture_file {
    char name[256];
    struct stat info;
    char *bytes;
};

/* All files of a directory: names, bytes, times of change. */
struct picture {
    size_t count;
    struct picture_file files[FILES_MAX];
};

static char *read_bytes(const char *path, size_t len)
{
    FILE *file = fopen(path, "r");
    char *bytes = malloc(len + 1);
    assert_non_null(file);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, len, file), len);
    (void)fclose(file);
    return bytes;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(((const struct picture_file *)left)->name, ((const struct picture_file *)right)->name);
}

static struct picture picture_take(const char *path)
{
    struct picture picture = {.count = 0};
    DIR *directory = opendir(path);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        struct picture_file *file = &picture.files[picture.count];
        char name[PATH_MAX * 2];
        if (entry->d_name[0] == '.')
            continue;
        assert_true(picture.count < FILES_MAX);
        (void)snprintf(file->name, sizeof file->name, "%s", entry->d_name);
        (void)snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        assert_int_equal(stat(name, &file->info), 0);
        assert_true(file->info.st_size < FILE_BYTES_MAX);
        file->bytes = read_bytes(name, (size_t)file->info.st_size);
        picture.count++;
    }
    (void)closedir(directory);
    qsort(picture.files, picture.count, sizeof picture.files[0], compare_names);
    return picture;
}

static void picture_put(struct picture *picture)
{
    for (size_t i = 0; i < picture->count; i++)
        free(picture->files[i].bytes);
}

/* The index of a log that is in use is no part of the store: readers leave their marks in it. */
static void assert_same(const struct picture *before, const struct picture *after, bool is_in_use)
{
    assert_int_equal(before->count, after->count);
    for (size_t i = 0; i < before->count; i++) {
        const struct picture_file *a = &before->files[i];
        const struct picture_file *b = &after->files[i];
        assert_string_equal(a->name, b->name);
        if (is_in_use && strstr(a->name, "-shm") != NULL)
            continue;
        assert_int_equal(a->info.st_size, b->info.st_size);
        assert_memory_equal(a->bytes, b->bytes, (size_t)a->info.st_size);
        assert_memory_equal(&a->info.st_mtim, &b->info.st_mtim, sizeof a->info.st_mtim);
        assert_int_equal(a->info.st_ino, b->info.st_ino);
    }
}

static struct audit_result audit_store(const char *path)
{
    struct verify_options options = {.store_path = path, .expect_users = -1};
    return audit_run(&options);
}

/* Audits and asserts the verdict, how the store was read, and that no file changed. */
static void audit_unchanged(const struct audit_place *place, const char *path, const char *failed,
    const char *reading, bool is_in_use)
{
    struct picture before = picture_take(place->directory);
    struct audit_result result = audit_store(path);
    struct picture after = picture_take(place->directory);
    if (result.err != ERR_NONE || strcmp(result.failed, failed) != 0 || strstr(result.text, reading) == NULL)
        fail_msg("expected \"%s\" to fail, read as %s; got \"%s\" %s\n%s", failed, reading, result.failed,
            result.summary.error.message, result.text);
    assert_same(&before, &after, is_in_use);
    picture_put(&before);
    picture_put(&after);
    audit_result_put(&result);
}

static const char sell_one_wrongly[] = "INSERT INTO purchase_log (id, product_id, user_id, nth, purchased_at)"
                                       " VALUES (12, 99, 'x', 1, 1795218499000)";

/* Wrong if this fails: an audit of a stopped store leaves a log behind or touches the file. */
static void a_stopped_store_is_left_as_it_is(void **state)
{
    const struct audit_place *place = *state;
    good_store_make(place);
    audit_unchanged(place, place->store, "", "(schema version 5; stopped)", false);
    store_run(place->store, sell_one_wrongly);
    audit_unchanged(place, place->store, "references", "(schema version 5; stopped)", false);
}

/* Wrong if this fails: a store that no newer server has taken up yet cannot be audited. */
static void stores_of_earlier_versions_can_be_audited(void **state)
{
    const struct audit_place *place = *state;
    sale_store_make(place, 1);
    audit_unchanged(place, place->store, "", "(schema version 1; stopped)", false);
    sale_store_make(place, 2);
    audit_unchanged(place, place->store, "", "(schema version 2; stopped)", false);
    sale_store_make(place, 3);
    audit_unchanged(place, place->store, "", "(schema version 3; stopped)", false);
    sale_store_make(place, 4);
    audit_unchanged(place, place->store, "", "(schema version 4; stopped)", false);
    sale_store_make(place, 5);
    audit_unchanged(place, place->store, "", "(schema version 5; stopped)", false);
}

/* Wrong if this fails: a shop that takes orders and has no sale cannot be audited. */
static void a_store_with_orders_alone_is_audited(void **state)
{
    const struct audit_place *place = *state;
    good_store_make(place);
    store_run(place->store, "DELETE FROM products; DELETE FROM purchase_log");
    audit_unchanged(place, place->store, "",
        " on 0 products with 0 purchases, 7 orders, 5 trading orders, 8 leases, in ", false);
}

/* Wrong if this fails: machines that have sold nothing yet are called wrong, or cannot be audited. */
static void a_store_with_machines_that_have_sold_nothing_is_audited(void **state)
{
    const struct audit_place *place = *state;
    good_store_make(place);
    store_run(place->store,
        "DELETE FROM products; DELETE FROM purchase_log; DELETE FROM leases; DELETE FROM tickets;"
        "UPDATE machines SET status = 'idle', is_draining = 0, usage_count = 0, lease_id = NULL, ticket_id = "
        "NULL,"
        " started_at = NULL, chosen_at = NULL, product_id = NULL, units = NULL, purchase_id = NULL, due_at = "
        "NULL;"
        "UPDATE pool SET next_lease_id = 1, next_ticket_id = 1");
    audit_unchanged(
        place, place->store, "", " on 0 products with 0 purchases, 7 orders, 5 trading orders", false);
}

/* Wrong if this fails: what a server has written to its log only is not audited, or the log is disturbed. */
static void a_store_in_use_is_read_with_its_log(void **state)
{
    const struct audit_place *place = *state;
    good_store_make(place);
    sqlite3 *server = store_connect(place->store);
    db_run(server,
        "PRAGMA wal_autocheckpoint = 0; PRAGMA foreign_keys = OFF; BEGIN; SELECT * FROM products; COMMIT");
    audit_unchanged(place, place->store, "", "running, or killed", true);
    db_run(server, sell_one_wrongly);
    audit_unchanged(place, place->store, "references", "running, or killed", true);
    db_run(server, "DELETE FROM purchase_log WHERE id = 12");
    audit_unchanged(place, place->store, "", "running, or killed", true);
    assert_int_equal(sqlite3_close(server), SQLITE_OK);
    audit_unchanged(place, place->store, "", "stopped", false);
}

static void copy_file(const char *from, const char *to)
{
    struct stat info;
    assert_int_equal(stat(from, &info), 0);
    char *bytes = read_bytes(from, (size_t)info.st_size);
    FILE *file = fopen(to, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, (size_t)info.st_size, file), (size_t)info.st_size);
    (void)fclose(file);
    free(bytes);
}

static void copy_beside(const struct audit_place *place, const char *suffix)
{
    char from[PATH_MAX + 64];
    char to[PATH_MAX + 64];
    (void)snprintf(from, sizeof from, "%s%s", place->store, suffix);
    (void)snprintf(to, sizeof to, "%s/copy.db%s", place->directory, suffix);
    copy_file(from, to);
}

/* Makes copy.db and its log as a killed server leaves them, with a wrong purchase that only the log has. */
static void make_killed_store(const struct audit_place *place, bool has_index, char path[PATH_MAX + 64])
{
    good_store_make(place);
    sqlite3 *server = store_connect(place->store);
    db_run(server, "PRAGMA wal_autocheckpoint = 0; PRAGMA foreign_keys = OFF");
    db_run(server, sell_one_wrongly);
    copy_beside(place, "");
    copy_beside(place, "-wal");
    if (has_index)
        copy_beside(place, "-shm");
    assert_int_equal(sqlite3_close(server), SQLITE_OK);
    (void)snprintf(path, PATH_MAX + 64, "%s/copy.db", place->directory);
}

/* Wrong if this fails: after a crash the auditor does the server's recovery, or misses what is in the log. */
static void a_killed_store_is_left_as_it_is(void **state)
{
    const struct audit_place *place = *state;
    char path[PATH_MAX + 64];
    make_killed_store(place, true, path);
    audit_unchanged(place, path, "references", "running, or killed", false);
}

/* Wrong if this fails: a backup of a store and its log cannot be audited where nothing may be written. */
static void a_copy_without_an_index_is_left_as_it_is(void **state)
{
    const struct audit_place *place = *state;
    char path[PATH_MAX + 64];
    make_killed_store(place, false, path);
    audit_unchanged(place, path, "references", "a copy with its log", false);
}

static int posix_lock_count(ino_t inode)
{
    char line[256];
    int count = 0;
    FILE *locks = fopen("/proc/locks", "r");
    assert_non_null(locks);
    while (fgets(line, sizeof line, locks) != NULL) {
        int pid;
        unsigned long of;
        bool is_read = sscanf(line, "%*d: POSIX %*s %*s %d %*x:%*x:%lu", &pid, &of) == 2;
        count += is_read && pid == getpid() && of == inode;
    }
    (void)fclose(locks);
    return count;
}

/* Wrong if this fails: an audit in the server's own process (the demo) takes the server's locks off its
 * store. */
static void the_locks_of_a_server_in_this_process_stay(void **state)
{
    const struct audit_place *place = *state;
    struct stat info;
    good_store_make(place);
    sqlite3 *server = store_connect(place->store);
    db_run(server, "UPDATE products SET updated_at = 2");
    assert_int_equal(stat(place->store, &info), 0);
    int before = posix_lock_count(info.st_ino);
    assert_true(before > 0);
    struct audit_result result = audit_store(place->store); /* no picture: it would open and close the file */
    assert_int_equal(result.err, ERR_NONE);
    audit_result_put(&result);
    assert_int_equal(posix_lock_count(info.st_ino), before);
    db_run(server, "UPDATE products SET updated_at = 3");
    assert_int_equal(sqlite3_close(server), SQLITE_OK);
}

struct seller {
    const char *path;
    atomic_bool must_stop;
    atomic_int sold;
};

/* Sells and takes back, each time purchase and stock in one transaction, and lets SQLite clean up its log. */
static void *sell_on(void *argument)
{
    struct seller *seller = argument;
    sqlite3 *db = store_connect(seller->path);
    db_run(db, "PRAGMA wal_autocheckpoint = 20; PRAGMA synchronous = OFF");
    while (!atomic_load(&seller->must_stop)) {
        db_run(db,
            "BEGIN; INSERT INTO purchase_log (id, product_id, user_id, nth, purchased_at)"
            " SELECT 12, 2, 'b9', 1, 1795218499000; UPDATE products SET stock = 3 WHERE id = 2; COMMIT");
        db_run(db, "BEGIN; DELETE FROM purchase_log WHERE id = 12; UPDATE products SET stock = 4 WHERE id = "
                   "2; COMMIT");
        atomic_fetch_add(&seller->sold, 1);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return NULL;
}

/* Wrong if this fails: the audit of a store in use mixes two moments, and sees a stock that does not add up.
 */
static void an_audit_sees_one_moment(void **state)
{
    const struct audit_place *place = *state;
    struct seller seller = {.path = place->store};
    pthread_t thread;
    good_store_make(place);
    assert_int_equal(pthread_create(&thread, NULL, sell_on, &seller), 0);
    while (atomic_load(&seller.sold) == 0)
        (void)usleep(1000); /* pause: between two looks at the condition; the seller fails or sells */
    for (int i = 0; i < AUDITS_WHILE_SELLING; i++) {
        struct audit_result result = audit_store(place->store);
        if (result.err != ERR_NONE || strcmp(result.failed, "") != 0)
            fail_msg("audit %d: %s %s\n%s", i, result.failed, result.summary.error.message, result.text);
        audit_result_put(&result);
    }
    atomic_store(&seller.must_stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(atomic_load(&seller.sold) > 1);
}

/* Wrong if this fails: a server that starts during the audit of a stopped store spoils it unnoticed. */
static void a_store_that_is_taken_up_meanwhile_is_noticed(void **state)
{
    const struct audit_place *place = *state;
    struct snapshot snapshot;
    struct error error;
    good_store_make(place);
    assert_int_equal(snapshot_open(&snapshot, place->store, &error), ERR_NONE);
    assert_int_equal(snapshot.reading, SNAPSHOT_SEALED);
    sqlite3 *server = store_connect(place->store);
    db_run(server, "PRAGMA wal_autocheckpoint = 0; UPDATE products SET updated_at = 2");
    assert_true(snapshot_is_intact(&snapshot));
    db_run(server, "PRAGMA wal_checkpoint(TRUNCATE)");
    assert_false(snapshot_is_intact(&snapshot));
    snapshot_close(&snapshot);
    assert_int_equal(sqlite3_close(server), SQLITE_OK);
}

/* Wrong if this fails: a path with characters that mean something in a URI opens another file, or none. */
static void any_path_can_be_audited(void **state)
{
    const struct audit_place *place = *state;
    static const char *const names[] = {"a b.db", "50%25.db", "q?mode=rwc.db", "h#sh.db", "\xc3\xbc\xff.db"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[PATH_MAX + 64];
        good_store_make(place);
        (void)snprintf(path, sizeof path, "%s/%s", place->directory, names[i]);
        assert_int_equal(rename(place->store, path), 0);
        audit_unchanged(place, path, "", "stopped", false);
        assert_int_equal(unlink(path), 0);
    }
}

/* Wrong if this fails: the log of a store is looked for beside a symbolic link to it. */
static void a_link_leads_to_the_store_and_its_log(void **state)
{
    const struct audit_place *place = *state;
    char path[PATH_MAX + 64];
    good_store_make(place);
    (void)snprintf(path, sizeof path, "%s/link.db", place->directory);
    assert_int_equal(symlink(place->store, path), 0);
    sqlite3 *server = store_connect(place->store);
    db_run(server, "PRAGMA wal_autocheckpoint = 0; PRAGMA foreign_keys = OFF");
    db_run(server, sell_one_wrongly);
    audit_unchanged(place, path, "references", "running, or killed", true);
    assert_int_equal(sqlite3_close(server), SQLITE_OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, audit_place_make, audit_place_remove)
    const struct CMUnitTest tests[] = {
        TEST(a_stopped_store_is_left_as_it_is),
        TEST(stores_of_earlier_versions_can_be_audited),
        TEST(a_store_with_orders_alone_is_audited),
        TEST(a_store_with_machines_that_have_sold_nothing_is_audited),
        TEST(a_store_in_use_is_read_with_its_log),
        TEST(a_killed_store_is_left_as_it_is),
        TEST(a_copy_without_an_index_is_left_as_it_is),
        TEST(the_locks_of_a_server_in_this_process_stay),
        TEST(an_audit_sees_one_moment),
        TEST(a_store_that_is_taken_up_meanwhile_is_noticed),
        TEST(any_path_can_be_audited),
        TEST(a_link_leads_to_the_store_and_its_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
