/* SPDX-License-Identifier: Apache-2.0 */
#include "sqlite_fixture.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/sqlite.h"

int fixture_set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    place_make(fixture->place);
    (void)snprintf(fixture->path, sizeof fixture->path, "%s/store.db", fixture->place);
    *state = fixture;
    return 0;
}

void fixture_close(struct fixture *fixture)
{
    if (fixture->store == NULL)
        return;
    world_fini(&fixture->world);
    store_close(fixture->store);
    fixture->store = NULL;
}

int fixture_tear_down(void **state)
{
    struct fixture *fixture = *state;
    fixture_close(fixture);
    place_remove(fixture->place);
    free(fixture);
    return 0;
}

void fixture_open(struct fixture *fixture)
{
    struct error error = {.message = ""};
    if (sqlite_store_open(fixture->path, &fixture->store, &error) != ERR_NONE)
        fail_msg("cannot open: %s", error.message);
    test_world_init(&fixture->world);
    if (store_load(fixture->store, &fixture->world, NULL, 0, &error) != ERR_NONE)
        fail_msg("cannot load: %s", error.message);
    world_begin(&fixture->world);
}

void fixture_commit(struct fixture *fixture)
{
    test_commit(fixture->store, &fixture->world);
    world_begin(&fixture->world);
}

void fixture_make_store(struct fixture *fixture)
{
    fixture_open(fixture);
    test_add_product(&fixture->world, "A", 1000);
    test_add_product(&fixture->world, "B", 1000);
    for (int i = 0; i < 300; i++) {
        char user[80];
        (void)snprintf(
            user, sizeof user, "a user with a long name, such as those that are given by machines %d", i);
        test_buy(&fixture->world, "A", user, i);
    }
    test_add_key(&fixture->world, "admin", "k", 1);
    fixture_commit(fixture);
    fixture_close(fixture);
}

void run_sql(const char *path, const char *sql)
{
    sqlite3 *db;
    char *message = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

void wait_for_child(int fd)
{
    char byte;
    assert_int_equal(read(fd, &byte, 1), 1);
}
