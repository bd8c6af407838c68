/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the courier share: courier.c (the thread, what is handed over, timers, the end), lane.c
 * (libcurl's sockets on the loop), transfer.c (one request or mail, and what became of it), courier_check.c
 * (whether something can be sent). All of it is the courier thread's, but for what `lock` guards.
 */
#ifndef DOORBUSTER_SERVICE_COURIER_PRIV_H
#define DOORBUSTER_SERVICE_COURIER_PRIV_H

#include "service/courier.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

enum courier_kind { COURIER_KIND_REQUEST, COURIER_KIND_MAIL, COURIER_KIND_TIMER, COURIER_KIND_COUNT };

/*
 * One multi handle, its connections and its sockets. Connections are kept within a lane, so there are groups
 * of lanes: for requests that may go to private addresses and for those that must not, for one of the latter
 * must never find a connection that was opened for one of the former; and the same for mail, whose
 * connections end with words. Within a group a lane takes LANE_WIDTH transfers, and the next one is opened
 * when all are full: libcurl looks for a free connection by looking at all.
 */
struct lane {
    struct courier *courier;
    CURLM *multi;
    uv_timer_t timer;      /* libcurl's next time-out */
    size_t width;          /* transfers, connections; at most LANE_WIDTH */
    size_t transfer_count; /* those beyond the width wait inside libcurl */
    bool is_unused;        /* since the last look: no transfer has been in it */
    int *kept;             /* the open sockets of a lane of mail */
    size_t kept_count;
    size_t kept_size;
};

enum { LANE_GROUP_COUNT = 4, LANE_GROUP_MAIL = 2 /* the first of mail */, LANE_WIDTH = 256 };

/* A request or a mail under way. Kept for the next one: an easy handle is dear. */
struct courier_transfer {
    struct list link; /* courier.running or courier.idle */
    struct courier *courier;
    struct courier_item *item;
    struct lane *lane;
    CURL *easy;
    curl_socket_t socket;     /* the one it was last seen to wait for */
    struct curl_slist *lines; /* header lines, or the recipient */
    size_t message_taken;     /* bytes of a mail that libcurl has read */
    size_t answer_seen;       /* bytes of an answer's body, also those that nobody keeps */
    size_t head_seen;         /* bytes of its header lines */
    bool is_target_refused;   /* an address was private */
    bool is_cut;              /* the answer was longer than we read */
    bool has_failed;          /* an option could not be set */
    bool is_mail_begun; /* MAIL FROM has been sent: what the server says from now on is about this mail */
    bool is_mail_over;  /* QUIT has been sent */
    int reply_code;
    char reply[COURIER_TEXT_MAX]; /* the mail server's last line */
    char error[CURL_ERROR_SIZE];
};

/* Completed things of one kind. */
struct courier_tally {
    atomic_uint_fast64_t by_status[COURIER_STATUS_COUNT];
};

struct courier {
    uv_loop_t loop;
    pthread_t thread;
    struct lane **lanes[LANE_GROUP_COUNT]; /* lane_max each, NULL where none is open */
    size_t lane_max;
    CURLSH *names;       /* what all lanes have looked up */
    struct list running; /* transfers */
    struct list idle;
    size_t idle_count;
    struct list timers; /* items that wait for their time */
    size_t under_way;   /* items that are neither in `posted` nor completed */
    uv_timer_t grace;
    uv_timer_t sweep; /* closes lanes that nobody uses */
    uv_prepare_t turn;
    bool is_refusing; /* stop has begun */
    char *ca_file;
    size_t connections_max;
    int64_t keep_idle_ms;

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t drained;
    struct list posted; /* items handed over */
    uv_async_t wake;
    bool is_stopping;
    bool is_drained;
    bool is_ending;
    int64_t grace_ms;

    struct courier_tally done[COURIER_KIND_COUNT];
    atomic_int_fast64_t in_flight[COURIER_KIND_COUNT]; /* handed over and not completed */
};

/* --- courier.c --- */

/* Calls on_done; the item is gone then. */
void courier_complete(struct courier *courier, struct courier_item *item);

/* --- lane.c --- */

/* The first of its group with room, which may be a new one, or else the emptiest; NULL: no memory. */
struct lane *lane_choose(struct courier *courier, size_t group);

/* Closes the lanes of which nobody has made use since the last call; all: the others too, which are empty. */
void lanes_sweep(struct courier *courier, bool all);

/* Open sockets of mail: before a lane is closed they are shut for reading. libcurl says QUIT on each and
 * would wait for the answers. */
void lane_keep_socket(struct lane *lane, int fd);
void lane_drop_socket(struct lane *lane, int fd);

/* --- transfer.c --- */

/* Begins; when it cannot, the item is completed within. */
void transfer_start(struct courier *courier, struct courier_item *item);

/* Takes it out of its lane, and completes its item as libcurl's result says. */
void transfer_end(struct courier_transfer *transfer, CURLcode result);

/* The same for one that is given up. */
void transfer_abort(struct courier_transfer *transfer);

/* Completes an item that is never begun. */
void transfer_refuse(struct courier *courier, struct courier_item *item, const char *reason);

void transfer_destroy(struct courier_transfer *transfer);

/* --- courier_check.c --- */

/* ERR_USAGE: it cannot be sent as it is. */
MUST_CHECK enum err courier_check_request(const struct courier_request *request, struct error *error);
MUST_CHECK enum err courier_check_mail(const struct courier_mail *mail, struct error *error);

/* Of a URL that courier_check_mail_url takes; false: no memory. */
bool courier_read_mail_url(const char *url, bool *has_user, bool *is_here);

#endif
