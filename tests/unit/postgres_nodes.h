/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the PostgreSQL store share: a database, and nodes on it, each with a store and a world.
 */
#ifndef DOORBUSTER_TESTS_POSTGRES_NODES_H
#define DOORBUSTER_TESTS_POSTGRES_NODES_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/rules.h"
#include "postgres_fixture.h"
#include "store/postgres_priv.h"
#include "store_support.h"
#include "wire_proxy.h"

struct node {
    struct store *store;
    struct world world;
    struct batch batch;
};

/* Opens the store and loads all products. */
void node_open(struct node *node, const char *url);
void node_close(struct node *node);

/* As an engine does when it dies: the store goes, whatever it was in the middle of. */
void node_crash(struct node *node);

void node_commit(struct node *node);
struct product *node_product(const struct node *node, const char *sku);

/* Loads what others have changed, as an idle engine does; the test fails when it cannot. */
void node_refresh(struct node *node);

/*
 * A batch of commands through the rules, as the engine decides it: again after a conflict, up to five times.
 * *conflicts, which may be NULL, is raised by each. What load or commit said last; any thread.
 */
enum err node_decide(struct node *node, const struct rules *rules, struct command *commands, size_t count,
    int64_t now_ms, int *conflicts, struct error *error);

/* The same in two steps, so that another node can act between them; the test fails when it cannot load. */
void node_load(struct node *node, const struct command *commands, size_t count);
enum err node_finish(struct node *node, const struct rules *rules, struct command *commands, size_t count,
    int64_t now_ms, struct error *error);

/* A batch that another node makes wait: the first five are given, the rest is what came of it. */
struct waiting {
    struct node *node;
    const struct rules *rules;
    int64_t now_ms;
    struct command *commands;
    size_t count;
    int conflicts; /* after which it decided again */
    enum err err;
    struct error error;
    pthread_t thread;
};

/* Decides it in a thread, and returns once it waits for a lock. */
void waiting_start(struct waiting *w, const struct database *database);

/* The test fails unless it has been committed, or has changed nothing. */
void waiting_end(struct waiting *w);

/* A database and two nodes on it; set-up and tear-down of a test, whose state it is. */
struct node_pair {
    struct database database;
    struct node a;
    struct node b;
};

int node_pair_set_up(void **state);
int node_pair_tear_down(void **state);

/* Rules that keep answers for a day and no bound on their number. */
extern const struct rules test_rules;

#endif
