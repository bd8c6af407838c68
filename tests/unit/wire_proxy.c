/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_proxy.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ensure.h"

enum { PAIRS_MAX = 64, CHUNK = 65536, READY_LEN = 6 /* 'Z', length 5, one byte */ };

/* A connection through the proxy. */
struct pair {
    int client; /* -1: free */
    int server;
    char *bytes; /* of the client's, not forwarded yet */
    size_t len;
    size_t size;
    bool is_started; /* the first message has no type */
    bool is_last;    /* ends with the next Sync */
    bool is_deaf;    /* what the server says is not passed on; its answer ends it */
};

struct proxy {
    struct sockaddr_in target;
    int listen_fd;
    int wake_fd;
    pthread_t thread;
    struct pair pairs[PAIRS_MAX];
    atomic_bool is_over;
    atomic_bool hangs;
    atomic_bool refuses;
    atomic_int cut_statement; /* -1: none */
    atomic_int cut;
    atomic_bool has_cut;
};

static void pair_close(struct pair *pair)
{
    if (pair->client < 0)
        return;
    (void)close(pair->client);
    (void)close(pair->server);
    free(pair->bytes);
    *pair = (struct pair){.client = -1, .server = -1};
}

static bool send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        len -= (size_t)sent;
    }
    return true;
}

static void no_delay(int fd)
{
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void take_connection(struct proxy *proxy)
{
    int client = accept(proxy->listen_fd, NULL, NULL);
    if (client < 0)
        return;
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ENSURE(server >= 0);
    bool is_connected = !atomic_load(&proxy->refuses) &&
                        connect(server, (struct sockaddr *)&proxy->target, sizeof proxy->target) == 0;
    for (size_t i = 0; is_connected && i < PAIRS_MAX; i++) {
        if (proxy->pairs[i].client >= 0)
            continue;
        no_delay(client);
        no_delay(server);
        proxy->pairs[i].client = client;
        proxy->pairs[i].server = server;
        return;
    }
    (void)close(client);
    (void)close(server);
}

/* --- what the client says --- */

static size_t message_len(const struct pair *pair, size_t at)
{
    uint32_t len;
    size_t before = pair->is_started ? 1 : 0;
    if (pair->len - at < before + sizeof len)
        return 0;
    memcpy(&len, pair->bytes + at + before, sizeof len);
    size_t whole = before + be32toh(len);
    return pair->len - at < whole ? 0 : whole;
}

/* Bind: the name of the portal, then that of the statement. */
static bool executes(const char *message, size_t len, int statement)
{
    char name[24];
    const char *portal = message + 5;
    if (statement < 0 || message[0] != 'B' || len < 8)
        return false;
    (void)snprintf(name, sizeof name, "s%d", statement);
    return strcmp(portal + strlen(portal) + 1, name) == 0;
}

/* Forwards one message; false: the connection is to end. */
static bool forward_message(struct proxy *proxy, struct pair *pair, const char *message, size_t len)
{
    bool is_sync = pair->is_started && message[0] == 'S';
    if (pair->is_started && executes(message, len, atomic_load(&proxy->cut_statement))) {
        enum cut cut = (enum cut)atomic_load(&proxy->cut);
        atomic_store(&proxy->cut_statement, -1);
        atomic_store(&proxy->has_cut, true);
        if (cut == CUT_BEFORE)
            return false;
        pair->is_last = true;
        pair->is_deaf = cut == CUT_ANSWER;
    }
    pair->is_started = true;
    if (!send_all(pair->server, message, len))
        return false;
    return !(pair->is_last && is_sync && !pair->is_deaf);
}

static bool from_client(struct proxy *proxy, struct pair *pair)
{
    if (pair->size - pair->len < CHUNK) {
        pair->size += 2 * CHUNK;
        pair->bytes = realloc(pair->bytes, pair->size);
        ENSURE(pair->bytes != NULL);
    }
    ssize_t got = recv(pair->client, pair->bytes + pair->len, CHUNK, 0);
    if (got <= 0)
        return false;
    pair->len += (size_t)got;
    size_t at = 0;
    size_t len;
    while ((len = message_len(pair, at)) > 0) {
        if (!forward_message(proxy, pair, pair->bytes + at, len))
            return false;
        at += len;
    }
    memmove(pair->bytes, pair->bytes + at, pair->len - at);
    pair->len -= at;
    return true;
}

/* --- what the server says --- */

static bool from_server(const struct pair *pair)
{
    static const char ready[] = {'Z', 0, 0, 0, 5};
    char bytes[CHUNK];
    ssize_t got = recv(pair->server, bytes, sizeof bytes, 0);
    if (got <= 0)
        return false;
    if (pair->is_deaf)
        return got < READY_LEN || memcmp(bytes + got - READY_LEN, ready, sizeof ready) != 0;
    return send_all(pair->client, bytes, (size_t)got);
}

/* --- the thread --- */

static size_t fill_polls(const struct proxy *proxy, struct pollfd *polls)
{
    size_t count = 0;
    polls[count++] = (struct pollfd){.fd = proxy->wake_fd, .events = POLLIN};
    if (atomic_load(&proxy->hangs))
        return count;
    polls[count++] = (struct pollfd){.fd = proxy->listen_fd, .events = POLLIN};
    for (size_t i = 0; i < PAIRS_MAX; i++) { /* a negative one is passed over */
        polls[count++] = (struct pollfd){.fd = proxy->pairs[i].client, .events = POLLIN};
        polls[count++] = (struct pollfd){.fd = proxy->pairs[i].server, .events = POLLIN};
    }
    return count;
}

static void serve_pairs(struct proxy *proxy, const struct pollfd *polls)
{
    for (size_t i = 0; i < PAIRS_MAX; i++) {
        struct pair *pair = &proxy->pairs[i];
        bool goes_on = pair->client >= 0;
        if (goes_on && polls[2 * i].fd == pair->client && polls[2 * i].revents != 0)
            goes_on = from_client(proxy, pair);
        if (goes_on && polls[2 * i + 1].fd == pair->server && polls[2 * i + 1].revents != 0)
            goes_on = from_server(pair);
        if (!goes_on || atomic_load(&proxy->refuses))
            pair_close(pair);
    }
}

static void *proxy_main(void *argument)
{
    struct proxy *proxy = argument;
    struct pollfd polls[2 + 2 * PAIRS_MAX];
    while (!atomic_load(&proxy->is_over)) {
        size_t count = fill_polls(proxy, polls);
        if (poll(polls, count, -1) < 0 && errno != EINTR)
            break;
        uint64_t ignored;
        if (polls[0].revents != 0)
            ENSURE(read(proxy->wake_fd, &ignored, sizeof ignored) == sizeof ignored);
        if (count == 1)
            continue;
        serve_pairs(proxy, polls + 2);
        if (polls[1].revents != 0)
            take_connection(proxy);
    }
    for (size_t i = 0; i < PAIRS_MAX; i++)
        pair_close(&proxy->pairs[i]);
    return NULL;
}

static void wake(struct proxy *proxy)
{
    uint64_t one = 1;
    ENSURE(write(proxy->wake_fd, &one, sizeof one) == sizeof one);
}

/* --- the test's side --- */

static void read_target(struct proxy *proxy, const char *target, char *url, size_t url_size)
{
    char host[64];
    unsigned port;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    const char *at = strrchr(target, '@');
    ENSURE(at != NULL && sscanf(at, "@%63[^:/]:%u", host, &port) == 2);
    proxy->target = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    ENSURE(inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &proxy->target.sin_addr) ==
           1);
    proxy->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ENSURE(proxy->listen_fd >= 0);
    ENSURE(bind(proxy->listen_fd, (struct sockaddr *)&address, sizeof address) == 0);
    ENSURE(listen(proxy->listen_fd, 64) == 0);
    ENSURE(getsockname(proxy->listen_fd, (struct sockaddr *)&address, &len) == 0);
    const char *path = strchr(at, '/');
    ENSURE(path != NULL);
    (void)snprintf(url, url_size, "%.*s@127.0.0.1:%u%s%csslmode=disable&gssencmode=disable",
        (int)(at - target), target, (unsigned)ntohs(address.sin_port), path,
        strchr(path, '?') == NULL ? '?' : '&');
}

struct proxy *proxy_start(const char *target, char *url, size_t url_size)
{
    struct proxy *proxy = calloc(1, sizeof *proxy);
    ENSURE(proxy != NULL);
    for (size_t i = 0; i < PAIRS_MAX; i++)
        proxy->pairs[i] = (struct pair){.client = -1, .server = -1};
    atomic_init(&proxy->cut_statement, -1);
    read_target(proxy, target, url, url_size);
    proxy->wake_fd = eventfd(0, EFD_CLOEXEC);
    ENSURE(proxy->wake_fd >= 0);
    ENSURE(pthread_create(&proxy->thread, NULL, proxy_main, proxy) == 0);
    return proxy;
}

void proxy_stop(struct proxy *proxy)
{
    atomic_store(&proxy->is_over, true);
    wake(proxy);
    pthread_join(proxy->thread, NULL);
    (void)close(proxy->listen_fd);
    (void)close(proxy->wake_fd);
    free(proxy);
}

void proxy_cut_at(struct proxy *proxy, int statement, enum cut cut)
{
    atomic_store(&proxy->has_cut, false);
    atomic_store(&proxy->cut, (int)cut);
    atomic_store(&proxy->cut_statement, statement);
}

bool proxy_has_cut(struct proxy *proxy)
{
    return atomic_load(&proxy->has_cut);
}

void proxy_hang(struct proxy *proxy, bool hangs)
{
    atomic_store(&proxy->hangs, hangs);
    wake(proxy);
}

void proxy_refuse(struct proxy *proxy, bool refuses)
{
    atomic_store(&proxy->refuses, refuses);
    wake(proxy);
}
