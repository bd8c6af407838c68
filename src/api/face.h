/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A face is one wire: the translation between a client's HTTP and the commands of the one domain behind.
 * Adding one means one file with one struct face, and its name in faces[] (face.c). The handlers get the
 * struct net_thread they run on as context.
 */
#ifndef DOORBUSTER_API_FACE_H
#define DOORBUSTER_API_FACE_H

#include "net/http_server.h"

struct face {
    const char *name;
    const struct http_route *routes; /* the context is filled in for each thread */
    size_t route_count;
};

extern const struct face flash_sale_face;
extern const struct face intake_face;
extern const struct face market_face;
extern const struct face orders_face;
extern const struct face ops_face;
extern const struct face vending_face;

extern const struct face *const faces[];
extern const size_t face_count;

#endif
