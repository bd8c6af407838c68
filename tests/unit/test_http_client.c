/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP client against a server that does what a script says, connection by connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "net/http_client.h"

#define REPLY(text) "HTTP/1.1 200 OK\r\nContent-Length: " text

enum { STEPS_MAX = 8, TIMEOUT_MS = 30000, SHORT_TIMEOUT_MS = 1500, BIG = 300000 };

/* What the server does on one accepted connection. */
enum act {
    ACT_END,     /* closes */
    ACT_REQUEST, /* reads one request (up to its empty line) */
    ACT_SEND,    /* sends text */
    ACT_DRIP,    /* sends text a byte a write */
    ACT_BIG,     /* sends a reply with a body of BIG bytes */
    ACT_WAIT_EOF /* reads until the client closes */
};

struct step {
    enum act act;
    const char *text;
};

struct script {
    struct step steps[STEPS_MAX];
};

struct fake {
    int listen_fd;
    int port;
    pthread_t thread;
    const struct script *scripts; /* one a connection */
    size_t count;
    size_t accepted;
    unsigned sources[STEPS_MAX]; /* the last number of each client's address */
};

static void send_all(int fd, const char *text, size_t len, size_t piece)
{
    while (len > 0) {
        ssize_t sent = send(fd, text, piece < len ? piece : len, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        text += sent;
        len -= (size_t)sent;
    }
}

static void read_request(int fd)
{
    char text[8192];
    size_t len = 0;
    while (len < sizeof text) {
        ssize_t got = recv(fd, text + len, sizeof text - len, 0);
        if (got <= 0)
            return;
        len += (size_t)got;
        if (memmem(text, len, "\r\n\r\n", 4) != NULL)
            return;
    }
}

static void send_big(int fd)
{
    static char body[BIG];
    char head[64];
    int len = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BIG);
    memset(body, 'b', sizeof body);
    send_all(fd, head, (size_t)len, (size_t)len);
    send_all(fd, body, sizeof body, sizeof body);
}

static void play(int fd, const struct step *step)
{
    char sink[256];
    for (; step->act != ACT_END; step++) {
        size_t len = step->text == NULL ? 0 : strlen(step->text);
        switch (step->act) {
        case ACT_REQUEST:
            read_request(fd);
            break;
        case ACT_SEND:
            send_all(fd, step->text, len, len);
            break;
        case ACT_DRIP:
            send_all(fd, step->text, len, 1);
            break;
        case ACT_BIG:
            send_big(fd);
            break;
        case ACT_WAIT_EOF:
            while (recv(fd, sink, sizeof sink, 0) > 0) {
            }
            break;
        case ACT_END:
            break;
        }
    }
}

static void *serve(void *argument)
{
    struct fake *fake = argument;
    for (size_t i = 0; i < fake->count; i++) {
        struct pollfd ready = {.fd = fake->listen_fd, .events = POLLIN};
        if (poll(&ready, 1, TIMEOUT_MS) != 1)
            return NULL;
        struct sockaddr_in source;
        socklen_t len = sizeof source;
        int fd = accept(fake->listen_fd, (struct sockaddr *)&source, &len);
        if (fd < 0)
            return NULL;
        fake->sources[i % STEPS_MAX] = ntohl(source.sin_addr.s_addr) & 0xff;
        fake->accepted++;
        play(fd, fake->scripts[i].steps);
        (void)close(fd);
    }
    return NULL;
}

static void fake_start(struct fake *fake, const struct script *scripts, size_t count)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    *fake = (struct fake){.scripts = scripts, .count = count};
    fake->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fake->listen_fd >= 0);
    assert_int_equal(bind(fake->listen_fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fake->listen_fd, 16), 0);
    assert_int_equal(getsockname(fake->listen_fd, (struct sockaddr *)&address, &len), 0);
    fake->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&fake->thread, NULL, serve, fake), 0);
}

static void fake_stop(struct fake *fake)
{
    assert_int_equal(pthread_join(fake->thread, NULL), 0);
    (void)close(fake->listen_fd);
}

/* One link that sends `wanted` requests one after the other and notes what became of each. */
enum { ANSWERED = -1 };

struct client {
    uv_loop_t loop;
    struct http_client *http;
    struct http_link link;
    size_t wanted;
    size_t done;
    bool closes_between; /* a new connection a request */
    unsigned connections_per_source;
    int results[STEPS_MAX]; /* ANSWERED or enum http_failure */
    int statuses[STEPS_MAX];
    size_t body_lens[STEPS_MAX];
    bool was_sent[STEPS_MAX];
    char last_body[64];
    uv_timer_t pause;
    bool pauses_between; /* gives the server time to close: waits until the link has noticed */
};

static void send_next(struct client *client)
{
    strbuf_lit(http_link_prepare(&client->link), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    http_link_send(&client->link, clock_mono_ns());
}

static void end(struct client *client)
{
    http_link_fini(&client->link);
    http_client_destroy(client->http);
    uv_close((uv_handle_t *)&client->pause, NULL);
}

static void on_pause(uv_timer_t *timer)
{
    struct client *client = timer->data;
    if (client->link.socket != NULL)
        return; /* not noticed yet */
    (void)uv_timer_stop(timer);
    send_next(client);
}

static void note(struct client *client, int result)
{
    size_t i = client->done++;
    client->results[i] = result;
    client->was_sent[i] = client->link.sent_ns > 0;
    if (client->done == client->wanted) {
        end(client);
        return;
    }
    if (client->closes_between)
        http_link_close(&client->link);
    if (client->pauses_between)
        (void)uv_timer_start(&client->pause, on_pause, 1, 1);
    else
        send_next(client);
}

static void on_reply(struct http_link *link, const struct http_response *response, int64_t now_ns)
{
    struct client *client = CONTAINER_OF(link, struct client, link);
    assert_true(now_ns >= link->started_ns);
    client->statuses[client->done] = response->status;
    client->body_lens[client->done] = response->body.len;
    size_t len =
        response->body.len < sizeof client->last_body - 1 ? response->body.len : sizeof client->last_body - 1;
    memcpy(client->last_body, response->body.base, len);
    client->last_body[len] = '\0';
    note(client, ANSWERED);
}

static void on_failure(struct http_link *link, enum http_failure failure, int64_t now_ns)
{
    (void)now_ns;
    note(CONTAINER_OF(link, struct client, link), (int)failure);
}

static void run_client(struct client *client, int port, size_t wanted, int64_t timeout_ms)
{
    char url[64];
    struct error error;
    struct http_client_config config = {.timeout_ms = timeout_ms,
        .request_bytes_max = 1024,
        .reply_bytes_max = 1 << 20,
        .connections_per_source = client->connections_per_source,
        .on_reply = on_reply,
        .on_failure = on_failure};
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d/", port);
    assert_int_equal(http_target_init(&config.target, url, &error), ERR_NONE);
    assert_int_equal(uv_loop_init(&client->loop), 0);
    client->http = http_client_create(&client->loop, &config);
    assert_non_null(client->http);
    assert_true(http_link_init(&client->link, client->http));
    (void)uv_timer_init(&client->loop, &client->pause);
    client->pause.data = client;
    client->wanted = wanted;
    send_next(client);
    (void)uv_run(&client->loop, UV_RUN_DEFAULT);
    assert_int_equal(client->done, wanted);
    assert_int_equal(uv_loop_close(&client->loop), 0);
}

static void run_script(
    struct client *client, const struct script *scripts, size_t count, size_t wanted, int64_t timeout_ms)
{
    struct fake fake;
    fake_start(&fake, scripts, count);
    run_client(client, fake.port, wanted, timeout_ms);
    fake_stop(&fake);
    assert_int_equal(fake.accepted, count);
}

static void a_connection_is_kept(void **state)
{
    static const struct script script = {{{ACT_REQUEST, NULL}, {ACT_SEND, REPLY("2\r\n\r\nab")},
        {ACT_REQUEST, NULL}, {ACT_SEND, REPLY("1\r\n\r\nc")}, {ACT_WAIT_EOF, NULL}}};
    struct client client = {0};
    (void)state;
    run_script(&client, &script, 1, 2, TIMEOUT_MS);
    assert_int_equal(client.results[0], ANSWERED);
    assert_int_equal(client.results[1], ANSWERED);
    assert_int_equal(client.statuses[1], 200);
    assert_string_equal(client.last_body, "c");
}

static void a_reply_in_pieces_is_joined(void **state)
{
    static const struct script script = {{{ACT_REQUEST, NULL},
        {ACT_DRIP, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"},
        {ACT_REQUEST, NULL}, {ACT_BIG, NULL}, {ACT_REQUEST, NULL}, {ACT_SEND, REPLY("1\r\n\r\nz")},
        {ACT_WAIT_EOF, NULL}}};
    struct client client = {0};
    (void)state;
    run_script(&client, &script, 1, 3, TIMEOUT_MS);
    assert_int_equal(client.body_lens[0], 5);
    assert_int_equal(client.body_lens[1], BIG);
    assert_string_equal(client.last_body, "z");
}

static void a_closed_connection_is_opened_again_without_a_failure(void **state)
{
    static const struct script scripts[] = {
        {{{ACT_REQUEST, NULL}, {ACT_SEND, REPLY("1\r\n\r\na")}}},
        {{{ACT_REQUEST, NULL},
            {ACT_SEND, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nb"}}},
        {{{ACT_REQUEST, NULL}, {ACT_SEND, "HTTP/1.1 200 OK\r\n\r\nuntil the end"}}},
    };
    struct client client = {.pauses_between = true};
    (void)state;
    run_script(&client, scripts, 3, 3, TIMEOUT_MS);
    for (int i = 0; i < 3; i++)
        assert_int_equal(client.results[i], ANSWERED);
    assert_string_equal(client.last_body, "until the end");
}

static void a_connection_lost_before_the_answer_is_no_answer(void **state)
{
    static const struct script scripts[] = {
        {{{ACT_REQUEST, NULL}}},
        {{{ACT_REQUEST, NULL}, {ACT_SEND, REPLY("5\r\n\r\nab")}}},
        {{{ACT_REQUEST, NULL}, {ACT_SEND, REPLY("1\r\n\r\nc")}, {ACT_WAIT_EOF, NULL}}},
    };
    struct client client = {0};
    (void)state;
    run_script(&client, scripts, 3, 3, TIMEOUT_MS);
    assert_int_equal(client.results[0], HTTP_FAILURE_LOST);
    assert_true(client.was_sent[0]);
    assert_int_equal(client.results[1], HTTP_FAILURE_LOST);
    assert_int_equal(client.results[2], ANSWERED);
}

static void garbage_is_malformed_and_ends_the_connection(void **state)
{
    static const struct script scripts[] = {
        {{{ACT_REQUEST, NULL}, {ACT_SEND, "SSH-2.0-OpenSSH_9.2\r\n\r\n"}, {ACT_WAIT_EOF, NULL}}},
        {{{ACT_REQUEST, NULL}, {ACT_SEND, REPLY("1\r\n\r\nc")}, {ACT_WAIT_EOF, NULL}}},
    };
    struct client client = {0};
    (void)state;
    run_script(&client, scripts, 2, 2, TIMEOUT_MS);
    assert_int_equal(client.results[0], HTTP_FAILURE_MALFORMED);
    assert_int_equal(client.results[1], ANSWERED);
}

/* A second answer to one question must not become the answer to the next question. */
static void an_answer_nobody_asked_for_is_not_taken_for_the_next_one(void **state)
{
    static const struct script scripts[] = {
        {{{ACT_REQUEST, NULL}, {ACT_SEND, REPLY("1\r\n\r\na") REPLY("1\r\n\r\nb")}, {ACT_WAIT_EOF, NULL}}},
        {{{ACT_REQUEST, NULL}, {ACT_SEND, REPLY("1\r\n\r\nc")}, {ACT_WAIT_EOF, NULL}}},
    };
    struct client client = {0};
    (void)state;
    run_script(&client, scripts, 2, 2, TIMEOUT_MS);
    assert_int_equal(client.results[0], ANSWERED);
    assert_int_equal(client.results[1], ANSWERED);
    assert_string_equal(client.last_body, "c");
}

static void a_silent_server_is_a_timeout(void **state)
{
    static const struct script scripts[] = {
        {{{ACT_REQUEST, NULL}, {ACT_WAIT_EOF, NULL}}},
        {{{ACT_REQUEST, NULL}, {ACT_SEND, "HTTP/1.1 200 OK\r\nContent-Le"}, {ACT_WAIT_EOF, NULL}}},
    };
    struct client client = {0};
    (void)state;
    int64_t began_ns = clock_mono_ns();
    run_script(&client, scripts, 2, 2, SHORT_TIMEOUT_MS);
    assert_int_equal(client.results[0], HTTP_FAILURE_TIMEOUT);
    assert_int_equal(client.results[1], HTTP_FAILURE_TIMEOUT);
    assert_true(client.was_sent[0]);
    assert_true(clock_mono_ns() - began_ns >= 2 * SHORT_TIMEOUT_MS * 1000000LL);
}

static void nobody_listening_is_a_failed_connection_with_nothing_sent(void **state)
{
    struct fake fake;
    struct client client = {0};
    (void)state;
    fake_start(&fake, NULL, 0);
    fake_stop(&fake);
    run_client(&client, fake.port, 2, TIMEOUT_MS);
    assert_int_equal(client.results[0], HTTP_FAILURE_CONNECT);
    assert_int_equal(client.results[1], HTTP_FAILURE_CONNECT);
    assert_false(client.was_sent[0]);
}

static void every_request_may_have_a_connection_of_its_own(void **state)
{
    static const struct script script = {
        {{ACT_REQUEST, NULL}, {ACT_SEND, REPLY("1\r\n\r\na")}, {ACT_WAIT_EOF, NULL}}};
    const struct script scripts[] = {script, script, script};
    struct client client = {.closes_between = true};
    (void)state;
    run_script(&client, scripts, 3, 3, TIMEOUT_MS);
    assert_int_equal(client.results[2], ANSWERED);
}

static void many_connections_are_spread_over_source_addresses(void **state)
{
    static const struct script script = {
        {{ACT_REQUEST, NULL}, {ACT_SEND, REPLY("1\r\n\r\na")}, {ACT_WAIT_EOF, NULL}}};
    const struct script scripts[] = {script, script, script, script, script};
    static const unsigned expected[] = {1, 1, 2, 2, 3};
    struct client client = {.closes_between = true, .connections_per_source = 2};
    struct fake fake;
    (void)state;
    fake_start(&fake, scripts, 5);
    run_client(&client, fake.port, 5, TIMEOUT_MS);
    fake_stop(&fake);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(fake.sources[i], expected[i]);
}

/* Very many links at once, and cancelled in the middle. */
static size_t cancelled;

static void count_reply(struct http_link *link, const struct http_response *response, int64_t now_ns)
{
    (void)link;
    (void)response;
    (void)now_ns;
    fail_msg("the server never answers");
}

static void count_failure(struct http_link *link, enum http_failure failure, int64_t now_ns)
{
    (void)link;
    (void)now_ns;
    cancelled += failure == HTTP_FAILURE_CANCELLED;
}

static void cancelling_ends_every_waiting_request_once(void **state)
{
    enum { LINKS = 200 };
    static struct http_link links[LINKS];
    static const struct script none = {{{ACT_END, NULL}}};
    struct fake fake;
    struct error error;
    char url[64];
    uv_loop_t loop;
    (void)state;
    fake_start(&fake, &none, 0); /* accepts nobody: the kernel's queue takes them */
    struct http_client_config config = {.timeout_ms = TIMEOUT_MS,
        .request_bytes_max = 64,
        .reply_bytes_max = 1024,
        .on_reply = count_reply,
        .on_failure = count_failure};
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d", fake.port);
    assert_int_equal(http_target_init(&config.target, url, &error), ERR_NONE);
    assert_int_equal(uv_loop_init(&loop), 0);
    struct http_client *http = http_client_create(&loop, &config);
    for (size_t i = 0; i < LINKS; i++) {
        assert_true(http_link_init(&links[i], http));
        strbuf_lit(http_link_prepare(&links[i]), "GET / HTTP/1.1\r\n\r\n");
        http_link_send(&links[i], clock_mono_ns());
    }
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    cancelled = 0;
    http_client_cancel(http);
    assert_int_equal(cancelled, LINKS);
    for (size_t i = 0; i < LINKS; i++)
        http_link_fini(&links[i]);
    http_client_destroy(http);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    fake_stop(&fake);
}

/*
 * A loopback connection to a port that nobody listens on gets, once in a while, that very port as its own and
 * is connected to itself; then its request comes back as if it were an answer. So many attempts pass through
 * all ports that the kernel gives to connections.
 */
enum { ATTEMPTS = 30000 };

static size_t attempts;
static size_t refused;
static struct http_link lonely;

static void attempt(void)
{
    attempts++;
    strbuf_lit(http_link_prepare(&lonely), "GET / HTTP/1.1\r\n\r\n");
    http_link_send(&lonely, clock_mono_ns());
}

static void on_attempt_failed(struct http_link *link, enum http_failure failure, int64_t now_ns)
{
    (void)now_ns;
    refused += failure == HTTP_FAILURE_CONNECT && link->sent_ns == 0;
    if (attempts < ATTEMPTS)
        attempt();
}

static void nobody_is_taken_for_a_server_not_even_oneself(void **state)
{
    struct fake fake;
    struct error error;
    char url[64];
    uv_loop_t loop;
    (void)state;
    fake_start(&fake, NULL, 0);
    fake_stop(&fake);
    struct http_client_config config = {.timeout_ms = TIMEOUT_MS,
        .request_bytes_max = 64,
        .reply_bytes_max = 1024,
        .on_reply = count_reply,
        .on_failure = on_attempt_failed};
    /* The kernel gives even ports to those who connect and odd ones to those who bind. */
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d", fake.port & ~1);
    assert_int_equal(http_target_init(&config.target, url, &error), ERR_NONE);
    assert_int_equal(uv_loop_init(&loop), 0);
    struct http_client *http = http_client_create(&loop, &config);
    assert_true(http_link_init(&lonely, http));
    attempts = 0;
    refused = 0;
    attempt();
    for (size_t done = 0; done < ATTEMPTS && refused == done;
         done = lonely.is_waiting ? attempts - 1 : attempts)
        (void)uv_run(&loop, UV_RUN_ONCE);
    attempts = ATTEMPTS;
    http_client_cancel(http);
    http_link_fini(&lonely);
    http_client_destroy(http);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(refused, ATTEMPTS);
}

static void an_address_is_read_or_refused_with_a_reason(void **state)
{
    static const char *const good[] = {"http://127.0.0.1:3000", "http://127.0.0.1:3000/",
        "HTTP://localhost:1", "http://[::1]:65535", "http://127.0.0.1"};
    static const char *const bad[] = {"", "127.0.0.1:3000", "https://127.0.0.1:3000", "http://", "http://:80",
        "http://127.0.0.1:0", "http://127.0.0.1:65536", "http://127.0.0.1:x",
        "http://127.0.0.1:", "http://[::1", "http://[::1]80", "http://a@127.0.0.1:80",
        "http://127.0.0.1:80/api"};
    struct http_target target;
    struct error error;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (http_target_init(&target, good[i], &error) != ERR_NONE)
            fail_msg("refused %s: %s", good[i], error.message);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (http_target_init(&target, bad[i], &error) != ERR_USAGE)
            fail_msg("not refused: %s", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_read_or_refused_with_a_reason),
        cmocka_unit_test(a_connection_is_kept),
        cmocka_unit_test(a_reply_in_pieces_is_joined),
        cmocka_unit_test(a_closed_connection_is_opened_again_without_a_failure),
        cmocka_unit_test(a_connection_lost_before_the_answer_is_no_answer),
        cmocka_unit_test(garbage_is_malformed_and_ends_the_connection),
        cmocka_unit_test(an_answer_nobody_asked_for_is_not_taken_for_the_next_one),
        cmocka_unit_test(a_silent_server_is_a_timeout),
        cmocka_unit_test(nobody_listening_is_a_failed_connection_with_nothing_sent),
        cmocka_unit_test(nobody_is_taken_for_a_server_not_even_oneself),
        cmocka_unit_test(every_request_may_have_a_connection_of_its_own),
        cmocka_unit_test(many_connections_are_spread_over_source_addresses),
        cmocka_unit_test(cancelling_ends_every_waiting_request_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
