/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening TCP sockets. A listener accepts on its own loop and hands each new connection (non-blocking,
 * TCP_NODELAY set) to a callback on the same thread, which keeps it or passes it to another thread.
 */
#ifndef DOORBUSTER_NET_LISTENER_H
#define DOORBUSTER_NET_LISTENER_H

#include <uv.h>

#include "base/err.h"
#include "base/slice.h"

struct listener;

typedef void listener_on_connection(int fd, void *context);

/*
 * Listens on "HOST:PORT"; HOST is an IPv4 address, an IPv6 address in brackets, a name, or empty for all
 * addresses; port 0 lets the kernel choose. The accept queue is made as long as the kernel allows.
 * ERR_USAGE: the text is not an address; ERR_ADDRESS: cannot listen there (the message says why and what to
 * do).
 */
MUST_CHECK enum err listener_open(uv_loop_t *loop, struct slice address,
    listener_on_connection *on_connection, void *context, struct listener **listener, struct error *error);

/* The port it listens on. */
int listener_port(const struct listener *listener);

/* Length of the accept queue in connections, as the kernel granted it. */
int listener_backlog(const struct listener *listener);

/*
 * Stops listening, after it has handed on the connections that wait in the accept queue: closing would reset
 * them. Not to be called by on_connection. The memory is given back by the loop.
 */
void listener_close(struct listener *listener);

/*
 * Raises the soft limit of open files to the hard one and, when allowed, the hard one to the kernel's bound.
 * Returns the limit now in force.
 */
size_t listener_raise_file_limit(void);

#endif
