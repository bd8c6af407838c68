/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The courier carries what goes outside: HTTP requests and e-mail by libcurl, and timers beside them. One
 * thread does it all without ever waiting for one of them, so ten thousand under way cost a thread and their
 * sockets (and a thread for each look-up of a name, while it lasts; what was looked up is known for a
 * minute).
 *
 * What a caller has to know after a failure is whether the other side may have acted. Each thing that was
 * handed over is therefore completed exactly once, with a status that says so: ANSWERED, NOT_REACHED (nothing
 * was sent: to send it again is harmless), TIMED_OUT and BROKEN (it was sent, or begun to be: who sends it
 * again needs an idempotency key). One thing is sent again without asking: a request on a kept connection
 * that the other side closes without a byte of an answer goes out once more, on a new one (RFC 9112, section
 * 9.3.1, allows that only to what bears repetition; everything that is sent with this has to).
 *
 * A request, a mail and a timer are structs of the caller, best members of a larger one (CONTAINER_OF). From
 * handing over until its on_done is called the struct and all that it points to is the courier's; on_done may
 * free it or hand it over again. on_done is called on the courier's thread and must not block.
 *
 * No redirect is followed, no proxy is taken from the environment, only http and https are spoken (smtp and
 * smtps for mail), certificates are verified, connections are kept for the next request (HTTP/1.1). Private
 * addresses (service/targets.h) are refused when connecting, on the address that the name then has, unless
 * the request says that it may go there.
 */
#ifndef DOORBUSTER_SERVICE_COURIER_H
#define DOORBUSTER_SERVICE_COURIER_H

#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"
#include "base/strbuf.h"

#include <uv.h>

struct courier;

enum courier_status {
    COURIER_ANSWERED,    /* a whole answer: result.code says which */
    COURIER_NOT_REACHED, /* nothing was sent: no such name, refused, no connection in time, private target,
                            certificate, a request that cannot be sent as it is, shutdown */
    COURIER_TIMED_OUT,   /* it was sent, and the answer did not come in time */
    COURIER_BROKEN,      /* it was sent, at least in part, and the connection ended without a whole answer */
    COURIER_STATUS_COUNT
};

enum {
    COURIER_TEXT_MAX = 256,            /* bytes, with the NUL */
    COURIER_RETRY_AFTER_MAX_S = 86400, /* a longer one is cut to this */
    COURIER_URL_LEN_MAX = 2048         /* bytes */
};

struct courier_result {
    enum courier_status status;
    int code; /* ANSWERED: 200 to 999 of HTTP; mail: 250 is accepted, 400 to 599 is refused; else 0 */
    /* As the answer asked, in seconds or by a date: 1 to COURIER_RETRY_AFTER_MAX_S; 0: it did not. */
    int64_t retry_after_s;
    size_t answer_len;           /* bytes in request.answer */
    int64_t duration_ns;         /* from handing over to completion, never negative */
    char text[COURIER_TEXT_MAX]; /* for people: one line, no full stop, with a NUL; never empty */
};

/* The courier's part of what is handed over; nobody else looks into it. Needs no initialisation. */
struct courier_item {
    struct list link;
    int kind;
    int64_t posted_ns;
    struct courier *courier;
    struct courier_transfer *transfer;
};

/* An HTTP POST. What is not given is 0. */
struct courier_request {
    const char *url; /* http:// or https://, at most COURIER_URL_LEN_MAX bytes; may carry user:password@ */
    const char *const *headers; /* lines "Name: value", without CR and LF; neither Host nor Content-Length */
    size_t header_count;
    struct slice body;
    int connect_timeout_ms; /* at least 1: name, connection, TLS */
    int timeout_ms;         /* at least 1: all of it, from handing over to the courier's libcurl */
    bool may_be_private;    /* an operator's own target; never set it for a URL that a customer gives */
    char *answer;           /* the first bytes of the answer's body go there; NULL: nobody wants them */
    size_t answer_size;     /* bytes at answer */
    void (*on_done)(struct courier_request *request);
    struct courier_result result; /* set before on_done */
    struct courier_item item;
};

/* One message to one address. */
struct courier_mail {
    /*
     * smtp://[user:password@]host[:port] (TLS when the server offers it; with a user always, unless the host
     * is this machine: localhost or a loopback address) or smtps:// (TLS at once). Special characters in user
     * and password are percent-encoded. Default ports: 25 and 465.
     */
    const char *url;
    const char *from; /* addresses alone, checked by mail_check_address (service/mail.h) */
    const char *to;
    struct slice message; /* by mail_put (service/mail.h) */
    int connect_timeout_ms;
    int timeout_ms;
    bool may_be_private;
    void (*on_done)(struct courier_mail *mail);
    struct courier_result result; /* code 4xx: try later; 5xx: will never work */
    struct courier_item item;
};

struct courier_timer {
    /* is_cancelled: the courier stops; the time has not come. */
    void (*on_done)(struct courier_timer *timer, bool is_cancelled);
    struct courier_item item; /* the rest is the courier's */
    int64_t due_ns;
    bool is_cancelled;
    uv_timer_t uv;
};

struct courier_config {
    /* At least 1; for requests that may be private and the others each. What is beyond waits, within its
       timeout_ms. */
    size_t connections_max;
    int64_t
        keep_idle_ms; /* a connection unused for that long is not used again, and soon closed; 0: a minute */
    const char *ca_file; /* PEM; NULL: the system's authorities. Copied. */
};

/* Starts its thread; from then on the process ignores SIGPIPE. ERR_MEMORY; ERR_USAGE: ca_file cannot be read.
 */
MUST_CHECK enum err courier_create(
    const struct courier_config *config, struct courier **courier, struct error *error);

/*
 * Hand over. Any thread, also from within on_done, until courier_destroy. Never fail: what cannot be sent is
 * completed with NOT_REACHED. None of them calls on_done itself, none blocks.
 */
void courier_post(struct courier *courier, struct courier_request *request);
void courier_mail(struct courier *courier, struct courier_mail *mail);

/* delay_ms from now, at least 0; never earlier. */
void courier_after(struct courier *courier, struct courier_timer *timer, int64_t delay_ms);

/*
 * Completes everything; blocks up to about grace_ms. Timers are cancelled at once, what is being sent gets
 * the grace time and is then completed as BROKEN or NOT_REACHED. What is handed over from now on is completed
 * as cancelled or NOT_REACHED. One thread, once, not from on_done.
 */
void courier_stop(struct courier *courier, int64_t grace_ms);

/* After courier_stop; ends the thread. Nobody hands over any more. */
void courier_destroy(struct courier *courier);

/*
 * A setting or a customer's URL, before it is kept: is it one that courier_post (courier_mail) takes?
 * ERR_USAGE with a text that tells what is wrong with it, never repeating a password. Looks up no name. Any
 * thread.
 */
MUST_CHECK enum err courier_check_url(const char *url, struct error *error);
MUST_CHECK enum err courier_check_mail_url(const char *url, struct error *error);

/* doorbuster_courier_..., for Prometheus. Any thread. */
void courier_put_metrics(const struct courier *courier, struct strbuf *text);

#endif
