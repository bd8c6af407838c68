/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/line.h"

#include <time.h>

#include "base/ensure.h"
#include "engine/engine.h"

enum { NS_PER_S = 1000000000 };

void call_list_append(struct call_list *list, struct engine_call *call)
{
    call->next = NULL;
    if (list->last == NULL)
        list->first = call;
    else
        list->last->next = call;
    list->last = call;
    list->count++;
}

struct engine_call *call_list_take(struct call_list *list)
{
    struct engine_call *call = list->first;
    if (call == NULL)
        return NULL;
    list->first = call->next;
    if (list->first == NULL)
        list->last = NULL;
    list->count--;
    return call;
}

void call_list_splice(struct call_list *list, struct call_list *more)
{
    if (more->first == NULL)
        return;
    if (list->last == NULL)
        list->first = more->first;
    else
        list->last->next = more->first;
    list->last = more->last;
    list->count += more->count;
    *more = (struct call_list){0};
}

void line_init(struct line *line, size_t depth_max)
{
    *line = (struct line){.depth_max = depth_max};
    pthread_mutex_init(&line->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&line->not_empty, &attributes);
    pthread_condattr_destroy(&attributes);
}

void line_fini(struct line *line)
{
    ENSURE(line->waiting.count == 0);
    pthread_cond_destroy(&line->not_empty);
    pthread_mutex_destroy(&line->lock);
}

void line_append(struct line *line, struct call_list *calls)
{
    pthread_mutex_lock(&line->lock);
    bool was_empty = line->waiting.count == 0;
    size_t room = line->is_closed ? 0 : line->depth_max - line->waiting.count;
    if (calls->count <= room)
        call_list_splice(&line->waiting, calls);
    for (; room > 0 && calls->count > 0; room--)
        call_list_append(&line->waiting, call_list_take(calls));
    bool is_filled = line->waiting.count > 0;
    atomic_store_explicit(&line->depth, line->waiting.count, memory_order_relaxed);
    pthread_mutex_unlock(&line->lock);
    if (was_empty && is_filled)
        pthread_cond_signal(&line->not_empty);
}

/* Waits for calls, the end of the line or the time. The lock is held. */
static void wait_until(struct line *line, int64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_S), .tv_nsec = (long)(until_ns % NS_PER_S)};
    int status = 0;
    while (line->waiting.count == 0 && !line->is_closed && !line->is_poked && status == 0) {
        if (until_ns == INT64_MAX)
            pthread_cond_wait(&line->not_empty, &line->lock);
        else
            status = pthread_cond_timedwait(&line->not_empty, &line->lock, &until);
    }
}

bool line_take(struct line *line, int64_t until_ns, struct call_list *calls)
{
    pthread_mutex_lock(&line->lock);
    wait_until(line, until_ns);
    line->is_poked = false;
    *calls = line->waiting;
    line->waiting = (struct call_list){0};
    atomic_store_explicit(&line->depth, 0, memory_order_relaxed);
    bool is_over = line->is_closed && calls->count == 0;
    pthread_mutex_unlock(&line->lock);
    return !is_over;
}

void line_poke(struct line *line)
{
    pthread_mutex_lock(&line->lock);
    line->is_poked = true;
    pthread_mutex_unlock(&line->lock);
    pthread_cond_signal(&line->not_empty);
}

void line_close(struct line *line)
{
    pthread_mutex_lock(&line->lock);
    line->is_closed = true;
    pthread_mutex_unlock(&line->lock);
    pthread_cond_signal(&line->not_empty);
}
