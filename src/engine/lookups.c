/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to a shared store have a line of their own: a reader of such a store blocks for a round trip,
 * which a net thread must not. One thread takes everything that waits and asks it in one query, so that the
 * number of answers a second does not depend on the distance to the database. Bounded: a question that finds
 * too many waiting is refused. When the store does not answer, all that wait are told so with those that were
 * asked, and for a moment new ones at once: nobody waits for two failures.
 */
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/engine_priv.h"

enum {
    WAITING_MAX = 20000, /* more than that is answered sooner by asking again later */
    BATCH_MAX = 2000,
    REFUSE_MS = 250, /* after a failure */
    NS_PER_MS = 1000000,
};

struct lookups {
    struct store_reader *reader; /* the thread's */
    pthread_t thread;
    pthread_mutex_t lock; /* guards the five below */
    pthread_cond_t changed;
    struct engine_lookup *first;
    struct engine_lookup *last;
    size_t count;
    bool is_closed;
    int64_t refuse_until_ns;
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

/* Those that wait have the same answer. */
static void fail_waiting(struct lookups *lookups, enum err status)
{
    pthread_mutex_lock(&lookups->lock);
    struct engine_lookup *lookup = lookups->first;
    lookups->first = NULL;
    lookups->count = 0;
    lookups->refuse_until_ns = clock_mono_ns() + (int64_t)REFUSE_MS * NS_PER_MS;
    pthread_mutex_unlock(&lookups->lock);
    while (lookup != NULL) {
        struct engine_lookup *next = lookup->next;
        lookup->status = status;
        engine_port_post_lookup(lookup->port, lookup);
        lookup = next;
    }
}

/* All purchases of the batch in one query. */
static enum err answer_purchases(struct lookups *lookups, size_t count, struct error *error)
{
    size_t purchase_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (lookups->batch[i]->question.kind == QUESTION_PURCHASE)
            lookups->purchases[purchase_count++] = lookups->batch[i]->question.purchase;
    }
    if (purchase_count == 0)
        return ERR_NONE;
    enum err status = store_read_purchases(lookups->reader, lookups->purchases, purchase_count, error);
    for (size_t i = 0, at = 0; i < count; i++) {
        struct engine_lookup *lookup = lookups->batch[i];
        if (lookup->question.kind != QUESTION_PURCHASE)
            continue;
        lookup->question.purchase = lookups->purchases[at++];
        lookup->status = status;
    }
    return status;
}

static bool is_away(enum err status)
{
    return status == ERR_UNAVAILABLE || status == ERR_TIMEOUT;
}

/* Other questions one by one, as long as the store answers. */
static void answer_batch(struct lookups *lookups, size_t count)
{
    struct error error;
    enum err status = answer_purchases(lookups, count, &error);
    for (size_t i = 0; i < count; i++) {
        struct engine_lookup *lookup = lookups->batch[i];
        if (lookup->question.kind != QUESTION_PURCHASE) {
            if (!is_away(status))
                status = store_ask(lookups->reader, &lookup->question, &error);
            lookup->status = status;
        }
        engine_port_post_lookup(lookup->port, lookup);
    }
    if (status != ERR_NONE)
        log_error("engine", "a question to the store was not answered: %s", error.message);
    if (is_away(status))
        fail_waiting(lookups, status);
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
    bool has_room = lookups->count < WAITING_MAX && !lookups->is_closed &&
                    (lookups->refuse_until_ns == 0 || clock_mono_ns() >= lookups->refuse_until_ns);
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
