/* SPDX-License-Identifier: Apache-2.0 */
/* What strangers may cost: sizes, times, connections and memory all have an end. */
#include "http_kit.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "net/block_pool.h"

#define HOST "Host: a\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

static struct kit *create(void)
{
    struct kit *kit = malloc(sizeof *kit);
    kit_init(kit);
    return kit;
}

static void destroy(struct kit *kit)
{
    kit_stop(kit);
    free(kit);
}

/* --- Sizes --- */

/* A head of `len` bytes in all. */
static char *make_head(size_t len)
{
    static const char start[] = "GET /hello HTTP/1.1\r\n" HOST "X: ";
    char *text = malloc(len + 1);
    assert_non_null(text);
    memcpy(text, start, sizeof start - 1);
    memset(text + sizeof start - 1, 'x', len - (sizeof start - 1) - 4);
    memcpy(text + len - 4, "\r\n\r\n", 5);
    return text;
}

static void a_head_has_a_bound(void **state)
{
    struct kit *kit = create();
    kit_start(kit);
    for (size_t over = 0; over < 2; over++) {
        char *text = make_head(kit->config.head_bytes_max + over);
        int fd = client_connect(kit);
        client_send(fd, text);
        client_expect(fd, over == 0 ? 200 : 431, NULL);
        if (over > 0)
            client_expect_end(fd);
        (void)close(fd);
        free(text);
    }
    destroy(kit);
}

static void an_endless_head_is_refused(void **state)
{
    struct kit *kit = create();
    char line[1024];
    kit_start(kit);
    int fd = client_connect(kit);
    memset(line, 'x', sizeof line);
    memcpy(line, "X: ", 3);
    memcpy(line + sizeof line - 2, "\r\n", 2);
    client_send(fd, "GET /hello HTTP/1.1\r\n");
    for (int i = 0; i < 64; i++) /* four times the bound: what comes after the refusal is thrown away */
        client_send_bytes(fd, slice_make(line, sizeof line));
    client_expect(fd, 431, NULL);
    client_expect_end(fd);
    (void)close(fd);
    destroy(kit);
}

static void too_many_headers_are_refused(void **state)
{
    struct kit *kit = create();
    char text[4096];
    size_t len = (size_t)snprintf(text, sizeof text, "GET /hello HTTP/1.1\r\n" HOST);
    for (int i = 0; i < HTTP_HEADERS_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "X-%d: y\r\n", i);
    len += (size_t)snprintf(text + len, sizeof text - len, "\r\n");
    kit_start(kit);
    client_expect_refusal(kit, slice_make(text, len), 431);
    destroy(kit);
}

/* The client sends all of its body before it reads: it must see the refusal, and not a reset. */
static void a_body_has_a_bound(void **state)
{
    enum { LEN = 2 * 1024 * 1024 };
    struct kit *kit = create();
    char *body = malloc(LEN);
    memset(body, 'x', LEN);
    kit_start(kit);
    for (int is_chunked = 0; is_chunked < 2; is_chunked++) {
        char text[128];
        int fd = client_connect(kit);
        (void)snprintf(text, sizeof text,
            is_chunked ? "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n%x\r\n"
                       : "POST /echo HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n",
            LEN);
        client_send(fd, text);
        client_send_bytes(fd, slice_make(body, LEN));
        client_expect(fd, 413, "{\"status\":413,\"message\":\"Request body is too large\",\"isRead\":true}");
        client_expect_end(fd);
        (void)close(fd);
    }
    free(body);
    destroy(kit);
}

static void a_body_beyond_64_bits_is_refused(void **state)
{
    struct kit *kit = create();
    kit_start(kit);
    client_expect_refusal(
        kit, SLICE("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551615\r\n\r\n"), 413);
    client_expect_refusal(
        kit, SLICE("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551616\r\n\r\n"), 400);
    destroy(kit);
}

/* Many large bodies at once may not take more memory than was set aside; small requests go on. */
static void large_bodies_share_a_bound(void **state)
{
    enum { LEN = 200 * 1024, COUNT = 8 };
    struct kit *kit = create();
    int fds[COUNT];
    char text[128];
    char *body = malloc(LEN);
    size_t busy_count = 0;
    memset(body, 'x', LEN);
    kit->config.input_bytes_max = 600 * 1024;
    kit_start(kit);
    (void)snprintf(text, sizeof text, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n", LEN);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = client_connect(kit);
        client_send(fds[i], text);
        client_send_bytes(fds[i], slice_make(body, LEN - 1));
        kit_turn(kit);
    }
    int small = client_connect(kit);
    client_send(small, GET("/hello"));
    client_expect(small, 200, "hello");
    (void)close(small);
    for (int i = 0; i < COUNT; i++) {
        struct client_reply *reply = malloc(sizeof *reply);
        (void)send(fds[i], "x", 1, MSG_NOSIGNAL); /* the server may have closed */
        client_read(fds[i], false, reply);
        busy_count += reply->status == 503;
        assert_true(reply->status == 201 || (reply->status == 503 && reply->is_close));
        free(reply->body);
        free(reply);
        (void)close(fds[i]);
    }
    assert_true(busy_count > 0 && busy_count < COUNT);
    free(body);
    destroy(kit);
}

/* --- Times --- */

/* For a head that is sent at once, by a thread that may be put aside. */
enum { IN_TIME_MS = 1500 };

static bool has_timed_out(struct kit *kit)
{
    return kit_stats(kit).timeouts == (uint64_t)kit->argument;
}

static void slow_requests_are_cut(void **state)
{
    static const char *const texts[] = {"G",
        "GET /hello HTTP/1.1\r\n" HOST "X:", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n1",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\n1"};
    struct kit *kit = create();
    kit->config.head_timeout_ms = IN_TIME_MS;
    kit->config.body_timeout_ms = 50;
    kit_start(kit);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        client_expect_refusal(kit, slice_cstr(texts[i]), 408);
        assert_int_equal(kit_stats(kit).timeouts, i + 1);
    }
    destroy(kit);
}

/* Each byte in time does not make the whole in time. */
static void a_byte_now_and_then_does_not_extend_the_deadline(void **state)
{
    struct kit *kit = create();
    kit->config.head_timeout_ms = 100;
    kit_start(kit);
    int fd = client_connect(kit);
    kit->argument = 1;
    for (int i = 0; kit_stats(kit).timeouts == 0; i++) {
        assert_true(i < 10000000);
        if (i % 1000 == 0)
            (void)send(fd, i == 0 ? "GET /x" : "x", i == 0 ? 6 : 1, MSG_NOSIGNAL);
        kit_turn(kit);
    }
    client_expect(fd, 408, NULL);
    (void)close(fd);
    destroy(kit);
}

static void silent_connections_are_closed_without_a_word(void **state)
{
    struct kit *kit = create();
    kit->config.head_timeout_ms = IN_TIME_MS;
    kit->config.idle_timeout_ms = 50;
    kit_start(kit);
    int fresh = client_connect(kit);
    client_expect_end(fresh);
    int idle = client_connect(kit);
    client_send(idle, GET("/hello"));
    client_expect(idle, 200, "hello");
    client_expect_end(idle);
    kit->argument = 2;
    kit_wait(kit, has_timed_out, "for both to be counted");
    (void)close(fresh);
    (void)close(idle);
    destroy(kit);
}

/* The handler takes its time, not the client: no deadline runs. */
static void a_request_with_the_handler_is_not_cut(void **state)
{
    struct kit *kit = create();
    kit->config.head_timeout_ms = IN_TIME_MS;
    kit->config.body_timeout_ms = 20;
    kit->config.idle_timeout_ms = 20;
    kit->config.write_timeout_ms = 20;
    kit_start(kit);
    int fd = client_connect(kit);
    client_send(fd, GET("/late"));
    kit_wait_pending(kit, 1);
    for (int i = 1; i <= 2; i++) { /* others come and are cut meanwhile, so time passes */
        int other = client_connect(kit);
        client_expect_end(other);
        (void)close(other);
    }
    kit_answer(kit);
    client_expect(fd, 200, "late");
    client_expect_end(fd);
    (void)close(fd);
    destroy(kit);
}

static void a_client_that_does_not_take_its_reply_is_cut(void **state)
{
    struct kit *kit = create();
    kit->config.write_timeout_ms = 50;
    kit_start(kit);
    int fd = client_connect(kit);
    client_send(fd, GET("/big"));
    kit->argument = 1;
    kit_wait(kit, has_timed_out, "for the deadline");
    kit_wait_open(kit, 0);
    client_expect_gone(fd);
    (void)close(fd);
    destroy(kit);
}

/* --- Connections --- */

static void connections_have_a_bound(void **state)
{
    struct kit *kit = create();
    struct client_reply *reply = malloc(sizeof *reply);
    kit->config.connection_count_max = 2;
    kit_start(kit);
    int first = client_connect(kit);
    int second = client_connect(kit);
    kit_wait_open(kit, 2);
    int third = client_connect(kit);
    client_read(third, false, reply);
    assert_int_equal(reply->status, 503);
    assert_true(reply->is_close);
    assert_non_null(strstr(reply->head, "Retry-After: 1\r\n"));
    free(reply->body);
    client_expect_end(third);
    (void)close(third);
    assert_int_equal(kit_stats(kit).connections_refused, 1);
    client_send(first, GET("/hello"));
    client_expect(first, 200, "hello");
    (void)close(first);
    kit_wait_open(kit, 1);
    int fourth = client_connect(kit);
    client_send(fourth, GET("/hello"));
    client_expect(fourth, 200, "hello");
    (void)close(second);
    (void)close(fourth);
    free(reply);
    destroy(kit);
}

static void the_server_can_end_with_everything_open(void **state)
{
    struct kit *kit = create();
    int fds[4];
    kit_start(kit);
    for (int i = 0; i < 4; i++)
        fds[i] = client_connect(kit);
    client_send(fds[0], GET("/late"));
    client_send(fds[1], "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 100000\r\n\r\nx");
    client_send(fds[2], GET("/big"));
    client_send(fds[3], GET("/stream"));
    kit_wait_pending(kit, 1);
    kit_turn(kit);
    kit_stop(kit);
    assert_int_equal(kit->stream_closed_count, 1);
    for (int i = 0; i < 4; i++) {
        client_expect_gone(fds[i]);
        (void)close(fds[i]);
    }
    free(kit);
}

/* --- Memory --- */

static size_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    size_t pages;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*u %zu", &pages), 1);
    (void)fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool HAS_SANITIZER = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
static const bool HAS_SANITIZER = true;
#else
static const bool HAS_SANITIZER = false;
#endif
#else
static const bool HAS_SANITIZER = false;
#endif

/* Both ends are in this process, so all that the kernel does not keep for the clients is the server's. */
static void idle_connections_cost_little(void **state)
{
    enum { COUNT = 10000 };
    static int fds[COUNT];
    size_t bound = 64 * 1024 * 1024;
    struct kit *kit = create();
    size_t count = COUNT;
    size_t file_limit = listener_raise_file_limit();
    if (file_limit < 2 * COUNT + 100) {
        count = (file_limit - 100) / 2;
        print_message("# only %zu connections: the limit of open files is %zu\n", count, file_limit);
    }
    kit_start(kit);
    size_t before = resident_bytes();
    for (size_t i = 0; i < count; i++) {
        fds[i] = client_connect(kit);
        client_send(fds[i], i % 2 == 0 ? GET("/hello") : GET("/late"));
        if (i % 1000 == 999) { /* a crowd of 500 waits at a time */
            kit_wait_pending(kit, 500);
            kit_answer(kit);
        }
    }
    kit_wait_pending(kit, (int)(count % 1000 / 2));
    kit_answer(kit);
    for (size_t i = 0; i < count; i++)
        client_expect(fds[i], 200, i % 2 == 0 ? "hello" : "late");
    kit_wait_open(kit, (int)count);
    size_t grown = resident_bytes() - before;
    print_message("# %zu idle connections: %zu bytes each\n", count, grown / count);
    if (HAS_SANITIZER)
        print_message("# the bound is not checked: a sanitizer's own memory counts too\n");
    else
        assert_true(grown < bound / COUNT * count);
    for (size_t i = 0; i < count; i++)
        (void)close(fds[i]);
    kit_wait_open(kit, 0);
    destroy(kit);
}

static size_t resident_blocks(void *const *blocks, size_t count)
{
    size_t resident = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned char is_resident;
        assert_int_equal(mincore(blocks[i], 1, &is_resident), 0);
        resident += is_resident & 1;
    }
    return resident;
}

static void memory_of_a_crowd_goes_back(void **state)
{
    enum { COUNT = 1000, KEPT = 100 };
    static void *blocks[COUNT];
    struct block_pool pool;
    block_pool_init(&pool, 5000, KEPT);
    assert_int_equal(pool.block_size, 8192);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            blocks[i] = block_pool_take(&pool);
            assert_non_null(blocks[i]);
            memset(blocks[i], (int)i, pool.block_size);
        }
        for (size_t i = 0; i < COUNT; i++)
            assert_int_equal(*(unsigned char *)blocks[i], i & 0xFF); /* none was given twice */
        for (size_t i = 0; i < COUNT; i++)
            block_pool_put(&pool, blocks[i]);
        block_pool_trim(&pool);
        assert_int_equal(resident_blocks(blocks, COUNT), COUNT); /* they were in use a moment ago */
        block_pool_trim(&pool);
        assert_true(resident_blocks(blocks, COUNT) <= KEPT);
    }
    block_pool_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_connections_cost_little), /* before others have left memory behind */
        cmocka_unit_test(memory_of_a_crowd_goes_back),
        cmocka_unit_test(a_head_has_a_bound),
        cmocka_unit_test(an_endless_head_is_refused),
        cmocka_unit_test(too_many_headers_are_refused),
        cmocka_unit_test(a_body_has_a_bound),
        cmocka_unit_test(a_body_beyond_64_bits_is_refused),
        cmocka_unit_test(large_bodies_share_a_bound),
        cmocka_unit_test(slow_requests_are_cut),
        cmocka_unit_test(a_byte_now_and_then_does_not_extend_the_deadline),
        cmocka_unit_test(silent_connections_are_closed_without_a_word),
        cmocka_unit_test(a_request_with_the_handler_is_not_cut),
        cmocka_unit_test(a_client_that_does_not_take_its_reply_is_cut),
        cmocka_unit_test(connections_have_a_bound),
        cmocka_unit_test(the_server_can_end_with_everything_open),
    };
    return cmocka_run_group_tests_name("http_limits", tests, NULL, NULL);
}
