/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same sale in Redis: a script on the server checks the sale, the buyer and the stock, takes a unit and
 * notes the buyer, in one step. Each connection has one purchase in flight, as an HTTP client has; durable
 * before the answer when the server runs with `appendonly yes` and `appendfsync always`. The limiter and the
 * HTTP that our server has on top are left out, so Redis has less to do.
 *
 * One epoll set, level-triggered, one thread; RESP is read by hand: an answer is one line. What the store
 * holds afterwards is compared with what was acknowledged.
 *
 * usage: redis_purchase HOST:PORT CONNECTIONS SECONDS    HOST is an IPv4 address. Prints one line of JSON.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/slice.h"
#include "address.h"
#include "load.h"

enum {
    EVENTS_MAX = 512,
    COMMAND_BYTES = 2048,
    ANSWER_BYTES = 256,
    SHA_LEN = 40,
    EXIT_USAGE = 2,
    EXIT_WORLD = 3
};

/* Answers the units left, or a negative number that says why not. */
static const char purchase_script[] =
    "local sale = redis.call('HMGET', KEYS[1], 'state', 'end', 'stock')\n"
    "if sale[1] ~= 'ACTIVE' or tonumber(ARGV[2]) >= tonumber(sale[2]) then return -1 end\n"
    "if tonumber(sale[3]) <= 0 then return -2 end\n"
    "if redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[2]) == 0 then return -3 end\n"
    "return redis.call('HINCRBY', KEYS[1], 'stock', -1)";

struct connection {
    int fd;
    int64_t sent_ns;
    size_t received_len;
    char received[ANSWER_BYTES];
};

struct client {
    int epoll;
    struct sockaddr_in address;
    struct connection *connections;
    size_t connection_count;
    char sha[SHA_LEN + 1];
    struct load load;
};

static _Noreturn void give_up(const char *what)
{
    (void)fprintf(
        stderr, "redis_purchase: %s: %s\n", what, errno != 0 ? strerror(errno) : "unexpected answer");
    exit(EXIT_WORLD);
}

static int connect_to(const struct sockaddr_in *address)
{
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) != 0)
        give_up("connect");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* --- one command at a time, for the set-up and the count afterwards ----------------------------------------
 */

/* Sends words, ended by NULL, and waits for an answer of `line_count` lines; the last one is copied to
 * `line`. */
static void ask(int fd, const char *const *words, int line_count, char line[ANSWER_BYTES])
{
    char command[COMMAND_BYTES];
    size_t word_count = 0;
    while (words[word_count] != NULL)
        word_count++;
    int len = snprintf(command, sizeof command, "*%zu\r\n", word_count);
    for (size_t i = 0; i < word_count; i++) {
        len += snprintf(
            command + len, sizeof command - (size_t)len, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
        ENSURE((size_t)len < sizeof command);
    }
    errno = 0;
    if (send(fd, command, (size_t)len, MSG_NOSIGNAL) != len)
        give_up(words[0]);
    for (size_t used = 0; line_count > 0; used++) {
        if (used == ANSWER_BYTES || recv(fd, line + used, 1, 0) != 1 || line[0] == '-')
            give_up(words[0]);
        if (line[used] == '\n') {
            line[used - 1] = '\0';
            used = (size_t)-1;
            line_count--;
        }
    }
}

static void set_up(struct client *client)
{
    char line[ANSWER_BYTES];
    int fd = connect_to(&client->address);
    ask(fd, (const char *const[]){"FLUSHALL", NULL}, 1, line);
    ask(fd,
        (const char *const[]){
            "HSET", "sale", "state", "ACTIVE", "end", "4102444800000", "stock", LOAD_STOCK, NULL},
        1, line);
    ask(fd, (const char *const[]){"SCRIPT", "LOAD", purchase_script, NULL}, 2, line);
    if (strlen(line) != SHA_LEN)
        give_up("SCRIPT LOAD");
    memcpy(client->sha, line, sizeof client->sha);
    close(fd);
}

/* Every acknowledged purchase must be there, and no other. */
static void check(const struct client *client)
{
    char line[ANSWER_BYTES];
    int64_t count;
    int fd = connect_to(&client->address);
    ask(fd, (const char *const[]){"HLEN", "buyers", NULL}, 1, line);
    close(fd);
    if (!slice_to_i64(slice_cstr(line + 1), &count) || (uint64_t)count != client->load.success_count) {
        (void)fprintf(stderr, "redis_purchase: %llu purchases were acknowledged, the store says %s\n",
            (unsigned long long)client->load.success_count, line);
        exit(EXIT_WORLD);
    }
}

/* --- the crowd ---------------------------------------------------------------------------------------------
 */

static void buy(struct client *client, struct connection *connection, int64_t now_ns)
{
    char command[COMMAND_BYTES];
    char user[LOAD_USER_BYTES];
    int user_len = load_next_user(&client->load, user);
    int len = snprintf(command, sizeof command,
        "*7\r\n$7\r\nEVALSHA\r\n$40\r\n%s\r\n$1\r\n2\r\n$4\r\nsale\r\n$6\r\nbuyers\r\n$%d\r\n%s\r\n$13\r\n%"
        "013lld\r\n",
        client->sha, user_len, user, (long long)clock_wall_ms());
    connection->sent_ns = now_ns;
    connection->received_len = 0;
    if (send(connection->fd, command, (size_t)len, MSG_NOSIGNAL) != len)
        give_up("send");
}

/* True when the answer is complete. */
static bool receive(struct connection *connection)
{
    size_t room = sizeof connection->received - connection->received_len;
    ssize_t len = recv(connection->fd, connection->received + connection->received_len, room, 0);
    if (len <= 0)
        give_up("receive");
    connection->received_len += (size_t)len;
    return connection->received[connection->received_len - 1] == '\n';
}

static void connect_all(struct client *client)
{
    client->epoll = epoll_create1(EPOLL_CLOEXEC);
    client->connections = calloc(client->connection_count, sizeof *client->connections);
    if (client->epoll < 0 || client->connections == NULL)
        give_up("start");
    for (size_t i = 0; i < client->connection_count; i++) {
        struct connection *connection = &client->connections[i];
        connection->fd = connect_to(&client->address);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        if (epoll_ctl(client->epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0)
            give_up("epoll");
    }
}

static void run(struct client *client, int64_t seconds)
{
    static struct epoll_event events[EVENTS_MAX];
    load_begin(&client->load, seconds);
    int64_t now_ns = clock_mono_ns();
    for (size_t i = 0; i < client->connection_count; i++)
        buy(client, &client->connections[i], now_ns);
    size_t in_flight = client->connection_count;
    while (in_flight > 0) {
        int count = epoll_wait(client->epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!receive(connection))
                continue;
            now_ns = clock_mono_ns();
            bool is_success = connection->received[0] == ':' && connection->received[1] != '-';
            load_add(&client->load, is_success, connection->sent_ns, now_ns);
            if (load_goes_on(&client->load, now_ns))
                buy(client, connection, now_ns);
            else
                in_flight--;
        }
    }
}

int main(int argc, char **argv)
{
    struct client client = {0};
    int64_t connection_count;
    int64_t seconds;
    if (argc != 4 || !address_parse(argv[1], &client.address) ||
        !slice_to_i64(slice_cstr(argv[2]), &connection_count) || connection_count < 1 ||
        connection_count > 20000 || !slice_to_i64(slice_cstr(argv[3]), &seconds) || seconds < 1 ||
        seconds > 3600) {
        (void)fprintf(stderr, "usage: redis_purchase HOST:PORT CONNECTIONS SECONDS\n");
        return EXIT_USAGE;
    }
    client.connection_count = (size_t)connection_count;
    set_up(&client);
    connect_all(&client);
    run(&client, seconds);
    check(&client);
    load_print(&client.load);
    return 0;
}
