/* SPDX-License-Identifier: Apache-2.0 */
/* What a rule decides. A result is a business outcome, not an error; see base/err.h for those. Any thread. */
#ifndef DOORBUSTER_CORE_RESULT_H
#define DOORBUSTER_CORE_RESULT_H

enum result {
#define RESULT(name, number, http_status, code, text) RESULT_##name = (number),
#include "core/result.def"
#undef RESULT
};

/* Rows of result.def. */
enum {
    RESULT_ROW_COUNT = 0
#define RESULT(name, number, http_status, code, text) +1
#include "core/result.def"
#undef RESULT
};

struct result_info {
    enum result result;
    const char *name; /* "SOLD_OUT": for metrics and logs */
    int http_status;
    const char *code; /* on the wire */
    const char *text;
};

/* Never NULL for a result from result.def; NULL for any other number (a store may hold one). */
const struct result_info *result_info(enum result result);

/* The row at `index`, or NULL past the end: for tables made at start. */
const struct result_info *result_info_at(unsigned index);

#endif
