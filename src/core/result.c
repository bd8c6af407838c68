/* SPDX-License-Identifier: Apache-2.0 */
#include "core/result.h"

#include <stddef.h>

static const struct result_info table[] = {
#define RESULT(name, number, http_status, code, text) {RESULT_##name, #name, http_status, code, text},
#include "core/result.def"
#undef RESULT
};

const struct result_info *result_info_at(unsigned index)
{
    return index < RESULT_ROW_COUNT ? &table[index] : NULL;
}

const struct result_info *result_info(enum result result)
{
    for (unsigned i = 0; i < RESULT_ROW_COUNT; i++) {
        if (table[i].result == result)
            return &table[i];
    }
    return NULL;
}
