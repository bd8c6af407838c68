/* SPDX-License-Identifier: Apache-2.0 */
#include "service/closeout.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/sale.h"

enum {
    LEASE_MS = 120000, /* a reader's longest wait is 30 s, and it may be asked twice */
    IN_FLIGHT_MAX = 4, /* one after the other; more would only wait here rather than in the store */
};

struct closeout {
    struct store_reader *reader; /* the worker thread's */
    atomic_uint_fast64_t agree_total;
    atomic_uint_fast64_t differ_total;
};

/* As many rows as the stock says, to as many people as that takes. */
static bool agrees(const struct sale_totals *totals)
{
    int64_t allowed;
    if (__builtin_mul_overflow(totals->buyer_count, totals->per_user_limit, &allowed))
        allowed = INT64_MAX;
    return totals->stock >= 0 && totals->unit_count == totals->initial_stock - totals->stock &&
           totals->unit_count <= allowed && (totals->end_reason != END_SOLD_OUT || totals->stock == 0);
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
    atomic_fetch_add_explicit(
        is_good ? &closeout->agree_total : &closeout->differ_total, 1, memory_order_relaxed);
    log_write(is_good ? LOG_INFO : LOG_ERROR, "closeout",
        "sale %.*s ended %.*s: %lld of %lld units sold to %lld buyers, %lld left, rows and stock %s",
        SLICE_ARGS(sku), SLICE_ARGS(end_reason_name(totals->end_reason)), (long long)totals->unit_count,
        (long long)totals->initial_stock, (long long)totals->buyer_count, (long long)totals->stock,
        is_good ? "agree" : "differ; run doorbuster verify");
}

static enum worker_verdict prove(struct closeout *closeout, const struct work_item *item)
{
    struct slice sku = slice_make(item->subject, item->subject_len);
    struct sale_closeout asked;
    struct sale_totals totals;
    struct error error;
    if (!sale_closeout_read(slice_make(item->body, item->body_len), &asked)) {
        log_error("closeout", "what is to be proven of sale %.*s cannot be read: '%.*s'", SLICE_ARGS(sku),
            (int)item->body_len, item->body);
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

static void run(struct worker_job *job, void *context)
{
    worker_done(job, prove(context, &job->item));
}

struct worker_handler closeout_handler(struct closeout *closeout)
{
    return (struct worker_handler){.kind = WORK_SALE_CLOSEOUT,
        .lease_ms = LEASE_MS,
        .in_flight_max = IN_FLIGHT_MAX,
        .run = run,
        .context = closeout};
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
    *closeout_out = closeout;
    return ERR_NONE;
}

void closeout_destroy(struct closeout *closeout)
{
    store_reader_close(closeout->reader);
    free(closeout);
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
