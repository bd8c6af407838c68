/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_client.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/pool.h"

enum {
    SCRATCH_SIZE = 65536,       /* bytes that one recv may take */
    SWEEP_INTERVAL_MS = 10,     /* how exactly time-outs are kept */
    SOCKET_COUNT_MAX = 1 << 20, /* more open files no kernel gives by default */
    SOURCE_COUNT_MAX = 250,     /* 127.0.0.2 to 127.0.0.251 */
    RECEIVED_SIZE_FIRST = 4096
};

/* A connection. Separate from the link because libuv lets go of a handle only at the end of the loop's turn.
 */
struct http_socket {
    uv_poll_t poll;
    struct http_client *client;
    struct http_link *link; /* NULL: being closed */
    int fd;
    int events; /* what is polled for */
    bool is_connecting;
};

struct http_client {
    struct http_client_config config;
    uv_loop_t *loop;
    uv_timer_t sweep;     /* runs while somebody waits */
    uv_idle_t undertaker; /* runs while somebody is doomed */
    struct pool sockets;
    struct list waiting;       /* links by deadline: all have the same time-out, so in order of sending */
    struct list doomed;        /* links whose sending failed at once, until on_failure has told */
    int handle_count;          /* handles that libuv has not let go of */
    unsigned source_index;     /* loopback source addresses used up so far */
    unsigned source_use_count; /* connections from the present one */
    int last_errno;
    bool is_loopback;
    bool is_destroyed;
    char scratch[SCRATCH_SIZE];
};

static void release_if_over(struct http_client *client)
{
    if (!client->is_destroyed || client->handle_count > 0)
        return;
    pool_fini(&client->sockets);
    free(client);
}

/* Takes the link off the list it waits on. */
static void stop_waiting(struct http_link *link)
{
    ENSURE(link->is_waiting);
    link->is_waiting = false;
    list_remove(&link->node);
}

static void fail(struct http_link *link, enum http_failure failure)
{
    http_link_close(link);
    stop_waiting(link);
    link->client->config.on_failure(link, failure, clock_mono_ns());
}

/* Inside http_link_send nobody may be called back: the undertaker tells at the loop's next turn. */
static void doom(struct http_link *link, enum http_failure failure);

static void on_undertaker(uv_idle_t *idle)
{
    struct http_client *client = idle->data;
    struct list *last = client->doomed.prev; /* those that callbacks doom meanwhile wait for the next turn */
    bool is_last = list_is_empty(&client->doomed);
    while (!is_last) {
        struct list *node = list_first(&client->doomed);
        struct http_link *link = CONTAINER_OF(node, struct http_link, node);
        is_last = node == last;
        fail(link, link->doom);
    }
    if (list_is_empty(&client->doomed))
        (void)uv_idle_stop(idle);
}

static void doom(struct http_link *link, enum http_failure failure)
{
    struct http_client *client = link->client;
    http_link_close(link);
    link->doom = failure;
    list_remove(&link->node);
    list_append(&client->doomed, &link->node);
    (void)uv_idle_start(&client->undertaker, on_undertaker);
}

static void on_sweep(uv_timer_t *timer)
{
    struct http_client *client = timer->data;
    int64_t now_ns = clock_mono_ns();
    for (struct list *node = list_first(&client->waiting); node != NULL;
         node = list_first(&client->waiting)) {
        struct http_link *link = CONTAINER_OF(node, struct http_link, node);
        if (link->deadline_ns > now_ns)
            return;
        fail(link, HTTP_FAILURE_TIMEOUT);
    }
    (void)uv_timer_stop(timer);
}

static void start_waiting(struct http_link *link, int64_t now_ns)
{
    struct http_client *client = link->client;
    link->is_waiting = true;
    link->started_ns = now_ns;
    link->connected_ns = 0;
    link->sent_ns = 0;
    link->sent_len = 0;
    link->received_len = 0;
    link->deadline_ns = now_ns + client->config.timeout_ms * 1000000;
    http_response_init(&link->response);
    if (list_is_empty(&client->waiting) && !uv_is_active((uv_handle_t *)&client->sweep))
        (void)uv_timer_start(&client->sweep, on_sweep, SWEEP_INTERVAL_MS, SWEEP_INTERVAL_MS);
    list_append(&client->waiting, &link->node);
}

static void on_socket_closed(uv_handle_t *handle)
{
    struct http_socket *socket = handle->data;
    struct http_client *client = socket->client;
    pool_put(&client->sockets, socket);
    client->handle_count--;
    release_if_over(client);
}

void http_link_close(struct http_link *link)
{
    struct http_socket *socket = link->socket;
    if (socket == NULL)
        return;
    link->socket = NULL;
    socket->link = NULL;
    uv_close((uv_handle_t *)&socket->poll, on_socket_closed); /* stops polling at once, so the fd may go */
    (void)close(socket->fd);
}

static void on_socket_event(uv_poll_t *poll, int status, int events);

static void poll_for(struct http_socket *socket, int events)
{
    if (socket->events == events)
        return;
    socket->events = events;
    (void)uv_poll_start(&socket->poll, events, on_socket_event); /* fails only for closing handles */
}

/* What a failed socket call means for the request. */
static enum http_failure failure_of(int code)
{
    switch (code) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EADDRNOTAVAIL:
    case EACCES:
    case EPERM:
        return HTTP_FAILURE_LOCAL;
    default:
        return HTTP_FAILURE_CONNECT;
    }
}

/* Sends what is left of the request. Returns 0, or the errno that ended it. */
static int flush(struct http_link *link)
{
    struct http_socket *socket = link->socket;
    struct strbuf *request = &link->request;
    while (link->sent_len < request->len) {
        ssize_t sent =
            send(socket->fd, request->base + link->sent_len, request->len - link->sent_len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            poll_for(socket, socket->is_connecting ? UV_WRITABLE : UV_READABLE | UV_WRITABLE);
            return 0;
        }
        if (sent < 0)
            return errno;
        link->sent_len += (size_t)sent;
        if (link->sent_ns == 0)
            link->sent_ns =
                link->connected_ns == 0 && !socket->is_connecting ? link->started_ns : clock_mono_ns();
    }
    if (socket->is_connecting) { /* the kernel took the bytes, so the connection stands */
        socket->is_connecting = false;
        link->connected_ns = link->sent_ns;
    }
    poll_for(socket, UV_READABLE);
    return 0;
}

/* A loopback connection to a port that nobody listens on may get that very port as its own and meet itself.
 */
static bool has_met_itself(const struct http_client *client, int fd)
{
    struct sockaddr_storage own = {0};
    socklen_t len = sizeof own;
    if (!client->is_loopback || getsockname(fd, (struct sockaddr *)&own, &len) != 0)
        return false;
    const struct sockaddr_in *mine = (const struct sockaddr_in *)(const void *)&own;
    const struct sockaddr_in *theirs =
        (const struct sockaddr_in *)(const void *)&client->config.target.address;
    return mine->sin_port == theirs->sin_port && mine->sin_addr.s_addr == theirs->sin_addr.s_addr;
}

/* When the ephemeral ports of one address are used up, the next address of the loopback network has as many.
 */
static void bind_source(const struct http_client *client, int fd)
{
    if (client->source_index == 0)
        return;
    int on = 1;
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl((127U << 24) + 1 + client->source_index);
    (void)setsockopt(
        fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on); /* else the ports are shared out twice */
    (void)bind(fd, (struct sockaddr *)&source, sizeof source);    /* when it fails, connect will say so */
}

/* Goes round, because the ports of the first address are free again by then. */
static void spread_sources(struct http_client *client)
{
    if (!client->is_loopback || client->config.connections_per_source == 0)
        return;
    if (client->source_use_count++ < client->config.connections_per_source)
        return;
    client->source_use_count = 1;
    client->source_index = (client->source_index + 1) % (SOURCE_COUNT_MAX + 1);
}

/* A socket that connects, or -1 with errno. Without TCP_NODELAY, a system call more: the algorithm that it
 * turns off holds back only what follows unacknowledged bytes, and a request is one write after a complete
 * answer. */
static int open_fd(struct http_client *client)
{
    const struct http_target *target = &client->config.target;
    spread_sources(client);
    for (;;) {
        int fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return -1;
        bind_source(client, fd);
        if (connect(fd, (const struct sockaddr *)&target->address, target->address_len) == 0 ||
            errno == EINPROGRESS)
            return fd;
        int code = errno;
        (void)close(fd);
        errno = code;
        if (code != EADDRNOTAVAIL || !client->is_loopback || client->source_index == SOURCE_COUNT_MAX)
            return -1;
        client->source_index++;
    }
}

/* Starts a connection for the link. Returns 0 or an errno. */
static int open_socket(struct http_link *link)
{
    struct http_client *client = link->client;
    struct http_socket *socket = pool_take(&client->sockets);
    if (socket == NULL)
        return ENOMEM;
    memset(socket, 0, sizeof *socket);
    socket->fd = open_fd(client);
    if (socket->fd < 0) {
        int code = errno;
        pool_put(&client->sockets, socket);
        return code;
    }
    int status = uv_poll_init(client->loop, &socket->poll, socket->fd);
    if (status != 0) {
        (void)close(socket->fd);
        pool_put(&client->sockets, socket);
        return -status;
    }
    client->handle_count++;
    socket->client = client;
    socket->poll.data = socket;
    socket->is_connecting = true;
    socket->link = link;
    link->socket = socket;
    return 0;
}

/* On a fresh connection. On loopback it often stands when connect returns, and sending saves a turn of the
 * loop. */
static void send_fresh(struct http_link *link)
{
    int code = open_socket(link);
    if (code == 0) {
        code = flush(link);
        if (code == ENOTCONN) {
            code = 0;
            poll_for(link->socket, UV_WRITABLE);
        }
    }
    if (code == 0)
        return;
    link->client->last_errno = code;
    doom(link, failure_of(code));
}

void http_link_send(struct http_link *link, int64_t now_ns)
{
    ENSURE(!link->is_waiting);
    ENSURE(!link->request.has_overflowed && link->request.len > 0);
    start_waiting(link, now_ns);
    if (link->socket != NULL) {
        if (flush(link) == 0)
            return;
        http_link_close(link);
        if (link->sent_len > 0) {
            doom(link, HTTP_FAILURE_LOST);
            return;
        }
    }
    send_fresh(
        link); /* not connected, or closed by the server before a byte was sent: nothing can happen twice */
}

static void on_connected(struct http_link *link)
{
    struct http_client *client = link->client;
    int code = 0;
    socklen_t len = sizeof code;
    if (getsockopt(link->socket->fd, SOL_SOCKET, SO_ERROR, &code, &len) != 0)
        code = errno;
    if (code == 0) {
        link->socket->is_connecting = false;
        link->connected_ns = clock_mono_ns();
        code = flush(link);
    }
    if (code == 0)
        return;
    client->last_errno = code;
    fail(link, failure_of(code));
}

/* Room behind what has been received. The scratch buffer serves until an answer comes in pieces. */
static bool make_room(struct http_link *link)
{
    if (link->received_len < link->received_size)
        return true;
    size_t size_max = link->client->config.reply_bytes_max;
    size_t size = link->received_size == 0 ? RECEIVED_SIZE_FIRST : link->received_size * 2;
    if (size > size_max)
        size = size_max;
    if (size <= link->received_len)
        return false;
    char *received = realloc(link->received, size);
    if (received == NULL)
        return false;
    link->received = received;
    link->received_size = size;
    return true;
}

/* Keeps a piece of an answer for the next turn. */
static bool keep_piece(struct http_link *link, const char *piece, size_t len)
{
    while (link->received_size < len) {
        size_t size_before = link->received_size;
        link->received_len = size_before;
        bool has_grown = make_room(link) && link->received_size > size_before;
        link->received_len = 0;
        if (!has_grown)
            return false;
    }
    memcpy(link->received, piece, len);
    link->received_len = len;
    return true;
}

/* An answer is complete. What follows it was not asked for, and would be taken for the next answer. */
static void answered(struct http_link *link, size_t received_len, bool is_eof, int64_t now_ns)
{
    if (is_eof || !link->response.is_keepalive || link->response.consumed < received_len)
        http_link_close(link);
    stop_waiting(link);
    link->client->config.on_reply(link, &link->response, now_ns);
}

/* What came is no HTTP. When it is our own request, nobody listens there, and nothing was sent to anybody.
 * Looked at only now, because it is rare and a system call. */
static void refuse_answer(struct http_link *link)
{
    bool is_own = has_met_itself(link->client, link->socket->fd);
    if (is_own) {
        link->client->last_errno = ECONNREFUSED;
        link->sent_ns = 0;
    }
    fail(link, is_own ? HTTP_FAILURE_CONNECT : HTTP_FAILURE_MALFORMED);
}

/* Looks at what came; `base` is the scratch buffer or link->received. */
static void on_bytes(struct http_link *link, char *base, size_t len, bool is_eof)
{
    struct http_client *client = link->client;
    enum http_response_state state = http_response_feed(&link->response, base, len, is_eof);
    if (state == HTTP_RESPONSE_DONE) {
        answered(link, len, is_eof, clock_mono_ns());
    } else if (state == HTTP_RESPONSE_MALFORMED) {
        refuse_answer(link);
    } else if (is_eof) {
        fail(link, HTTP_FAILURE_LOST);
    } else if (base == client->scratch) {
        if (!keep_piece(link, base, len))
            fail(link, HTTP_FAILURE_MALFORMED);
    } else {
        link->received_len = len;
    }
}

static void on_readable(struct http_link *link)
{
    struct http_client *client = link->client;
    bool is_first = link->received_len == 0;
    if (!is_first && !make_room(link)) {
        fail(link, HTTP_FAILURE_MALFORMED);
        return;
    }
    char *base = is_first ? client->scratch : link->received;
    size_t size = is_first ? SCRATCH_SIZE : link->received_size;
    ssize_t got = recv(link->socket->fd, base + link->received_len, size - link->received_len, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got < 0) {
        client->last_errno = errno;
        fail(link, HTTP_FAILURE_LOST);
        return;
    }
    on_bytes(link, base, link->received_len + (size_t)got, got == 0);
}

/* Nobody waits on this connection: the server closed it, or says what nobody asked for. */
static bool is_idle(const struct http_link *link)
{
    return !link->is_waiting;
}

static void on_socket_event(uv_poll_t *poll, int status, int events)
{
    struct http_socket *socket = poll->data;
    struct http_link *link = socket->link;
    if (link == NULL)
        return;
    if (is_idle(link)) {
        http_link_close(link);
        return;
    }
    if (socket->is_connecting) {
        on_connected(link);
        return;
    }
    if (status < 0) /* the kernel reports an error: recv tells which, after what was still readable */
        socket->events = 0;
    if (status < 0 || (events & UV_READABLE) != 0) {
        on_readable(link);
        if (status < 0 && link->socket == socket && link->is_waiting)
            poll_for(socket, UV_READABLE);
        return;
    }
    int code = flush(link);
    if (code != 0) {
        link->client->last_errno = code;
        fail(link, HTTP_FAILURE_LOST);
    }
}

bool http_link_init(struct http_link *link, struct http_client *client)
{
    memset(link, 0, sizeof *link);
    list_init(&link->node);
    link->client = client;
    char *request = malloc(client->config.request_bytes_max);
    if (request == NULL)
        return false;
    memset(request, 0, client->config.request_bytes_max); /* no page is missing when a crowd starts */
    strbuf_init(&link->request, request, client->config.request_bytes_max);
    return true;
}

void http_link_fini(struct http_link *link)
{
    ENSURE(!link->is_waiting);
    http_link_close(link);
    free(link->request.base);
    free(link->received);
    memset(link, 0, sizeof *link);
}

struct http_client *http_client_create(uv_loop_t *loop, const struct http_client_config *config)
{
    struct http_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return NULL;
    client->config = *config;
    client->loop = loop;
    client->is_loopback = http_target_is_loopback(&config->target);
    list_init(&client->waiting);
    list_init(&client->doomed);
    pool_init(&client->sockets, sizeof(struct http_socket), SOCKET_COUNT_MAX);
    (void)uv_timer_init(loop, &client->sweep); /* these two cannot fail */
    (void)uv_idle_init(loop, &client->undertaker);
    client->sweep.data = client;
    client->undertaker.data = client;
    client->handle_count = 2;
    return client;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct http_client *client = handle->data;
    client->handle_count--;
    release_if_over(client);
}

void http_client_destroy(struct http_client *client)
{
    ENSURE(list_is_empty(&client->waiting) && list_is_empty(&client->doomed));
    client->is_destroyed = true;
    uv_close((uv_handle_t *)&client->sweep, on_handle_closed);
    uv_close((uv_handle_t *)&client->undertaker, on_handle_closed);
}

static void cancel_all(struct list *list)
{
    for (struct list *node = list_first(list); node != NULL; node = list_first(list))
        fail(CONTAINER_OF(node, struct http_link, node), HTTP_FAILURE_CANCELLED);
}

void http_client_cancel(struct http_client *client)
{
    cancel_all(&client->waiting);
    cancel_all(&client->doomed);
}

int http_client_last_errno(const struct http_client *client)
{
    return client->last_errno;
}
