/* SPDX-License-Identifier: Apache-2.0 */
#include "store_kinds.h"

#include <setjmp.h>
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
