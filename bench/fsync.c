/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long this disk takes to make 4 KiB safe: the yardstick for a single client, whose purchase cannot be
 * faster than the flush it waits for. Two figures, because they differ: `append` makes a file grow, so that
 * the file system has to write down the new length as well; `overwrite` writes where the file has been
 * written before.
 *
 * usage: fsync DIRECTORY SECONDS    Makes a file there and removes it. Prints one line of JSON, times in µs.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/hist.h"

enum { PAGE_BYTES = 4096, FILE_PAGES = 1024, EXIT_USAGE = 2, EXIT_WORLD = 3 };

static const int64_t ns_per_s = 1000000000;

/* Writes a page at page number `page` and waits until it is safe. */
static bool write_page(int fd, int64_t page)
{
    static char bytes[PAGE_BYTES];
    memset(bytes, (int)(page % 251) + 1, sizeof bytes);
    return pwrite(fd, bytes, sizeof bytes, page * PAGE_BYTES) == PAGE_BYTES && fdatasync(fd) == 0;
}

/* Pages from `first` on, starting over after `page_count`, until the time is over. */
static bool measure(int fd, int64_t first, int64_t page_count, int64_t duration_ns, struct hist *hist)
{
    hist_init(hist);
    int64_t now_ns = clock_mono_ns();
    int64_t until_ns = now_ns + duration_ns;
    for (int64_t i = 0; now_ns < until_ns; i++) {
        if (!write_page(fd, first + i % page_count))
            return false;
        int64_t after_ns = clock_mono_ns();
        hist_add(hist, (uint64_t)(after_ns - now_ns));
        now_ns = after_ns;
    }
    return true;
}

static bool fill(int fd)
{
    static char bytes[PAGE_BYTES];
    for (int64_t page = 0; page < FILE_PAGES; page++)
        if (pwrite(fd, bytes, sizeof bytes, page * PAGE_BYTES) != PAGE_BYTES)
            return false;
    return fsync(fd) == 0;
}

static void print_times(const char *name, const struct hist *hist, const char *end)
{
    (void)printf("\"%s\":{\"count\":%llu,\"p50\":%.1f,\"p99\":%.1f}%s", name, (unsigned long long)hist->count,
        (double)hist_percentile_ns(hist, 50) / 1e3, (double)hist_percentile_ns(hist, 99) / 1e3, end);
}

/* Half of the time for each kind. */
static bool measure_both(int fd, int64_t duration_ns)
{
    static struct hist overwrite;
    static struct hist append;
    if (!fill(fd) || !measure(fd, 0, FILE_PAGES, duration_ns / 2, &overwrite) ||
        !measure(fd, FILE_PAGES, INT64_MAX, duration_ns / 2, &append))
        return false;
    (void)printf("{");
    print_times("append", &append, ",");
    print_times("overwrite", &overwrite, "}\n");
    return true;
}

int main(int argc, char **argv)
{
    int64_t seconds;
    char path[4096];
    if (argc != 3 || !slice_to_i64(slice_cstr(argv[2]), &seconds) || seconds < 1 || seconds > 3600) {
        (void)fprintf(stderr, "usage: fsync DIRECTORY SECONDS\n");
        return EXIT_USAGE;
    }
    int len = snprintf(path, sizeof path, "%s/fsync-XXXXXX", argv[1]);
    ENSURE(len > 0 && (size_t)len < sizeof path);
    int fd = mkstemp(path);
    bool is_done = fd >= 0 && measure_both(fd, seconds * ns_per_s);
    if (!is_done)
        (void)fprintf(stderr, "fsync: %s: %s\n", path, strerror(errno));
    if (fd >= 0) {
        close(fd);
        (void)unlink(path);
    }
    return is_done ? 0 : EXIT_WORLD;
}
