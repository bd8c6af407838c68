/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a request target. Any thread. */
#ifndef DOORBUSTER_NET_HTTP_QUERY_H
#define DOORBUSTER_NET_HTTP_QUERY_H

#include "base/arena.h"
#include "base/slice.h"

/*
 * Percent-decodes (RFC 3986 section 2.1); with is_form '+' is a blank too. The result is `text` itself when
 * there is nothing to decode, else lies in the arena. False when a '%' is not followed by two hex digits or
 * the arena overflowed.
 */
bool http_percent_decode(struct arena *arena, struct slice text, bool is_form, struct slice *decoded);

/*
 * Takes the next "name=value" off the front of *query, both decoded as a form. False at the end;
 * *is_malformed is set, never cleared, when a piece does not decode.
 */
bool http_query_next(
    struct arena *arena, struct slice *query, struct slice *name, struct slice *value, bool *is_malformed);

#endif
