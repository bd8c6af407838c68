/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the answers of the order intake (order-intake contract). Pure; any thread. */
#ifndef DOORBUSTER_RUSH_INTAKE_H
#define DOORBUSTER_RUSH_INTAKE_H

#include "rush/scenario.h"

enum intake_outcome {
    INTAKE_QUEUED = OUTCOME_COMMON_COUNT,
    INTAKE_NONSENSE,
    INTAKE_UNAUTHORIZED,
    INTAKE_INVALID,
    INTAKE_UNAVAILABLE,
    INTAKE_OTHER_STATUS,
    INTAKE_SERVER_ERROR,
    INTAKE_OUTCOME_END
};

extern const struct outcome intake_outcomes[];

struct uuid {
    uint64_t high;
    uint64_t low;
};

/* The form with hyphens, in any case (RFC 9562 section 4). */
bool uuid_read(struct slice text, struct uuid *uuid);
void uuid_put(struct strbuf *out, struct uuid uuid);

/* Reads the answer to POST /api/orders of this side. *judgement comes zeroed; *number is set when it is
 * INTAKE_QUEUED. */
void intake_judge(
    const struct reply *reply, struct slice side, struct judgement *judgement, struct uuid *number);

/* The access token of an answer to POST /api/auth/register, copied to `token`; false when it is none that
 * fits into `size` bytes and into a header. */
bool intake_read_token(struct slice body, char *token, size_t size, size_t *len);

#endif
