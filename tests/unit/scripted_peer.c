/* SPDX-License-Identifier: Apache-2.0 */
#include "scripted_peer.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ensure.h"

static void *peer_main(void *context)
{
    struct peer *peer = context;
    for (int nth = 0;; nth++) {
        int fd = accept4(peer->listening, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return NULL;
        atomic_store(&peer->fd, fd);
        atomic_fetch_add(&peer->connection_count, 1);
        if (atomic_load(&peer->is_stopping))
            (void)shutdown(fd, SHUT_RDWR); /* peer_stop may have come too early to see it */
        peer->serve(peer, fd, nth);
        atomic_store(&peer->fd, -1);
        (void)close(fd);
    }
}

void peer_start(struct peer *peer, void (*serve)(struct peer *peer, int fd, int nth))
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    memset(peer, 0, sizeof *peer);
    peer->serve = serve;
    atomic_store(&peer->fd, -1);
    peer->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ENSURE(peer->listening >= 0);
    ENSURE(bind(peer->listening, (struct sockaddr *)&address, sizeof address) == 0);
    ENSURE(listen(peer->listening, 128) == 0);
    ENSURE(getsockname(peer->listening, (struct sockaddr *)&address, &len) == 0);
    peer->port = ntohs(address.sin_port);
    ENSURE(pthread_create(&peer->thread, NULL, peer_main, peer) == 0);
}

/* A socket that is shut does not listen any more, and accept returns. */
void peer_refuse(struct peer *peer)
{
    (void)shutdown(peer->listening, SHUT_RDWR);
}

void peer_stop(struct peer *peer)
{
    atomic_store(&peer->is_stopping, true);
    peer_refuse(peer);
    int fd = atomic_load(&peer->fd);
    if (fd >= 0)
        (void)shutdown(fd, SHUT_RDWR);
    ENSURE(pthread_join(peer->thread, NULL) == 0);
    (void)close(peer->listening);
}

bool peer_read_until(int fd, const char *end, char *text, size_t size)
{
    size_t len = 0;
    size_t end_len = strlen(end);
    for (;;) {
        ENSURE(len + 1 < size);
        ssize_t got = recv(fd, text + len, 1, 0);
        if (got <= 0)
            return false;
        text[++len] = '\0';
        if (len >= end_len && strcmp(text + len - end_len, end) == 0)
            return true;
    }
}

bool peer_read_request(struct peer *peer, int fd)
{
    if (!peer_read_until(fd, "\r\n\r\n", peer->head, sizeof peer->head))
        return false;
    const char *length = strcasestr(peer->head, "\r\ncontent-length: ");
    size_t body_len = length == NULL ? 0 : strtoul(length + strlen("\r\ncontent-length: "), NULL, 10);
    size_t len = strlen(peer->head);
    ENSURE(len + body_len < sizeof peer->head);
    while (body_len > 0) {
        ssize_t got = recv(fd, peer->head + len, body_len, 0);
        if (got <= 0)
            return false;
        len += (size_t)got;
        body_len -= (size_t)got;
    }
    peer->head[len] = '\0';
    return true;
}

void peer_send(int fd, const char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        ssize_t sent = send(fd, text, left, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* the other side has gone */
        text += sent;
        left -= (size_t)sent;
    }
}

void peer_wait_end(int fd)
{
    char bytes[4096];
    while (recv(fd, bytes, sizeof bytes, 0) > 0)
        continue;
}
