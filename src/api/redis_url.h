/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a Redis is and how one is let in, as written in redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]. Any
 * thread; nothing blocks.
 */
#ifndef DOORBUSTER_API_REDIS_URL_H
#define DOORBUSTER_API_REDIS_URL_H

#include "base/err.h"
#include "base/slice.h"

enum { REDIS_HOST_MAX = 255, REDIS_SECRET_MAX = 511 }; /* bytes */

struct redis_address {
    char host[REDIS_HOST_MAX + 1];       /* a name or a number, IPv6 without its brackets */
    int port;                            /* 1 to 65535; 6379 when none is written */
    int database;                        /* 0 to 65535; 0 when none is written */
    char user[REDIS_SECRET_MAX + 1];     /* empty: Redis' default user */
    char password[REDIS_SECRET_MAX + 1]; /* empty: none is asked for */
};

/*
 * Reads the URL; user and password may be percent-encoded (RFC 3986, section 2.1). ERR_USAGE with a sentence
 * that repeats nothing of the text, since there may be a password in it.
 */
MUST_CHECK enum err redis_url_parse(struct slice url, struct redis_address *address, struct error *error);

#endif
