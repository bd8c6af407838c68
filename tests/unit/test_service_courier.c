/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The courier over real sockets: what an answer is, what every kind of failure is called, where it must not
 * go, how much it carries at once, and how it ends. Mail has its own test.
 */
#include "service/courier.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "courier_kit.h"
#include "http_kit.h"
#include "net/listener.h"
#include "scripted_peer.h"

struct fixture {
    struct courier *courier;
    struct tally tally;
    struct peer peer;
};

static int begin(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    fixture->courier = make_courier();
    tally_init(&fixture->tally);
    *state = fixture;
    return 0;
}

static int end(void **state)
{
    struct fixture *fixture = *state;
    courier_stop(fixture->courier, 0);
    courier_destroy(fixture->courier);
    tally_fini(&fixture->tally);
    free(fixture);
    return 0;
}

/* Runs the call against the peer of the fixture, and ends the peer. */
static const struct courier_result *run_with_peer(struct fixture *fixture, struct call *call)
{
    const struct courier_result *result = call_run(fixture->courier, call);
    peer_stop(&fixture->peer);
    return result;
}

/* One POST to a peer with this script. */
static struct courier_result meet(
    struct fixture *fixture, void (*serve)(struct peer *, int, int), int timeout_ms)
{
    struct call call;
    peer_start(&fixture->peer, serve);
    call_init(&call, &fixture->tally, fixture->peer.port, "/");
    call.request.timeout_ms = timeout_ms;
    return *run_with_peer(fixture, &call);
}

/* --- answers --- */

static void an_answer_comes_with_status_body_and_duration(void **state)
{
    struct fixture *fixture = *state;
    struct kit kit;
    struct call call;
    kit_init(&kit);
    kit_start(&kit);
    call_init(&call, &fixture->tally, kit.port, "/echo");
    call.request.body = SLICE("{\"order\":1}");
    const struct courier_result *result = call_run(fixture->courier, &call);
    assert_int_equal(result->status, COURIER_ANSWERED);
    assert_int_equal(result->code, 201);
    assert_int_equal(result->retry_after_s, 0);
    assert_int_equal(result->answer_len, 11);
    assert_memory_equal(call.answer, "{\"order\":1}", 11);
    assert_true(result->duration_ns > 0);
    assert_string_equal(result->text, "answered 201");
    kit_stop(&kit);
}

static void every_status_is_an_answer(void **state)
{
    struct fixture *fixture = *state;
    struct kit kit;
    kit_init(&kit);
    kit_start(&kit);
    assert_int_equal(post_to(fixture->courier, kit.port, "/nowhere").code, 404);
    assert_int_equal(post_to(fixture->courier, kit.port, "/echo").code, 201);
    kit_stop(&kit);
}

static void serve_ok(struct peer *peer, int fd, int nth)
{
    if (peer_read_request(peer, fd))
        peer_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

static void a_request_is_sent_as_it_was_given(void **state)
{
    struct fixture *fixture = *state;
    const char *const headers[] = {
        "Content-Type: application/json", "Idempotency-Key: order-1", "X-Empty-Is-None: 0"};
    struct call call;
    peer_start(&fixture->peer, serve_ok);
    call_init(&call, &fixture->tally, fixture->peer.port, "/pay?a=b");
    call.request.headers = headers;
    call.request.header_count = 3;
    assert_int_equal(run_with_peer(fixture, &call)->code, 200);
    const char *head = fixture->peer.head;
    assert_ptr_equal(strstr(head, "POST /pay?a=b HTTP/1.1\r\n"), head);
    assert_non_null(strstr(head, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(head, "\r\nIdempotency-Key: order-1\r\n"));
    assert_non_null(strstr(head, "\r\nUser-Agent: doorbuster/"));
    assert_non_null(strstr(head, "\r\nContent-Length: 2\r\n"));
    assert_non_null(strstr(head, "\r\n\r\n{}"));
    assert_null(strcasestr(head, "\r\nExpect:"));
}

/* No type is invented, and a body of nothing is sent as nothing. */
static void an_empty_body_has_no_type(void **state)
{
    struct fixture *fixture = *state;
    struct call call;
    peer_start(&fixture->peer, serve_ok);
    call_init(&call, &fixture->tally, fixture->peer.port, "/");
    call.request.body = SLICE("");
    assert_int_equal(run_with_peer(fixture, &call)->code, 200);
    assert_non_null(strstr(fixture->peer.head, "\r\nContent-Length: 0\r\n"));
    assert_null(strcasestr(fixture->peer.head, "\r\nContent-Type:"));
}

static void serve_busy(struct peer *peer, int fd, int nth)
{
    static const char *const retry_after[] = {"7", "999999999999", "Fri, 20 Nov 2020 23:48:01 GMT", "soon"};
    char answer[256];
    if (!peer_read_request(peer, fd))
        return;
    (void)snprintf(answer, sizeof answer,
        "HTTP/1.1 503 Busy\r\nRetry-After: %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        retry_after[nth]);
    peer_send(fd, answer);
}

static void retry_after_is_read_and_bounded(void **state)
{
    static const int64_t expected[] = {7, COURIER_RETRY_AFTER_MAX_S, 0, 0};
    struct fixture *fixture = *state;
    peer_start(&fixture->peer, serve_busy);
    for (size_t i = 0; i < 4; i++) {
        struct courier_result result = post_to(fixture->courier, fixture->peer.port, "/");
        assert_int_equal(result.status, COURIER_ANSWERED);
        assert_int_equal(result.code, 503);
        assert_int_equal(result.retry_after_s, expected[i]);
    }
    peer_stop(&fixture->peer);
}

static void serve_redirect(struct peer *peer, int fd, int nth)
{
    if (peer_read_request(peer, fd))
        peer_send(fd, "HTTP/1.1 307 Elsewhere\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
    peer_wait_end(fd);
}

static void a_redirect_is_an_answer_and_is_not_followed(void **state)
{
    struct fixture *fixture = *state;
    struct courier_result result = meet(fixture, serve_redirect, CALL_TIMEOUT_MS);
    assert_int_equal(result.status, COURIER_ANSWERED);
    assert_int_equal(result.code, 307);
    assert_non_null(strstr(fixture->peer.head, "POST / HTTP/1.1"));
    assert_int_equal(atomic_load(&fixture->peer.connection_count), 1);
}

/* More than anybody reads. */
static void serve_much(struct peer *peer, int fd, int nth)
{
    char block[64 * 1024 + 1];
    if (!peer_read_request(peer, fd))
        return;
    memset(block, 'b', sizeof block - 1);
    block[sizeof block - 1] = '\0';
    peer_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    for (int i = 0; i < 64; i++)
        peer_send(fd, block);
    peer_wait_end(fd);
}

static void a_long_answer_is_cut(void **state)
{
    struct fixture *fixture = *state;
    struct call call;
    char first[sizeof call.answer];
    memset(first, 'b', sizeof first);
    peer_start(&fixture->peer, serve_much);
    call_init(&call, &fixture->tally, fixture->peer.port, "/");
    const struct courier_result *result = run_with_peer(fixture, &call);
    assert_int_equal(result->status, COURIER_ANSWERED);
    assert_int_equal(result->code, 200);
    assert_int_equal(result->answer_len, sizeof call.answer);
    assert_memory_equal(call.answer, first, sizeof first);
}

static void connections_are_kept_for_the_next_request(void **state)
{
    enum { COUNT = 20 };
    struct fixture *fixture = *state;
    struct kit kit;
    kit_init(&kit);
    kit_start(&kit);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(post_to(fixture->courier, kit.port, "/echo").code, 201);
    assert_int_equal(kit_stats(&kit).connections_accepted, 1);
    kit_stop(&kit);
}

static void connections_that_nobody_uses_are_closed(void **state)
{
    const struct courier_config config = {.connections_max = 1000, .keep_idle_ms = 20};
    struct courier *courier;
    struct error error;
    struct kit kit;
    kit_init(&kit);
    kit_start(&kit);
    assert_int_equal(courier_create(&config, &courier, &error), ERR_NONE);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(post_to(courier, kit.port, "/echo").code, 201);
        kit_wait_open(&kit, 0);
    }
    courier_stop(courier, 0);
    courier_destroy(courier);
    kit_stop(&kit);
}

/* --- failures --- */

static void what_is_not_listened_on_is_not_reached(void **state)
{
    struct fixture *fixture = *state;
    peer_start(&fixture->peer, serve_ok);
    int port = fixture->peer.port;
    peer_stop(&fixture->peer);
    assert_int_equal(post_to(fixture->courier, port, "/").status, COURIER_NOT_REACHED);
}

static void a_name_that_nobody_has_is_not_reached(void **state)
{
    struct fixture *fixture = *state;
    struct call call;
    call_init(&call, &fixture->tally, 1, "/");
    call.request.url = "http://nobody.invalid/";
    call.request.connect_timeout_ms = 500; /* where no name server answers */
    assert_int_equal(call_run(fixture->courier, &call)->status, COURIER_NOT_REACHED);
}

static void serve_silence(struct peer *peer, int fd, int nth)
{
    peer_wait_end(fd);
}

/* The connection stands, but TLS does not come about: nothing of the request was sent. */
static void a_connection_that_comes_to_nothing_is_not_reached(void **state)
{
    struct fixture *fixture = *state;
    struct call call;
    peer_start(&fixture->peer, serve_silence);
    call_init(&call, &fixture->tally, fixture->peer.port, "/");
    (void)snprintf(call.url, sizeof call.url, "https://127.0.0.1:%d/", fixture->peer.port);
    call.request.connect_timeout_ms = 50;
    assert_int_equal(run_with_peer(fixture, &call)->status, COURIER_NOT_REACHED);
}

static void serve_request_then_silence(struct peer *peer, int fd, int nth)
{
    if (peer_read_request(peer, fd))
        peer_wait_end(fd);
}

static void silence_is_a_time_out(void **state)
{
    struct courier_result result = meet(*state, serve_request_then_silence, 2000);
    assert_int_equal(result.status, COURIER_TIMED_OUT);
    assert_int_equal(result.code, 0);
    assert_true(result.duration_ns >= 2000 * 1000000LL);
}

static void serve_half_then_silence(struct peer *peer, int fd, int nth)
{
    if (!peer_read_request(peer, fd))
        return;
    peer_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    peer_wait_end(fd);
}

static void half_an_answer_and_silence_is_a_time_out(void **state)
{
    struct courier_result result = meet(*state, serve_half_then_silence, 2000);
    assert_int_equal(result.status, COURIER_TIMED_OUT);
    assert_int_equal(result.code, 0);
}

static void serve_request_then_close(struct peer *peer, int fd, int nth)
{
    (void)peer_read_request(peer, fd);
}

static void a_close_without_an_answer_is_broken(void **state)
{
    assert_int_equal(meet(*state, serve_request_then_close, CALL_TIMEOUT_MS).status, COURIER_BROKEN);
}

static void serve_half_then_close(struct peer *peer, int fd, int nth)
{
    if (peer_read_request(peer, fd))
        peer_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
}

static void half_an_answer_is_broken(void **state)
{
    struct courier_result result = meet(*state, serve_half_then_close, CALL_TIMEOUT_MS);
    assert_int_equal(result.status, COURIER_BROKEN);
    assert_int_equal(result.code, 0);
}

static void serve_nonsense(struct peer *peer, int fd, int nth)
{
    if (peer_read_request(peer, fd))
        peer_send(fd, "220 mail.example ESMTP\r\n");
}

static void what_is_no_http_is_broken(void **state)
{
    assert_int_equal(meet(*state, serve_nonsense, CALL_TIMEOUT_MS).status, COURIER_BROKEN);
}

static void serve_endless_head(struct peer *peer, int fd, int nth)
{
    char line[1024];
    if (!peer_read_request(peer, fd))
        return;
    memset(line, 'x', sizeof line);
    memcpy(line, "X-Line: ", 8);
    memcpy(line + sizeof line - 3, "\r\n", 3);
    peer_send(fd, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 1024; i++)
        peer_send(fd, line);
    peer_wait_end(fd);
}

static void an_endless_head_is_broken(void **state)
{
    assert_int_equal(meet(*state, serve_endless_head, CALL_TIMEOUT_MS).status, COURIER_BROKEN);
}

/* The second request goes out on the kept connection, is heard there, and again on a new one. */
static void serve_one_then_close(struct peer *peer, int fd, int nth)
{
    if (nth == 0) {
        serve_ok(peer, fd, nth);
        (void)peer_read_request(peer, fd);
        return;
    }
    serve_ok(peer, fd, nth);
}

static void a_kept_connection_that_is_closed_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    peer_start(&fixture->peer, serve_one_then_close);
    assert_int_equal(post_to(fixture->courier, fixture->peer.port, "/").code, 200);
    assert_int_equal(post_to(fixture->courier, fixture->peer.port, "/").code, 200);
    assert_int_equal(atomic_load(&fixture->peer.connection_count), 2);
    peer_stop(&fixture->peer);
}

static void serve_one_then_refuse(struct peer *peer, int fd, int nth)
{
    serve_ok(peer, fd, nth);
    if (peer_read_request(peer, fd))
        peer_refuse(peer);
}

/* It was heard once; that the second try reached nobody does not undo that. */
static void heard_on_a_kept_connection_is_broken_whatever_comes_next(void **state)
{
    struct fixture *fixture = *state;
    peer_start(&fixture->peer, serve_one_then_refuse);
    assert_int_equal(post_to(fixture->courier, fixture->peer.port, "/").code, 200);
    assert_int_equal(post_to(fixture->courier, fixture->peer.port, "/").status, COURIER_BROKEN);
    peer_stop(&fixture->peer);
}

/* --- where it must not go --- */

static void private_targets_are_refused_whatever_they_are_called(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]",
        "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254"};
    struct fixture *fixture = *state;
    struct call call;
    peer_start(&fixture->peer, serve_ok);
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        call_init(&call, &fixture->tally, fixture->peer.port, "/");
        (void)snprintf(call.url, sizeof call.url, "http://%s:%d/", hosts[i], fixture->peer.port);
        call.request.may_be_private = false;
        const struct courier_result *result = call_run(fixture->courier, &call);
        assert_int_equal(result->status, COURIER_NOT_REACHED);
        assert_non_null(strstr(result->text, "private address"));
    }
    assert_int_equal(atomic_load(&fixture->peer.connection_count), 0);
    peer_stop(&fixture->peer);
}

/* Nor does it find the way on a connection that another request has opened. */
static void a_kept_connection_is_no_way_to_a_private_target(void **state)
{
    struct fixture *fixture = *state;
    struct kit kit;
    struct call call;
    kit_init(&kit);
    kit_start(&kit);
    assert_int_equal(post_to(fixture->courier, kit.port, "/echo").code, 201);
    call_init(&call, &fixture->tally, kit.port, "/echo");
    call.request.may_be_private = false;
    assert_int_equal(call_run(fixture->courier, &call)->status, COURIER_NOT_REACHED);
    assert_int_equal(kit_stats(&kit).connections_accepted, 1);
    kit_stop(&kit);
}

static void a_proxy_of_the_environment_is_not_asked(void **state)
{
    struct fixture *fixture = *state;
    struct kit kit;
    kit_init(&kit);
    kit_start(&kit);
    assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
    assert_int_equal(post_to(fixture->courier, kit.port, "/echo").code, 201);
    assert_int_equal(unsetenv("http_proxy"), 0);
    kit_stop(&kit);
}

static void what_is_no_web_address_is_not_sent(void **state)
{
    static const char *const urls[] = {"", "nonsense", "/path", "ftp://127.0.0.1/", "file:///etc/passwd",
        "gopher://127.0.0.1/", "smtp://127.0.0.1/", "http://", "http://a b/", "http://host:99999/",
        "http://host/\r\nX: y"};
    struct fixture *fixture = *state;
    struct error error;
    struct call call;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        assert_int_equal(courier_check_url(urls[i], &error), ERR_USAGE);
        call_init(&call, &fixture->tally, 1, "/");
        call.request.url = urls[i];
        assert_int_equal(call_run(fixture->courier, &call)->status, COURIER_NOT_REACHED);
    }
    char url[COURIER_URL_LEN_MAX + 2];
    memset(url, 'a', sizeof url);
    memcpy(url, "https://h/", 10);
    url[sizeof url - 1] = '\0';
    assert_int_equal(courier_check_url(url, &error), ERR_USAGE);
    url[sizeof url - 2] = '\0';
    assert_int_equal(courier_check_url(url, &error), ERR_NONE);
    assert_int_equal(courier_check_url("http://user:pass@host:8080/a?b#c", &error), ERR_NONE);
    assert_int_equal(courier_check_url("ftp://user:secret@host/", &error), ERR_USAGE);
    assert_null(strstr(error.message, "secret"));
}

static void a_header_line_cannot_bring_another(void **state)
{
    static const char *const lines[] = {
        "Key: a\r\nX-Other: b", "Key: a\nb", "Key", ": a", "Ke y: a", "Key:", "Key: ", "Key: \x7f", ""};
    struct fixture *fixture = *state;
    struct call call;
    peer_start(&fixture->peer, serve_ok);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        call_init(&call, &fixture->tally, fixture->peer.port, "/");
        call.request.headers = &lines[i];
        call.request.header_count = 1;
        const struct courier_result *result = call_run(fixture->courier, &call);
        assert_int_equal(result->status, COURIER_NOT_REACHED);
        assert_non_null(strstr(result->text, "header line 1"));
    }
    assert_int_equal(atomic_load(&fixture->peer.connection_count), 0);
    peer_stop(&fixture->peer);
}

/* --- timers --- */

struct wait {
    struct courier_timer timer;
    struct tally *tally;
    struct courier *courier;
    int64_t from_ns;
    int64_t delay_ms;
    bool was_early;
    bool was_cancelled;
    int left; /* times to begin again */
};

static void on_wait_over(struct courier_timer *timer, bool is_cancelled)
{
    struct wait *wait = CONTAINER_OF(timer, struct wait, timer);
    wait->was_early = wait->was_early || clock_mono_ns() - wait->from_ns < wait->delay_ms * 1000000;
    wait->was_cancelled = is_cancelled;
    if (wait->left-- > 0) {
        wait->from_ns = clock_mono_ns();
        courier_after(wait->courier, &wait->timer, wait->delay_ms);
        return;
    }
    tally_add(wait->tally);
}

static void wait_begin(
    struct wait *wait, struct courier *courier, struct tally *tally, int64_t delay_ms, int times)
{
    *wait = (struct wait){.tally = tally,
        .courier = courier,
        .from_ns = clock_mono_ns(),
        .delay_ms = delay_ms,
        .left = times - 1};
    wait->timer.on_done = on_wait_over;
    courier_after(courier, &wait->timer, delay_ms);
}

static void a_timer_comes_after_its_time_and_can_be_set_again_by_itself(void **state)
{
    struct fixture *fixture = *state;
    struct wait waits[3];
    wait_begin(&waits[0], fixture->courier, &fixture->tally, 0, 5);
    wait_begin(&waits[1], fixture->courier, &fixture->tally, 7, 5);
    wait_begin(&waits[2], fixture->courier, &fixture->tally, 30, 1);
    tally_wait(&fixture->tally, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_false(waits[i].was_early);
        assert_false(waits[i].was_cancelled);
    }
}

/* --- many --- */

enum { CROWD_REQUESTS = 2000, CROWD_TIMERS = 10000, FILES_BESIDE = 200 };

/* Two sockets a request, the other side's is in this process too. */
static int crowd_size(void)
{
    size_t files = listener_raise_file_limit();
    if (files >= 2 * CROWD_REQUESTS + FILES_BESIDE)
        return CROWD_REQUESTS;
    int count = (int)(files - FILES_BESIDE) / 2;
    print_message("# %d requests at once instead of %d: the limit of open files is %zu\n", count,
        CROWD_REQUESTS, files);
    return count;
}

static size_t pending_count;

static void count_pending(struct kit *kit)
{
    pending_count = kit->pending_count;
}

/* As kit_wait_pending, with more patience: everything is in one process here, perhaps under a sanitizer. */
static void wait_for_pending(struct kit *kit, int count)
{
    const int64_t limit_ns = clock_mono_ns() + 60LL * 1000000000;
    do {
        assert_true(clock_mono_ns() < limit_ns);
        kit_run(kit, count_pending);
    } while (pending_count < (size_t)count);
}

static void thousands_are_under_way_at_once(void **state)
{
    struct fixture *fixture = *state;
    int count = crowd_size();
    struct call *calls = calloc((size_t)count, sizeof *calls);
    struct wait *waits = calloc(CROWD_TIMERS, sizeof *waits);
    struct kit kit;
    assert_non_null(calls);
    assert_non_null(waits);
    kit_init(&kit);
    kit_start(&kit);
    int64_t from_ns = clock_mono_ns();
    for (int i = 0; i < count; i++) {
        call_init(&calls[i], &fixture->tally, kit.port, "/late");
        courier_post(fixture->courier, &calls[i].request);
    }
    wait_for_pending(&kit, count); /* all of them have been heard, and none is answered */
    print_message(
        "# %d requests under way after %lld ms\n", count, (long long)(clock_mono_ns() - from_ns) / 1000000);
    for (int i = 0; i < CROWD_TIMERS; i++)
        wait_begin(&waits[i], fixture->courier, &fixture->tally, 1 + i % 50, 1);
    tally_wait(&fixture->tally, CROWD_TIMERS);
    from_ns = clock_mono_ns();
    kit_answer(&kit);
    tally_wait(&fixture->tally, CROWD_TIMERS + count);
    print_message("# answered after %lld ms\n", (long long)(clock_mono_ns() - from_ns) / 1000000);
    for (int i = 0; i < count; i++)
        assert_int_equal(calls[i].request.result.code, 200);
    for (int i = 0; i < CROWD_TIMERS; i++)
        assert_false(waits[i].was_early || waits[i].was_cancelled);
    kit_stop(&kit);
    free(waits);
    free(calls);
}

struct poster {
    struct courier *courier;
    int port;
    pthread_t thread;
};

enum { POSTERS = 8, POSTS_EACH = 50 };

static void *post_many(void *context)
{
    struct poster *poster = context;
    struct tally tally;
    struct call call;
    struct wait wait;
    tally_init(&tally);
    for (int i = 0; i < POSTS_EACH; i++) {
        call_init(&call, &tally, poster->port, "/echo");
        courier_post(poster->courier, &call.request);
        wait_begin(&wait, poster->courier, &tally, 1, 1);
        tally_wait(&tally, 2 * (i + 1));
        ENSURE(call.request.result.code == 201);
    }
    tally_fini(&tally);
    return NULL;
}

static void any_thread_may_hand_over(void **state)
{
    struct fixture *fixture = *state;
    struct poster posters[POSTERS];
    struct kit kit;
    kit_init(&kit);
    kit_start(&kit);
    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.courier = fixture->courier, .port = kit.port};
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
    for (int i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_join(posters[i].thread, NULL), 0);
    kit_stop(&kit);
}

/* What is beyond the bound of connections waits for one. */
static void no_more_connections_than_agreed(void **state)
{
    enum { COUNT = 50, BOUND = 3 };
    const struct courier_config config = {.connections_max = BOUND};
    struct fixture *fixture = *state;
    struct courier *courier;
    struct error error;
    struct call calls[COUNT];
    struct kit kit;
    kit_init(&kit);
    kit_start(&kit);
    assert_int_equal(courier_create(&config, &courier, &error), ERR_NONE);
    for (int i = 0; i < COUNT; i++) {
        call_init(&calls[i], &fixture->tally, kit.port, "/echo");
        courier_post(courier, &calls[i].request);
    }
    tally_wait(&fixture->tally, COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(calls[i].request.result.code, 201);
    assert_true(kit_stats(&kit).connections_accepted <= BOUND);
    courier_stop(courier, 0);
    courier_destroy(courier);
    kit_stop(&kit);
}

/* --- the end --- */

static void a_stop_waits_for_answers(void **state)
{
    struct courier *courier = make_courier();
    struct fixture *fixture = *state;
    struct call call;
    struct kit kit;
    kit_init(&kit);
    kit_start(&kit);
    call_init(&call, &fixture->tally, kit.port, "/echo");
    courier_post(courier, &call.request);
    courier_stop(courier, CALL_TIMEOUT_MS);
    assert_int_equal(tally_count(&fixture->tally), 1);
    assert_true(call.request.result.status == COURIER_ANSWERED ||
                call.request.result.status == COURIER_NOT_REACHED); /* when the stop was seen first */
    courier_destroy(courier);
    kit_stop(&kit);
}

static void a_stop_gives_up_what_takes_longer_than_the_grace_time(void **state)
{
    struct courier *courier = make_courier();
    struct fixture *fixture = *state;
    struct call call;
    struct wait wait;
    struct kit kit;
    kit_init(&kit);
    kit_start(&kit);
    call_init(&call, &fixture->tally, kit.port, "/late");
    courier_post(courier, &call.request);
    wait_begin(&wait, courier, &fixture->tally, 1000000, 1);
    kit_wait_pending(&kit, 1);
    courier_stop(courier, 20);
    assert_int_equal(tally_count(&fixture->tally), 2);
    assert_int_equal(call.request.result.status, COURIER_BROKEN);
    assert_non_null(strstr(call.request.result.text, "shutting down"));
    assert_true(wait.was_cancelled);
    courier_destroy(courier);
    kit_stop(&kit);
}

static void after_a_stop_everything_comes_back(void **state)
{
    struct courier *courier = make_courier();
    struct fixture *fixture = *state;
    struct call call;
    struct wait wait;
    courier_stop(courier, 0);
    call_init(&call, &fixture->tally, 1, "/");
    courier_post(courier, &call.request);
    wait_begin(&wait, courier, &fixture->tally, 1000000, 3);
    tally_wait(&fixture->tally, 2);
    assert_int_equal(call.request.result.status, COURIER_NOT_REACHED);
    assert_true(wait.was_cancelled);
    courier_destroy(courier);
}

static void a_file_of_authorities_has_to_be_there(void **state)
{
    const struct courier_config config = {.connections_max = 1, .ca_file = "/nowhere/ca.pem"};
    struct courier *courier;
    struct error error;
    assert_int_equal(courier_create(&config, &courier, &error), ERR_USAGE);
    assert_non_null(strstr(error.message, "/nowhere/ca.pem"));
}

static void the_figures_say_what_became_of_it(void **state)
{
    struct fixture *fixture = *state;
    char memory[4096];
    struct strbuf text;
    assert_int_equal(meet(fixture, serve_request_then_close, CALL_TIMEOUT_MS).status, COURIER_BROKEN);
    strbuf_init(&text, memory, sizeof memory - 1);
    courier_put_metrics(fixture->courier, &text);
    memory[text.len] = '\0';
    assert_non_null(
        strstr(memory, "\ndoorbuster_courier_done_total{kind=\"request\",status=\"broken\"} 1\n"));
    assert_non_null(
        strstr(memory, "\ndoorbuster_courier_done_total{kind=\"request\",status=\"answered\"} 0\n"));
    assert_non_null(strstr(memory, "\ndoorbuster_courier_in_flight{kind=\"request\"} 0\n"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_comes_with_status_body_and_duration),
        TEST(every_status_is_an_answer),
        TEST(a_request_is_sent_as_it_was_given),
        TEST(an_empty_body_has_no_type),
        TEST(retry_after_is_read_and_bounded),
        TEST(a_redirect_is_an_answer_and_is_not_followed),
        TEST(a_long_answer_is_cut),
        TEST(connections_are_kept_for_the_next_request),
        TEST(connections_that_nobody_uses_are_closed),
        TEST(what_is_not_listened_on_is_not_reached),
        TEST(a_name_that_nobody_has_is_not_reached),
        TEST(a_connection_that_comes_to_nothing_is_not_reached),
        TEST(silence_is_a_time_out),
        TEST(half_an_answer_and_silence_is_a_time_out),
        TEST(a_close_without_an_answer_is_broken),
        TEST(half_an_answer_is_broken),
        TEST(what_is_no_http_is_broken),
        TEST(an_endless_head_is_broken),
        TEST(a_kept_connection_that_is_closed_is_replaced),
        TEST(heard_on_a_kept_connection_is_broken_whatever_comes_next),
        TEST(private_targets_are_refused_whatever_they_are_called),
        TEST(a_kept_connection_is_no_way_to_a_private_target),
        TEST(a_proxy_of_the_environment_is_not_asked),
        TEST(what_is_no_web_address_is_not_sent),
        TEST(a_header_line_cannot_bring_another),
        TEST(a_timer_comes_after_its_time_and_can_be_set_again_by_itself),
        TEST(thousands_are_under_way_at_once),
        TEST(any_thread_may_hand_over),
        TEST(no_more_connections_than_agreed),
        TEST(a_stop_waits_for_answers),
        TEST(a_stop_gives_up_what_takes_longer_than_the_grace_time),
        TEST(after_a_stop_everything_comes_back),
        TEST(a_file_of_authorities_has_to_be_there),
        TEST(the_figures_say_what_became_of_it),
    };
    return cmocka_run_group_tests_name("courier", tests, NULL, NULL);
}
