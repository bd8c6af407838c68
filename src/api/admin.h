/* SPDX-License-Identifier: Apache-2.0 */
/* Who may use the routes of the admin. Net threads. */
#ifndef DOORBUSTER_API_ADMIN_H
#define DOORBUSTER_API_ADMIN_H

#include "api/net_thread.h"

/* The request has the admin key in X-Admin-Key, or needs none (--trust-loopback). */
MUST_CHECK bool is_admin(const struct http_request *request, const struct net_thread *thread);

/* The same. False: it has been answered with 401 in the flash sale's envelope and is gone. */
MUST_CHECK bool check_admin(struct http_request *request, const struct net_thread *thread);

#endif
