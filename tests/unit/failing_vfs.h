/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file system for SQLite that fails on request: it wraps the default one, counts the calls that write, and
 * makes the n-th of them fail. One at a time; for tests of one thread.
 */
#ifndef DOORBUSTER_TESTS_FAILING_VFS_H
#define DOORBUSTER_TESTS_FAILING_VFS_H

#include <stdbool.h>

enum failing_how {
    FAILING_FULL, /* a write: nothing is written, SQLITE_FULL; a change of size or of the index as well */
    FAILING_FULL_HALF,  /* a write: the first half is written, SQLITE_FULL */
    FAILING_IO,         /* a write: nothing is written, SQLITE_IOERR_WRITE */
    FAILING_IO_WRITTEN, /* a write: all of it is written, and yet SQLITE_IOERR_WRITE */
    FAILING_FLUSH,      /* a flush: SQLITE_IOERR_FSYNC */
    FAILING_INDEX,      /* mapping the shared index: SQLITE_IOERR_SHMSIZE */
    FAILING_HOW_COUNT
};

/* For messages. */
const char *failing_how_name(enum failing_how how);

/* Becomes the default file system of this process. */
void failing_vfs_register(void);

/* The n-th call (from 1) of the kind that `how` concerns fails, and all after it too if `for_good`. */
void failing_vfs_arm(enum failing_how how, int n, bool for_good);

/* All calls succeed again. Returns whether one had failed since failing_vfs_arm. */
bool failing_vfs_disarm(void);

bool failing_vfs_has_failed(void);

/* Calls go through uncounted until failing_vfs_resume: for looking at files meanwhile. */
void failing_vfs_pause(void);
void failing_vfs_resume(void);

#endif
