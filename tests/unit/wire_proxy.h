/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands between a store and its PostgreSQL server and makes the network fail at the very message that a test
 * is about. It reads what the client says, message by message, and knows the statements by the names under
 * which postgres_link.c prepares them. A thread of its own; all functions are for one other thread.
 */
#ifndef DOORBUSTER_TESTS_WIRE_PROXY_H
#define DOORBUSTER_TESTS_WIRE_PROXY_H

#include <stdbool.h>
#include <stddef.h>

enum cut {
    CUT_BEFORE,     /* neither the statement nor what follows it arrives */
    CUT_UNANSWERED, /* the pipeline has left, and the connection breaks at once: a race, as in life */
    CUT_ANSWER,     /* it was done; nobody hears of it */
};

struct proxy;

/* Listens on a free port of 127.0.0.1; url becomes `target`, which must name host and port, through it. */
struct proxy *proxy_start(const char *target, char *url, size_t url_size);
void proxy_stop(struct proxy *proxy);

/* The next execution of statement number `statement`, on any connection, is the last thing that it hears. */
void proxy_cut_at(struct proxy *proxy, int statement, enum cut cut);
bool proxy_has_cut(struct proxy *proxy);

/* While it hangs nothing goes through, in neither direction, and nobody is told. */
void proxy_hang(struct proxy *proxy, bool hangs);

/* While it refuses all connections are closed, and so are new ones. */
void proxy_refuse(struct proxy *proxy, bool refuses);

#endif
