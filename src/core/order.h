/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders with a slow payment: taken at once, paid behind, told about afterwards.
 *
 * An order is pending until its payment begins, processing until its outcome is known, and then completed or
 * failed for good. A pending one may be cancelled; one whose payment has begun may have been charged and can
 * not. Its payment is a piece of work with the order's id, so that whatever claims it (work.h) claims it
 * once, and that a crash leaves it to be claimed again; the provider is always called with the same key.
 *
 * Who is paid first: work is claimed in order of its due time, and an order's is its time of arrival less a
 * head start for its priority. A constant head start is ageing: the order that waits is overtaken only by
 * those that come within it, so nobody starves. A customer who waits on the line has more of a head start
 * than any priority, and one alone is never overtaken.
 *
 * The rules; engine thread. Each returns false when memory is out: the batch must be rolled back then.
 */
#ifndef DOORBUSTER_CORE_ORDER_H
#define DOORBUSTER_CORE_ORDER_H

#include "core/world_order.h"

struct rules;
struct work;
struct work_order;

enum {
    ORDER_PRIORITY_DEFAULT = 5,
    ORDER_PRIORITY_MAX = 9,
    ORDER_PRIORITY_HEAD_START_MS = 30 * 1000,  /* for each step of priority */
    ORDER_SYNC_HEAD_START_MS = 60 * 60 * 1000, /* for a customer who waits for the answer */
};

/* What ORDER_PLACE asks for; ORDER_CANCEL needs order_id only. */
struct order_request {
    struct slice order_id; /* 1 to ORDER_ID_LEN_MAX bytes of UTF-8 */
    int64_t customer_id;
    struct slice email;        /* empty: none; at most ORDER_EMAIL_LEN_MAX bytes */
    struct slice items;        /* a JSON array as it will be shown */
    int64_t amount_minor;      /* >= 0 */
    int priority;              /* 0..ORDER_PRIORITY_MAX */
    bool is_sync;              /* the customer waits for the outcome */
    int64_t deadline_ms;       /* is_sync: wall clock by which it has to be paid; else 0 */
    struct slice payment_body; /* what the provider will be sent; at most WORK_BODY_LEN_MAX */
    unsigned char fingerprint[FINGERPRINT_BYTES]; /* of what makes it the same order */
};

/*
 * OK: it is stored; or it was there already, the same one (is_replay). ORDER_ID_TAKEN: another one is.
 */
bool order_place(struct world *world, struct command *command, int64_t now_ms);

/* OK, ORDER_NOT_FOUND, ORDER_NOT_PENDING. Its payment is taken back. */
bool order_cancel(struct world *world, struct command *command, int64_t now_ms);

/*
 * The payment is about to be claimed. *is_begun: the order is processing now. False there: its customer
 * could not be answered in time any more, so it was cancelled and its work removed.
 */
bool order_begin_payment(
    struct world *world, struct work *work, int64_t payment_ms, int64_t now_ms, bool *is_begun);

/* The claimed payment has an outcome (work_report of work.h): the order is final, and its notifications are
 * queued. */
bool order_end_payment(const struct rules *rules, struct world *world, const struct work *work,
    const struct work_order *report, int64_t now_ms);

/* The claimed payment was not begun after all: the order is pending again, in its old place. Writes the time
 * at which its work is due into *due_ms. */
bool order_give_back_payment(struct world *world, const struct work *work, int64_t now_ms, int64_t *due_ms);

/* A notification has arrived. */
bool order_end_notification(struct world *world, const struct work *work, int64_t now_ms);

#endif
