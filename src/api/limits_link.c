/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis holds one key for each user who has made an attempt within the interval, and forgets it by itself.
 * The script below sets it anew at every attempt, refused ones too (flash-sale contract, section 5), so time
 * is measured by one clock, that of Redis. A key holds until the clock has passed its expiry, hence one
 * millisecond less than the interval. Names are hashed: strangers choose how long they are, and Redis need
 * not know them.
 *
 * Attempts stand in the order in which they were sent, which is that of the answers and of their deadlines;
 * one timer watches the first. When that one is late, all behind it would be late as well: the connection is
 * given up, everything that waits is decided here, and the link tries again after its pause. Before the link
 * counts as up a script that writes has to succeed, in time, under a key that no user can have: a replica
 * that may only be read, or a Redis without memory, is found out by that.
 */
#include "api/limits_link.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"

enum { USER_HASH_BYTES = 16, SHA_LEN = 40, NS_PER_MS = 1000000 };

static const struct slice key_head = SLICE_INIT("doorbuster:limits:");

/* 1: allowed. */
static const struct slice script = SLICE_INIT("local seen = redis.call('EXISTS', KEYS[1]) "
                                              "redis.call('SET', KEYS[1], '', 'PX', ARGV[1]) "
                                              "return 1 - seen");

struct limits_link {
    struct shared_limits *shared;
    struct redis_link *redis;
    uv_timer_t timer; /* the deadline of the first that waits */
    struct list waiting;
    size_t waiting_count;
    bool is_up;
    int64_t missed_ns;           /* Redis has not heard of all attempts of before */
    struct limits_attempt probe; /* of an opening: the script is stored, then run once */
    char sha[SHA_LEN];
    char expiry[24]; /* ms, decimal */
    void (*on_turn_end)(void *context);
    void *context;
};

/* --- those who wait --- */

static void on_timer(uv_timer_t *timer);

static void wait_for(struct limits_link *link, struct limits_attempt *attempt)
{
    attempt->link = link;
    attempt->is_overdue = false;
    attempt->asked_ns = clock_mono_ns();
    list_append(&link->waiting, &attempt->node);
    link->waiting_count++;
    if (!uv_is_active((uv_handle_t *)&link->timer))
        uv_timer_start(&link->timer, on_timer, LIMITS_WAIT_MS, 0);
}

static void take_off(struct limits_attempt *attempt)
{
    list_remove(&attempt->node);
    attempt->link->waiting_count--;
}

/*
 * A thread that stood still for a while finds its timer due before it has read the answers that lie in the
 * socket; Redis is late only when they have not come after one more look.
 */
static void on_timer(uv_timer_t *timer)
{
    struct limits_link *link = timer->data;
    struct list *node = list_first(&link->waiting);
    if (node == NULL)
        return;
    struct limits_attempt *first = CONTAINER_OF(node, struct limits_attempt, node);
    int64_t waited_ms = (clock_mono_ns() - first->asked_ns) / NS_PER_MS;
    if (waited_ms < LIMITS_WAIT_MS) {
        uv_timer_start(timer, on_timer, (uint64_t)(LIMITS_WAIT_MS - waited_ms), 0);
    } else if (!first->is_overdue) {
        first->is_overdue = true;
        uv_timer_start(timer, on_timer, 1, 0);
    } else {
        redis_link_fail(link->redis, "it has not answered within 50 ms");
        link->on_turn_end(link->context);
    }
}

/* --- asking --- */

static bool send_evalsha(struct limits_link *link, struct limits_attempt *attempt)
{
    const struct slice parts[] = {SLICE("EVALSHA"), slice_make(link->sha, SHA_LEN), SLICE("1"),
        slice_make(attempt->key, LIMITS_KEY_LEN), slice_cstr(link->expiry)};
    return redis_link_send(link->redis, &attempt->call, parts, 5);
}

/* Redis has lost the script and stores it again by this. */
static bool send_eval(struct limits_link *link, struct limits_attempt *attempt)
{
    const struct slice parts[] = {SLICE("EVAL"), script, SLICE("1"), slice_make(attempt->key, LIMITS_KEY_LEN),
        slice_cstr(link->expiry)};
    return redis_link_send(link->redis, &attempt->call, parts, 5);
}

static bool is_error(const redisReply *reply, const char *code)
{
    return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, code, strlen(code)) == 0;
}

/* Gives the link up for what Redis answered instead of a number. */
static void fail_by(struct limits_link *link, const redisReply *reply)
{
    redis_link_fail(
        link->redis, reply->type == REDIS_REPLY_ERROR ? reply->str : "it answers what Redis would not");
}

/*
 * A Redis that was away has not heard of the last attempts; until they no longer count, what this node
 * remembers of them counts too. Two threads may come to Redis in another order than to that memory, so that
 * meanwhile of simultaneous attempts of one user each can be refused for the other.
 */
static bool knows_all(const struct limits_link *link)
{
    return clock_mono_ns() - link->missed_ns > shared_limits_interval_ms(link->shared) * NS_PER_MS;
}

static void on_reply(struct redis_call *call, const redisReply *reply)
{
    struct limits_attempt *attempt = CONTAINER_OF(call, struct limits_attempt, call);
    struct limits_link *link = attempt->link;
    if (reply != NULL && is_error(reply, "NOSCRIPT") && send_eval(link, attempt))
        return;
    take_off(attempt);
    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER) {
        attempt->is_allowed = reply->integer == 1 && (attempt->is_allowed || knows_all(link));
        shared_limits_count_shared(link->shared, (uint64_t)(clock_mono_ns() - attempt->asked_ns));
    } else {
        shared_limits_count_fallback(link->shared);
    }
    attempt->on_decided(attempt);
    if (reply != NULL && reply->type != REDIS_REPLY_INTEGER)
        fail_by(link, reply);
}

static void put_key(struct slice user, char key[LIMITS_KEY_LEN])
{
    unsigned char hash[USER_HASH_BYTES];
    char digits[2 * USER_HASH_BYTES + 1];
    (void)crypto_generichash(hash, sizeof hash, (const unsigned char *)user.base, user.len, NULL, 0);
    sodium_bin2hex(digits, sizeof digits, hash, sizeof hash);
    memcpy(key, key_head.base, key_head.len);
    memcpy(key + key_head.len, digits, 2 * sizeof hash);
}

bool limits_link_ask(struct limits_link *link, struct slice user, struct limits_attempt *attempt)
{
    if (link->is_up && link->waiting_count < LIMITS_WAITING_MAX) {
        attempt->call.on_reply = on_reply;
        put_key(user, attempt->key);
        if (send_evalsha(link, attempt)) {
            wait_for(link, attempt);
            return true;
        }
    }
    shared_limits_count_fallback(link->shared);
    return false;
}

/* --- opening --- */

static void on_probed(struct redis_call *call, const redisReply *reply)
{
    struct limits_attempt *probe = CONTAINER_OF(call, struct limits_attempt, call);
    struct limits_link *link = probe->link;
    take_off(probe);
    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER) {
        link->is_up = true;
        if (shared_limits_has_decided(link->shared))
            link->missed_ns = clock_mono_ns();
        shared_limits_link_up(link->shared);
    } else if (reply != NULL) {
        fail_by(link, reply);
    }
}

static void on_stored(struct redis_call *call, const redisReply *reply)
{
    struct limits_attempt *probe = CONTAINER_OF(call, struct limits_attempt, call);
    struct limits_link *link = probe->link;
    bool is_stored = reply != NULL && reply->type == REDIS_REPLY_STRING && reply->len == SHA_LEN;
    if (is_stored) {
        memcpy(link->sha, reply->str, SHA_LEN);
        probe->call.on_reply = on_probed;
        if (send_evalsha(link, probe))
            return;
    }
    take_off(probe);
    if (reply != NULL && !is_stored)
        fail_by(link, reply);
    else if (reply != NULL)
        redis_link_fail(link->redis, "no memory to ask it");
}

static void on_open(void *context)
{
    struct limits_link *link = context;
    const struct slice parts[] = {SLICE("SCRIPT"), SLICE("LOAD"), script};
    link->probe.call.on_reply = on_stored;
    if (redis_link_send(link->redis, &link->probe.call, parts, 3))
        wait_for(link, &link->probe);
    else
        redis_link_fail(link->redis, "no memory to ask it");
}

static void on_down(const char *reason, void *context)
{
    struct limits_link *link = context;
    bool was_up = link->is_up;
    link->is_up = false;
    shared_limits_link_down(link->shared, was_up, reason);
}

static void on_turn_end(void *context)
{
    struct limits_link *link = context;
    link->on_turn_end(link->context);
}

/* --- life --- */

struct limits_link *limits_link_create(
    struct shared_limits *shared, uv_loop_t *loop, void (*turn_end)(void *context), void *context)
{
    struct limits_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return NULL;
    link->shared = shared;
    link->on_turn_end = turn_end;
    link->context = context;
    list_init(&link->waiting);
    int64_t interval_ms = shared_limits_interval_ms(shared);
    ENSURE(interval_ms > 0);
    link->missed_ns = clock_mono_ns() - (interval_ms + 1) * NS_PER_MS;
    (void)snprintf(link->expiry, sizeof link->expiry, "%lld",
        (long long)(interval_ms > 1 ? interval_ms - 1 : interval_ms));
    put_key(SLICE("probe"), link->probe.key);
    /* Users' keys go on with hex digits. */
    memcpy(link->probe.key + key_head.len, "probe-", 6);
    const struct redis_link_events events = {
        .on_open = on_open, .on_down = on_down, .on_turn_end = on_turn_end, .context = link};
    link->redis = redis_link_create(loop, shared_limits_address(shared), events);
    if (link->redis == NULL) {
        free(link);
        return NULL;
    }
    uv_timer_init(loop, &link->timer);
    link->timer.data = link;
    shared_limits_add_link(shared);
    return link;
}

void limits_link_close(struct limits_link *link)
{
    redis_link_close(link->redis);
    ENSURE(list_is_empty(&link->waiting));
    link->is_up = false;
    uv_close((uv_handle_t *)&link->timer, NULL);
}

void limits_link_destroy(struct limits_link *link)
{
    redis_link_destroy(link->redis);
    free(link);
}
