/* SPDX-License-Identifier: Apache-2.0 */
/* Listening: addresses are understood or refused with words that help, and no descriptor means no spinning.
 */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"

enum { FDS_MAX = 1024, WAIT_S = 30 };

struct guests {
    int fds[FDS_MAX];
    size_t count;
};

static void on_connection(int fd, void *context)
{
    struct guests *guests = context;
    assert_true(guests->count < FDS_MAX);
    guests->fds[guests->count++] = fd;
}

static void close_guests(struct guests *guests)
{
    for (size_t i = 0; i < guests->count; i++)
        (void)close(guests->fds[i]);
    guests->count = 0;
}

static int connect_to(int family, int port)
{
    const struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int status = family == AF_INET ? connect(fd, (const struct sockaddr *)&v4, sizeof v4)
                                   : connect(fd, (const struct sockaddr *)&v6, sizeof v6);
    if (status == 0)
        return fd;
    (void)close(fd);
    return -1;
}

static struct listener *open_at(uv_loop_t *loop, const char *address, struct guests *guests)
{
    struct listener *listener;
    struct error error;
    if (listener_open(loop, slice_cstr(address), on_connection, guests, &listener, &error) != ERR_NONE)
        fail_msg("%s: %s", address, error.message);
    return listener;
}

static void close_all(uv_loop_t *loop, struct listener *listener)
{
    listener_close(listener);
    assert_int_equal(uv_run(loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(loop), 0);
}

static void wait_for_guests(uv_loop_t *loop, const struct guests *guests, size_t count)
{
    const int64_t limit_ns = clock_mono_ns() + (int64_t)WAIT_S * 1000000000;
    while (guests->count < count) {
        assert_true(clock_mono_ns() < limit_ns);
        (void)uv_run(loop, UV_RUN_ONCE);
    }
}

static void a_crowd_is_accepted_ready_to_use(void **state)
{
    enum { COUNT = 300 }; /* more than one turn's budget */
    uv_loop_t loop;
    struct guests guests = {.count = 0};
    int fds[COUNT];
    assert_int_equal(uv_loop_init(&loop), 0);
    struct listener *listener = open_at(&loop, "127.0.0.1:0", &guests);
    assert_true(listener_port(listener) > 0);
    assert_true(listener_backlog(listener) >= COUNT);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = connect_to(AF_INET, listener_port(listener));
        assert_true(fds[i] >= 0);
    }
    wait_for_guests(&loop, &guests, COUNT);
    for (int i = 0; i < COUNT; i++) {
        int is_nodelay = 0;
        socklen_t len = sizeof is_nodelay;
        assert_int_equal(getsockopt(guests.fds[i], IPPROTO_TCP, TCP_NODELAY, &is_nodelay, &len), 0);
        assert_true(is_nodelay != 0);
        assert_true((fcntl(guests.fds[i], F_GETFL) & O_NONBLOCK) != 0);
        assert_true((fcntl(guests.fds[i], F_GETFD) & FD_CLOEXEC) != 0);
        (void)close(fds[i]);
    }
    close_guests(&guests);
    close_all(&loop, listener);
}

static void closing_hands_on_who_waits(void **state)
{
    enum { COUNT = 300 };
    uv_loop_t loop;
    struct guests guests = {.count = 0};
    int fds[COUNT];
    assert_int_equal(uv_loop_init(&loop), 0);
    struct listener *listener = open_at(&loop, "127.0.0.1:0", &guests);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = connect_to(AF_INET, listener_port(listener));
        assert_true(fds[i] >= 0);
        assert_int_equal(send(fds[i], "x", 1, MSG_NOSIGNAL), 1);
    }
    close_all(&loop, listener);
    assert_int_equal(guests.count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        char byte;
        assert_int_equal(recv(guests.fds[i], &byte, 1, 0), 1);
        (void)close(fds[i]);
    }
    close_guests(&guests);
}

static void every_form_of_address_is_understood(void **state)
{
    static const char *const addresses[] = {"127.0.0.1:0", "localhost:0", ":0", "0.0.0.0:0"};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        uv_loop_t loop;
        struct guests guests = {.count = 0};
        assert_int_equal(uv_loop_init(&loop), 0);
        struct listener *listener = open_at(&loop, addresses[i], &guests);
        int fd = connect_to(AF_INET, listener_port(listener));
        if (fd < 0) /* "localhost" may be ::1 alone */
            fd = connect_to(AF_INET6, listener_port(listener));
        assert_true(fd >= 0);
        wait_for_guests(&loop, &guests, 1);
        (void)close(fd);
        close_guests(&guests);
        close_all(&loop, listener);
    }
}

static void ipv6_is_listened_on(void **state)
{
    int probe = socket(AF_INET6, SOCK_STREAM, 0);
    const struct sockaddr_in6 any_port = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool has_ipv6 = probe >= 0 && bind(probe, (const struct sockaddr *)&any_port, sizeof any_port) == 0;
    if (probe >= 0)
        (void)close(probe);
    if (!has_ipv6) {
        print_message("# skipped: this machine has no IPv6\n");
        return;
    }
    uv_loop_t loop;
    struct guests guests = {.count = 0};
    assert_int_equal(uv_loop_init(&loop), 0);
    struct listener *listener = open_at(&loop, "[::1]:0", &guests);
    int fd = connect_to(AF_INET6, listener_port(listener));
    assert_true(fd >= 0);
    wait_for_guests(&loop, &guests, 1);
    (void)close(fd);
    close_guests(&guests);
    close_all(&loop, listener);
}

static void nonsense_is_no_address(void **state)
{
    static const char *const addresses[] = {"", "3000", "localhost", "localhost:", "localhost:x",
        "localhost:-1", "localhost:65536", "localhost:99999999999999999999", "::1:80", "[::1]", "a b:1:2"};
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        struct listener *listener;
        struct error error;
        enum err err = listener_open(&loop, slice_cstr(addresses[i]), on_connection, NULL, &listener, &error);
        if (err != ERR_USAGE)
            fail_msg("\"%s\": error %d", addresses[i], err);
        assert_null(listener);
        assert_non_null(strstr(error.message, "HOST:PORT"));
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void what_cannot_be_listened_on_is_explained(void **state)
{
    static const char *const addresses[] = {"192.0.2.1:0", "no.such.host.invalid:0"}; /* RFC 5737, RFC 2606 */
    uv_loop_t loop;
    struct guests guests = {.count = 0};
    struct listener *other;
    struct error error;
    char address[32];
    char expected[32];
    assert_int_equal(uv_loop_init(&loop), 0);
    struct listener *listener = open_at(&loop, "127.0.0.1:0", &guests);
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", listener_port(listener));
    (void)snprintf(expected, sizeof expected, "port %d is taken", listener_port(listener));
    assert_int_equal(
        listener_open(&loop, slice_cstr(address), on_connection, NULL, &other, &error), ERR_ADDRESS);
    assert_non_null(strstr(error.message, expected));
    assert_non_null(strstr(error.message, "--listen"));
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        assert_int_equal(
            listener_open(&loop, slice_cstr(addresses[i]), on_connection, NULL, &other, &error), ERR_ADDRESS);
        assert_non_null(strstr(error.message, "--listen"));
    }
    close_all(&loop, listener);
}

/* With no descriptor left the guests are turned away one by one, and the loop goes to sleep again. */
static void without_descriptors_guests_are_turned_away(void **state)
{
    enum { COUNT = 5 };
    uv_loop_t loop;
    struct guests guests = {.count = 0};
    struct rlimit limit;
    int fds[COUNT];
    assert_int_equal(uv_loop_init(&loop), 0);
    struct listener *listener = open_at(&loop, "127.0.0.1:0", &guests);
    for (int i = 0; i < COUNT; i++)
        fds[i] = connect_to(AF_INET, listener_port(listener));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC); /* the lowest free number; none above is to be had */
    (void)close(next);
    const struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    (void)uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(guests.count, 0);
    assert_int_equal(uv_run(&loop, UV_RUN_NOWAIT), 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int i = 0; i < COUNT; i++) {
        char byte;
        assert_true(recv(fds[i], &byte, 1, 0) <= 0);
        (void)close(fds[i]);
    }
    int fd = connect_to(AF_INET, listener_port(listener));
    wait_for_guests(&loop, &guests, 1);
    (void)close(fd);
    close_guests(&guests);
    close_all(&loop, listener);
}

static void the_file_limit_is_raised(void **state)
{
    struct rlimit limit;
    size_t in_force = listener_raise_file_limit();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(in_force, limit.rlim_cur);
    assert_int_equal(limit.rlim_cur, limit.rlim_max);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nonsense_is_no_address),
        cmocka_unit_test(every_form_of_address_is_understood),
        cmocka_unit_test(ipv6_is_listened_on),
        cmocka_unit_test(what_cannot_be_listened_on_is_explained),
        cmocka_unit_test(a_crowd_is_accepted_ready_to_use),
        cmocka_unit_test(closing_hands_on_who_waits),
        cmocka_unit_test(without_descriptors_guests_are_turned_away),
        cmocka_unit_test(the_file_limit_is_raised),
    };
    return cmocka_run_group_tests_name("listener", tests, NULL, NULL);
}
