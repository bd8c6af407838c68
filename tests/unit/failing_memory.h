/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that fails on request. Programs with this file are linked with --wrap=malloc,calloc,realloc, so that
 * the n-th call can be made to fail: of the program itself, not of the libraries that it loads. Each thread
 * orders its own failures.
 */
#ifndef DOORBUSTER_TESTS_UNIT_FAILING_MEMORY_H
#define DOORBUSTER_TESTS_UNIT_FAILING_MEMORY_H

#include <stdbool.h>

/* The n-th call of this thread from now fails, n from 1; later ones succeed again. 0: none fails. */
void fail_call(int n);

/* None fails any more. Has one failed since the call above? */
bool stop_failing(void);

#endif
