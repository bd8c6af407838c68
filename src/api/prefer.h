/* SPDX-License-Identifier: Apache-2.0 */
/* What a client would rather have (RFC 7240). Pure; any thread. */
#ifndef DOORBUSTER_API_PREFER_H
#define DOORBUSTER_API_PREFER_H

#include "net/http_server.h"

/*
 * The seconds of the first `wait` among all preferences of the request (RFC 7240, sections 2 and 4.3), at
 * least 0; INT64_MAX when they are too many to count. `otherwise_s` when there is none, or its value is no
 * number.
 */
int64_t prefer_wait_s(const struct http_request *request, int64_t otherwise_s);

#endif
