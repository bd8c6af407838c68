/* SPDX-License-Identifier: Apache-2.0 */
/* What the table of parameters cannot say about those of `serve`: URLs, keys, addresses. Pure. */
#ifndef DOORBUSTER_CMD_SERVE_CHECK_H
#define DOORBUSTER_CMD_SERVE_CHECK_H

#include "base/err.h"
#include "cmd/params.h"

/* To be called before anything is made. ERR_USAGE: the text begins with the flag, and repeats no secret. */
MUST_CHECK enum err serve_check(const struct params *params, struct error *error);

/* --opening-balance in hundredths; negative when serve_check refuses it. */
int64_t serve_opening_balance_minor(const struct params *params);

#endif
