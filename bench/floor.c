/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor: what this machine gives a server that does nothing. One thread, one epoll set, one read and one
 * write a request, replies that were made at compile time. It reads no HTTP: what one read brings counts as
 * one request, which holds for clients that wait for their answer before they ask again, and only its first
 * letter is looked at, so that a GET gets a reply as long as a sale's status and a POST one as long as a
 * purchase's. Whatever a real server reaches is given as a share of this.
 *
 * Edge-triggered, because it is the faster of the two here: a level-triggered set looks at every socket a
 * second time after its request was read. An edge is not lost: a read that did not fill the buffer has
 * emptied the socket, and a client that has closed says so by EPOLLRDHUP.
 *
 * usage: floor [--listen HOST:PORT]    HOST is an IPv4 address; port 0 lets the kernel choose. Prints the
 * address that it became on a line of its own. SIGTERM and SIGINT stop it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"
#include "base/ensure.h"

enum {
    EVENTS_MAX = 512,
    INPUT_BYTES = 16384,
    REPLY_BYTES = 512,
    BACKLOG = 65535,
    EXIT_USAGE = 2,
    EXIT_WORLD = 3
};

struct reply {
    char bytes[REPLY_BYTES];
    size_t len;
};

static struct reply purchase_reply;
static struct reply status_reply;

static void make_reply(struct reply *reply, const char *extra, const char *body)
{
    int len = snprintf(reply->bytes, sizeof reply->bytes,
        "HTTP/1.1 200 OK\r\nDate: Fri, 20 Nov 2026 23:48:01 GMT\r\n"
        "x-correlation-id: 01234567-89ab-4def-8123-456789abcdef\r\n"
        "Content-Type: application/json; charset=utf-8\r\nContent-Length: %zu\r\n%s\r\n%s",
        strlen(body), extra, body);
    ENSURE(len > 0 && (size_t)len < sizeof reply->bytes);
    reply->len = (size_t)len;
}

static void make_replies(void)
{
    make_reply(&purchase_reply, "",
        "{\"success\":true,\"data\":{\"purchaseNo\":\"PUR-20261120-0000001\","
        "\"purchasedAt\":\"2026-11-20T23:48:01.620Z\"}}");
    make_reply(&status_reply, "Cache-Control: public, max-age=1\r\n",
        "{\"success\":true,\"data\":{\"sku\":\"STRESS-THROUGHPUT\",\"state\":\"ACTIVE\",\"stock\":1000000,"
        "\"initialStock\":1000000,\"productName\":\"Stress\",\"startTime\":\"1795218421000\","
        "\"endTime\":\"1795220281000\"}}");
}

static volatile sig_atomic_t must_stop;

static void on_signal(int number)
{
    (void)number;
    must_stop = 1;
}

/* Signals arrive inside epoll_pwait only, which gets the returned mask. */
static sigset_t catch_signals(void)
{
    sigset_t blocked;
    sigset_t old;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, &old);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    sigdelset(&old, SIGTERM);
    sigdelset(&old, SIGINT);
    return old;
}

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* The listening socket, its address printed; -1 with errno when that cannot be. */
static int listen_at(struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)address, size) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)address, &size) != 0) {
        close(fd);
        return -1;
    }
    char host[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &address->sin_addr, host, sizeof host);
    (void)printf("listening on %s:%d\n", host, ntohs(address->sin_port));
    (void)fflush(stdout);
    return fd;
}

static void watch(int epoll, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    int status = epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    ENSURE(status == 0);
}

static void accept_all(int epoll, int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        int on = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(epoll, fd, EPOLLIN | EPOLLRDHUP | EPOLLET);
    }
}

/* One read, one write. False when the connection is over; a client that does not take its replies is cut. */
static bool answer(int fd)
{
    static char input[INPUT_BYTES];
    ssize_t len = recv(fd, input, sizeof input, 0);
    if (len < 0)
        return errno == EAGAIN || errno == EINTR;
    if (len == 0)
        return false;
    const struct reply *reply = input[0] == 'G' ? &status_reply : &purchase_reply;
    return send(fd, reply->bytes, reply->len, 0) == (ssize_t)reply->len;
}

static void serve(int epoll, int listener, const sigset_t *mask)
{
    static struct epoll_event events[EVENTS_MAX];
    while (!must_stop) {
        int count = epoll_pwait(epoll, events, EVENTS_MAX, -1, mask);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_all(epoll, listener);
            else if (!answer(fd) || (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
                close(fd);
        }
    }
}

int main(int argc, char **argv)
{
    const char *text = "127.0.0.1:3000";
    if (argc == 3 && strcmp(argv[1], "--listen") == 0)
        text = argv[2];
    struct sockaddr_in address;
    if ((argc != 1 && argc != 3) || !address_parse(text, &address)) {
        (void)fprintf(stderr, "usage: floor [--listen HOST:PORT]\n");
        return EXIT_USAGE;
    }
    make_replies();
    raise_file_limit();
    sigset_t mask = catch_signals();
    int listener = listen_at(&address);
    if (listener < 0) {
        (void)fprintf(stderr, "floor: cannot listen on %s: %s\n", text, strerror(errno));
        return EXIT_WORLD;
    }
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    ENSURE(epoll >= 0);
    watch(epoll, listener, EPOLLIN);
    serve(epoll, listener, &mask);
    return 0;
}
