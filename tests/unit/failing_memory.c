/* SPDX-License-Identifier: Apache-2.0 */
#include "failing_memory.h"

#include <stddef.h>

static _Thread_local int calls_left = -1; /* -1: no failure is asked for */
static _Thread_local bool has_failed;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);

static bool fails_now(void)
{
    if (calls_left < 0 || calls_left-- > 0)
        return false;
    has_failed = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return fails_now() ? NULL : __real_realloc(block, size);
}

void fail_call(int n)
{
    calls_left = n - 1;
    has_failed = false;
}

bool stop_failing(void)
{
    calls_left = -1;
    return has_failed;
}
