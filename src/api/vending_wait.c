/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that wait in the line: start-work with `Prefer: wait=N`.
 *
 * A wait begins with a command that takes a machine or a ticket. Once there is a ticket, the wait ends when
 * its ticket has ended, and in no other way; the engine tells of that on every node (on_ticket):
 *
 * - served: 200, or, when nobody is there any more to hear it, the machine is given back to the next;
 * - expired or left: 409.
 *
 * A wait without a client any more, and one whose time is over without a word from the engine (its clock
 * differs, the store hangs, the node was cut off), leaves the line: all of them with one command at a time,
 * again until it is decided. If then still nothing is heard of the ticket, the store is asked. So no machine
 * is given to nobody for longer than that takes.
 *
 * With a store of their own, tickets expire at the end of the wait, and a restart ends those that were there.
 * With a shared store a ticket expires after KEEP_FOR_MS unless this node keeps it, so that the tickets of
 * a node that has died do not stand in the way.
 *
 * What a wait costs: this struct, a place in a table and in a heap, and what net/ holds of its request. One
 * timer for all of them, set to the first alarm. On the net thread.
 */
#include <stdlib.h>

#include "api/vending_priv.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/heap.h"
#include "base/map.h"

enum {
    NS_PER_MS = 1000000,
    MS_PER_S = 1000,
    GRACE_MS = 2000,     /* after its end a ticket should have been heard of */
    KEEP_FOR_MS = 15000, /* shared store */
    KEEP_EACH_MS = 5000,
    AGAIN_MS = 250, /* when the line or the store did not answer */
};

struct line_wait {
    struct line_waits *waits;
    struct http_request *request; /* NULL: answered, or its client has gone */
    int64_t ticket_id;            /* 0: not in the line yet */
    int64_t deadline_ns;
    int64_t until_ms; /* the ticket expires then, as far as we have said; by the engine's clock */
    int64_t alarm_ns; /* silent: when to ask the store */
    int64_t wait_s;
    struct list node;   /* on one of the lists of line_waits */
    size_t alarm_place; /* in line_waits.alarms */
    bool was_held_back; /* its ticket was served when its client seemed to have gone */
};

/* The call with which a wait begins. */
struct joining {
    struct engine_call call;
    struct pool_request pool;
    struct line_wait *wait;
};

struct line_waits {
    struct vending *vending;
    struct map by_ticket;
    struct heap alarms;  /* of those in the line, not leaving */
    struct list joining; /* no ticket yet */
    struct list waiting;
    struct list leaving; /* to be taken out of the line */
    struct list sent;    /* the command is under way */
    struct list silent;  /* it is through; their end should be heard of, else the store is asked */
    uv_timer_t alarm_timer;
    uv_timer_t again_timer; /* while some are silent, or could not leave */
    uv_timer_t keep_timer;  /* on a shared store, while some are waiting */
    struct engine_lookup lookup;
    bool is_asking;
    bool is_put_off; /* the line takes nothing for a moment */
};

/* --- places --- */

static bool is_alarm_before(const void *a, const void *b)
{
    const struct line_wait *one = a;
    const struct line_wait *other = b;
    return one->alarm_ns != other->alarm_ns ? one->alarm_ns < other->alarm_ns
                                            : one->ticket_id < other->ticket_id;
}

static const struct heap_kind by_alarm = {is_alarm_before, offsetof(struct line_wait, alarm_place)};

static bool has_id(const void *value, const void *key)
{
    return ((const struct line_wait *)value)->ticket_id == *(const int64_t *)key;
}

static struct line_wait *wait_of(const struct line_waits *waits, int64_t ticket_id)
{
    return map_get(&waits->by_ticket, map_hash_id(ticket_id), has_id, &ticket_id);
}

static void move(struct line_wait *wait, struct list *list)
{
    list_remove(&wait->node);
    list_append(list, &wait->node);
}

static struct line_wait *first_of(const struct list *list)
{
    struct list *node = list_first(list);
    return node == NULL ? NULL : CONTAINER_OF(node, struct line_wait, node);
}

static void on_alarm(uv_timer_t *timer);

static void set_alarm_timer(struct line_waits *waits)
{
    const struct line_wait *first = heap_first(&waits->alarms);
    if (first == NULL) {
        uv_timer_stop(&waits->alarm_timer);
        return;
    }
    int64_t left_ms = (first->alarm_ns - clock_mono_ns()) / NS_PER_MS + 1;
    uv_update_time(&waits->vending->thread->loop);
    uv_timer_start(&waits->alarm_timer, on_alarm, (uint64_t)(left_ms < 0 ? 0 : left_ms), 0);
}

/* When to go by our own clock: at the end of the wait, or a while after the ticket should have expired. */
static void set_alarm(struct line_wait *wait, int64_t now_ms)
{
    struct line_waits *waits = wait->waits;
    int64_t left_ms = (wait->deadline_ns - clock_mono_ns()) / NS_PER_MS;
    bool outlives = wait->until_ms > now_ms + left_ms;
    wait->alarm_ns = wait->deadline_ns + (outlives ? 0 : (int64_t)GRACE_MS * NS_PER_MS);
    const struct line_wait *first = heap_first(&waits->alarms);
    bool is_timer_late = first == NULL || first == wait || is_alarm_before(wait, first);
    if (heap_has(&waits->alarms, wait))
        heap_move(&waits->alarms, wait);
    else
        heap_put(&waits->alarms, wait);
    if (is_timer_late)
        set_alarm_timer(waits);
}

static void add_waiting(struct line_waits *waits, int64_t more)
{
    size_t now = atomic_load_explicit(&waits->vending->waiting, memory_order_relaxed);
    atomic_store_explicit(&waits->vending->waiting, (size_t)((int64_t)now + more), memory_order_relaxed);
}

/* Its request has been answered, and its ticket, if it had one, has ended. */
static void end(struct line_wait *wait)
{
    struct line_waits *waits = wait->waits;
    ENSURE(wait->request == NULL);
    list_remove(&wait->node);
    if (heap_has(&waits->alarms, wait))
        heap_take_out(&waits->alarms, wait);
    if (wait->ticket_id != 0)
        (void)map_remove(&waits->by_ticket, map_hash_id(wait->ticket_id), wait);
    add_waiting(waits, -1);
    free(wait);
}

/* --- answers --- */

static struct http_request *take_request(struct line_wait *wait)
{
    struct http_request *request = wait->request;
    wait->request = NULL;
    return request;
}

static struct slice put_applied(const struct line_wait *wait, char memory[64])
{
    struct strbuf line;
    strbuf_init(&line, memory, 64);
    strbuf_printf(&line, "Preference-Applied: wait=%lld\r\n", (long long)wait->wait_s);
    return strbuf_slice(&line);
}

static void reply_in_vain(struct line_wait *wait)
{
    char line[64];
    vending_reply_no_machine(take_request(wait), wait->waits->vending, put_applied(wait, line));
}

static void look_later(struct line_wait *wait);

/*
 * The ticket has ended; `machine` NULL: with none, or with one whose lease has ended again. A client that has
 * closed its half has most likely gone, which turns out in a moment: until then the machine is held back.
 */
static void on_ended(struct line_wait *wait, const struct machine_row *machine)
{
    char line[64];
    struct vending *vending = wait->waits->vending;
    if (wait->request != NULL && machine != NULL && !wait->was_held_back &&
        http_request_is_half_closed(wait->request)) {
        wait->was_held_back = true;
        look_later(wait);
        return;
    }
    if (wait->request == NULL && machine != NULL)
        machine_give_back(vending, machine->id, machine->lease_id);
    else if (wait->request != NULL && machine != NULL)
        vending_reply_assigned(take_request(wait), vending, machine, put_applied(wait, line));
    else if (wait->request != NULL)
        reply_in_vain(wait);
    end(wait);
}

void line_waits_on_ticket(struct line_waits *waits, const struct ticket_view *now)
{
    struct line_wait *wait = wait_of(waits, now->id);
    if (wait != NULL)
        on_ended(wait, now->has_machine ? &now->machine : NULL);
}

/* --- leaving --- */

static void on_again(uv_timer_t *timer);

static void go_on_after(struct line_waits *waits, uint64_t ms)
{
    uv_timer_start(&waits->again_timer, on_again, ms, 0);
}

/* Asks the store in a moment what has become of the ticket, unless that has been heard until then. */
static void look_later(struct line_wait *wait)
{
    struct line_waits *waits = wait->waits;
    if (heap_has(&waits->alarms, wait))
        heap_take_out(&waits->alarms, wait);
    move(wait, &waits->silent);
    wait->alarm_ns = clock_mono_ns() + (int64_t)AGAIN_MS * NS_PER_MS;
    if (!uv_is_active((uv_handle_t *)&waits->again_timer))
        go_on_after(waits, AGAIN_MS);
}

/* The line takes nothing now: who still waits for it is told that time is up, and leaves later. */
static void put_off(struct line_waits *waits)
{
    struct line_wait *wait;
    while ((wait = first_of(&waits->sent)) != NULL)
        move(wait, &waits->leaving);
    LIST_FOR_EACH (node, &waits->leaving) {
        wait = CONTAINER_OF(node, struct line_wait, node);
        if (wait->request != NULL)
            reply_in_vain(wait);
    }
    waits->is_put_off = true;
    go_on_after(waits, AGAIN_MS);
}

static void on_left(struct ticket_command *command, void *context);

static size_t count_leaving(const struct line_waits *waits)
{
    size_t count = 0;
    LIST_FOR_EACH (node, &waits->leaving) {
        if (++count == TICKETS_PER_COMMAND_MAX)
            break;
    }
    return count;
}

/* All that are leaving, with one command, unless one is under way or the line has just refused one. */
static void send_leaving(struct line_waits *waits)
{
    struct line_wait *wait;
    if (list_is_empty(&waits->leaving) || !list_is_empty(&waits->sent) || waits->is_put_off)
        return;
    size_t count = count_leaving(waits);
    struct ticket_command *command = ticket_command_create(waits->vending, COMMAND_TICKET_LEAVE, count);
    if (command == NULL) {
        put_off(waits);
        return;
    }
    while (command->count < count && (wait = first_of(&waits->leaving)) != NULL) {
        command->ids[command->count++] = wait->ticket_id;
        move(wait, &waits->sent);
    }
    command->on_done = on_left;
    command->context = waits;
    if (!ticket_command_push(command))
        put_off(waits);
}

static void on_left(struct ticket_command *command, void *context)
{
    struct line_waits *waits = context;
    enum result result = command->call.command.outcome.result;
    struct line_wait *wait;
    if (result == RESULT_UNAVAILABLE || result == RESULT_OUTCOME_UNKNOWN) {
        put_off(waits);
        return;
    }
    while ((wait = first_of(&waits->sent)) != NULL)
        look_later(wait); /* the ends of their tickets are told right behind this answer */
    send_leaving(waits);
}

static void on_asked(struct engine_lookup *lookup)
{
    struct line_waits *waits = CONTAINER_OF(lookup, struct line_waits, lookup);
    struct question question = lookup->question;
    struct line_wait *wait = wait_of(waits, question.id);
    waits->is_asking = false;
    if (wait != NULL && lookup->status == ERR_NONE) {
        if (question.is_found && question.ticket.state == TICKET_WAITING)
            move(wait, &waits->leaving);
        else
            on_ended(wait, question.is_found && question.has_machine ? &question.machine : NULL);
    }
    question_fini(&question);
    if (wait != NULL && lookup->status != ERR_NONE && wait->request != NULL)
        reply_in_vain(wait);
    go_on_after(waits, lookup->status == ERR_NONE ? 0 : AGAIN_MS);
}

/* Has the ticket ended, and nobody told us? */
static void ask(struct line_waits *waits, int64_t ticket_id)
{
    waits->lookup =
        (struct engine_lookup){.question = {.kind = QUESTION_TICKET, .id = ticket_id}, .on_done = on_asked};
    waits->is_asking = true;
    if (engine_port_look_up(waits->vending->thread->port, &waits->lookup))
        return;
    waits->is_asking = false;
    go_on_after(waits, AGAIN_MS);
}

static void on_again(uv_timer_t *timer)
{
    struct line_waits *waits = timer->data;
    const struct line_wait *silent = first_of(&waits->silent);
    waits->is_put_off = false;
    if (silent != NULL && !waits->is_asking) {
        int64_t left_ms = (silent->alarm_ns - clock_mono_ns()) / NS_PER_MS;
        if (left_ms > 0)
            go_on_after(waits, (uint64_t)left_ms);
        else
            ask(waits, silent->ticket_id);
    }
    send_leaving(waits);
}

/* Does not send it yet. */
static void leave(struct line_wait *wait)
{
    struct line_waits *waits = wait->waits;
    if (heap_has(&waits->alarms, wait))
        heap_take_out(&waits->alarms, wait);
    move(wait, &waits->leaving);
}

/* --- time --- */

static void on_alarm(uv_timer_t *timer)
{
    struct line_waits *waits = timer->data;
    int64_t now_ns = clock_mono_ns();
    struct line_wait *first;
    while ((first = heap_first(&waits->alarms)) != NULL && first->alarm_ns <= now_ns)
        leave(first); /* its client hears what becomes of that */
    send_leaving(waits);
    set_alarm_timer(waits);
}

static bool is_to_be_kept(const struct line_wait *wait, int64_t now_ns, int64_t now_ms)
{
    return wait->until_ms - now_ms < (wait->deadline_ns - now_ns) / NS_PER_MS;
}

static void on_keep(uv_timer_t *timer)
{
    struct line_waits *waits = timer->data;
    struct ticket_command *command = NULL;
    int64_t now_ns = clock_mono_ns();
    int64_t now_ms = engine_now_ms(waits->vending->thread->app->engine);
    LIST_FOR_EACH (node, &waits->waiting) {
        struct line_wait *wait = CONTAINER_OF(node, struct line_wait, node);
        if (!is_to_be_kept(wait, now_ns, now_ms))
            continue;
        if (command == NULL)
            command = ticket_command_create(waits->vending, COMMAND_TICKET_KEEP, TICKETS_PER_COMMAND_MAX);
        if (command == NULL)
            return; /* the next round may find memory */
        wait->until_ms = now_ms + KEEP_FOR_MS;
        command->pool.until_ms = wait->until_ms;
        command->ids[command->count++] = wait->ticket_id;
        set_alarm(wait, now_ms);
        if (command->count == TICKETS_PER_COMMAND_MAX) {
            ticket_command_push(command);
            command = NULL;
        }
    }
    if (command != NULL) /* what is refused is kept with the next round, which comes early enough */
        ticket_command_push(command);
    if (list_is_empty(&waits->waiting))
        uv_timer_stop(timer);
}

/* --- joining --- */

static void on_gone(struct http_request *request, void *context)
{
    struct line_wait *wait = context;
    struct line_waits *waits = wait->waits;
    vending_count(waits->vending, COUNT_WAIT_GONE);
    wait->request = NULL;
    request->counted_status = HTTP_NOT_COUNTED;
    http_reply(request, 504, slice_make("", 0), slice_make("", 0), slice_make("", 0)); /* nobody hears it */
    if (!heap_has(&waits->alarms, wait))
        return; /* it has no ticket yet, or is leaving */
    leave(wait);
    send_leaving(waits);
}

/* It has a ticket. */
static void on_waits(struct line_wait *wait, int64_t ticket_id)
{
    struct line_waits *waits = wait->waits;
    wait->ticket_id = ticket_id;
    /* Without a place its end would never be heard of, and its machine would be nobody's. */
    bool has_room = heap_reserve(&waits->alarms, waits->by_ticket.count + 1) &&
                    map_put(&waits->by_ticket, map_hash_id(ticket_id), wait);
    ENSURE(has_room);
    vending_count(waits->vending, COUNT_WAITED);
    if (wait->request == NULL) {
        move(wait, &waits->leaving);
        send_leaving(waits);
        return;
    }
    move(wait, &waits->waiting);
    set_alarm(wait, engine_now_ms(waits->vending->thread->app->engine));
    if (waits->vending->thread->app->store->is_shared && !uv_is_active((uv_handle_t *)&waits->keep_timer))
        uv_timer_start(&waits->keep_timer, on_keep, KEEP_EACH_MS, KEEP_EACH_MS);
}

static void reply_not_joined(struct line_wait *wait, const struct engine_call *call)
{
    if (call->command.outcome.result == RESULT_LINE_FULL)
        vending_reply_line_full(take_request(wait), wait->waits->vending);
    else
        vending_reply_not_done(take_request(wait), call);
}

static void on_joined(struct engine_call *call)
{
    struct joining *joining = CONTAINER_OF(call, struct joining, call);
    struct line_wait *wait = joining->wait;
    struct vending *vending = wait->waits->vending;
    const struct machine_row *machine = &joining->pool.machine;
    enum result result = call->command.outcome.result;
    if (result == RESULT_TICKET_WAITS) {
        on_waits(wait, joining->pool.ticket_id);
    } else {
        if (result == RESULT_OK && wait->request == NULL)
            machine_give_back(vending, machine->id, machine->lease_id);
        else if (result == RESULT_OK)
            vending_reply_assigned(take_request(wait), vending, machine, slice_make("", 0));
        else if (wait->request != NULL)
            reply_not_joined(wait, call);
        end(wait);
    }
    free(joining);
}

static struct joining *joining_create(struct line_waits *waits)
{
    struct line_wait *wait = calloc(1, sizeof *wait);
    struct joining *joining = calloc(1, sizeof *joining);
    if (wait == NULL || joining == NULL) {
        free(wait);
        free(joining);
        return NULL;
    }
    joining->wait = wait;
    joining->call.command.kind = COMMAND_MACHINE_TAKE;
    joining->call.command.pool = &joining->pool;
    joining->call.on_done = on_joined;
    wait->waits = waits;
    list_init(&wait->node);
    list_append(&waits->joining, &wait->node);
    add_waiting(waits, 1);
    return joining;
}

void line_waits_join(struct line_waits *waits, struct http_request *request, int64_t wait_s)
{
    const struct app *app = waits->vending->thread->app;
    struct joining *joining = joining_create(waits);
    if (joining == NULL) {
        vending_reply_no_memory(request);
        return;
    }
    struct line_wait *wait = joining->wait;
    int64_t keep_for_ms = wait_s * MS_PER_S;
    if (app->store->is_shared && keep_for_ms > KEEP_FOR_MS)
        keep_for_ms = KEEP_FOR_MS;
    wait->request = request;
    wait->wait_s = wait_s;
    wait->deadline_ns = request->arrived_ns + wait_s * MS_PER_S * NS_PER_MS;
    wait->until_ms = engine_now_ms(app->engine) + keep_for_ms;
    joining->pool.until_ms = wait->until_ms;
    joining->call.deadline_ns = request->arrived_ns + app->config.answer_deadline_ms * NS_PER_MS;
    request->on_gone = on_gone;
    request->on_gone_context = wait;
    http_request_let_go(request);
    if (engine_port_push(waits->vending->thread->port, &joining->call))
        return;
    reply_not_joined(wait, &joining->call);
    end(wait);
    free(joining);
}

/* --- life --- */

struct line_waits *line_waits_create(struct vending *vending)
{
    struct line_waits *waits = calloc(1, sizeof *waits);
    if (waits == NULL)
        return NULL;
    waits->vending = vending;
    map_init(&waits->by_ticket);
    heap_init(&waits->alarms, &by_alarm);
    struct list *const lists[] = {
        &waits->joining, &waits->waiting, &waits->leaving, &waits->sent, &waits->silent};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        list_init(lists[i]);
    uv_timer_t *timers[] = {&waits->alarm_timer, &waits->again_timer, &waits->keep_timer};
    for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++) {
        uv_timer_init(&vending->thread->loop, timers[i]);
        timers[i]->data = waits;
    }
    return waits;
}

static void turn_away(struct line_wait *wait)
{
    if (wait->request != NULL)
        vending_reply_later(take_request(wait), SLICE("The server is stopping. Try again."), MS_PER_S);
}

void line_waits_drain(struct line_waits *waits)
{
    struct line_wait *wait;
    struct list *lists[] = {&waits->joining, &waits->leaving, &waits->sent, &waits->silent};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        LIST_FOR_EACH (node, lists[i])
            turn_away(CONTAINER_OF(node, struct line_wait, node));
    }
    while ((wait = first_of(&waits->waiting)) != NULL) {
        turn_away(wait);
        leave(wait);
    }
    send_leaving(waits);
}

void line_waits_close(struct line_waits *waits)
{
    struct line_wait *wait;
    struct list *const lists[] = {
        &waits->joining, &waits->waiting, &waits->leaving, &waits->sent, &waits->silent};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        while ((wait = first_of(lists[i])) != NULL) {
            wait->request = NULL; /* gone with the server */
            end(wait);
        }
    }
    uv_close((uv_handle_t *)&waits->alarm_timer, NULL);
    uv_close((uv_handle_t *)&waits->again_timer, NULL);
    uv_close((uv_handle_t *)&waits->keep_timer, NULL);
}

void line_waits_destroy(struct line_waits *waits)
{
    map_fini(&waits->by_ticket);
    heap_fini(&waits->alarms);
    free(waits);
}
