/* SPDX-License-Identifier: Apache-2.0 */
#include "failing_vfs.h"

#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct failing_file {
    sqlite3_file base;
    sqlite3_file *inner; /* right behind this struct */
};

static struct {
    sqlite3_vfs vfs;
    sqlite3_vfs *inner;
    bool is_armed;
    bool is_paused;
    bool for_good;
    bool has_failed;
    enum failing_how how;
    int calls_left;
    int last_errno;
} state;

const char *failing_how_name(enum failing_how how)
{
    static const char *const names[FAILING_HOW_COUNT] = {
        "full", "full, half written", "i/o error", "i/o error, all written", "flush", "index"};
    return names[how];
}

void failing_vfs_arm(enum failing_how how, int n, bool for_good)
{
    state.is_armed = true;
    state.is_paused = false;
    state.for_good = for_good;
    state.has_failed = false;
    state.how = how;
    state.calls_left = n;
}

bool failing_vfs_disarm(void)
{
    state.is_armed = false;
    return state.has_failed;
}

bool failing_vfs_has_failed(void)
{
    return state.is_armed && state.has_failed;
}

void failing_vfs_pause(void)
{
    state.is_paused = true;
}

void failing_vfs_resume(void)
{
    state.is_paused = false;
}

/* Counts a call of the kind that is to fail; true when it is this one. */
static bool fails(int system_errno)
{
    if (!state.is_armed || state.is_paused || (state.calls_left <= 0 && !state.for_good))
        return false;
    if (state.calls_left > 0 && --state.calls_left > 0)
        return false;
    state.has_failed = true;
    state.last_errno = system_errno;
    return true;
}

static sqlite3_file *inner_of(sqlite3_file *file)
{
    return ((struct failing_file *)file)->inner;
}

static int file_close(sqlite3_file *file)
{
    return inner_of(file)->pMethods->xClose(inner_of(file));
}

static int file_read_at(sqlite3_file *file, void *into, int len, sqlite3_int64 offset)
{
    return inner_of(file)->pMethods->xRead(inner_of(file), into, len, offset);
}

static int write_inner(sqlite3_file *file, const void *from, int len, sqlite3_int64 offset)
{
    return inner_of(file)->pMethods->xWrite(inner_of(file), from, len, offset);
}

static int file_write_at(sqlite3_file *file, const void *from, int len, sqlite3_int64 offset)
{
    bool is_full = state.how == FAILING_FULL || state.how == FAILING_FULL_HALF;
    bool is_io = state.how == FAILING_IO || state.how == FAILING_IO_WRITTEN;
    if (!(is_full || is_io) || !fails(is_full ? ENOSPC : EIO))
        return write_inner(file, from, len, offset);
    if (state.how == FAILING_FULL_HALF)
        (void)write_inner(file, from, len / 2, offset);
    if (state.how == FAILING_IO_WRITTEN)
        (void)write_inner(file, from, len, offset);
    return is_full ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    if (state.how == FAILING_IO && fails(EIO))
        return SQLITE_IOERR_TRUNCATE;
    return inner_of(file)->pMethods->xTruncate(inner_of(file), size);
}

static int file_sync(sqlite3_file *file, int flags)
{
    if (state.how == FAILING_FLUSH && fails(EIO))
        return SQLITE_IOERR_FSYNC;
    return inner_of(file)->pMethods->xSync(inner_of(file), flags);
}

static int file_size_of(sqlite3_file *file, sqlite3_int64 *size)
{
    return inner_of(file)->pMethods->xFileSize(inner_of(file), size);
}

static int file_lock_to(sqlite3_file *file, int level)
{
    return inner_of(file)->pMethods->xLock(inner_of(file), level);
}

static int file_unlock(sqlite3_file *file, int level)
{
    return inner_of(file)->pMethods->xUnlock(inner_of(file), level);
}

static int file_is_reserved(sqlite3_file *file, int *is_reserved)
{
    return inner_of(file)->pMethods->xCheckReservedLock(inner_of(file), is_reserved);
}

static int file_control(sqlite3_file *file, int operation, void *argument)
{
    return inner_of(file)->pMethods->xFileControl(inner_of(file), operation, argument);
}

static int file_sector_size(sqlite3_file *file)
{
    return inner_of(file)->pMethods->xSectorSize(inner_of(file));
}

static int file_characteristics(sqlite3_file *file)
{
    return inner_of(file)->pMethods->xDeviceCharacteristics(inner_of(file));
}

static int file_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **memory)
{
    if (state.how == FAILING_INDEX && fails(ENOSPC))
        return SQLITE_IOERR_SHMSIZE;
    return inner_of(file)->pMethods->xShmMap(inner_of(file), page, size, extend, memory);
}

static int file_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return inner_of(file)->pMethods->xShmLock(inner_of(file), offset, count, flags);
}

static void file_shm_barrier(sqlite3_file *file)
{
    inner_of(file)->pMethods->xShmBarrier(inner_of(file));
}

static int file_shm_unmap(sqlite3_file *file, int is_deleted)
{
    return inner_of(file)->pMethods->xShmUnmap(inner_of(file), is_deleted);
}

/* Version 2: no memory-mapped reading, which this store does not use. */
static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read_at,
    .xWrite = file_write_at,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size_of,
    .xLock = file_lock_to,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_is_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *flags_out)
{
    struct failing_file *failing = (struct failing_file *)file;
    failing->inner = (sqlite3_file *)(failing + 1);
    int rc = state.inner->xOpen(state.inner, name, failing->inner, flags, flags_out);
    failing->base.pMethods = failing->inner->pMethods == NULL ? NULL : &methods;
    return rc;
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *text)
{
    return state.has_failed ? state.last_errno : state.inner->xGetLastError(state.inner, size, text);
}

void failing_vfs_register(void)
{
    state.inner = sqlite3_vfs_find(NULL);
    assert_non_null(state.inner);
    state.vfs =
        *state.inner; /* whatever is not replaced goes straight to the inner one, which needs no self */
    state.vfs.zName = "failing";
    state.vfs.pNext = NULL;
    state.vfs.szOsFile = (int)sizeof(struct failing_file) + state.inner->szOsFile;
    state.vfs.xOpen = vfs_open;
    state.vfs.xGetLastError = vfs_last_error;
    assert_int_equal(sqlite3_vfs_register(&state.vfs, 1), SQLITE_OK);
}
