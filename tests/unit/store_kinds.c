/* SPDX-License-Identifier: Apache-2.0 */
#include "store_kinds.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "store/fault.h"
#include "store/postgres.h"
#include "store/sqlite.h"

static enum err open_sqlite(const struct place *place, struct store **store, struct error *error)
{
    return sqlite_store_open(place_path(place->directory, "store.db"), store, error);
}

static enum err open_postgres(const struct place *place, struct store **store, struct error *error)
{
    return postgres_store_open(place->database.url, store, error);
}

static enum err open_sqlite_behind_fault(const struct place *place, struct store **store, struct error *error)
{
    struct store *inner;
    enum err err = open_sqlite(place, &inner, error);
    return err == ERR_NONE ? fault_store_wrap(inner, "", store, error) : err;
}

static enum err open_postgres_behind_fault(
    const struct place *place, struct store **store, struct error *error)
{
    struct store *inner;
    enum err err = open_postgres(place, &inner, error);
    return err == ERR_NONE ? fault_store_wrap(inner, "", store, error) : err;
}

static struct kind kinds[] = {
    {"sqlite", false, open_sqlite},
    {"sqlite behind fault", false, open_sqlite_behind_fault},
    {"postgres", true, open_postgres},
    {"postgres behind fault", true, open_postgres_behind_fault},
};

enum { KIND_COUNT = sizeof kinds / sizeof kinds[0] };

void store_open_and_load(struct open_store *o)
{
    struct error error = {.message = ""};
    if (o->kind->open(&o->place, &o->store, &error) != ERR_NONE)
        fail_msg("cannot open the store: %s", error.message);
    test_world_load(o->store, &o->world);
}

void store_close_all(struct open_store *o)
{
    world_fini(&o->world);
    store_close(o->store);
}

void store_reopen(struct open_store *o)
{
    store_close_all(o);
    store_open_and_load(o);
}

struct store_reader *store_open_reader(struct open_store *o)
{
    struct error error = {.message = ""};
    struct store_reader *reader;
    if (store_reader_open(o->store, &reader, &error) != ERR_NONE)
        fail_msg("cannot open a reader: %s", error.message);
    return reader;
}

void store_ask_once(struct open_store *o, struct question *question)
{
    struct error error = {.message = ""};
    struct store_reader *reader = store_open_reader(o);
    if (store_ask(reader, question, &error) != ERR_NONE)
        fail_msg("cannot ask: %s", error.message);
    store_reader_close(reader);
}

static int64_t embedded_number(const struct open_store *o, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *row;
    const char *path = place_path(o->place.directory, "store.db");
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &row, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(row, 0);
    assert_int_equal(sqlite3_finalize(row), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return number;
}

int64_t store_number(const struct open_store *o, const char *sql)
{
    return o->kind->is_shared ? database_number(&o->place.database, "%s", sql) : embedded_number(o, sql);
}

/* --- batches --- */

void store_decide(
    struct open_store *o, const struct rules *rules, struct command *commands, size_t count, int64_t now_ms)
{
    const struct command *pointers[STORE_COMMANDS_MAX];
    struct error error = {.message = ""};
    assert_in_range(count, 1, STORE_COMMANDS_MAX);
    for (size_t i = 0; i < count; i++)
        pointers[i] = &commands[i];
    world_begin(&o->world);
    if (store_load(o->store, &o->world, pointers, count, &error) != ERR_NONE)
        fail_msg("cannot load: %s", error.message);
    for (size_t i = 0; i < count; i++)
        assert_true(rules_decide(rules, &o->world, &commands[i], now_ms));
}

void store_finish(struct open_store *o)
{
    if (o->world.change_count == 0)
        store_abandon(o->store);
    else
        test_commit(o->store, &o->world);
    world_accept_refreshed(&o->world);
}

void store_run(
    struct open_store *o, const struct rules *rules, struct command *commands, size_t count, int64_t now_ms)
{
    store_decide(o, rules, commands, count, now_ms);
    store_finish(o);
}

/* --- kinds --- */

static int set_up(void **state)
{
    struct open_store *o = calloc(1, sizeof *o);
    assert_non_null(o);
    o->kind = *state;
    batch_init(&o->batch);
    if (o->kind->is_shared)
        database_make(&o->place.database, true);
    else
        place_make(o->place.directory);
    store_open_and_load(o);
    *state = o;
    return 0;
}

static int tear_down(void **state)
{
    struct open_store *o = *state;
    store_close_all(o);
    batch_fini(&o->batch);
    if (o->kind->is_shared)
        database_drop(&o->place.database);
    else
        place_remove(o->place.directory);
    free(o);
    return 0;
}

int kinds_run(
    const char *program, const char *wanted, const struct behaviour *behaviours, size_t behaviour_count)
{
    static struct CMUnitTest tests[KIND_COUNT * BEHAVIOURS_MAX];
    static char names[KIND_COUNT * BEHAVIOURS_MAX][96];
    bool wants_postgres = strcmp(wanted, "embedded") != 0;
    bool wants_embedded = strcmp(wanted, "postgres") != 0;
    size_t count = 0;
    if (wants_postgres && !wants_embedded && !postgres_is_there())
        return postgres_skip_all(program);
    if (wants_postgres && !postgres_is_there())
        print_message("# without its rows on PostgreSQL: DOORBUSTER_TEST_POSTGRES names no server\n");
    for (size_t i = 0; i < KIND_COUNT * behaviour_count; i++) {
        struct kind *kind = &kinds[i / behaviour_count];
        const struct behaviour *behaviour = &behaviours[i % behaviour_count];
        if (kind->is_shared ? !wants_postgres || !postgres_is_there() : !wants_embedded)
            continue;
        (void)snprintf(names[count], sizeof names[0], "%s: %s", kind->name, behaviour->name);
        tests[count] = (struct CMUnitTest){names[count], behaviour->run, set_up, tear_down, kind};
        count++;
    }
    return _cmocka_run_group_tests(program, tests, count, NULL, NULL);
}
