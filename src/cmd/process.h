/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Child processes that are this program again under another verb. A child never outlives its parent, and sees
 * none of the caller's DOORBUSTER_* variables, only what it is given. Main thread, before other threads
 * exist.
 */
#ifndef DOORBUSTER_CMD_PROCESS_H
#define DOORBUSTER_CMD_PROCESS_H

#include <sys/types.h>

#include "base/err.h"
#include "base/slice.h"

enum { PROCESS_ENV_MAX = 4 };

struct process {
    pid_t pid;
    int pidfd; /* readable once the child has ended; -1: no child */
};

struct process_spec {
    const char *const *argv;                      /* without the program's name, NULL at the end */
    const char *environment[PROCESS_ENV_MAX + 1]; /* "NAME=value" beside what is inherited, NULL at the end */
    int output_fd;                                /* becomes standard output and error; -1: inherited */
    bool has_own_group;                           /* a Ctrl-C at the terminal does not reach it */
};

MUST_CHECK enum err process_start(
    struct process *process, const struct process_spec *spec, struct error *error);

enum process_event {
    PROCESS_ENDED,
    PROCESS_READABLE,  /* other_fd has something to read */
    PROCESS_SIGNALLED, /* signal_fd has something to read */
    PROCESS_TIMED_OUT
};

/*
 * Waits until the child ends, one of the descriptors (-1: none) is readable, or timeout_ms (-1: no limit) is
 * over. When the child ends, *exit_status becomes its exit status, or 128 + the signal that killed it, and
 * the process is no more.
 */
enum process_event process_wait(
    struct process *process, int other_fd, int signal_fd, int timeout_ms, int *exit_status);

/* Asks a running child to end (SIGTERM), and kills it after timeout_ms. Its exit status as above; 0 when
 * there was no child. */
int process_stop(struct process *process, int timeout_ms);

/* Kills a running child at once (SIGKILL). Its exit status as above; 0 when there was no child. */
int process_kill(struct process *process);

#endif
