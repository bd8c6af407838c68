/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands about many tickets at once, machines that are given back, and the names of tickets outside. A
 * ticket's name is its number and a keyed hash of it (SipHash-2-4, 64 bits, under a key made from the store's
 * secret), so that all nodes make the same name and nobody else makes one.
 */
#include <sodium.h>
#include <stdlib.h>

#include "api/vending_priv.h"
#include "base/clock.h"
#include "base/ensure.h"

enum {
    NS_PER_MS = 1000000,
    GIVE_BACK_AGAIN_MS = 250,
    TAG_BYTES = crypto_shorthash_BYTES,
};

_Static_assert((int)TICKET_KEY_BYTES == (int)crypto_shorthash_KEYBYTES, "the key of a keyed hash");

/* --- commands --- */

static void on_decided(struct engine_call *call)
{
    struct ticket_command *command = CONTAINER_OF(call, struct ticket_command, call);
    if (command->on_done != NULL)
        command->on_done(command, command->context);
    free(command);
}

struct ticket_command *ticket_command_create(struct vending *vending, enum command_kind kind, size_t size)
{
    ENSURE(size <= TICKETS_PER_COMMAND_MAX);
    struct ticket_command *command = calloc(1, sizeof *command + size * sizeof command->ids[0]);
    if (command == NULL)
        return NULL;
    command->vending = vending;
    command->call.command.kind = kind;
    command->call.command.pool = &command->pool;
    command->call.on_done = on_decided;
    return command;
}

bool ticket_command_push(struct ticket_command *command)
{
    const struct net_thread *thread = command->vending->thread;
    command->call.deadline_ns = clock_mono_ns() + thread->app->config.answer_deadline_ms * NS_PER_MS;
    command->pool.ticket_ids = command->ids;
    command->pool.ticket_count = command->count;
    if (!engine_port_push(thread->port, &command->call)) {
        free(command);
        return false;
    }
    engine_port_flush(thread->port); /* a timer's turn may end without one */
    return true;
}

void ticket_keep_one(struct vending *vending, int64_t ticket_id, int64_t until_ms)
{
    struct ticket_command *command = ticket_command_create(vending, COMMAND_TICKET_KEEP, 1);
    if (command == NULL)
        return; /* the next one who asks tries again */
    command->ids[command->count++] = ticket_id;
    command->pool.until_ms = until_ms;
    ticket_command_push(command);
}

/* --- machines that are given back --- */

struct give_back {
    struct engine_call call;
    struct pool_request pool;
    struct vending *vending;
    struct list node; /* on vending.give_backs until the next attempt */
};

static void on_give_back_timer(uv_timer_t *timer);

static void give_back_later(struct give_back *give_back)
{
    struct vending *vending = give_back->vending;
    list_append(&vending->give_backs, &give_back->node);
    if (!uv_is_active((uv_handle_t *)&vending->give_back_timer))
        uv_timer_start(&vending->give_back_timer, on_give_back_timer, GIVE_BACK_AGAIN_MS, 0);
}

/* OK, or it has been freed otherwise; else it is tried again. */
static void on_given_back(struct engine_call *call)
{
    struct give_back *give_back = CONTAINER_OF(call, struct give_back, call);
    enum result result = call->command.outcome.result;
    if (result == RESULT_UNAVAILABLE || result == RESULT_OUTCOME_UNKNOWN) {
        give_back_later(give_back);
        return;
    }
    vending_count(give_back->vending, COUNT_GIVEN_BACK);
    free(give_back);
}

static void give_back_push(struct give_back *give_back)
{
    const struct net_thread *thread = give_back->vending->thread;
    give_back->call.deadline_ns = clock_mono_ns() + thread->app->config.answer_deadline_ms * NS_PER_MS;
    if (engine_port_push(thread->port, &give_back->call))
        engine_port_flush(thread->port);
    else
        give_back_later(give_back);
}

static void on_give_back_timer(uv_timer_t *timer)
{
    struct vending *vending = timer->data;
    struct list due;
    struct list *node;
    list_init(&due); /* what fails again lands on the list again */
    while ((node = list_first(&vending->give_backs)) != NULL) {
        list_remove(node);
        list_append(&due, node);
    }
    while ((node = list_first(&due)) != NULL) {
        list_remove(node);
        give_back_push(CONTAINER_OF(node, struct give_back, node));
    }
}

void machine_give_back(struct vending *vending, int64_t machine_id, int64_t lease_id)
{
    struct give_back *give_back = calloc(1, sizeof *give_back);
    if (give_back == NULL)
        return; /* its time to choose runs out by itself */
    give_back->vending = vending;
    list_init(&give_back->node);
    give_back->pool.machine_id = machine_id;
    give_back->pool.lease_id = lease_id;
    give_back->pool.is_given_up = true;
    give_back->call.command.kind = COMMAND_MACHINE_RESET;
    give_back->call.command.pool = &give_back->pool;
    give_back->call.on_done = on_given_back;
    give_back_push(give_back);
}

void give_backs_open(struct vending *vending)
{
    list_init(&vending->give_backs);
    uv_timer_init(&vending->thread->loop, &vending->give_back_timer);
    vending->give_back_timer.data = vending;
}

void give_backs_close(struct vending *vending)
{
    struct list *node;
    while ((node = list_first(&vending->give_backs)) != NULL) {
        list_remove(node);
        free(CONTAINER_OF(node, struct give_back, node));
    }
    uv_close((uv_handle_t *)&vending->give_back_timer, NULL);
}

/* --- names --- */

void ticket_names_init(struct vending *vending)
{
    static const unsigned char purpose[] = "ticket of the waiting line";
    unsigned char key[crypto_generichash_BYTES];
    int status = crypto_generichash(key, sizeof key, purpose, sizeof purpose,
        engine_secret(vending->thread->app->engine), STORE_SECRET_BYTES);
    ENSURE(status == 0);
    memcpy(vending->ticket_key, key, TICKET_KEY_BYTES);
    sodium_memzero(key, sizeof key);
}

struct slice ticket_name(const struct vending *vending, int64_t id, char text[TICKET_NAME_LEN_MAX])
{
    unsigned char number[8];
    unsigned char tag[TAG_BYTES];
    char hex[2 * TAG_BYTES + 1];
    struct strbuf name;
    for (size_t i = 0; i < sizeof number; i++) /* the same bytes on every kind of machine */
        number[i] = (unsigned char)((uint64_t)id >> (8 * i));
    (void)crypto_shorthash(tag, number, sizeof number, vending->ticket_key);
    sodium_bin2hex(hex, sizeof hex, tag, sizeof tag);
    strbuf_init(&name, text, TICKET_NAME_LEN_MAX);
    strbuf_put_i64(&name, id);
    strbuf_put_char(&name, '-');
    strbuf_put(&name, slice_make(hex, 2 * TAG_BYTES));
    ENSURE(!name.has_overflowed);
    return strbuf_slice(&name);
}

bool ticket_from_name(const struct vending *vending, struct slice name, int64_t *id)
{
    char text[TICKET_NAME_LEN_MAX];
    struct slice tag;
    if (!slice_to_i64(slice_split(name, '-', &tag), id) || *id < 1)
        return false;
    struct slice own = ticket_name(vending, *id, text);
    return own.len == name.len && sodium_memcmp(own.base, name.base, own.len) == 0;
}
