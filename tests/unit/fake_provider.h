/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A payment provider for tests: many connections on one thread, answers as a function of the test says, and
 * remembers how often each key has come and was paid. It may be away at first: connections are refused then,
 * at a port that is nobody else's.
 */
#ifndef DOORBUSTER_TESTS_FAKE_PROVIDER_H
#define DOORBUSTER_TESTS_FAKE_PROVIDER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    PROVIDER_KEYS_MAX = 256,
    PROVIDER_KEY_SIZE = 800,
    PROVIDER_CONNECTIONS_MAX = 128,
    PROVIDER_HEARD_MAX = 8192
};

enum { PROVIDER_SILENT = 0 }; /* no answer ever */

struct provider_key {
    char key[PROVIDER_KEY_SIZE]; /* the value of Idempotency-Key */
    char body[256];
    int calls;
    int paid; /* answers 2xx */
};

struct provider_connection {
    int fd; /* -1: free */
    size_t len;
    char heard[PROVIDER_HEARD_MAX];
};

struct provider {
    /* On its thread: the HTTP status for this call, the how-many-th with this key (from 1); or SILENT. */
    int (*answer)(const char *key, int calls);
    int port;
    bool is_away; /* at first */
    atomic_int calls;
    pthread_mutex_t lock; /* guards keys */
    struct provider_key keys[PROVIDER_KEYS_MAX];
    size_t key_count;
    pthread_t thread;
    int listening; /* bound, and refusing while nobody listens */
    atomic_bool has_returned;
    int wake[2];
    atomic_bool is_stopping;
    struct provider_connection connections[PROVIDER_CONNECTIONS_MAX];
};

/* Zeros but for `answer` and is_away. */
void provider_start(struct provider *provider);
void provider_stop(struct provider *provider);
void provider_return(struct provider *provider);

/* How many different ones have come. */
size_t provider_key_count(struct provider *provider);

/* A copy; all zeros when it has not come. */
struct provider_key provider_key(struct provider *provider, const char *key);

#endif
