/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a JSON value as it was sent. json_parse turns a number with a point into a double, which is not
 * what an amount may pass through; here the amount's own text is found, for core/decimal.h.
 *
 * The text must be one that json_parse takes (JSON_OK): this only walks, it does not check. What it was given
 * nevertheless, it never reads beyond the end. Results are slices of the text, without blanks around them. An
 * object or array is walked from its beginning with each call. Any thread; nothing allocates.
 */
#ifndef DOORBUSTER_NET_JSON_RAW_H
#define DOORBUSTER_NET_JSON_RAW_H

#include "base/slice.h"

/* The text of the member of that name, as json_member would find it: escapes in names are resolved, and of
 * several with that name the last one counts. False when `object` is no object or has none. */
bool json_raw_member(struct slice object, struct slice name, struct slice *raw);

/* Walks over an array's items: start with *cursor = 0; false at the end, or when it is no array. */
bool json_raw_next_item(struct slice array, size_t *cursor, struct slice *raw);

/* Whether this is the text of a number; of nothing (len 0) it is not. */
bool json_raw_is_number(struct slice raw);

#endif
