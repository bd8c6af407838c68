/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ENSURE states what must hold. It stays on in release builds: a program that sells things stops at a bug
 * rather than going on with a wrong world. One condition each; never for bad input or a failing machine.
 */
#ifndef DOORBUSTER_BASE_ENSURE_H
#define DOORBUSTER_BASE_ENSURE_H

/* Prints the condition and its place to standard error and aborts. Any thread; does not return. */
_Noreturn void ensure_failed(const char *condition, const char *file, int line, const char *function);

#define ENSURE(condition) \
    (__builtin_expect(!!(condition), 1) ? (void)0 : ensure_failed(#condition, __FILE__, __LINE__, __func__))

#endif
