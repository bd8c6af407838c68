/* SPDX-License-Identifier: Apache-2.0 */
#include "postgres_nodes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/ensure.h"

enum { DECISIONS_MAX = 5, COMMANDS_MAX = 256 };

const struct rules test_rules = {.idempotency_ttl_ms = INT64_C(86400000),
    .idempotency_count_max = SIZE_MAX,
    .choose_timeout_ms = 60000,
    .line_max = 1000};

void node_open(struct node *node, const char *url)
{
    struct error error = {.message = ""};
    if (postgres_store_open(url, &node->store, &error) != ERR_NONE)
        fail_msg("cannot open the store: %s", error.message);
    test_world_load(node->store, &node->world);
    batch_init(&node->batch);
}

void node_close(struct node *node)
{
    batch_fini(&node->batch);
    world_fini(&node->world);
    store_close(node->store);
}

void node_crash(struct node *node)
{
    store_close(node->store);
    batch_fini(&node->batch);
    world_fini(&node->world);
}

void node_commit(struct node *node)
{
    batch_commit(&node->batch, node->store, &node->world);
}

struct product *node_product(const struct node *node, const char *sku)
{
    return world_product(&node->world, slice_cstr(sku));
}

void node_refresh(struct node *node)
{
    struct error error = {.message = ""};
    world_begin(&node->world);
    if (store_load(node->store, &node->world, NULL, 0, &error) != ERR_NONE)
        fail_msg("what others have changed cannot be loaded: %s", error.message);
    world_accept_refreshed(&node->world);
}

static enum err load(struct node *node, const struct command *commands, size_t count, struct error *error)
{
    const struct command *pointers[COMMANDS_MAX];
    ENSURE(count <= COMMANDS_MAX);
    for (size_t i = 0; i < count; i++)
        pointers[i] = &commands[i];
    world_begin(&node->world);
    return store_load(node->store, &node->world, pointers, count, error);
}

void node_load(struct node *node, const struct command *commands, size_t count)
{
    struct error error = {.message = ""};
    if (load(node, commands, count, &error) != ERR_NONE)
        fail_msg("cannot load: %s", error.message);
}

enum err node_finish(struct node *node, const struct rules *rules, struct command *commands, size_t count,
    int64_t now_ms, struct error *error)
{
    enum err err = ERR_NONE;
    for (size_t i = 0; i < count; i++) {
        bool is_decided = rules_decide(rules, &node->world, &commands[i], now_ms);
        ENSURE(is_decided);
    }
    if (node->world.change_count == 0)
        store_abandon(node->store);
    else
        err = store_commit(node->store, &node->world, error);
    if (err == ERR_NONE)
        world_accept(&node->world);
    else
        world_rollback(&node->world);
    world_accept_refreshed(&node->world);
    return err;
}

enum err node_decide(struct node *node, const struct rules *rules, struct command *commands, size_t count,
    int64_t now_ms, int *conflicts, struct error *error)
{
    enum err err = ERR_CONFLICT;
    for (int i = 0; i < DECISIONS_MAX && err == ERR_CONFLICT; i++) {
        err = load(node, commands, count, error);
        if (err == ERR_NONE)
            err = node_finish(node, rules, commands, count, now_ms, error);
        if (err == ERR_CONFLICT && conflicts != NULL)
            (*conflicts)++;
    }
    return err;
}

/* --- a batch that another node makes wait --- */

static void *decide_in_a_thread(void *context)
{
    struct waiting *w = context;
    w->err = node_decide(w->node, w->rules, w->commands, w->count, w->now_ms, &w->conflicts, &w->error);
    return NULL;
}

void waiting_start(struct waiting *w, const struct database *database)
{
    assert_int_equal(pthread_create(&w->thread, NULL, decide_in_a_thread, w), 0);
    database_await(database, 1,
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()");
}

void waiting_end(struct waiting *w)
{
    assert_int_equal(pthread_join(w->thread, NULL), 0);
    if (w->err != ERR_NONE)
        fail_msg("the batch that waited failed: %s", w->error.message);
}

/* --- two of them --- */

int node_pair_set_up(void **state)
{
    struct node_pair *s = calloc(1, sizeof *s);
    assert_non_null(s);
    database_make(&s->database, true);
    node_open(&s->a, s->database.url);
    node_open(&s->b, s->database.url);
    *state = s;
    return 0;
}

int node_pair_tear_down(void **state)
{
    struct node_pair *s = *state;
    node_close(&s->a);
    node_close(&s->b);
    database_drop(&s->database);
    free(s);
    return 0;
}
