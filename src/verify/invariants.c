/* SPDX-License-Identifier: Apache-2.0 */
/* The registry: invariants.def as a table. */
#include "verify/invariant.h"

static const struct invariant *const all[] = {
#define INVARIANT(id) &inv_##id,
#include "verify/invariants.def"
#undef INVARIANT
};

size_t invariant_count(void)
{
    return sizeof all / sizeof all[0];
}

const struct invariant *invariant_at(size_t index)
{
    return index < invariant_count() ? all[index] : NULL;
}
