/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl on the courier's loop: it says which sockets it waits for and until when; the loop tells it when
 * they are ready or the time has come, and then asks it what is finished. A watch is stopped before libcurl
 * closes its socket, and so before the number of the socket can be used again.
 */
#include "service/courier_priv.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "base/ensure.h"
#include "base/log.h"

/* A socket that libcurl waits for. */
struct watch {
    uv_poll_t poll;
    struct lane *lane;
    curl_socket_t socket;
};

static void collect(struct lane *lane)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(lane->multi, &left)) != NULL;) {
        struct courier_transfer *transfer = NULL;
        CURLcode result = message->data.result;
        if (message->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        transfer_end(transfer, result);
    }
}

/* --- sockets --- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;
    struct lane *lane = watch->lane;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    int running;
    if ((events & UV_READABLE) != 0)
        flags |= CURL_CSELECT_IN;
    if ((events & UV_WRITABLE) != 0)
        flags |= CURL_CSELECT_OUT;
    ENSURE(curl_multi_socket_action(lane->multi, watch->socket, flags, &running) == CURLM_OK);
    collect(lane);
}

static void on_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void end_watch(struct lane *lane, struct watch *watch)
{
    (void)curl_multi_assign(lane->multi, watch->socket, NULL);
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
}

static struct watch *begin_watch(struct lane *lane, curl_socket_t socket)
{
    struct watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return NULL;
    if (uv_poll_init_socket(&lane->courier->loop, &watch->poll, socket) != 0) {
        free(watch);
        return NULL;
    }
    watch->poll.data = watch;
    watch->lane = lane;
    watch->socket = socket;
    (void)curl_multi_assign(lane->multi, socket, watch);
    return watch;
}

/* Without memory, or past the kernel's bound of watches, the transfer ends by its time-out. */
static int on_socket(CURL *easy, curl_socket_t socket, int what, void *context, void *socket_context)
{
    struct lane *lane = context;
    struct watch *watch = socket_context;
    struct courier_transfer *transfer = NULL;
    if (what == CURL_POLL_REMOVE) {
        if (watch != NULL)
            end_watch(lane, watch);
        return 0;
    }
    if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&transfer) == CURLE_OK && transfer != NULL)
        transfer->socket = socket;
    if (watch == NULL)
        watch = begin_watch(lane, socket);
    if (watch == NULL) {
        log_error("courier",
            "a connection cannot be watched: no memory, or /proc/sys/fs/epoll/max_user_watches is reached");
        return 0;
    }
    int events = (what != CURL_POLL_OUT ? UV_READABLE : 0) | (what != CURL_POLL_IN ? UV_WRITABLE : 0);
    ENSURE(uv_poll_start(&watch->poll, events, on_poll) == 0);
    return 0;
}

/* --- time-outs --- */

static void on_time(uv_timer_t *timer)
{
    struct lane *lane = timer->data;
    int running;
    ENSURE(curl_multi_socket_action(lane->multi, CURL_SOCKET_TIMEOUT, 0, &running) == CURLM_OK);
    collect(lane);
}

/* libcurl must not be called from within its own callback; a time-out of 0 so comes with the next turn. */
static int on_timeout(CURLM *multi, long timeout_ms, void *context)
{
    struct lane *lane = context;
    if (timeout_ms < 0) {
        (void)uv_timer_stop(&lane->timer);
        return 0;
    }
    uv_update_time(&lane->courier->loop);
    ENSURE(uv_timer_start(&lane->timer, on_time, (uint64_t)timeout_ms, 0) == 0);
    return 0;
}

/* --- the sockets of mail --- */

/* Without memory the end takes longer. */
void lane_keep_socket(struct lane *lane, int fd)
{
    if (lane->kept_count == lane->kept_size) {
        size_t size = lane->kept_size == 0 ? 16 : lane->kept_size * 2;
        int *kept = realloc(lane->kept, size * sizeof *kept);
        if (kept == NULL)
            return;
        lane->kept = kept;
        lane->kept_size = size;
    }
    lane->kept[lane->kept_count++] = fd;
}

void lane_drop_socket(struct lane *lane, int fd)
{
    for (size_t i = 0; i < lane->kept_count; i++) {
        if (lane->kept[i] == fd) {
            lane->kept[i] = lane->kept[--lane->kept_count];
            return;
        }
    }
}

/* --- opening and closing --- */

static bool set_options(struct lane *lane)
{
    long width = (long)lane->width;
    /* As many are kept as there may be: none is ever closed, with words and waiting, to make room. */
    return curl_multi_setopt(lane->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
           curl_multi_setopt(lane->multi, CURLMOPT_SOCKETDATA, lane) == CURLM_OK &&
           curl_multi_setopt(lane->multi, CURLMOPT_TIMERFUNCTION, on_timeout) == CURLM_OK &&
           curl_multi_setopt(lane->multi, CURLMOPT_TIMERDATA, lane) == CURLM_OK &&
           curl_multi_setopt(lane->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, width) == CURLM_OK &&
           curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, width) == CURLM_OK;
}

static struct lane *lane_open(struct courier *courier, size_t width)
{
    struct lane *lane = calloc(1, sizeof *lane);
    if (lane == NULL)
        return NULL;
    lane->courier = courier;
    lane->width = width;
    lane->multi = curl_multi_init();
    if (lane->multi == NULL || !set_options(lane)) {
        (void)curl_multi_cleanup(lane->multi);
        free(lane);
        return NULL;
    }
    ENSURE(uv_timer_init(&courier->loop, &lane->timer) == 0);
    lane->timer.data = lane;
    return lane;
}

static void on_lane_closed(uv_handle_t *handle)
{
    struct lane *lane = handle->data;
    free(lane->kept);
    free(lane);
}

static void lane_close(struct lane *lane)
{
    ENSURE(lane->transfer_count == 0);
    for (size_t i = 0; i < lane->kept_count; i++)
        (void)shutdown(lane->kept[i], SHUT_RD);
    (void)curl_multi_cleanup(lane->multi);
    uv_close((uv_handle_t *)&lane->timer, on_lane_closed);
}

struct lane *lane_choose(struct courier *courier, size_t group)
{
    struct lane *emptiest = NULL;
    for (size_t i = 0; i < courier->lane_max; i++) {
        struct lane **lane = &courier->lanes[group][i];
        size_t left = courier->connections_max - i * LANE_WIDTH;
        if (*lane == NULL)
            *lane = lane_open(courier, left < LANE_WIDTH ? left : LANE_WIDTH);
        if (*lane == NULL)
            break;
        if ((*lane)->transfer_count < (*lane)->width)
            return *lane;
        if (emptiest == NULL || (*lane)->transfer_count < emptiest->transfer_count)
            emptiest = *lane;
    }
    return emptiest;
}

void lanes_sweep(struct courier *courier, bool all)
{
    for (size_t i = 0; i < LANE_GROUP_COUNT * courier->lane_max; i++) {
        struct lane **lane = &courier->lanes[i / courier->lane_max][i % courier->lane_max];
        if (*lane == NULL)
            continue;
        if (all || ((*lane)->is_unused && (*lane)->transfer_count == 0)) {
            lane_close(*lane);
            *lane = NULL;
        } else {
            (*lane)->is_unused = true;
        }
    }
}
