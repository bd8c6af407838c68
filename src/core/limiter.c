/* SPDX-License-Identifier: Apache-2.0 */
#include "core/limiter.h"

#include <stdlib.h>

#include "base/ensure.h"

bool limiter_init(struct limiter *limiter, size_t row_count, int64_t interval_ms)
{
    ENSURE(row_count > 0 && (row_count & (row_count - 1)) == 0);
    *limiter = (struct limiter){.row_count = row_count, .interval_ms = interval_ms};
    limiter->rows = calloc(row_count, sizeof *limiter->rows);
    return limiter->rows != NULL;
}

void limiter_fini(struct limiter *limiter)
{
    free(limiter->rows);
    limiter->rows = NULL;
}

bool limiter_attempt(struct limiter *limiter, uint64_t user_hash, int64_t now_ms)
{
    ENSURE(now_ms > 0);
    struct limiter_place *places = limiter->rows[user_hash & (limiter->row_count - 1)].places;
    struct limiter_place *oldest = &places[0];
    for (int i = 0; i < LIMITER_PLACES; i++) {
        struct limiter_place *place = &places[i];
        if (place->user_hash == user_hash && place->attempted_ms != 0) {
            bool is_allowed = place->attempted_ms <= now_ms - limiter->interval_ms;
            place->attempted_ms = now_ms;
            return is_allowed;
        }
        if (place->attempted_ms < oldest->attempted_ms)
            oldest = place;
    }
    *oldest = (struct limiter_place){.user_hash = user_hash, .attempted_ms = now_ms};
    return true;
}
