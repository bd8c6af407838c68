/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lock that one process at a time can hold and that dies with it: flock on a file of its own, which holds
 * the owner's process id as text. The file is removed on release.
 */
#ifndef DOORBUSTER_STORE_FILE_LOCK_H
#define DOORBUSTER_STORE_FILE_LOCK_H

#include "base/err.h"

struct file_lock {
    int fd;     /* -1: not held */
    char *path; /* owned */
};

/*
 * Takes the lock or fails at once; never waits. ERR_LOCKED: another holder; *holder_pid is its process id, 0
 * when unknown. ERR_IO, ERR_FULL, ERR_MEMORY: the lock file cannot be made. On error there is nothing to
 * release.
 */
MUST_CHECK enum err file_lock_take(
    struct file_lock *lock, const char *path, long *holder_pid, struct error *error);

void file_lock_release(struct file_lock *lock);

#endif
