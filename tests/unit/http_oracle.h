/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second opinion on request heads: the parser library of the distribution. What our parser accepts the
 * library must accept too, with the same target and the same headers; the other way round ours is stricter.
 */
#ifndef DOORBUSTER_TESTS_HTTP_ORACLE_H
#define DOORBUSTER_TESTS_HTTP_ORACLE_H

#include "net/http_parse.h"

/*
 * NULL when the library reads the head, which ours has accepted and filled into *request, in the same way;
 * else what is different. Says NULL as well to what the library is known not to read: targets that are no
 * path, and lengths near 2^64.
 */
const char *http_oracle_objection(
    struct slice bytes, const struct http_request *request, const struct http_head *head);

#endif
