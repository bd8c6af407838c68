/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing a lock file is only safe when nobody can lock a file that has just lost its name: the holder
 * removes it while it still holds the lock, and whoever gets a lock looks whether the name still leads to the
 * file that it has locked; if not, it starts again with the file that the name leads to now.
 */
#include "store/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Each further attempt means that a holder let go in between; this many in a row mean that the lock is in
 * use. */
enum { ATTEMPTS_MAX = 100 };

static long read_pid(int fd)
{
    char text[24];
    ssize_t len = pread(fd, text, sizeof text - 1, 0);
    if (len <= 0)
        return 0;
    text[len] = '\0';
    return strtol(text, NULL, 10);
}

/* The text helps people only; a disk that is too full for it is no reason to fail. */
static void write_pid(int fd)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    bool is_written = ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)len, 0) == len;
    if (!is_written && ftruncate(fd, 0) != 0)
        return; /* a part of a number may stay; see above */
}

static bool is_still_named(int fd, const char *path)
{
    struct stat locked;
    struct stat named;
    return fstat(fd, &locked) == 0 && stat(path, &named) == 0 && locked.st_ino == named.st_ino &&
           locked.st_dev == named.st_dev;
}

static enum err open_failed(const char *path, struct error *error)
{
    enum err code = errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
    return error_set(error, code,
        "cannot open the lock file %s: %s; the directory must exist and be writable", path, strerror(errno));
}

/* The locked file, or -1 with *err. -1 and ERR_NONE: the file lost its name meanwhile, try again. */
static int try_take(const char *path, long *holder_pid, enum err *err, struct error *error)
{
    *err = ERR_NONE;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) {
        *err = open_failed(path, error);
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        bool is_held = errno == EWOULDBLOCK;
        *holder_pid = is_held ? read_pid(fd) : 0;
        *err = is_held ? error_set(error, ERR_LOCKED, "%s is locked by another process", path)
                       : error_set(error, ERR_IO, "cannot lock %s: %s", path, strerror(errno));
    } else if (is_still_named(fd, path)) {
        return fd;
    }
    (void)close(fd);
    return -1;
}

enum err file_lock_take(struct file_lock *lock, const char *path, long *holder_pid, struct error *error)
{
    *holder_pid = 0;
    lock->fd = -1;
    lock->path = strdup(path);
    if (lock->path == NULL)
        return error_set(error, ERR_MEMORY, "no memory for a path");
    enum err err = ERR_NONE;
    for (int i = 0; i < ATTEMPTS_MAX && lock->fd < 0 && err == ERR_NONE; i++)
        lock->fd = try_take(path, holder_pid, &err, error);
    if (lock->fd >= 0) {
        write_pid(lock->fd);
        return ERR_NONE;
    }
    if (err == ERR_NONE)
        err = error_set(error, ERR_LOCKED, "%s changes hands all the time", path);
    free(lock->path);
    lock->path = NULL;
    return err;
}

void file_lock_release(struct file_lock *lock)
{
    if (lock->fd < 0)
        return;
    (void)unlink(lock->path);
    (void)close(lock->fd);
    free(lock->path);
    *lock = (struct file_lock){.fd = -1};
}
