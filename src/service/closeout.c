/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A proof takes some seconds for a million purchases, so it is read on a thread of its own, one after the
 * other: what the worker hands over waits in a short queue. At a stop the worker takes back what still waits.
 */
#include "service/closeout.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/log.h"
#include "core/sale.h"

enum {
    LEASE_MS = 5000,   /* with a poll and the proof itself, well within 10 s after its node has died */
    IN_FLIGHT_MAX = 4, /* one after the other; more would only wait here rather than in the store */
};

struct closeout {
    struct store_reader *reader; /* the thread's */
    pthread_t thread;
    pthread_mutex_t lock; /* guards the three below */
    pthread_cond_t changed;
    struct worker_job *waiting[IN_FLIGHT_MAX]; /* in order */
    size_t waiting_count;
    bool is_closed;
    atomic_uint_fast64_t agree_total;
    atomic_uint_fast64_t differ_total;
};

/* As many rows as the stock says, to as many people as that takes. Machines know no buyers. */
static bool agrees(const struct sale_totals *totals)
{
    int64_t allowed;
    if (__builtin_mul_overflow(totals->buyer_count, totals->per_user_limit, &allowed))
        allowed = INT64_MAX;
    return totals->stock >= 0 && totals->unit_count == totals->initial_stock - totals->stock &&
           totals->unit_count - totals->payer_unit_count <= allowed &&
           (totals->end_reason != END_SOLD_OUT || totals->stock == 0);
}

/*
 * The ids in the body are a hint. A sale that was made anew and has ended again meanwhile has others, so
 * before anybody is alarmed all rows are looked at.
 */
static enum err look(struct closeout *closeout, const struct sale_closeout *asked, struct sale_totals *totals,
    struct error *error)
{
    *totals = (struct sale_totals){.product_id = asked->product_id,
        .purchase_id_first = asked->purchase_id_first,
        .purchase_id_last = asked->purchase_id_last};
    enum err err = store_read_sale_totals(closeout->reader, totals, error);
    if (err != ERR_NONE || !totals->is_found || totals->state != SALE_ENDED || agrees(totals))
        return err;
    totals->purchase_id_first = 1;
    totals->purchase_id_last = INT64_MAX;
    return store_read_sale_totals(closeout->reader, totals, error);
}

static void tell(struct closeout *closeout, struct slice sku, const struct sale_totals *totals)
{
    bool is_good = agrees(totals);
    char by_payers[48] = "";
    if (totals->payer_unit_count > 0)
        (void)snprintf(
            by_payers, sizeof by_payers, " and %lld by who pays", (long long)totals->payer_unit_count);
    atomic_fetch_add_explicit(
        is_good ? &closeout->agree_total : &closeout->differ_total, 1, memory_order_relaxed);
    log_write(is_good ? LOG_INFO : LOG_ERROR, "closeout",
        "sale %.*s ended %.*s: %lld of %lld units sold to %lld buyers%s, %lld left, rows and stock %s",
        SLICE_ARGS(sku), SLICE_ARGS(end_reason_name(totals->end_reason)), (long long)totals->unit_count,
        (long long)totals->initial_stock, (long long)totals->buyer_count, by_payers, (long long)totals->stock,
        is_good ? "agree" : "differ; run doorbuster verify");
}

static enum worker_verdict prove(struct closeout *closeout, const struct work_item *item)
{
    struct slice sku = item->subject;
    struct sale_closeout asked;
    struct sale_totals totals;
    struct error error;
    if (!sale_closeout_read(item->body, &asked)) {
        log_error("closeout", "what is to be proven of sale %.*s cannot be read: '%.*s'", SLICE_ARGS(sku),
            SLICE_ARGS(item->body));
        return WORKER_FINISHED;
    }
    if (look(closeout, &asked, &totals, &error) != ERR_NONE) {
        log_warn("closeout", "sale %.*s is proven later: %s", SLICE_ARGS(sku), error.message);
        return WORKER_FAILED;
    }
    if (totals.is_found && totals.state == SALE_ENDED)
        tell(closeout, sku, &totals);
    return WORKER_FINISHED; /* removed or made anew: there is nothing left to prove */
}

/* --- the thread --- */

/* NULL: closed, and nothing waits. */
static struct worker_job *take_first(struct closeout *closeout)
{
    struct worker_job *job = NULL;
    pthread_mutex_lock(&closeout->lock);
    while (closeout->waiting_count == 0 && !closeout->is_closed)
        pthread_cond_wait(&closeout->changed, &closeout->lock);
    if (closeout->waiting_count > 0) {
        job = closeout->waiting[0];
        closeout->waiting_count--;
        for (size_t i = 0; i < closeout->waiting_count; i++)
            closeout->waiting[i] = closeout->waiting[i + 1];
    }
    pthread_mutex_unlock(&closeout->lock);
    return job;
}

static void *closeout_main(void *argument)
{
    struct closeout *closeout = argument;
    struct worker_job *job;
    while ((job = take_first(closeout)) != NULL)
        worker_done(job, (struct worker_report){.verdict = prove(closeout, &job->item)});
    return NULL;
}

static void run(struct worker_job *job, void *context)
{
    struct closeout *closeout = context;
    pthread_mutex_lock(&closeout->lock);
    ENSURE(closeout->waiting_count < IN_FLIGHT_MAX && !closeout->is_closed);
    closeout->waiting[closeout->waiting_count++] = job;
    pthread_mutex_unlock(&closeout->lock);
    pthread_cond_signal(&closeout->changed);
}

/* Gives back what has not begun; the thread ends when it is done with what has. */
static void stop(void *context)
{
    struct closeout *closeout = context;
    pthread_mutex_lock(&closeout->lock);
    size_t count = closeout->waiting_count;
    closeout->waiting_count = 0;
    closeout->is_closed = true;
    pthread_mutex_unlock(&closeout->lock);
    pthread_cond_signal(&closeout->changed);
    for (size_t i = 0; i < count; i++) /* nobody adds to them any more */
        worker_done(closeout->waiting[i], (struct worker_report){.verdict = WORKER_NOT_BEGUN});
}

struct worker_handler closeout_handler(struct closeout *closeout)
{
    return (struct worker_handler){.kind = WORK_SALE_CLOSEOUT,
        .lease_ms = LEASE_MS,
        .in_flight_max = IN_FLIGHT_MAX,
        .run = run,
        .stop = stop,
        .context = closeout};
}

static void free_memory(struct closeout *closeout)
{
    store_reader_close(closeout->reader);
    pthread_cond_destroy(&closeout->changed);
    pthread_mutex_destroy(&closeout->lock);
    free(closeout);
}

enum err closeout_create(struct store *store, struct closeout **closeout_out, struct error *error)
{
    struct closeout *closeout = calloc(1, sizeof *closeout);
    if (closeout == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the close-out of sales");
    enum err err = store_reader_open(store, &closeout->reader, error);
    if (err != ERR_NONE) {
        free(closeout);
        return err;
    }
    pthread_mutex_init(&closeout->lock, NULL);
    pthread_cond_init(&closeout->changed, NULL);
    if (pthread_create(&closeout->thread, NULL, closeout_main, closeout) != 0) {
        free_memory(closeout);
        return error_set(
            error, ERR_MEMORY, "cannot start the close-out's thread; is the limit of processes reached?");
    }
    *closeout_out = closeout;
    return ERR_NONE;
}

void closeout_destroy(struct closeout *closeout)
{
    stop(closeout);
    pthread_join(closeout->thread, NULL);
    free_memory(closeout);
}

void closeout_put_metrics(const struct closeout *closeout, struct strbuf *text)
{
    strbuf_printf(text,
        "# HELP doorbuster_sales_proven_total Sales that have ended and were counted from the rows by this "
        "node.\n"
        "# TYPE doorbuster_sales_proven_total counter\n"
        "doorbuster_sales_proven_total{verdict=\"agree\"} %llu\n"
        "doorbuster_sales_proven_total{verdict=\"differ\"} %llu\n",
        (unsigned long long)atomic_load_explicit(&closeout->agree_total, memory_order_relaxed),
        (unsigned long long)atomic_load_explicit(&closeout->differ_total, memory_order_relaxed));
}
