/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The write-ahead log, and what a failed COMMIT means.
 *
 * SQLite's COMMIT in WAL mode with synchronous=FULL (1) writes the changed pages to the end of the log as
 * frames, of which the last bears the commit mark, (2) flushes the log, (3) notes the frames in the shared
 * index, which readers of this and other processes go by. If any of it fails, SQLite takes the transaction
 * back in memory and in the shared index, but leaves in the log what was written: it will be overwritten by
 * the next commit. Should the process end before that, the next one to open the file reads the log from its
 * start, as far as the frames' checksums hold together, and takes everything up to the last commit mark for
 * committed. So after a COMMIT that failed:
 *
 *   - before or in the middle of (1), say disk full: the frame with the mark is not there or not whole, its
 *     checksum does not hold, and nothing was changed. Not quite: the log is used again and again, and the
 *     end of a frame that was cut may agree with the old bytes on the disk below it. Then it is whole after
 *     all.
 *   - in (2): the frames are all there for this kernel, and on the disk perhaps, in part or not. The
 *     transaction comes back or not; only opening the file again tells. The kernel reports such a failure
 *     once and then calls the pages clean, so flushing again and being content with it would be a lie.
 *     Outcome unknown, and nothing is written any more.
 *   - in (3), when the shared index cannot grow (disk full again, or no memory): the frames are all there and
 *     flushed; the transaction will come back. For the reader of this process it has not happened. Unknown.
 *
 * Rather than to guess from error codes which of them it was, wal_is_as_committed looks at the log as a
 * recovery would: from the last known commit on, does a chain of whole frames with right checksums lead to a
 * commit mark? If none does and no flush failed, nothing was changed, and the store goes on. Before COMMIT
 * nothing with a mark is ever written (a large transaction spills unmarked frames), so a failed INSERT needs
 * no such look.
 *
 * A checkpoint, which copies the log back into the file, is no part of COMMIT here (the automatic one is
 * off): it runs after a commit that has succeeded, and when it fails, the log is still whole; the failure is
 * logged and the next try comes later. It is PASSIVE, so no reader is waited for. When all frames are copied,
 * SQLite starts the log again from the beginning of the same file; not cutting it makes the flush cheaper,
 * because the file's size does not change. journal_size_limit (sqlite_schema.c) cuts a log that a long reader
 * made grow.
 */
#include "store/sqlite_priv.h"

#include <stdlib.h>

#include "base/log.h"

enum {
    /* 4 MiB of log. In batches of 512 the commit that makes the checkpoint takes 3 to 4 ms with 1,000 frames,
     * 7 ms with 2,000, 10 ms with 4,000, at the same 950,000 rows a second; 500 cost a third of them. */
    CHECKPOINT_FRAMES = 1000,
    CHECKPOINT_RETRY_FRAMES = 500, /* after one that could not finish */
};

/* --- the format of the log: https://www.sqlite.org/fileformat2.html#the_write_ahead_log --- */

enum {
    HEADER_BYTES = 32,
    HEADER_MAGIC_AT = 0,
    HEADER_PAGE_SIZE_AT = 8,
    HEADER_SALT_AT = 16,
    HEADER_SUM_AT = 24,
    HEADER_SUMMED_BYTES = 24,
    FRAME_HEADER_BYTES = 24,
    FRAME_COMMIT_AT = 4, /* 0: no commit mark, else pages of the file after the commit */
    FRAME_SALT_AT = 8,
    FRAME_SUM_AT = 16,
    FRAME_SUMMED_BYTES = 8,
    PAGE_BYTES_MIN = 512,
    PAGE_BYTES_MAX = 65536,
};

#define MAGIC_LITTLE 0x377f0682U /* sums over little-endian words; the next number: big-endian */

struct sum {
    uint32_t a;
    uint32_t b;
};

static uint32_t big32(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static uint32_t little32(const unsigned char *bytes)
{
    return (uint32_t)bytes[3] << 24 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[1] << 8 | bytes[0];
}

/* `len` is a multiple of 8. */
static void sum_add(struct sum *sum, bool is_little, const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        sum->a += (is_little ? little32(bytes + i) : big32(bytes + i)) + sum->b;
        sum->b += (is_little ? little32(bytes + i + 4) : big32(bytes + i + 4)) + sum->a;
    }
}

static bool sum_is(const struct sum *sum, const unsigned char *stored)
{
    return sum->a == big32(stored) && sum->b == big32(stored + 4);
}

/* --- reading it as a recovery would --- */

struct scan {
    sqlite3_file *file;
    int64_t size; /* bytes of the log */
    bool is_little;
    size_t page_bytes;
    unsigned char header[HEADER_BYTES];
    struct sum sum;      /* over everything up to the frame at hand */
    int64_t frames;      /* looked at and good */
    int64_t frames_done; /* up to and with the last commit mark */
};

enum scan_result {
    SCAN_OK,
    SCAN_NO_LOG, /* no log, or one without a good header: a recovery takes it as empty */
    SCAN_FAILED, /* it cannot be read */
};

static bool read_at(const struct scan *scan, void *into, size_t len, int64_t offset)
{
    return scan->file->pMethods->xRead(scan->file, into, (int)len, offset) == SQLITE_OK;
}

/* SQLite's own handle of the log: no second descriptor is needed. NULL: none is open. */
static sqlite3_file *log_file(sqlite3 *db)
{
    sqlite3_file *file = NULL;
    int rc = sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file);
    return rc == SQLITE_OK && file != NULL && file->pMethods != NULL ? file : NULL;
}

static enum scan_result scan_header(struct scan *scan, sqlite3 *db)
{
    sqlite3_int64 size = 0;
    sqlite3_file *file = log_file(db);
    if (file == NULL)
        return SCAN_NO_LOG;
    if (file->pMethods->xFileSize(file, &size) != SQLITE_OK)
        return SCAN_FAILED;
    *scan = (struct scan){.file = file, .size = size};
    if (size < HEADER_BYTES)
        return SCAN_NO_LOG;
    if (!read_at(scan, scan->header, HEADER_BYTES, 0))
        return SCAN_FAILED;
    uint32_t magic = big32(scan->header + HEADER_MAGIC_AT);
    scan->is_little = magic == MAGIC_LITTLE;
    scan->page_bytes = big32(scan->header + HEADER_PAGE_SIZE_AT);
    sum_add(&scan->sum, scan->is_little, scan->header, HEADER_SUMMED_BYTES);
    bool is_good = (magic | 1U) == (MAGIC_LITTLE | 1U) && scan->page_bytes >= PAGE_BYTES_MIN &&
                   scan->page_bytes <= PAGE_BYTES_MAX && sum_is(&scan->sum, scan->header + HEADER_SUM_AT);
    return is_good ? SCAN_OK : SCAN_NO_LOG;
}

static int64_t frame_offset(const struct scan *scan, int64_t frame)
{
    return HEADER_BYTES + frame * (int64_t)(FRAME_HEADER_BYTES + scan->page_bytes);
}

/* Continues behind frames that are known to be good: the last of them tells the sum so far. */
static bool scan_skip(struct scan *scan, int64_t frames)
{
    unsigned char stored[8];
    if (frames == 0)
        return true;
    if (!read_at(scan, stored, sizeof stored, frame_offset(scan, frames - 1) + FRAME_SUM_AT))
        return false;
    scan->sum = (struct sum){big32(stored), big32(stored + 4)};
    scan->frames = frames;
    scan->frames_done = frames;
    return true;
}

/* Walks over all good frames from where the scan stands. */
static enum scan_result scan_frames(struct scan *scan)
{
    size_t frame_bytes = FRAME_HEADER_BYTES + scan->page_bytes;
    unsigned char *frame = malloc(frame_bytes);
    if (frame == NULL)
        return SCAN_FAILED;
    enum scan_result result = SCAN_OK;
    while (frame_offset(scan, scan->frames + 1) <= scan->size) {
        if (!read_at(scan, frame, frame_bytes, frame_offset(scan, scan->frames))) {
            result = SCAN_FAILED;
            break;
        }
        sum_add(&scan->sum, scan->is_little, frame, FRAME_SUMMED_BYTES);
        sum_add(&scan->sum, scan->is_little, frame + FRAME_HEADER_BYTES, scan->page_bytes);
        if (memcmp(frame + FRAME_SALT_AT, scan->header + HEADER_SALT_AT, WAL_SALT_BYTES) != 0 ||
            !sum_is(&scan->sum, frame + FRAME_SUM_AT))
            break;
        scan->frames++;
        if (big32(frame + FRAME_COMMIT_AT) != 0)
            scan->frames_done = scan->frames;
    }
    free(frame);
    return result;
}

/* --- keeping count --- */

static int note_frames(void *context, sqlite3 *db, const char *name, int frames)
{
    struct wal *wal = context;
    wal->frames = frames;
    return SQLITE_OK;
}

/* The log has been copied as far as its readers let us; *is_done: wholly. */
static int checkpoint(struct wal *wal, bool *is_done)
{
    int frames = -1;
    int frames_copied = -1;
    int rc = sqlite3_wal_checkpoint_v2(wal->db, "main", SQLITE_CHECKPOINT_PASSIVE, &frames, &frames_copied);
    *is_done = rc == SQLITE_OK && frames == frames_copied;
    return rc;
}

static void checkpoint_if_due(struct wal *wal)
{
    if (wal->frames < wal->checkpoint_at)
        return;
    bool is_done;
    int rc = checkpoint(wal, &is_done);
    if (rc != SQLITE_OK)
        log_warn("store",
            "cannot bring the log of %s (%lld frames) into the file: %s; the next try comes later", wal->path,
            (long long)wal->frames, sqlite3_errmsg(wal->db));
    wal->checkpoint_at = is_done ? wal->checkpoint_frames : wal->frames + CHECKPOINT_RETRY_FRAMES;
}

static void note_round(struct wal *wal)
{
    struct scan scan;
    wal->is_known = scan_header(&scan, wal->db) == SCAN_OK;
    if (!wal->is_known || memcmp(wal->salt, scan.header + HEADER_SALT_AT, WAL_SALT_BYTES) == 0)
        return;
    memcpy(wal->salt, scan.header + HEADER_SALT_AT, WAL_SALT_BYTES);
    wal->checkpoint_at = wal->checkpoint_frames;
}

void wal_init(struct wal *wal, sqlite3 *db, const char *path)
{
    struct scan scan;
    *wal = (struct wal){
        .db = db,
        .path = path,
        .checkpoint_frames = CHECKPOINT_FRAMES,
        .checkpoint_at = CHECKPOINT_FRAMES,
    };
    (void)sqlite3_wal_hook(db, note_frames, wal);
    enum scan_result result = scan_header(&scan, db);
    if (result == SCAN_OK)
        result = scan_frames(&scan);
    wal->is_known = result != SCAN_FAILED;
    if (result != SCAN_OK)
        return;
    wal->frames = scan.frames_done;
    memcpy(wal->salt, scan.header + HEADER_SALT_AT, WAL_SALT_BYTES);
    if (wal->frames > 0) {
        wal->checkpoint_at = wal->frames;
        checkpoint_if_due(wal);
    }
}

void wal_committed(struct wal *wal)
{
    note_round(wal);
    checkpoint_if_due(wal);
}

int wal_last_errno(const struct wal *wal)
{
    int system_errno = 0;
    sqlite3_file *file = log_file(wal->db);
    if (file == NULL ||
        file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &system_errno) != SQLITE_OK)
        return 0;
    return system_errno;
}

/* A failed transaction may have started the log's next round. It does so only when everything was in the
 * file, so then no frame at all is as committed. */
bool wal_is_as_committed(struct wal *wal)
{
    struct scan scan;
    if (!wal->is_known)
        return false;
    enum scan_result result = scan_header(&scan, wal->db);
    if (result != SCAN_OK)
        return result == SCAN_NO_LOG;
    bool is_same_round = memcmp(wal->salt, scan.header + HEADER_SALT_AT, WAL_SALT_BYTES) == 0;
    int64_t frames = is_same_round ? wal->frames : 0;
    if (!scan_skip(&scan, frames) || scan_frames(&scan) != SCAN_OK)
        return false;
    return scan.frames_done == frames;
}
