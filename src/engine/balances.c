/* SPDX-License-Identifier: Apache-2.0 */
/* A place holds the balance and one more; 0 is the place of an account that has no wallet. */
#include "engine/balances.h"

#include <stdlib.h>

bool balances_init(struct balances *balances)
{
    balances->chunks = calloc(BALANCES_CHUNKS_MAX, sizeof(atomic_uintptr_t));
    return balances->chunks != NULL;
}

void balances_fini(struct balances *balances)
{
    for (size_t i = 0; balances->chunks != NULL && i < BALANCES_CHUNKS_MAX; i++)
        free((void *)atomic_load(&balances->chunks[i]));
    free(balances->chunks);
    balances->chunks = NULL;
}

static bool is_within(int64_t account_id)
{
    return account_id > 0 && account_id < (int64_t)BALANCES_CHUNK_SIZE * BALANCES_CHUNKS_MAX;
}

static atomic_int_fast64_t *get_chunk(const struct balances *balances, int64_t account_id)
{
    return (atomic_int_fast64_t *)atomic_load_explicit(
        &balances->chunks[account_id / BALANCES_CHUNK_SIZE], memory_order_acquire);
}

bool balances_set(struct balances *balances, int64_t account_id, int64_t balance_minor)
{
    if (!is_within(account_id))
        return true;
    atomic_int_fast64_t *chunk = get_chunk(balances, account_id);
    if (chunk == NULL) {
        chunk = calloc(BALANCES_CHUNK_SIZE, sizeof *chunk);
        if (chunk == NULL)
            return false;
        atomic_store_explicit(
            &balances->chunks[account_id / BALANCES_CHUNK_SIZE], (uintptr_t)chunk, memory_order_release);
    }
    atomic_store_explicit(&chunk[account_id % BALANCES_CHUNK_SIZE], balance_minor + 1, memory_order_release);
    return true;
}

bool balances_get(const struct balances *balances, int64_t account_id, int64_t *balance_minor)
{
    const atomic_int_fast64_t *chunk = is_within(account_id) ? get_chunk(balances, account_id) : NULL;
    int64_t found =
        chunk == NULL ? 0
                      : atomic_load_explicit(&chunk[account_id % BALANCES_CHUNK_SIZE], memory_order_acquire);
    *balance_minor = found - 1;
    return found > 0;
}
