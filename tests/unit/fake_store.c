/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/ensure.h"

enum { NS_PER_S = 1000000000, NS_PER_MS = 1000000 };

static struct timespec to_timespec(int64_t mono_ns)
{
    return (struct timespec){.tv_sec = (time_t)(mono_ns / NS_PER_S), .tv_nsec = (long)(mono_ns % NS_PER_S)};
}

struct timespec wait_limit(void)
{
    return to_timespec(clock_mono_ns() + (int64_t)WAIT_LIMIT_MS * NS_PER_MS);
}

void wait_failed(const char *what)
{
    (void)fprintf(stderr, "waited %d s in vain: %s\n", WAIT_LIMIT_MS / 1000, what);
    abort();
}

void cond_init_mono(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void wait_changed(struct fake_store *store, const struct timespec *limit, const char *what)
{
    if (pthread_cond_timedwait(&store->changed, &store->lock, limit) != 0)
        wait_failed(what);
}

/* --- operations, on the engine's thread --- */

static enum err load(struct store *base, struct world *world, const struct command *const *commands,
    size_t count, struct error *error)
{
    struct fake_store *store = (struct fake_store *)base;
    (void)world;
    pthread_mutex_lock(&store->lock);
    *(count == 0 ? &store->loads_of_all : &store->loads_of_batch) += 1;
    if (count > store->batch_max)
        store->batch_max = count;
    enum err fault = store->load_fault;
    void (*on_load)(void) = count == 0 ? NULL : store->on_load;
    pthread_mutex_unlock(&store->lock);
    for (size_t i = 0; i < count; i++)
        ENSURE(commands[i] != NULL);
    if (on_load != NULL)
        on_load();
    return fault == ERR_NONE ? ERR_NONE : error_set(error, fault, "load fails as ordered");
}

static void keep_purchase(struct fake_store *store, const struct change *change)
{
    const struct buyer *buyer = change->purchase.buyer;
    ENSURE(store->purchase_count < FAKE_PURCHASES_MAX);
    struct fake_purchase *purchase = &store->purchases[store->purchase_count];
    ENSURE(store->purchase_count == 0 || purchase[-1].id < change->purchase.id);
    purchase->id = change->purchase.id;
    purchase->product_id = change->product->id;
    (void)snprintf(purchase->user, sizeof purchase->user, "%.*s", (int)buyer->user_len, buyer->user);
    store->purchase_count++;
}

static enum err write_changes(struct fake_store *store, const struct world *world, struct error *error)
{
    bool is_due = store->commit_fault != ERR_NONE && store->commit_fault_count != 0;
    if (store->fails != NULL && store->fails(world)) {
        store->commits_failed++;
        return error_set(error, ERR_FULL, "commit fails as ordered");
    }
    if (is_due && store->commit_fault_skip > 0) {
        store->commit_fault_skip--;
    } else if (is_due) {
        if (store->commit_fault_count > 0)
            store->commit_fault_count--;
        store->commits_failed++;
        return error_set(error, store->commit_fault, "commit fails as ordered");
    }
    for (size_t i = 0; i < world->change_count; i++) {
        if (world->changes[i].kind == CHANGE_PURCHASE_ADDED)
            keep_purchase(store, &world->changes[i]);
    }
    store->commits_done++;
    return ERR_NONE;
}

static enum err commit(struct store *base, const struct world *world, struct error *error)
{
    struct fake_store *store = (struct fake_store *)base;
    struct timespec limit = wait_limit();
    ENSURE(world->change_count > 0);
    if (store->on_commit != NULL)
        store->on_commit();
    pthread_mutex_lock(&store->lock);
    store->commits_begun++;
    store->is_committing = 1;
    pthread_cond_broadcast(&store->changed);
    struct timespec slow_until = to_timespec(clock_mono_ns() + store->commit_ns);
    while (store->commit_ns > 0 && pthread_cond_timedwait(&store->changed, &store->lock, &slow_until) == 0)
        ;
    while (store->is_held)
        wait_changed(store, &limit, "nobody released the commit");
    enum err status = write_changes(store, world, error);
    store->is_committing = 0;
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->lock);
    return status;
}

static enum err probe(struct store *base, struct error *error)
{
    struct fake_store *store = (struct fake_store *)base;
    pthread_mutex_lock(&store->lock);
    store->probes++;
    enum err fault = store->probe_fault;
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->lock);
    return fault == ERR_NONE ? ERR_NONE : error_set(error, fault, "probe fails as ordered");
}

/* The engine opens one for each port; nothing is asked of it. */
static enum err reader_open(struct store *base, struct store_reader **reader, struct error *error)
{
    *reader = calloc(1, sizeof **reader);
    if (*reader == NULL)
        return error_set(error, ERR_MEMORY, "no memory for a reader");
    (*reader)->store = base;
    return ERR_NONE;
}

static void reader_close(struct store_reader *reader)
{
    free(reader);
}

static const struct store_operations operations = {
    .load = load, .commit = commit, .probe = probe, .reader_open = reader_open, .reader_close = reader_close};

/* --- controls --- */

void fake_store_init(struct fake_store *store)
{
    *store = (struct fake_store){.base = {.operations = &operations, .kind = "fake"}};
    pthread_mutex_init(&store->lock, NULL);
    cond_init_mono(&store->changed);
    store->purchases = calloc(FAKE_PURCHASES_MAX, sizeof *store->purchases);
    ENSURE(store->purchases != NULL);
}

void fake_store_fini(struct fake_store *store)
{
    pthread_cond_destroy(&store->changed);
    pthread_mutex_destroy(&store->lock);
    free(store->purchases);
}

static void set_held(struct fake_store *store, bool is_held)
{
    pthread_mutex_lock(&store->lock);
    store->is_held = is_held;
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->lock);
}

void fake_store_hold(struct fake_store *store)
{
    set_held(store, true);
}

void fake_store_release(struct fake_store *store)
{
    set_held(store, false);
}

void fake_store_await_commit(struct fake_store *store)
{
    struct timespec limit = wait_limit();
    pthread_mutex_lock(&store->lock);
    while (!store->is_committing)
        wait_changed(store, &limit, "no commit has begun");
    pthread_mutex_unlock(&store->lock);
}

void fake_store_await_probes(struct fake_store *store, int count)
{
    struct timespec limit = wait_limit();
    pthread_mutex_lock(&store->lock);
    while (store->probes < count)
        wait_changed(store, &limit, "the store was not probed");
    pthread_mutex_unlock(&store->lock);
}

void fake_store_fail_which(struct fake_store *store, bool (*fails)(const struct world *world))
{
    pthread_mutex_lock(&store->lock);
    store->fails = fails;
    pthread_mutex_unlock(&store->lock);
}

void fake_store_fail_commits(struct fake_store *store, enum err fault, int count)
{
    fake_store_fail_commits_after(store, 0, fault, count);
}

void fake_store_fail_commits_after(struct fake_store *store, int skip, enum err fault, int count)
{
    pthread_mutex_lock(&store->lock);
    store->commit_fault = fault;
    store->commit_fault_skip = skip;
    store->commit_fault_count = count;
    pthread_mutex_unlock(&store->lock);
}

void fake_store_set_probe(struct fake_store *store, enum err fault)
{
    pthread_mutex_lock(&store->lock);
    store->probe_fault = fault;
    pthread_mutex_unlock(&store->lock);
}

void fake_store_set_load(struct fake_store *store, enum err fault)
{
    pthread_mutex_lock(&store->lock);
    store->load_fault = fault;
    pthread_mutex_unlock(&store->lock);
}

static int compare_ids(const void *key, const void *element)
{
    int64_t id = *(const int64_t *)key;
    int64_t other = ((const struct fake_purchase *)element)->id;
    return id < other ? -1 : id > other;
}

bool fake_store_has_purchase(struct fake_store *store, int64_t id)
{
    pthread_mutex_lock(&store->lock);
    bool has =
        bsearch(&id, store->purchases, store->purchase_count, sizeof *store->purchases, compare_ids) != NULL;
    pthread_mutex_unlock(&store->lock);
    return has;
}

int fake_store_read(struct fake_store *store, const int *number)
{
    pthread_mutex_lock(&store->lock);
    int value = *number;
    pthread_mutex_unlock(&store->lock);
    return value;
}
