/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a net thread does with its port, without sockets: it pushes calls, waits to be woken, receives. Each
 * client belongs to the thread that uses it; only its wake-up comes from the engine's thread. Every answer is
 * checked as it comes: exactly one a call, and a purchase is in the store before anybody hears of it.
 */
#ifndef DOORBUSTER_TESTS_UNIT_ENGINE_CLIENT_H
#define DOORBUSTER_TESTS_UNIT_ENGINE_CLIENT_H

#include "engine/engine.h"
#include "fake_store.h"

enum { CLIENT_VIEWS_MAX = 64 };

/* A call and what it borrows. */
struct ask {
    struct engine_call call;
    struct client *client;
    int answers;
    char sku[16];
    char user[24];
};

/* A picture that came in, copied. */
struct seen_view {
    char sku[16];
    bool had_before;
    bool is_removed;
    enum sale_state state;
    enum end_reason end_reason;
    int64_t stock;
    int64_t updated_ms;
};

struct client {
    struct engine *engine;
    struct engine_port *port;
    struct fake_store *store;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool is_woken;
    void (*on_wake)(
        struct client *client); /* on the engine's thread, before the thread is woken; may be NULL */
    size_t answer_count;
    size_t view_count; /* all that came; the first CLIENT_VIEWS_MAX are kept */
    struct seen_view views[CLIENT_VIEWS_MAX];
};

/* Opens the port; before engine_start. `store` may be NULL: then it is not asked for purchases. */
void client_open(struct client *client, struct engine *engine, struct fake_store *store);
void client_close(struct client *client);

/* A deadline that no test reaches. */
int64_t far_deadline(void);

/* Fills *ask; the texts of `command` are copied into it. */
void ask_init(struct ask *ask, struct client *client, const struct command *command, int64_t deadline_ns);

/* Pushes; false: refused at the door, as engine_port_push. */
bool ask_push(struct ask *ask);

/* Waits for the next wake-up, then receives. */
void client_receive(struct client *client);

/* Receives what is there and forgets wake-ups that have come. */
void client_drain(struct client *client);

/* Receives until the call is answered; returns its result. */
enum result ask_await(struct ask *ask);

/* Push, flush and await; UNAVAILABLE too when refused at the door. */
struct outcome client_do(struct client *client, struct command command);

/* Receives until so many pictures have come. */
void client_await_views(struct client *client, size_t count);

/* Spins, giving way, until the engine is in this state. */
void await_state(struct engine *engine, enum engine_state state);

#endif
