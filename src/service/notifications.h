/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notifications: what the shop and its customers hear about final orders. The rules have put each into the
 * store together with the order's end (core/order.h); here are the handlers that deliver it, as a signed
 * webhook or as an e-mail. Each is delivered at least once: it carries the same id with every try, so who
 * gets it twice can tell.
 *
 * What fails is tried again after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h, and is a dead
 * letter then, which waits for a person; what cannot ever succeed (the receiver says 410 Gone, the mail
 * server says 5xx) is one at once.
 */
#ifndef DOORBUSTER_SERVICE_NOTIFICATIONS_H
#define DOORBUSTER_SERVICE_NOTIFICATIONS_H

#include "service/courier.h"
#include "service/worker.h"

struct notifications;

/* The texts are borrowed and outlive it. */
struct notifications_config {
    const char *webhook_url;    /* NULL: this server delivers no webhooks */
    const char *webhook_secret; /* "whsec_..."; needed with webhook_url */
    const char *smtp_url;       /* NULL: this server sends no mail */
    const char *mail_from;
    bool allows_private_targets;
};

enum { NOTIFICATIONS_HANDLERS_MAX = 2 };

/* The courier outlives it. ERR_USAGE: an address or the secret is of no use; the text says why. */
MUST_CHECK enum err notifications_create(const struct notifications_config *config, struct courier *courier,
    struct notifications **notifications, struct error *error);

/* After the worker and the courier have stopped. */
void notifications_destroy(struct notifications *notifications);

/* For worker_create: writes the handlers of what is configured, and returns how many. */
size_t notifications_handlers(
    struct notifications *notifications, struct worker_handler handlers[NOTIFICATIONS_HANDLERS_MAX]);

/* doorbuster_notifications_..., for Prometheus. Any thread. */
void notifications_put_metrics(const struct notifications *notifications, struct strbuf *text);

#endif
