/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A net thread's door to the engine. The mailbox is the only part that two threads touch. has_views is raised
 * under the mailbox lock before the engine delivers any answer of that batch; a thread that reads it as
 * raised takes the pictures before it looks at one, which is what makes an effect visible everywhere once its
 * answer is out.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "engine/engine_priv.h"

enum { ARRAY_SIZE_FIRST = 16 };

enum err engine_port_open(struct engine *engine, struct engine_port_events events,
    struct engine_port **port_out, struct error *error)
{
    ENSURE(!engine->is_started);
    struct engine_port *port = calloc(1, sizeof *port);
    if (port == NULL)
        return error_set(error, ERR_MEMORY, "no memory for a port to the engine");
    if (!engine->store->is_shared) {
        enum err status = store_reader_open(engine->store, &port->reader, error);
        if (status != ERR_NONE) {
            free(port);
            return status;
        }
    }
    port->engine = engine;
    port->events = events;
    pthread_mutex_init(&port->mailbox.lock, NULL);
    map_init(&port->views_by_sku);
    port->next = engine->ports;
    engine->ports = port;
    *port_out = port;
    return ERR_NONE;
}

static void order_views_fini(struct order_views *orders)
{
    for (size_t i = 0; i < orders->count; i++)
        order_view_put(orders->views[i]);
    free(orders->views);
    *orders = (struct order_views){0};
}

static void ticket_views_fini(struct ticket_views *tickets)
{
    for (size_t i = 0; i < tickets->count; i++)
        ticket_view_put(tickets->views[i]);
    free(tickets->views);
    *tickets = (struct ticket_views){0};
}

static void unlink_port(struct engine *engine, struct engine_port *port)
{
    struct engine_port **at = &engine->ports;
    while (*at != port)
        at = &(*at)->next;
    *at = port->next;
}

void engine_port_close(struct engine_port *port)
{
    ENSURE(!port->engine->is_started);
    ENSURE(port->pushed.count == 0);
    ENSURE(port->mailbox.answered.count == 0 && port->mailbox.looked_up == NULL);
    if (port->reader != NULL)
        store_reader_close(port->reader);
    unlink_port(port->engine, port);
    for (size_t i = 0; i < port->mailbox.view_count; i++)
        sale_view_put(port->mailbox.views[i]);
    order_views_fini(&port->mailbox.orders);
    order_views_fini(&port->delivery_orders);
    ticket_views_fini(&port->mailbox.tickets);
    ticket_views_fini(&port->delivery_tickets);
    if (port->mailbox.line != NULL)
        line_view_put(port->mailbox.line);
    if (port->line != NULL)
        line_view_put(port->line);
    for (size_t i = 0; i < port->untold_count; i++) {
        sale_view_put(port->untold[i].now);
        if (port->untold[i].before != NULL)
            sale_view_put(port->untold[i].before);
    }
    size_t cursor = 0;
    struct sale_view *view;
    while ((view = map_next(&port->views_by_sku, &cursor)) != NULL)
        sale_view_put(view);
    map_fini(&port->views_by_sku);
    sale_list_fini(&port->sales);
    sale_list_fini(&port->featured);
    free(port->mailbox.views);
    free(port->untold);
    pthread_mutex_destroy(&port->mailbox.lock);
    free(port);
}

/* --- towards the engine --- */

static void count(atomic_uint_fast64_t *figure)
{
    atomic_fetch_add_explicit(figure, 1, memory_order_relaxed);
}

/*
 * Can a call behind so many others be answered before its deadline? An idle engine takes one whatever the
 * averages say: after a flush that took long only another flush can show that the disk is quick again.
 */
static bool can_keep_deadline(const struct engine *engine, size_t ahead, int64_t deadline_ns)
{
    bool is_idle = ahead == 0 && atomic_load_explicit(&engine->batch_began_ns, memory_order_relaxed) == 0;
    return clock_mono_ns() + (is_idle ? 0 : engine_expected_wait_ns(engine, ahead)) <= deadline_ns;
}

bool engine_port_push(struct engine_port *port, struct engine_call *call)
{
    struct engine *engine = port->engine;
    size_t ahead = engine_depth(engine) + port->pushed.count;
    bool is_serving = atomic_load_explicit(&engine->state, memory_order_acquire) == ENGINE_SERVING;
    if (!is_serving) {
        count(&engine->figures.refused_state_total);
    } else if (ahead >= engine->config.line_depth_max) {
        count(&engine->figures.refused_full_total);
    } else if (!can_keep_deadline(engine, ahead, call->deadline_ns)) {
        count(&engine->figures.refused_late_total);
    } else {
        call->port = port;
        call_list_append(&port->pushed, call);
        return true;
    }
    engine_refuse(engine, call);
    return false;
}

void engine_port_flush(struct engine_port *port)
{
    if (port->pushed.count == 0)
        return;
    line_append(&port->engine->line, &port->pushed);
    /* Between push and flush other threads have filled the line, or the engine has ended. What is refused
     * here may push again from on_done; that waits for the next flush. */
    struct call_list refused = {0};
    call_list_splice(&refused, &port->pushed);
    struct engine_call *call;
    while ((call = call_list_take(&refused)) != NULL) {
        bool is_full = engine_state(port->engine) == ENGINE_SERVING;
        count(
            is_full ? &port->engine->figures.refused_full_total : &port->engine->figures.refused_state_total);
        engine_refuse(port->engine, call);
        call->on_done(call);
    }
}

bool engine_port_look_up(struct engine_port *port, struct engine_lookup *lookup)
{
    lookup->port = port;
    lookup->next = NULL;
    if (port->reader == NULL)
        return lookups_push(port->engine->lookups, lookup);
    struct error error;
    struct question *question = &lookup->question;
    lookup->status = question->kind == QUESTION_PURCHASE
                         ? store_read_purchases(port->reader, &question->purchase, 1, &error)
                         : store_ask(port->reader, question, &error);
    if (lookup->status != ERR_NONE)
        log_error("engine", "a question to the store was not answered: %s", error.message);
    lookup->on_done(lookup);
    return true;
}

/* --- from the engine: its thread, or that of the lookups --- */

static bool make_room(void **array, size_t *size, size_t count_now, size_t item_size)
{
    if (count_now < *size)
        return true;
    size_t more = *size == 0 ? ARRAY_SIZE_FIRST : *size * 2;
    void *grown = realloc(*array, more * item_size);
    if (grown == NULL)
        return false;
    *array = grown;
    *size = more;
    return true;
}

void engine_port_post_view(struct engine_port *port, struct sale_view *view)
{
    struct mailbox *mailbox = &port->mailbox;
    if (port->events.on_view == NULL)
        return;
    pthread_mutex_lock(&mailbox->lock);
    bool has_room =
        make_room((void **)&mailbox->views, &mailbox->view_size, mailbox->view_count, sizeof *mailbox->views);
    /* Without this picture the thread would answer from an old one for ever. */
    ENSURE(has_room);
    mailbox->views[mailbox->view_count++] = sale_view_get(view);
    atomic_store_explicit(&mailbox->has_views, true, memory_order_release);
    pthread_mutex_unlock(&mailbox->lock);
    port->is_wake_due = true;
}

static void append_order(struct order_views *orders, struct order_view *view)
{
    bool has_room = make_room((void **)&orders->views, &orders->size, orders->count, sizeof *orders->views);
    /* Without this picture somebody would wait for an outcome for ever. */
    ENSURE(has_room);
    orders->views[orders->count++] = view;
}

void engine_port_post_order(struct engine_port *port, struct order_view *view)
{
    if (port->events.on_order == NULL)
        return;
    append_order(&port->delivery_orders, order_view_get(view));
    port->is_wake_due = true;
}

static void append_ticket(struct ticket_views *tickets, struct ticket_view *view)
{
    bool has_room =
        make_room((void **)&tickets->views, &tickets->size, tickets->count, sizeof *tickets->views);
    /* Without this picture somebody would wait for a machine for ever. */
    ENSURE(has_room);
    tickets->views[tickets->count++] = view;
}

void engine_port_post_ticket(struct engine_port *port, struct ticket_view *view)
{
    if (port->events.on_ticket == NULL)
        return;
    append_ticket(&port->delivery_tickets, ticket_view_get(view));
    port->is_wake_due = true;
}

void engine_port_post_line(struct engine_port *port, struct line_view *view)
{
    struct mailbox *mailbox = &port->mailbox;
    if (port->events.on_line == NULL)
        return;
    pthread_mutex_lock(&mailbox->lock);
    struct line_view *before = mailbox->line;
    mailbox->line = line_view_get(view);
    atomic_store_explicit(&mailbox->has_line, true, memory_order_release);
    pthread_mutex_unlock(&mailbox->lock);
    if (before != NULL)
        line_view_put(before);
    port->is_wake_due = true;
}

void engine_port_post_work(struct engine_port *port, unsigned kinds)
{
    if (port->events.on_work == NULL)
        return;
    port->delivery_work_kinds |= kinds;
    port->is_wake_due = true;
}

void engine_port_post_answers(struct engine_port *port)
{
    struct mailbox *mailbox = &port->mailbox;
    pthread_mutex_lock(&mailbox->lock);
    call_list_splice(&mailbox->answered, &port->delivery);
    for (size_t i = 0; i < port->delivery_orders.count; i++)
        append_order(&mailbox->orders, port->delivery_orders.views[i]);
    for (size_t i = 0; i < port->delivery_tickets.count; i++)
        append_ticket(&mailbox->tickets, port->delivery_tickets.views[i]);
    mailbox->work_kinds |= port->delivery_work_kinds;
    pthread_mutex_unlock(&mailbox->lock);
    port->delivery_orders.count = 0;
    port->delivery_tickets.count = 0;
    port->delivery_work_kinds = 0;
    port->is_wake_due = false;
    port->events.wake(port->events.context);
}

void engine_port_post_lookup(struct engine_port *port, struct engine_lookup *lookup)
{
    struct mailbox *mailbox = &port->mailbox;
    lookup->next = NULL;
    pthread_mutex_lock(&mailbox->lock);
    if (mailbox->looked_up == NULL)
        mailbox->looked_up = lookup;
    else
        mailbox->looked_up_last->next = lookup;
    mailbox->looked_up_last = lookup;
    pthread_mutex_unlock(&mailbox->lock);
    port->events.wake(port->events.context);
}

/* --- from the engine: the port's thread --- */

static bool view_has_sku(const void *value, const void *key)
{
    return slice_eq(((const struct sale_view *)value)->sku, *(const struct slice *)key);
}

/* A product is featured from its beginning to its end, or never. */
static void leave_lists(struct engine_port *port, const struct sale_view *view)
{
    sale_list_remove(&port->sales, view);
    sale_list_remove(&port->featured, view);
}

/* Puts a picture in the place of the one before and remembers to tell. Takes over the reference. */
static void take_view(struct engine_port *port, struct sale_view *view)
{
    struct sale_view *before = map_get(&port->views_by_sku, view->sku_hash, view_has_sku, &view->sku);
    if (before != NULL) {
        (void)map_remove(&port->views_by_sku, view->sku_hash, before);
        if (view->is_removed || view->id != before->id)
            leave_lists(port, before);
    }
    if (!view->is_removed) {
        bool is_put = map_put(&port->views_by_sku, view->sku_hash, sale_view_get(view)) &&
                      sale_list_put(&port->sales, view) &&
                      (!view->labels.is_featured || sale_list_put(&port->featured, view));
        ENSURE(is_put);
    }
    bool has_room =
        make_room((void **)&port->untold, &port->untold_size, port->untold_count, sizeof *port->untold);
    ENSURE(has_room);
    port->untold[port->untold_count++] = (struct view_event){.before = before, .now = view};
}

static void take_views(struct engine_port *port)
{
    struct mailbox *mailbox = &port->mailbox;
    if (!atomic_load_explicit(&mailbox->has_views, memory_order_acquire))
        return;
    pthread_mutex_lock(&mailbox->lock);
    for (size_t i = 0; i < mailbox->view_count; i++)
        take_view(port, mailbox->views[i]);
    mailbox->view_count = 0;
    atomic_store_explicit(&mailbox->has_views, false, memory_order_relaxed);
    pthread_mutex_unlock(&mailbox->lock);
}

static void take_line(struct engine_port *port)
{
    struct mailbox *mailbox = &port->mailbox;
    if (!atomic_load_explicit(&mailbox->has_line, memory_order_acquire))
        return;
    struct line_view *before = port->line;
    pthread_mutex_lock(&mailbox->lock);
    port->line = mailbox->line;
    mailbox->line = NULL;
    atomic_store_explicit(&mailbox->has_line, false, memory_order_relaxed);
    pthread_mutex_unlock(&mailbox->lock);
    port->is_line_new = true;
    if (before != NULL)
        line_view_put(before);
}

static void tell(struct engine_port *port, struct view_event event)
{
    port->events.on_view(event.before, event.now, port->events.context);
    sale_view_put(event.now);
    if (event.before != NULL)
        sale_view_put(event.before);
}

static void tell_orders(struct engine_port *port, struct order_views *orders)
{
    for (size_t i = 0; i < orders->count; i++)
        port->events.on_order(orders->views[i], port->events.context);
    order_views_fini(orders);
}

static void tell_tickets(struct engine_port *port, struct ticket_views *tickets)
{
    for (size_t i = 0; i < tickets->count; i++)
        port->events.on_ticket(tickets->views[i], port->events.context);
    ticket_views_fini(tickets);
}

void engine_port_receive(struct engine_port *port)
{
    struct mailbox *mailbox = &port->mailbox;
    take_views(port);
    take_line(port);
    pthread_mutex_lock(&mailbox->lock);
    struct call_list answered = mailbox->answered;
    mailbox->answered = (struct call_list){0};
    struct engine_lookup *looked_up = mailbox->looked_up;
    mailbox->looked_up = NULL;
    struct order_views orders = mailbox->orders;
    mailbox->orders = (struct order_views){0};
    struct ticket_views tickets = mailbox->tickets;
    mailbox->tickets = (struct ticket_views){0};
    unsigned work_kinds = mailbox->work_kinds;
    mailbox->work_kinds = 0;
    pthread_mutex_unlock(&mailbox->lock);
    /* A listener may look at a picture and so bring in more: the count is looked at each time round. */
    for (size_t i = 0; i < port->untold_count; i++)
        tell(port, port->untold[i]);
    port->untold_count = 0;
    struct engine_call *call;
    while ((call = call_list_take(&answered)) != NULL)
        call->on_done(call);
    while (looked_up != NULL) {
        struct engine_lookup *lookup = looked_up;
        looked_up = lookup->next;
        lookup->on_done(lookup);
    }
    /* After the answers: who has just heard that an order is taken hears then what has become of it. */
    tell_orders(port, &orders);
    tell_tickets(port, &tickets);
    if (port->is_line_new) {
        port->is_line_new = false;
        port->events.on_line(port->events.context);
    }
    if (work_kinds != 0)
        port->events.on_work(work_kinds, port->events.context);
}

const struct sale_view *engine_port_view(struct engine_port *port, struct slice sku)
{
    take_views(port);
    uint64_t hash = map_hash(&port->engine->world.hash_key, sku);
    return map_get(&port->views_by_sku, hash, view_has_sku, &sku);
}

const struct sale_view *engine_port_view_by_id(struct engine_port *port, int64_t product_id)
{
    take_views(port);
    return sale_list_get(&port->sales, product_id);
}

const struct sale_list *engine_port_sales(struct engine_port *port)
{
    take_views(port);
    return &port->sales;
}

const struct sale_list *engine_port_featured(struct engine_port *port)
{
    take_views(port);
    return &port->featured;
}

const struct line_view *engine_port_line(struct engine_port *port)
{
    take_line(port);
    ENSURE(port->line != NULL);
    return port->line;
}
