/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vending face: the wire of a vending-machine orchestrator (vending contract). Users start to work with a
 * machine, choose, and the machine dispenses; who finds none idle may wait in the line. Reads ask the store;
 * changes go through the line like every other.
 */
#include "api/vending.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/face.h"
#include "api/metrics.h"
#include "api/vending_priv.h"

void vending_count(struct vending *vending, enum vending_count count)
{
    uint64_t now = atomic_load_explicit(&vending->counts[count], memory_order_relaxed);
    atomic_store_explicit(&vending->counts[count], now + 1, memory_order_relaxed);
}

/* --- life --- */

struct vending *vending_create(struct net_thread *thread)
{
    struct vending *vending = calloc(1, sizeof *vending);
    if (vending == NULL)
        return NULL;
    vending->thread = thread;
    vending->streams = ticket_streams_create(vending);
    vending->waits = vending->streams == NULL ? NULL : line_waits_create(vending);
    if (vending->waits == NULL) {
        if (vending->streams != NULL)
            ticket_streams_destroy(vending->streams);
        free(vending);
        return NULL;
    }
    ticket_streams_open(vending->streams);
    give_backs_open(vending);
    ticket_names_init(vending);
    return vending;
}

void vending_drain(struct vending *vending)
{
    vending->is_draining = true;
    line_waits_drain(vending->waits);
}

void vending_close(struct vending *vending)
{
    line_waits_close(vending->waits);
    ticket_streams_close(vending->streams);
    give_backs_close(vending);
}

void vending_destroy(struct vending *vending)
{
    line_waits_destroy(vending->waits);
    ticket_streams_destroy(vending->streams);
    free(vending);
}

void vending_on_ticket(struct vending *vending, const struct ticket_view *now)
{
    line_waits_on_ticket(vending->waits, now);
    ticket_streams_on_ticket(vending->streams, now);
}

void vending_on_line(struct vending *vending)
{
    const struct line_view *line = engine_port_line(vending->thread->port);
    atomic_store_explicit(&vending->line_count, line->count, memory_order_relaxed);
    atomic_store_explicit(&vending->machine_count, line->machine_count, memory_order_relaxed);
    ticket_streams_on_line(vending->streams);
}

/* --- metrics --- */

static uint64_t sum_counts(const struct app *app, enum vending_count count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < app->net_thread_count; i++)
        sum += atomic_load_explicit(&app->net_threads[i]->vending->counts[count], memory_order_relaxed);
    return sum;
}

static void put_counters(const struct app *app, struct strbuf *text)
{
    static const struct {
        const char *name;
        const char *help;
    } counters[] = {
        [COUNT_MACHINE_TAKEN] = {"taken", "Users who got a machine from this node."},
        [COUNT_MACHINE_REFUSED] = {"refused", "Users told that no machine was idle."},
        [COUNT_CHOSEN] = {"chosen", "Choices that a machine began to dispense."},
        [COUNT_CHOICE_REFUSED] = {"choices_refused", "Choices that were refused."},
        [COUNT_WAITED] = {"waited", "Requests and tickets that joined the waiting line."},
        [COUNT_LINE_FULL] = {"line_full", "Users who found the waiting line full."},
        [COUNT_WAIT_GONE] = {"gone", "Waiting requests whose clients went away."},
        [COUNT_GIVEN_BACK] = {"given_back", "Machines that came to somebody who had gone."},
    };
    for (int count = 0; count < VENDING_COUNT_COUNT; count++) {
        char name[64];
        (void)snprintf(name, sizeof name, "doorbuster_vending_%s_total", counters[count].name);
        metrics_put_value(
            text, name, "counter", counters[count].help, (int64_t)sum_counts(app, (enum vending_count)count));
    }
}

void vending_put_metrics(const struct app *app, struct strbuf *text)
{
    size_t waiting = 0;
    size_t listening = 0;
    const struct vending *first = app->net_threads[0]->vending; /* the picture is the same on all threads */
    for (size_t i = 0; i < app->net_thread_count; i++) {
        waiting += atomic_load_explicit(&app->net_threads[i]->vending->waiting, memory_order_relaxed);
        listening += atomic_load_explicit(&app->net_threads[i]->vending->listening, memory_order_relaxed);
    }
    put_counters(app, text);
    metrics_put_value(text, "doorbuster_machines_available", "gauge",
        "Machines that take users: all but those that are drained.",
        (int64_t)atomic_load_explicit(&first->machine_count, memory_order_relaxed));
    metrics_put_value(text, "doorbuster_tickets_waiting", "gauge", "Users in the waiting line, on all nodes.",
        (int64_t)atomic_load_explicit(&first->line_count, memory_order_relaxed));
    metrics_put_value(text, "doorbuster_vending_waiting", "gauge",
        "Requests of this node that wait for a machine.", (int64_t)waiting);
    metrics_put_value(
        text, "doorbuster_tickets_listening", "gauge", "Event streams of tickets.", (int64_t)listening);
}

/* --- the table --- */

static void refuse_but_post(struct http_request *request, void *context)
{
    (void)context;
    vending_reply_method(request, "POST");
}

static void refuse_but_get(struct http_request *request, void *context)
{
    (void)context;
    vending_reply_method(request, "GET, HEAD");
}

static void refuse_but_get_and_delete(struct http_request *request, void *context)
{
    (void)context;
    vending_reply_method(request, "GET, HEAD, DELETE");
}

/* Whatever stands where an id should is answered in this face's form. */
enum { ID_MAX = 16 * 1024 };

static const struct http_route routes[] = {
    {METHOD_GET, "/api/vending-machines", machines_get, NULL, 0},
    {METHOD_POST, "/api/vending-machines", machines_post, NULL, 0},
    {METHOD_ANY, "/api/vending-machines", machines_other, NULL, 0},
    {METHOD_GET, "/api/vending-machines/:id", one_machine_get, NULL, ID_MAX},
    {METHOD_PUT, "/api/vending-machines/:id", one_machine_put, NULL, ID_MAX},
    {METHOD_PATCH, "/api/vending-machines/:id", one_machine_put, NULL, ID_MAX},
    {METHOD_DELETE, "/api/vending-machines/:id", one_machine_delete, NULL, ID_MAX},
    {METHOD_ANY, "/api/vending-machines/:id", one_machine_other, NULL, ID_MAX},
    {METHOD_POST, "/api/vending-machines/:id/reset", reset_post, NULL, ID_MAX},
    {METHOD_ANY, "/api/vending-machines/:id/reset", reset_other, NULL, ID_MAX},
    {METHOD_GET, "/api/products", vending_products_get, NULL, 0},
    {METHOD_POST, "/api/products", vending_products_post, NULL, 0},
    {METHOD_ANY, "/api/products", vending_products_other, NULL, 0},
    {METHOD_DELETE, "/api/products/:id", one_product_delete, NULL, ID_MAX},
    {METHOD_ANY, "/api/products/:id", one_product_other, NULL, ID_MAX},
    {METHOD_PATCH, "/api/products/:id/stock", stock_patch, NULL, ID_MAX},
    {METHOD_ANY, "/api/products/:id/stock", stock_other, NULL, ID_MAX},
    {METHOD_POST, "/api/orchestrator/start-work", start_work_post, NULL, 0},
    {METHOD_ANY, "/api/orchestrator/start-work", refuse_but_post, NULL, 0},
    {METHOD_POST, "/api/orchestrator/choose-product", choose_product_post, NULL, 0},
    {METHOD_ANY, "/api/orchestrator/choose-product", refuse_but_post, NULL, 0},
    {METHOD_POST, "/api/orchestrator/queue", queue_post, NULL, 0},
    {METHOD_ANY, "/api/orchestrator/queue", refuse_but_post, NULL, 0},
    {METHOD_GET, "/api/orchestrator/queue/:ticket", ticket_get, NULL, ID_MAX},
    {METHOD_DELETE, "/api/orchestrator/queue/:ticket", ticket_delete, NULL, ID_MAX},
    {METHOD_ANY, "/api/orchestrator/queue/:ticket", refuse_but_get_and_delete, NULL, ID_MAX},
    {METHOD_GET, "/api/orchestrator/queue/:ticket/events", ticket_events_get, NULL, ID_MAX},
    {METHOD_ANY, "/api/orchestrator/queue/:ticket/events", refuse_but_get, NULL, ID_MAX},
};

const struct face vending_face = {
    .name = "vending",
    .routes = routes,
    .route_count = sizeof routes / sizeof routes[0],
};
