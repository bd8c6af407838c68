/* SPDX-License-Identifier: Apache-2.0 */
/* "HOST:PORT" on a command line of these programs; HOST is an IPv4 address. Any thread; nothing blocks. */
#ifndef DOORBUSTER_BENCH_ADDRESS_H
#define DOORBUSTER_BENCH_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>

/* False when the text is no such address; port 0 is one. */
bool address_parse(const char *text, struct sockaddr_in *address);

#endif
