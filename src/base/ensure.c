/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ensure.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void ensure_failed(const char *condition, const char *file, int line, const char *function)
{
    fprintf(stderr, "doorbuster: bug: '%s' does not hold in %s (%s:%d); stopping before harm is done\n",
        condition, function, file, line);
    abort();
}
