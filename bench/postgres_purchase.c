/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same sale in PostgreSQL the usual way: one transaction a purchase, all on the product's one row. It
 * gets what helps it: a prepared call of a function, so that a purchase is one round trip; the insert before
 * the update, so that the hot row is locked only at the very end; room in the product's page for updates that
 * touch no index. The row stays locked until the commit is on disk, which is why more connections do not
 * help.
 *
 * One thread and one epoll set over all connections, each with one purchase in flight. What the tables hold
 * afterwards is compared with what was acknowledged.
 *
 * usage: postgres_purchase CONNINFO CONNECTIONS SECONDS    Makes its tables anew. Prints one line of JSON.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/slice.h"
#include "load.h"

enum { EVENTS_MAX = 64, CONNECTIONS_MAX = 1000, EXIT_USAGE = 2, EXIT_WORLD = 3 };

static const char schema[] =
    "SET client_min_messages = warning;"
    "DROP TABLE IF EXISTS purchases, products;"
    "CREATE TABLE products (id int PRIMARY KEY, stock int NOT NULL CHECK (stock >= 0), end_time timestamptz "
    "NOT NULL)"
    " WITH (fillfactor = 10);"
    "CREATE TABLE purchases (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, product_id int NOT NULL,"
    " user_id text NOT NULL, purchased_at timestamptz NOT NULL DEFAULT now(), UNIQUE (product_id, user_id));"
    "INSERT INTO products VALUES (1, " LOAD_STOCK ", '2100-01-01');"
    "CREATE OR REPLACE FUNCTION buy(product int, buyer text) RETURNS bigint LANGUAGE plpgsql AS $$"
    " DECLARE number bigint;"
    " BEGIN"
    "  INSERT INTO purchases (product_id, user_id) VALUES (product, buyer) RETURNING id INTO number;"
    "  UPDATE products SET stock = stock - 1 WHERE id = product AND stock > 0 AND now() < end_time;"
    "  IF NOT FOUND THEN RAISE EXCEPTION 'not active or sold out'; END IF;"
    "  RETURN number;"
    " END $$";

static const char count_query[] =
    "SELECT count(*) FROM purchases, products WHERE products.id = 1 HAVING count(*) = " LOAD_STOCK
    " - min(stock)";

struct connection {
    PGconn *pg;
    int64_t sent_ns;
    bool is_success; /* of what has been received of the present answer */
};

struct client {
    int epoll;
    const char *conninfo;
    struct connection *connections;
    size_t connection_count;
    struct load load;
};

static _Noreturn void give_up(PGconn *pg)
{
    (void)fprintf(stderr, "postgres_purchase: %s", PQerrorMessage(pg));
    exit(EXIT_WORLD);
}

static PGconn *connect_to(const char *conninfo)
{
    PGconn *pg = PQconnectdb(conninfo);
    if (PQstatus(pg) != CONNECTION_OK)
        give_up(pg);
    return pg;
}

static void set_up(const struct client *client)
{
    PGconn *pg = connect_to(client->conninfo);
    PGresult *result = PQexec(pg, schema);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        give_up(pg);
    PQclear(result);
    PQfinish(pg);
}

static void connect_all(struct client *client)
{
    client->epoll = epoll_create1(EPOLL_CLOEXEC);
    client->connections = calloc(client->connection_count, sizeof *client->connections);
    ENSURE(client->epoll >= 0 && client->connections != NULL);
    for (size_t i = 0; i < client->connection_count; i++) {
        struct connection *connection = &client->connections[i];
        connection->pg = connect_to(client->conninfo);
        PGresult *result = PQprepare(connection->pg, "buy", "SELECT buy(1, $1)", 1, NULL);
        if (PQresultStatus(result) != PGRES_COMMAND_OK || PQsetnonblocking(connection->pg, 1) != 0)
            give_up(connection->pg);
        PQclear(result);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        int status = epoll_ctl(client->epoll, EPOLL_CTL_ADD, PQsocket(connection->pg), &event);
        ENSURE(status == 0);
    }
}

static void buy(struct client *client, struct connection *connection, int64_t now_ns)
{
    char user[LOAD_USER_BYTES];
    (void)load_next_user(&client->load, user);
    connection->sent_ns = now_ns;
    connection->is_success = false;
    if (!PQsendQueryPrepared(connection->pg, "buy", 1, (const char *const[]){user}, NULL, NULL, 0) ||
        PQflush(connection->pg) != 0)
        give_up(connection->pg);
}

/* True when the purchase is over. */
static bool receive(struct connection *connection)
{
    if (!PQconsumeInput(connection->pg))
        give_up(connection->pg);
    while (!PQisBusy(connection->pg)) {
        PGresult *result = PQgetResult(connection->pg);
        if (result == NULL)
            return true;
        connection->is_success = PQresultStatus(result) == PGRES_TUPLES_OK;
        PQclear(result);
    }
    return false;
}

static void run(struct client *client, int64_t seconds)
{
    struct epoll_event events[EVENTS_MAX];
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
            load_add(&client->load, connection->is_success, connection->sent_ns, now_ns);
            if (load_goes_on(&client->load, now_ns))
                buy(client, connection, now_ns);
            else
                in_flight--;
        }
    }
}

/* Every acknowledged purchase must be there, and no other, and the stock must agree. */
static bool check(const struct client *client)
{
    int64_t count = -1;
    PGconn *pg = connect_to(client->conninfo);
    PGresult *result = PQexec(pg, count_query);
    bool is_right = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 &&
                    slice_to_i64(slice_cstr(PQgetvalue(result, 0, 0)), &count) &&
                    (uint64_t)count == client->load.success_count;
    if (!is_right)
        (void)fprintf(stderr,
            "postgres_purchase: %llu purchases were acknowledged, the tables hold %lld or disagree\n",
            (unsigned long long)client->load.success_count, (long long)count);
    PQclear(result);
    PQfinish(pg);
    return is_right;
}

int main(int argc, char **argv)
{
    struct client client = {0};
    int64_t connection_count;
    int64_t seconds;
    if (argc != 4 || !slice_to_i64(slice_cstr(argv[2]), &connection_count) || connection_count < 1 ||
        connection_count > CONNECTIONS_MAX || !slice_to_i64(slice_cstr(argv[3]), &seconds) || seconds < 1 ||
        seconds > 3600) {
        (void)fprintf(stderr, "usage: postgres_purchase CONNINFO CONNECTIONS SECONDS\n");
        return EXIT_USAGE;
    }
    client.conninfo = argv[1];
    client.connection_count = (size_t)connection_count;
    set_up(&client);
    connect_all(&client);
    run(&client, seconds);
    if (!check(&client))
        return EXIT_WORLD;
    load_print(&client.load);
    for (size_t i = 0; i < client.connection_count; i++)
        PQfinish(client.connections[i].pg);
    return 0;
}
