/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to a shared store have a line of their own: a reader of such a store blocks for a round trip,
 * which a net thread must not. One thread takes everything that waits and asks it in one query, so that the
 * number of answers a second does not depend on the distance to the database. Bounded: a question that finds
 * too many waiting is refused.
 */
#include <pthread.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/log.h"
#include "engine/engine_priv.h"

enum {
    WAITING_MAX = 20000, /* more than that is answered sooner by asking again later */
    BATCH_MAX = 2000,
};

struct lookups {
    struct store_reader *reader; /* the thread's */
    pthread_t thread;
    pthread_mutex_t lock; /* guards the four below */
    pthread_cond_t changed;
    struct engine_lookup *first;
    struct engine_lookup *last;
    size_t count;
    bool is_closed;
    struct engine_lookup *batch[BATCH_MAX]; /* the thread's */
    struct purchase_lookup purchases[BATCH_MAX];
};

/* Up to BATCH_MAX of what waits, in order; 0: closed, and nothing is left. */
static size_t take_batch(struct lookups *lookups)
{
    size_t count = 0;
    pthread_mutex_lock(&lookups->lock);
    while (lookups->first == NULL && !lookups->is_closed)
        pthread_cond_wait(&lookups->changed, &lookups->lock);
    for (; lookups->first != NULL && count < BATCH_MAX; count++) {
        lookups->batch[count] = lookups->first;
        lookups->first = lookups->first->next;
    }
    lookups->count -= count;
    pthread_mutex_unlock(&lookups->lock);
    return count;
}

static void answer_batch(struct lookups *lookups, size_t count)
{
    struct error error;
    for (size_t i = 0; i < count; i++)
        lookups->purchases[i] = lookups->batch[i]->purchase;
    enum err status = store_read_purchases(lookups->reader, lookups->purchases, count, &error);
    if (status != ERR_NONE)
        log_error("engine", "%zu purchases could not be looked up: %s", count, error.message);
    for (size_t i = 0; i < count; i++) {
        struct engine_lookup *lookup = lookups->batch[i];
        lookup->purchase = lookups->purchases[i];
        lookup->status = status;
        engine_port_post_lookup(lookup->port, lookup);
    }
}

static void *lookups_main(void *argument)
{
    struct lookups *lookups = argument;
    size_t count;
    while ((count = take_batch(lookups)) > 0)
        answer_batch(lookups, count);
    return NULL;
}

enum err lookups_create(struct store *store, struct lookups **lookups_out, struct error *error)
{
    struct lookups *lookups = calloc(1, sizeof *lookups);
    if (lookups == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the line of questions");
    enum err status = store_reader_open(store, &lookups->reader, error);
    if (status != ERR_NONE) {
        free(lookups);
        return status;
    }
    pthread_mutex_init(&lookups->lock, NULL);
    pthread_cond_init(&lookups->changed, NULL);
    if (pthread_create(&lookups->thread, NULL, lookups_main, lookups) != 0) {
        store_reader_close(lookups->reader);
        free(lookups);
        return error_set(error, ERR_MEMORY, "cannot start a thread; is the limit of processes reached?");
    }
    *lookups_out = lookups;
    return ERR_NONE;
}

bool lookups_push(struct lookups *lookups, struct engine_lookup *lookup)
{
    pthread_mutex_lock(&lookups->lock);
    bool has_room = lookups->count < WAITING_MAX && !lookups->is_closed;
    if (has_room) {
        if (lookups->first == NULL)
            lookups->first = lookup;
        else
            lookups->last->next = lookup;
        lookups->last = lookup;
        lookups->count++;
    }
    pthread_mutex_unlock(&lookups->lock);
    if (has_room)
        pthread_cond_signal(&lookups->changed);
    return has_room;
}

void lookups_stop(struct lookups *lookups)
{
    pthread_mutex_lock(&lookups->lock);
    bool was_closed = lookups->is_closed;
    lookups->is_closed = true;
    pthread_mutex_unlock(&lookups->lock);
    pthread_cond_signal(&lookups->changed);
    if (!was_closed)
        pthread_join(lookups->thread, NULL);
}

void lookups_destroy(struct lookups *lookups)
{
    lookups_stop(lookups);
    store_reader_close(lookups->reader);
    pthread_cond_destroy(&lookups->changed);
    pthread_mutex_destroy(&lookups->lock);
    free(lookups);
}
