/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hiredis drives the protocol, libuv the socket; between the two stands a `struct wire`, one for each socket,
 * because a handle of libuv lives on for a turn after hiredis has forgotten its connection. hiredis' cleanup
 * hook is the one place that hears of every end of a connection, whoever brought it about.
 */
#include "api/redis_link.h"

#include <hiredis/async.h>
#include <netdb.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/list.h"

enum {
    OPENING_MS_MAX = 1000, /* to connect to one address and be let in */
    PAUSE_FIRST_MS = 100,
    PAUSE_MAX_MS = 2000, /* so long at most it takes to notice that Redis is back */
    STEADY_MS = 5000,    /* a link that was open for so long begins with the first pause again */
    PARTS_MAX = 8,
};

enum link_state { LINK_PAUSING, LINK_RESOLVING, LINK_CONNECTING, LINK_OPEN, LINK_CLOSED };

struct wire {
    uv_poll_t handle;
    struct redis_link *link;
    redisAsyncContext *context; /* NULL: hiredis has freed it */
    int events;
};

struct redis_link {
    uv_loop_t *loop;
    const struct redis_address *address;
    struct redis_link_events events;
    enum link_state state;
    uv_timer_t timer; /* the pause, or the end of patience while it opens */
    uv_getaddrinfo_t resolver;
    struct addrinfo *found;
    struct addrinfo *next; /* of `found`, the address to try after this one */
    struct wire *wire;     /* NULL: no connection */
    struct redis_call greeting;
    int greetings_due;
    uint64_t opened_ms;
    uint64_t pause_ms;
    char reason[REDIS_REASON_MAX]; /* of redis_link_fail; empty: hiredis knows it */
};

static void connect_next(struct redis_link *link);
static void resolve(struct redis_link *link);

/* --- down, and up again after a pause --- */

static void on_pause_end(uv_timer_t *timer)
{
    resolve(timer->data);
}

static void forget_addresses(struct redis_link *link)
{
    if (link->found != NULL)
        uv_freeaddrinfo(link->found);
    link->found = NULL;
    link->next = NULL;
}

/* All that could be tried has failed. */
static void go_down(struct redis_link *link, const char *reason)
{
    if (link->state == LINK_OPEN && uv_now(link->loop) - link->opened_ms >= STEADY_MS)
        link->pause_ms = PAUSE_FIRST_MS;
    forget_addresses(link);
    link->state = LINK_PAUSING;
    uint64_t pause_ms = link->pause_ms / 2 + randombytes_uniform((uint32_t)link->pause_ms / 2 + 1);
    uv_timer_start(&link->timer, on_pause_end, pause_ms, 0);
    link->pause_ms = link->pause_ms * 2 < PAUSE_MAX_MS ? link->pause_ms * 2 : PAUSE_MAX_MS;
    link->events.on_down(reason, link->events.context);
}

/* --- between hiredis and libuv --- */

static void on_wire_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_poll(uv_poll_t *handle, int status, int events);

static void poll_for(struct wire *wire, int events)
{
    if (events == wire->events)
        return;
    wire->events = events;
    int status = events == 0 ? uv_poll_stop(&wire->handle) : uv_poll_start(&wire->handle, events, on_poll);
    ENSURE(status == 0);
}

static void add_read(void *data)
{
    struct wire *wire = data;
    poll_for(wire, wire->events | UV_READABLE);
}

static void del_read(void *data)
{
    struct wire *wire = data;
    poll_for(wire, wire->events & ~UV_READABLE);
}

static void add_write(void *data)
{
    struct wire *wire = data;
    poll_for(wire, wire->events | UV_WRITABLE);
}

static void del_write(void *data)
{
    struct wire *wire = data;
    poll_for(wire, wire->events & ~UV_WRITABLE);
}

/* hiredis is done with the connection: every call has had its NULL, the socket is closed next. */
static void cleanup(void *data)
{
    struct wire *wire = data;
    struct redis_link *link = wire->link;
    char reason[REDIS_REASON_MAX];
    const char *known = link->reason[0] != '\0' ? link->reason : wire->context->c.errstr;
    (void)snprintf(reason, sizeof reason, "%s", known[0] != '\0' ? known : "the connection was closed");
    link->reason[0] = '\0';
    link->wire = NULL;
    wire->context = NULL;
    uv_close((uv_handle_t *)&wire->handle, on_wire_closed);
    if (link->state == LINK_CLOSED)
        return;
    uv_timer_stop(&link->timer);
    if (link->state == LINK_CONNECTING && link->next != NULL)
        connect_next(link);
    else
        go_down(link, reason);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct wire *wire = handle->data;
    struct redis_link *link = wire->link;
    /* libuv reports a broken socket as an error without events and stops the handle; hiredis finds out what
     * it was by reading. */
    if (status < 0)
        wire->events = 0;
    if (status < 0 || (events & UV_READABLE) != 0)
        redisAsyncHandleRead(wire->context);
    if (wire->context != NULL && status < 0)
        redis_link_fail(link, "the connection broke");
    if (wire->context != NULL && (events & UV_WRITABLE) != 0)
        redisAsyncHandleWrite(wire->context);
    link->events.on_turn_end(link->events.context);
}

/* False: the context is still the caller's. */
static bool attach(struct redis_link *link, redisAsyncContext *context)
{
    struct wire *wire = calloc(1, sizeof *wire);
    if (wire == NULL || uv_poll_init(link->loop, &wire->handle, context->c.fd) != 0) {
        free(wire);
        return false;
    }
    wire->handle.data = wire;
    wire->link = link;
    wire->context = context;
    link->wire = wire;
    context->data = link;
    context->ev.data = wire;
    context->ev.addRead = add_read;
    context->ev.delRead = del_read;
    context->ev.addWrite = add_write;
    context->ev.delWrite = del_write;
    context->ev.cleanup = cleanup;
    return true;
}

/* --- letting oneself in --- */

static void on_hiredis_reply(redisAsyncContext *context, void *reply, void *data)
{
    (void)context;
    struct redis_call *call = data;
    call->on_reply(call, reply);
}

static bool send_parts(
    struct redis_link *link, struct redis_call *call, const struct slice *parts, int part_count)
{
    const char *bases[PARTS_MAX];
    size_t lens[PARTS_MAX];
    ENSURE(part_count <= PARTS_MAX);
    for (int i = 0; i < part_count; i++) {
        bases[i] = parts[i].base;
        lens[i] = parts[i].len;
    }
    return redisAsyncCommandArgv(link->wire->context, on_hiredis_reply, call, part_count, bases, lens) ==
           REDIS_OK;
}

static void open_up(struct redis_link *link)
{
    uv_timer_stop(&link->timer);
    forget_addresses(link);
    link->state = LINK_OPEN;
    link->opened_ms = uv_now(link->loop);
    link->events.on_open(link->events.context);
}

static void on_greeted(struct redis_call *call, const redisReply *reply)
{
    struct redis_link *link = CONTAINER_OF(call, struct redis_link, greeting);
    if (reply == NULL || link->reason[0] != '\0')
        return;
    if (reply->type == REDIS_REPLY_ERROR)
        redis_link_fail(link, reply->str);
    else if (--link->greetings_due == 0)
        open_up(link);
}

/*
 * Both at once; one call serves them, since answers come in order. SELECT is sent for database 0 too: so the
 * link opens only when Redis has answered, and always from within a reply, where hiredis can bear that the
 * connection is given up. When there is no memory to send, the time limit of the opening ends it.
 */
static void greet(struct redis_link *link)
{
    const struct redis_address *address = link->address;
    const bool has_user = address->user[0] != '\0';
    const bool has_password = address->password[0] != '\0';
    const struct slice auth[] = {SLICE("AUTH"), slice_cstr(has_user ? address->user : address->password),
        slice_cstr(address->password)};
    char number[16];
    (void)snprintf(number, sizeof number, "%d", address->database);
    const struct slice select[] = {SLICE("SELECT"), slice_cstr(number)};
    link->greeting.on_reply = on_greeted;
    link->greetings_due = has_password ? 2 : 1;
    if (!has_password || send_parts(link, &link->greeting, auth, has_user ? 3 : 2))
        (void)send_parts(link, &link->greeting, select, 2);
}

/* --- connecting --- */

static void on_connect(const redisAsyncContext *context, int status)
{
    struct redis_link *link = context->data;
    if (status != REDIS_OK) /* cleanup follows, and knows why */
        return;
    /* Finds out within the minute that the other side has vanished while nothing is asked. */
    (void)redisEnableKeepAlive(&link->wire->context->c);
    greet(link);
}

static void on_impatience(uv_timer_t *timer)
{
    struct redis_link *link = timer->data;
    redis_link_fail(link, "it does not let in within a second");
    link->events.on_turn_end(link->events.context);
}

/* A connection under way, or NULL and why not. */
static redisAsyncContext *begin_connection(
    struct redis_link *link, const struct addrinfo *to, char reason[REDIS_REASON_MAX])
{
    char number[NI_MAXHOST];
    if (getnameinfo(to->ai_addr, to->ai_addrlen, number, sizeof number, NULL, 0, NI_NUMERICHOST) != 0) {
        (void)snprintf(reason, REDIS_REASON_MAX, "its address cannot be written");
        return NULL;
    }
    redisAsyncContext *context = redisAsyncConnect(number, link->address->port);
    if (context != NULL && context->err == 0 && attach(link, context))
        return context;
    bool has_text = context != NULL && context->err != 0;
    (void)snprintf(reason, REDIS_REASON_MAX, "%s", has_text ? context->errstr : "no memory or no free file");
    if (context != NULL)
        redisAsyncFree(context);
    return NULL;
}

static void connect_next(struct redis_link *link)
{
    char reason[REDIS_REASON_MAX] = "its name has no address";
    link->state = LINK_CONNECTING;
    while (link->next != NULL) {
        struct addrinfo *to = link->next;
        link->next = to->ai_next;
        redisAsyncContext *context = begin_connection(link, to, reason);
        if (context != NULL) {
            uv_timer_start(&link->timer, on_impatience, OPENING_MS_MAX, 0);
            (void)redisAsyncSetConnectCallback(context, on_connect);
            return;
        }
    }
    go_down(link, reason);
}

static void on_resolved(uv_getaddrinfo_t *resolver, int status, struct addrinfo *found)
{
    struct redis_link *link = resolver->data;
    link->found = found;
    if (link->state == LINK_CLOSED) {
        forget_addresses(link);
        return;
    }
    if (status != 0) {
        char reason[REDIS_REASON_MAX];
        (void)snprintf(reason, sizeof reason, "its name cannot be resolved: %s", uv_strerror(status));
        go_down(link, reason);
        return;
    }
    link->next = found;
    connect_next(link);
}

/* hiredis would look the name up itself, and the whole thread would wait. */
static void resolve(struct redis_link *link)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    link->state = LINK_RESOLVING;
    int status = uv_getaddrinfo(link->loop, &link->resolver, on_resolved, link->address->host, NULL, &hints);
    if (status != 0)
        go_down(link, uv_strerror(status));
}

/* --- for the owner --- */

struct redis_link *redis_link_create(
    uv_loop_t *loop, const struct redis_address *address, struct redis_link_events events)
{
    struct redis_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return NULL;
    link->loop = loop;
    link->address = address;
    link->events = events;
    link->pause_ms = PAUSE_FIRST_MS;
    link->resolver.data = link;
    uv_timer_init(loop, &link->timer);
    link->timer.data = link;
    uv_timer_start(&link->timer, on_pause_end, 0, 0);
    return link;
}

bool redis_link_send(
    struct redis_link *link, struct redis_call *call, const struct slice *parts, int part_count)
{
    return link->state == LINK_OPEN && link->reason[0] == '\0' && send_parts(link, call, parts, part_count);
}

void redis_link_fail(struct redis_link *link, const char *reason)
{
    if (link->wire == NULL || link->reason[0] != '\0') /* it is failing already */
        return;
    (void)snprintf(link->reason, sizeof link->reason, "%s", reason);
    redisAsyncFree(link->wire->context);
}

void redis_link_close(struct redis_link *link)
{
    if (link->state == LINK_RESOLVING)
        (void)uv_cancel((uv_req_t *)&link->resolver);
    link->state = LINK_CLOSED;
    if (link->wire != NULL)
        redisAsyncFree(link->wire->context);
    forget_addresses(link);
    uv_close((uv_handle_t *)&link->timer, NULL);
}

void redis_link_destroy(struct redis_link *link)
{
    ENSURE(link->wire == NULL);
    free(link);
}
