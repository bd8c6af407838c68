/* SPDX-License-Identifier: Apache-2.0 */
/* An embedded store at a place of its own for each test, and the world in front of it. */
#ifndef DOORBUSTER_TESTS_SQLITE_FIXTURE_H
#define DOORBUSTER_TESTS_SQLITE_FIXTURE_H

#include "store_support.h"

struct fixture {
    char place[PATH_MAX];
    char path[PATH_MAX + 32]; /* of the store */
    struct store *store;      /* NULL: closed */
    struct world world;       /* a batch has begun while the store is open */
};

/* *state becomes a struct fixture with a place and no store yet. */
int fixture_set_up(void **state);
int fixture_tear_down(void **state);

void fixture_open(struct fixture *fixture);
void fixture_close(struct fixture *fixture);
void fixture_commit(struct fixture *fixture);

/* Leaves a closed store with two products and 300 purchases: some 10 pages. */
void fixture_make_store(struct fixture *fixture);

/* What another program does to a file. */
void run_sql(const char *path, const char *sql);

/* Waits for the one byte by which a child process says that it is ready. */
void wait_for_child(int fd);

#endif
