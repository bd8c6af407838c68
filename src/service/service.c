/* SPDX-License-Identifier: Apache-2.0 */
#include "service/service.h"

#include <stdlib.h>

#include "service/closeout.h"
#include "service/courier.h"
#include "service/intake_delivery.h"
#include "service/notifications.h"
#include "service/passwords.h"
#include "service/worker.h"

enum {
    CONNECTIONS_OF_OTHERS = 128, /* webhooks, mail, the sink: what they keep in flight fits in */
    COURIER_GRACE_MS = 1000,     /* the worker has waited for what matters before */
};

/* What is not configured is NULL. */
struct service {
    struct courier *courier;
    struct passwords *passwords;
    struct payments *payments;
    struct notifications *notifications;
    struct intake_delivery *intake_delivery;
    struct closeout *closeout;
    struct worker *worker;
    bool is_stopped;
};

/* --- making the parts --- */

static enum err make_courier(
    struct service *service, const struct service_config *config, struct error *error)
{
    const struct payments_config *payments = &config->payments;
    bool is_simulated = payments->provider_url == NULL;
    struct courier_config courier = {
        .connections_max = CONNECTIONS_OF_OTHERS + (is_simulated ? 0 : payments->slots_max)};
    return courier_create(&courier, &service->courier, error);
}

static enum err make_passwords(
    struct service *service, const struct service_config *config, struct error *error)
{
    struct passwords_config passwords = passwords_defaults;
    passwords.thread_count = config->password_threads;
    return passwords_create(&passwords, &service->passwords, error);
}

static enum err make_notifications(
    struct service *service, const struct service_config *config, struct error *error)
{
    struct notifications_config notifications = {.webhook_url = config->webhook_url,
        .webhook_secret = config->webhook_secret,
        .smtp_url = config->smtp_url,
        .mail_from = config->mail_from,
        .allows_private_targets = config->allows_private_targets};
    return notifications_create(&notifications, service->courier, &service->notifications, error);
}

static enum err make_intake_delivery(struct service *service, const struct service_config *config,
    struct engine *engine, struct store *store, struct error *error)
{
    struct intake_delivery_config delivery = {.sink_url = config->intake_sink_url,
        .secret = config->webhook_secret,
        .allows_private_targets = config->allows_private_targets};
    if (config->intake_sink_url == NULL)
        return ERR_NONE;
    return intake_delivery_create(
        &delivery, engine, store, service->courier, &service->intake_delivery, error);
}

/* A new kind of work gets its handler here. */
static enum err make_worker(struct service *service, struct engine *engine, struct error *error)
{
    struct worker_handler handlers[WORK_KIND_COUNT];
    size_t count = 0;
    handlers[count++] = closeout_handler(service->closeout);
    handlers[count++] = payments_handler(service->payments);
    count += notifications_handlers(service->notifications, &handlers[count]);
    if (service->intake_delivery != NULL)
        handlers[count++] = intake_delivery_handler(service->intake_delivery);
    enum err status = worker_create(engine, handlers, count, &service->worker, error);
    if (status == ERR_NONE)
        payments_set_worker(service->payments, service->worker);
    return status;
}

static enum err make_parts(struct service *service, const struct service_config *config,
    struct engine *engine, struct store *store, struct error *error)
{
    enum err status = make_courier(service, config, error);
    if (status == ERR_NONE)
        status = make_passwords(service, config, error);
    if (status == ERR_NONE)
        status = payments_create(&config->payments, engine, service->courier, &service->payments, error);
    if (status == ERR_NONE)
        status = make_notifications(service, config, error);
    if (status == ERR_NONE)
        status = make_intake_delivery(service, config, engine, store, error);
    if (status == ERR_NONE)
        status = closeout_create(store, &service->closeout, error);
    return status == ERR_NONE ? make_worker(service, engine, error) : status;
}

/* --- life --- */

enum err service_create(const struct service_config *config, struct engine *engine, struct store *store,
    struct service **service_out, struct error *error)
{
    struct service *service = calloc(1, sizeof *service);
    if (service == NULL)
        return error_set(error, ERR_MEMORY, "no memory for work for later");
    enum err status = make_parts(service, config, engine, store, error);
    if (status != ERR_NONE) {
        service_destroy(service);
        return status;
    }
    *service_out = service;
    return ERR_NONE;
}

enum err service_start(struct service *service, struct error *error)
{
    return worker_start(service->worker, error);
}

/*
 * The worker first: its handlers need the courier until their last job is told to the engine. Nothing of
 * theirs is in the courier then but timers that nobody waits for.
 */
void service_stop(struct service *service)
{
    if (service->is_stopped)
        return;
    service->is_stopped = true;
    if (service->worker != NULL)
        worker_stop(service->worker);
    if (service->courier != NULL)
        courier_stop(service->courier, COURIER_GRACE_MS);
    if (service->passwords != NULL)
        passwords_stop(service->passwords);
}

void service_destroy(struct service *service)
{
    service_stop(service);
    if (service->worker != NULL)
        worker_destroy(service->worker);
    if (service->closeout != NULL)
        closeout_destroy(service->closeout);
    if (service->intake_delivery != NULL)
        intake_delivery_destroy(service->intake_delivery);
    if (service->notifications != NULL)
        notifications_destroy(service->notifications);
    if (service->payments != NULL)
        payments_destroy(service->payments);
    if (service->passwords != NULL)
        passwords_destroy(service->passwords);
    if (service->courier != NULL)
        courier_destroy(service->courier);
    free(service);
}

struct payments *service_payments(const struct service *service)
{
    return service->payments;
}

struct passwords *service_passwords(const struct service *service)
{
    return service->passwords;
}

void service_put_metrics(const struct service *service, struct strbuf *text)
{
    worker_put_metrics(service->worker, text);
    closeout_put_metrics(service->closeout, text);
    payments_put_metrics(service->payments, text);
    notifications_put_metrics(service->notifications, text);
    if (service->intake_delivery != NULL)
        intake_delivery_put_metrics(service->intake_delivery, text);
    courier_put_metrics(service->courier, text);
    passwords_put_metrics(service->passwords, text);
}
