/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the embedded store costs: rows a second by size of batch, the flush alone, checkpoints, and loading.
 * Not part of the suite. Usage: store_bench DIRECTORY [PURCHASES [FRAMES]]; the directory must be on the disk
 * to be measured, PURCHASES are 1,000,000 unless said, FRAMES is the length of log that calls for a
 * checkpoint.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/hist.h"
#include "base/log.h"
#include "store/sqlite_priv.h"

static void must(enum err err, const struct error *error)
{
    if (err == ERR_NONE)
        return;
    fprintf(stderr, "%s\n", error->message);
    exit(3);
}

static void open_store(const char *path, struct store **store, struct world *world)
{
    static const struct map_key hash_key = {.bytes = "bench"};
    struct error error;
    must(sqlite_store_open(path, store, &error), &error);
    world_init(world, &hash_key);
    must(store_load(*store, world, NULL, 0, &error), &error);
}

static void print_times(const char *what, const struct hist *hist)
{
    printf("%-28s p50 %7.0f  p99 %7.0f  max %7.0f us\n", what, (double)hist_percentile_ns(hist, 50) / 1e3,
        (double)hist_percentile_ns(hist, 99) / 1e3, (double)hist->max_ns / 1e3);
}

/* The bare cost of making 8 KiB durable where a file does not grow: what no store can do without. */
static void measure_flush(const char *directory)
{
    char path[512];
    static char block[8192];
    struct hist hist;
    (void)snprintf(path, sizeof path, "%s/bench-flush", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    ENSURE(fd >= 0);
    hist_init(&hist);
    for (int i = 0; i < 1100; i++) {
        block[0] = (char)i;
        int64_t start = clock_mono_ns();
        ENSURE(pwrite(fd, block, sizeof block, i % 100 * (off_t)sizeof block) == sizeof block);
        ENSURE(fdatasync(fd) == 0);
        if (i >= 100)
            hist_add(&hist, (uint64_t)(clock_mono_ns() - start));
    }
    print_times("fdatasync of 8 KiB", &hist);
    (void)close(fd);
    (void)unlink(path);
}

struct run {
    struct store *store;
    struct world world;
    int64_t purchases;
    int64_t cpu_ns; /* within commits */
};

static int64_t commit_batch(struct run *run, struct product *product, int batch)
{
    struct error error;
    world_begin(&run->world);
    for (int i = 0; i < batch; i++) {
        char user[32];
        int64_t id;
        int len = snprintf(user, sizeof user, "load-user-%08lld", (long long)run->purchases++);
        ENSURE(world_add_purchase(&run->world, product, slice_make(user, (size_t)len), 1700000000000, &id));
    }
    int64_t start = clock_mono_ns();
    int64_t start_cpu = clock_thread_cpu_ns();
    must(store_commit(run->store, &run->world, &error), &error);
    run->cpu_ns += clock_thread_cpu_ns() - start_cpu;
    int64_t took = clock_mono_ns() - start;
    world_accept(&run->world);
    return took;
}

static void measure_batches(struct run *run, struct product *product, int batch, int64_t rows)
{
    struct hist hist;
    char what[32];
    hist_init(&hist);
    int64_t total = 0;
    run->cpu_ns = 0;
    for (int64_t i = 0; i < rows / batch; i++) {
        int64_t took = commit_batch(run, product, batch);
        total += took;
        hist_add(&hist, (uint64_t)took);
    }
    int64_t done = rows / batch * batch;
    (void)snprintf(what, sizeof what, "commit of %d", batch);
    print_times(what, &hist);
    printf("%-28s %9.0f rows/s, %6.2f us a row, %5.2f us CPU a row\n", "",
        (double)done / ((double)total / 1e9), (double)total / 1e3 / (double)done,
        (double)run->cpu_ns / 1e3 / (double)done);
}

int main(int argc, char **argv)
{
    struct run run = {0};
    char path[512];
    if (argc < 2) {
        fprintf(stderr, "usage: store_bench DIRECTORY [PURCHASES [FRAMES]]\n");
        return 2;
    }
    int64_t purchases = argc > 2 ? strtoll(argv[2], NULL, 10) : 1000000;
    log_init(LOG_WARN, LOG_TEXT);
    measure_flush(argv[1]);
    (void)snprintf(path, sizeof path, "%s/bench-store.db", argv[1]);
    open_store(path, &run.store, &run.world);
    struct product_values values = {.name = SLICE("Bench"),
        .initial_stock = INT64_MAX,
        .stock = INT64_MAX,
        .per_user_limit = 1,
        .end_ms = INT64_MAX,
        .state = SALE_ACTIVE};
    world_begin(&run.world);
    struct product *product = world_add_product(&run.world, SLICE("BENCH"), &values);
    struct error error;
    if (argc > 3) {
        struct wal *wal = &((struct sqlite_store *)run.store)->wal;
        wal->checkpoint_frames = strtoll(argv[3], NULL, 10);
        wal->checkpoint_at = wal->checkpoint_frames;
    }
    ENSURE(product != NULL);
    must(store_commit(run.store, &run.world, &error), &error);
    world_accept(&run.world);
    measure_batches(&run, product, 1, 4000);
    measure_batches(&run, product, 32, 128000);
    measure_batches(&run, product, 128, 256000);
    measure_batches(&run, product, 512, purchases - 4000 - run.purchases);
    measure_batches(&run, product, 1, 4000); /* again: now the log does not grow any more */
    world_fini(&run.world);
    store_close(run.store);
    int64_t start = clock_mono_ns();
    open_store(path, &run.store, &run.world);
    printf("open and load %lld purchases: %.3f s\n", (long long)run.purchases,
        (double)(clock_mono_ns() - start) / 1e9);
    world_fini(&run.world);
    store_close(run.store);
    (void)unlink(path);
    return 0;
}
