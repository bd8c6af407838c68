/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses are nobody's business outside: a URL that a customer gives must not make this machine talk
 * to itself, to its neighbours or to the cloud it runs in. It is the resolved address that is asked about, at
 * the moment of connecting, so a name that changes its address in between gains nothing. Any thread; nothing
 * blocks.
 */
#ifndef DOORBUSTER_SERVICE_TARGETS_H
#define DOORBUSTER_SERVICE_TARGETS_H

#include <stdbool.h>
#include <sys/socket.h>

/*
 * True unless the address is one of the public internet: private, loopback, link-local, shared (CGNAT),
 * multicast, reserved, documentation or unspecified (the special-purpose registries of IANA, RFC 6890), also
 * in an IPv6 address that stands for an IPv4 one (mapped, compatible, NAT64, 6to4, Teredo), and whatever is
 * neither IPv4 nor IPv6.
 */
bool targets_is_private(const struct sockaddr *address);

#endif
