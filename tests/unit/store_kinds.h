/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same tests on every kind of store. A kind says how to open a store at a place; opening the same place
 * again opens the same store.
 */
#ifndef DOORBUSTER_TESTS_STORE_KINDS_H
#define DOORBUSTER_TESTS_STORE_KINDS_H

#include "core/rules.h"
#include "postgres_fixture.h"
#include "store_support.h"

/* Where a store is kept: a directory or a database, made for each test. */
struct place {
    char directory[PATH_MAX];
    struct database database;
};

struct kind {
    const char *name;
    bool is_shared;
    enum err (*open)(const struct place *place, struct store **store, struct error *error);
};

/* A store that is open, and the world in front of it: the state of each test. */
struct open_store {
    const struct kind *kind;
    struct place place;
    struct store *store;
    struct world world;
    struct batch batch;
};

/* kind and place are given. */
void store_open_and_load(struct open_store *o);
void store_close_all(struct open_store *o);

/* Closes, opens and loads again. */
void store_reopen(struct open_store *o);

struct store_reader *store_open_reader(struct open_store *o);

/* Asks a reader of its own; the caller gives the answer back (question_fini). */
void store_ask_once(struct open_store *o, struct question *question);

/* The first value of the first row, of SQL that both databases understand. */
int64_t store_number(const struct open_store *o, const char *sql);

enum { STORE_COMMANDS_MAX = 8 };

/* A batch as the engine decides it: loads and decides, for the caller to commit or to take back. */
void store_decide(
    struct open_store *o, const struct rules *rules, struct command *commands, size_t count, int64_t now_ms);

/* Writes what was decided, if that is anything, and lets go of what was loaded. */
void store_finish(struct open_store *o);

/* Both. */
void store_run(
    struct open_store *o, const struct rules *rules, struct command *commands, size_t count, int64_t now_ms);

struct behaviour {
    const char *name;
    void (*run)(void **state);
};

/* clang-format off */
#define BEHAVIOUR(test) {#test, test}
/* clang-format on */

enum { BEHAVIOURS_MAX = 64 };

/*
 * Runs all of them on each kind, on a new store each; `wanted` is "embedded", "postgres" or "" for all.
 * Returns the exit status.
 */
int kinds_run(const char *program, const char *wanted, const struct behaviour *behaviours, size_t count);

#endif
