/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_client.h"

#include <sched.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/ensure.h"

enum { NS_PER_MS = 1000000 };

static void on_wake(void *context)
{
    struct client *client = context;
    if (client->on_wake != NULL)
        client->on_wake(client);
    pthread_mutex_lock(&client->lock);
    client->is_woken = true;
    pthread_cond_signal(&client->woken);
    pthread_mutex_unlock(&client->lock);
}

static void on_view(const struct sale_view *before, const struct sale_view *now, void *context)
{
    struct client *client = context;
    if (client->view_count < CLIENT_VIEWS_MAX) {
        struct seen_view *seen = &client->views[client->view_count];
        *seen = (struct seen_view){.had_before = before != NULL,
            .is_removed = now->is_removed,
            .state = now->values.state,
            .end_reason = now->values.end_reason,
            .stock = now->values.stock,
            .updated_ms = now->values.updated_ms};
        (void)snprintf(seen->sku, sizeof seen->sku, "%.*s", SLICE_ARGS(now->sku));
    }
    client->view_count++;
}

void client_open(struct client *client, struct engine *engine, struct fake_store *store)
{
    struct engine_port_events events = {.wake = on_wake, .on_view = on_view, .context = client};
    *client = (struct client){.engine = engine, .store = store};
    pthread_mutex_init(&client->lock, NULL);
    cond_init_mono(&client->woken);
    struct error error;
    enum err status = engine_port_open(engine, events, &client->port, &error);
    ENSURE(status == ERR_NONE);
}

void client_close(struct client *client)
{
    engine_port_close(client->port);
    pthread_cond_destroy(&client->woken);
    pthread_mutex_destroy(&client->lock);
}

int64_t far_deadline(void)
{
    return clock_mono_ns() + 2 * (int64_t)WAIT_LIMIT_MS * NS_PER_MS;
}

static void on_done(struct engine_call *call)
{
    struct ask *ask = CONTAINER_OF(call, struct ask, call);
    const struct outcome *outcome = &call->command.outcome;
    ask->answers++;
    ENSURE(ask->answers == 1);
    ask->client->answer_count++;
    bool has_taken =
        ask->client->store != NULL && call->command.kind == COMMAND_PURCHASE && outcome->result == RESULT_OK;
    ENSURE(!has_taken || fake_store_has_purchase(ask->client->store, outcome->number));
    ENSURE(outcome->result != RESULT_UNAVAILABLE || call->retry_after_s >= 1);
}

void ask_init(struct ask *ask, struct client *client, const struct command *command, int64_t deadline_ns)
{
    *ask = (struct ask){.client = client};
    ENSURE(command->sku.len < sizeof ask->sku && command->user.len < sizeof ask->user);
    (void)snprintf(ask->sku, sizeof ask->sku, "%.*s", (int)command->sku.len, command->sku.base);
    ask->call.command = *command;
    ask->call.command.sku = slice_cstr(ask->sku);
    if (command->user.len > 0) {
        (void)snprintf(ask->user, sizeof ask->user, "%.*s", SLICE_ARGS(command->user));
        ask->call.command.user = slice_cstr(ask->user);
    }
    ask->call.deadline_ns = deadline_ns;
    ask->call.on_done = on_done;
}

bool ask_push(struct ask *ask)
{
    return engine_port_push(ask->client->port, &ask->call);
}

void client_receive(struct client *client)
{
    struct timespec limit = wait_limit();
    pthread_mutex_lock(&client->lock);
    while (!client->is_woken) {
        if (pthread_cond_timedwait(&client->woken, &client->lock, &limit) != 0)
            wait_failed("the engine did not wake the port");
    }
    client->is_woken = false;
    pthread_mutex_unlock(&client->lock);
    engine_port_receive(client->port);
}

void client_drain(struct client *client)
{
    pthread_mutex_lock(&client->lock);
    client->is_woken = false;
    pthread_mutex_unlock(&client->lock);
    engine_port_receive(client->port);
}

enum result ask_await(struct ask *ask)
{
    while (ask->answers == 0)
        client_receive(ask->client);
    return ask->call.command.outcome.result;
}

struct outcome client_do(struct client *client, struct command command)
{
    struct ask ask;
    ask_init(&ask, client, &command, far_deadline());
    if (ask_push(&ask)) {
        engine_port_flush(client->port);
        (void)ask_await(&ask);
    }
    return ask.call.command.outcome;
}

void client_await_views(struct client *client, size_t count)
{
    while (client->view_count < count)
        client_receive(client);
}

void await_state(struct engine *engine, enum engine_state state)
{
    int64_t limit_ns = clock_mono_ns() + (int64_t)WAIT_LIMIT_MS * NS_PER_MS;
    while (engine_state(engine) != state) {
        if (clock_mono_ns() > limit_ns)
            wait_failed(engine_state_name(state));
        (void)sched_yield();
    }
}
