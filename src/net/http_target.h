/* SPDX-License-Identifier: Apache-2.0 */
/* Where a client's requests go: "http://HOST:PORT" and the address that it stands for. */
#ifndef DOORBUSTER_NET_HTTP_TARGET_H
#define DOORBUSTER_NET_HTTP_TARGET_H

#include <sys/socket.h>

#include "base/err.h"
#include "base/slice.h"

enum { HTTP_TARGET_AUTHORITY_MAX = 300 };

struct http_target {
    char authority[HTTP_TARGET_AUTHORITY_MAX]; /* "host:port" as the Host header has it */
    struct sockaddr_storage address;
    socklen_t address_len;
};

/*
 * Reads the URL and looks the name up (this may block on DNS). HOST is a name, an IPv4 address or an IPv6
 * address in brackets; without a port it is 80; a path other than "/" makes no sense here. ERR_USAGE: not
 * such a URL; ERR_ADDRESS: the name is not known.
 */
MUST_CHECK enum err http_target_init(struct http_target *target, const char *url, struct error *error);

/* True for 127.0.0.0/8. */
bool http_target_is_loopback(const struct http_target *target);

#endif
