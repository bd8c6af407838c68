/* SPDX-License-Identifier: Apache-2.0 */
#include "courier_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/ensure.h"

enum { WAIT_S = 60 };

struct courier *make_courier(void)
{
    const struct courier_config config = {.connections_max = 4096};
    struct courier *courier;
    struct error error;
    if (courier_create(&config, &courier, &error) != ERR_NONE)
        fail_msg("%s", error.message);
    return courier;
}

/* --- tally --- */

void tally_init(struct tally *tally)
{
    pthread_condattr_t attributes;
    ENSURE(pthread_condattr_init(&attributes) == 0);
    ENSURE(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    ENSURE(pthread_mutex_init(&tally->lock, NULL) == 0);
    ENSURE(pthread_cond_init(&tally->more, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
    tally->count = 0;
}

void tally_fini(struct tally *tally)
{
    pthread_cond_destroy(&tally->more);
    pthread_mutex_destroy(&tally->lock);
}

void tally_add(struct tally *tally)
{
    pthread_mutex_lock(&tally->lock);
    tally->count++;
    pthread_cond_signal(&tally->more);
    pthread_mutex_unlock(&tally->lock);
}

int tally_count(struct tally *tally)
{
    pthread_mutex_lock(&tally->lock);
    int count = tally->count;
    pthread_mutex_unlock(&tally->lock);
    return count;
}

void tally_wait(struct tally *tally, int count)
{
    struct timespec limit;
    int status = 0;
    clock_gettime(CLOCK_MONOTONIC, &limit);
    limit.tv_sec += WAIT_S;
    pthread_mutex_lock(&tally->lock);
    while (tally->count < count && status == 0)
        status = pthread_cond_timedwait(&tally->more, &tally->lock, &limit);
    int reached = tally->count;
    pthread_mutex_unlock(&tally->lock);
    if (reached < count)
        fail_msg("waited %d seconds in vain for %d things to be done; %d are", WAIT_S, count, reached);
}

/* --- calls --- */

static void on_call_done(struct courier_request *request)
{
    struct call *call = CONTAINER_OF(request, struct call, request);
    ENSURE(request->result.duration_ns >= 0);
    ENSURE(request->result.text[0] != '\0');
    tally_add(call->tally);
}

void call_init(struct call *call, struct tally *tally, int port, const char *path)
{
    *call = (struct call){.tally = tally};
    (void)snprintf(call->url, sizeof call->url, "http://127.0.0.1:%d%s", port, path);
    call->request = (struct courier_request){
        .url = call->url,
        .body = SLICE("{}"),
        .connect_timeout_ms = CALL_TIMEOUT_MS,
        .timeout_ms = CALL_TIMEOUT_MS,
        .may_be_private = true,
        .answer = call->answer,
        .answer_size = sizeof call->answer,
        .on_done = on_call_done,
    };
}

const struct courier_result *call_run(struct courier *courier, struct call *call)
{
    int before = tally_count(call->tally);
    courier_post(courier, &call->request);
    tally_wait(call->tally, before + 1);
    return &call->request.result;
}

struct courier_result post_to(struct courier *courier, int port, const char *path)
{
    struct tally tally;
    struct call call;
    tally_init(&tally);
    call_init(&call, &tally, port, path);
    struct courier_result result = *call_run(courier, &call);
    tally_fini(&tally);
    return result;
}
