/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_provider.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/slice.h"

enum { BACKLOG = 128 };

static void take_port(struct provider *provider)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ENSURE(fd >= 0);
    ENSURE(bind(fd, (struct sockaddr *)&address, len) == 0);
    ENSURE(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    provider->port = ntohs(address.sin_port);
    provider->listening = fd;
}

static void start_listening(struct provider *provider)
{
    ENSURE(listen(provider->listening, BACKLOG) == 0);
    provider->is_away = false;
}

static void drop(struct provider_connection *connection)
{
    close(connection->fd);
    connection->fd = -1;
}

static void take_connection(struct provider *provider)
{
    int fd = accept4(provider->listening, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    for (int i = 0; i < PROVIDER_CONNECTIONS_MAX; i++) {
        struct provider_connection *connection = &provider->connections[i];
        if (connection->fd < 0) {
            connection->fd = fd;
            connection->len = 0;
            return;
        }
    }
    ensure_failed("a place for the connection", __FILE__, __LINE__, __func__);
}

/* The value of a header in the head, or "". */
static void find_header(const char *head, const char *name, char *value, size_t size)
{
    value[0] = '\0';
    const char *at = strcasestr(head, name);
    if (at != NULL)
        (void)snprintf(value, size, "%.*s", (int)strcspn(at + strlen(name), "\r\n"), at + strlen(name));
}

static int note_call(struct provider *provider, const char *key, const char *body)
{
    pthread_mutex_lock(&provider->lock);
    struct provider_key *entry = provider->keys;
    while (entry < provider->keys + provider->key_count && strcmp(entry->key, key) != 0)
        entry++;
    ENSURE(entry < provider->keys + PROVIDER_KEYS_MAX);
    if (entry == provider->keys + provider->key_count)
        provider->key_count++;
    (void)snprintf(entry->key, sizeof entry->key, "%s", key);
    (void)snprintf(entry->body, sizeof entry->body, "%s", body);
    entry->calls++;
    int status = provider->answer(key, entry->calls);
    entry->paid += status / 100 == 2;
    pthread_mutex_unlock(&provider->lock);
    atomic_fetch_add(&provider->calls, 1);
    return status;
}

static void answer(struct provider *provider, struct provider_connection *connection, const char *body)
{
    char key[PROVIDER_KEY_SIZE];
    char reply[128];
    find_header(connection->heard, "\r\nIdempotency-Key: ", key, sizeof key);
    int status = note_call(provider, key, body);
    connection->len = 0;
    if (status == PROVIDER_SILENT)
        return;
    int len = snprintf(reply, sizeof reply, "HTTP/1.1 %d Status\r\nContent-Length: 2\r\n\r\n{}", status);
    ssize_t sent = send(connection->fd, reply, (size_t)len, MSG_NOSIGNAL);
    if (sent != len)
        drop(connection);
}

/* One request at a time: a client that sends the next one before its answer is none of ours. */
static void read_some(struct provider *provider, struct provider_connection *connection)
{
    char length[32];
    char *at = connection->heard + connection->len;
    ssize_t got = read(connection->fd, at, sizeof connection->heard - 1 - connection->len);
    if (got <= 0) {
        drop(connection);
        return;
    }
    connection->len += (size_t)got;
    connection->heard[connection->len] = '\0';
    char *body = strstr(connection->heard, "\r\n\r\n");
    if (body == NULL)
        return;
    body += 4;
    find_header(connection->heard, "\r\nContent-Length: ", length, sizeof length);
    int64_t wanted = 0;
    if (slice_to_i64(slice_cstr(length), &wanted) && strlen(body) >= (size_t)wanted)
        answer(provider, connection, body);
}

static void turn(struct provider *provider)
{
    struct pollfd polls[PROVIDER_CONNECTIONS_MAX + 2] = {{.fd = provider->wake[0], .events = POLLIN},
        {.fd = provider->is_away ? -1 : provider->listening, .events = POLLIN}};
    for (int i = 0; i < PROVIDER_CONNECTIONS_MAX; i++)
        polls[i + 2] = (struct pollfd){.fd = provider->connections[i].fd, .events = POLLIN};
    if (poll(polls, PROVIDER_CONNECTIONS_MAX + 2, -1) < 0)
        return;
    char byte;
    if (polls[0].revents != 0)
        ENSURE(read(provider->wake[0], &byte, 1) == 1);
    for (int i = 0; i < PROVIDER_CONNECTIONS_MAX; i++) {
        if (polls[i + 2].revents != 0)
            read_some(provider, &provider->connections[i]);
    }
    if (polls[1].revents != 0)
        take_connection(provider);
    if (provider->is_away && atomic_load(&provider->has_returned))
        start_listening(provider);
}

static void *provider_main(void *argument)
{
    struct provider *provider = argument;
    while (!atomic_load(&provider->is_stopping))
        turn(provider);
    return NULL;
}

void provider_start(struct provider *provider)
{
    for (int i = 0; i < PROVIDER_CONNECTIONS_MAX; i++)
        provider->connections[i].fd = -1;
    pthread_mutex_init(&provider->lock, NULL);
    ENSURE(pipe(provider->wake) == 0);
    take_port(provider);
    if (!provider->is_away)
        start_listening(provider);
    ENSURE(pthread_create(&provider->thread, NULL, provider_main, provider) == 0);
}

static void wake(struct provider *provider)
{
    ENSURE(write(provider->wake[1], "", 1) == 1);
}

void provider_return(struct provider *provider)
{
    atomic_store(&provider->has_returned, true);
    wake(provider);
}

void provider_stop(struct provider *provider)
{
    atomic_store(&provider->is_stopping, true);
    wake(provider);
    pthread_join(provider->thread, NULL);
    for (int i = 0; i < PROVIDER_CONNECTIONS_MAX; i++) {
        if (provider->connections[i].fd >= 0)
            drop(&provider->connections[i]);
    }
    close(provider->listening);
    close(provider->wake[0]);
    close(provider->wake[1]);
    pthread_mutex_destroy(&provider->lock);
}

size_t provider_key_count(struct provider *provider)
{
    pthread_mutex_lock(&provider->lock);
    size_t count = provider->key_count;
    pthread_mutex_unlock(&provider->lock);
    return count;
}

struct provider_key provider_key(struct provider *provider, const char *key)
{
    struct provider_key found = {0};
    pthread_mutex_lock(&provider->lock);
    for (size_t i = 0; i < provider->key_count; i++) {
        if (strcmp(provider->keys[i].key, key) == 0)
            found = provider->keys[i];
    }
    pthread_mutex_unlock(&provider->lock);
    return found;
}
