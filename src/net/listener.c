/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listening socket is watched by the loop; when it is ready, everything that waits is accepted, up to a
 * budget a turn so that connections already made get their share. Without a free descriptor a connection
 * could be neither accepted nor refused, and the loop would spin; so one descriptor is kept in reserve, to
 * accept and close with.
 */
#include "net/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"

enum { ACCEPT_BUDGET = 256, HOST_BYTES_MAX = 256, PORT_MAX = 65535, BACKLOG_FALLBACK = 4096 };

struct listener {
    uv_poll_t poll; /* first: the callbacks' handle is the listener */
    int fd;
    int spare_fd; /* -1 while it cannot be had */
    int port;
    int backlog;
    int64_t warned_ns;
    listener_on_connection *on_connection;
    void *context;
};

/* --- Accepting --- */

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void warn_no_descriptor(struct listener *listener, int error)
{
    const int64_t second_ns = 1000000000;
    int64_t now_ns = clock_mono_ns();
    if (listener->warned_ns != 0 && now_ns - listener->warned_ns < second_ns)
        return;
    listener->warned_ns = now_ns;
    log_warn("listener", "connections are turned away: %s; raise the limit of open files (ulimit -n)",
        strerror(error));
}

/* Turns one waiting connection away with the help of the spare descriptor. False when even that fails. */
static bool turn_away(struct listener *listener)
{
    if (listener->spare_fd >= 0)
        (void)close(listener->spare_fd);
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        (void)close(fd);
    listener->spare_fd = open_spare();
    return fd >= 0;
}

static bool is_out_of_descriptors(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

/* Hands on what waits, `count_max` connections at most. */
static void accept_waiting(struct listener *listener, int count_max)
{
    for (int i = 0; i < count_max; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            listener->on_connection(fd, listener->context);
        } else if (is_out_of_descriptors(errno)) {
            warn_no_descriptor(listener, errno);
            if (!turn_away(listener))
                return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return; /* EAGAIN: none waits; any other belongs to a connection that is already gone */
        }
    }
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    accept_waiting((struct listener *)(void *)poll, ACCEPT_BUDGET);
}

/* --- Opening --- */

/* Cuts "HOST:PORT" in two; brackets around an IPv6 address are taken off. */
static bool split_address(struct slice address, char host[HOST_BYTES_MAX], int *port)
{
    size_t colon = address.len;
    while (colon > 0 && address.base[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return false;
    struct slice name = slice_make(address.base, colon - 1);
    int64_t number;
    if (!slice_to_i64(slice_make(address.base + colon, address.len - colon), &number) || number < 0 ||
        number > PORT_MAX)
        return false;
    bool is_bracketed = name.len > 2 && name.base[0] == '[' && name.base[name.len - 1] == ']';
    if (is_bracketed)
        name = slice_make(name.base + 1, name.len - 2);
    else if (name.len > 0 && memchr(name.base, ':', name.len) != NULL)
        return false;
    if (name.len >= HOST_BYTES_MAX || (name.len > 0 && memchr(name.base, '\0', name.len) != NULL))
        return false;
    if (name.len > 0)
        memcpy(host, name.base, name.len);
    host[name.len] = '\0';
    *port = (int)number;
    return true;
}

static int backlog_max(void)
{
    int backlog = BACKLOG_FALLBACK;
    FILE *file = fopen("/proc/sys/net/core/somaxconn", "re");
    if (file == NULL)
        return backlog;
    if (fscanf(file, "%d", &backlog) != 1 || backlog < 1)
        backlog = BACKLOG_FALLBACK;
    (void)fclose(file);
    return backlog;
}

/* A listening socket at this address, or -1 with errno set. */
static int listen_at(const struct addrinfo *info)
{
    const int on = 1;
    const int off = 0;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* the accepted sockets inherit it */
    if (info->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, backlog_max()) == 0)
        return fd;
    int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

static enum err explain(struct slice address, int port, int error_number, struct error *error)
{
    switch (error_number) {
    case EADDRINUSE:
        return error_set(error, ERR_ADDRESS,
            "port %d is taken; stop the other server or choose another with --listen", port);
    case EACCES:
        return error_set(
            error, ERR_ADDRESS, "port %d needs a privilege; choose one from 1024 on with --listen", port);
    case EADDRNOTAVAIL:
        return error_set(error, ERR_ADDRESS,
            "cannot listen on %.*s: this machine has no such address; choose another with --listen",
            SLICE_ARGS(address));
    default:
        return error_set(error, ERR_ADDRESS, "cannot listen on %.*s: %s; choose another with --listen",
            SLICE_ARGS(address), strerror(error_number));
    }
}

/* Tries the addresses that the host has, the first that works wins. */
static enum err listen_on_any(struct slice address, const char *host, int port, int *fd, struct error *error)
{
    char service[8];
    (void)snprintf(service, sizeof service, "%d", port);
    bool is_all = host[0] == '\0';
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *infos;
    int status = getaddrinfo(is_all ? "::" : host, service, &hints, &infos);
    int error_number = EADDRNOTAVAIL;
    *fd = -1;
    if (status == 0) {
        for (struct addrinfo *info = infos; info != NULL && *fd < 0; info = info->ai_next) {
            *fd = listen_at(info);
            error_number = errno;
        }
        freeaddrinfo(infos);
    }
    if (*fd >= 0)
        return ERR_NONE;
    if (is_all && (status != 0 || error_number == EAFNOSUPPORT || error_number == EADDRNOTAVAIL))
        return listen_on_any(address, "0.0.0.0", port, fd, error);
    if (status != 0)
        return error_set(error, ERR_ADDRESS, "cannot listen on %.*s: %s; choose another with --listen",
            SLICE_ARGS(address), gai_strerror(status));
    return explain(address, port, error_number, error);
}

static int port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    ENSURE(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

/* For a listening socket the kernel says there how long its queue may be. */
static int backlog_of(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return backlog_max();
    return (int)info.tcpi_sacked;
}

enum err listener_open(uv_loop_t *loop, struct slice address, listener_on_connection *on_connection,
    void *context, struct listener **listener, struct error *error)
{
    char host[HOST_BYTES_MAX];
    int port;
    int fd;
    *listener = NULL;
    if (!split_address(address, host, &port))
        return error_set(error, ERR_USAGE,
            "\"%.*s\" is not an address to listen on; write HOST:PORT such as 0.0.0.0:3000",
            SLICE_ARGS(address));
    enum err err = listen_on_any(address, host, port, &fd, error);
    if (err != ERR_NONE)
        return err;
    struct listener *created = malloc(sizeof *created);
    if (created == NULL || uv_poll_init(loop, &created->poll, fd) != 0) {
        free(created);
        (void)close(fd);
        return error_set(error, ERR_MEMORY, "no memory to listen on %.*s", SLICE_ARGS(address));
    }
    created->fd = fd;
    created->spare_fd = open_spare();
    created->port = port_of(fd);
    created->backlog = backlog_of(fd);
    created->warned_ns = 0;
    created->on_connection = on_connection;
    created->context = context;
    ENSURE(uv_poll_start(&created->poll, UV_READABLE, on_ready) == 0);
    *listener = created;
    return ERR_NONE;
}

int listener_port(const struct listener *listener)
{
    return listener->port;
}

int listener_backlog(const struct listener *listener)
{
    return listener->backlog;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

void listener_close(struct listener *listener)
{
    /* The kernel lets one more wait than it was asked for. The bound ends this under a storm of new ones. */
    accept_waiting(listener, listener->backlog + 1);
    (void)uv_poll_stop(&listener->poll);
    uv_close((uv_handle_t *)&listener->poll, on_closed);
    (void)close(listener->fd);
    if (listener->spare_fd >= 0)
        (void)close(listener->spare_fd);
}

size_t listener_raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024; /* what POSIX systems start with */
    unsigned long long bound = 0;
    FILE *file = fopen("/proc/sys/fs/nr_open", "re");
    if (file != NULL) {
        if (fscanf(file, "%llu", &bound) != 1)
            bound = 0;
        (void)fclose(file);
    }
    struct rlimit wanted = {.rlim_cur = bound, .rlim_max = bound};
    if (bound > limit.rlim_max && setrlimit(RLIMIT_NOFILE, &wanted) == 0)
        return bound;
    wanted = (struct rlimit){.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &wanted) != 0)
        return limit.rlim_cur;
    return limit.rlim_max;
}
