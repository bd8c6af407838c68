/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many Ed25519 signatures all cores of this machine check in a second, and how many they make: the
 * yardstick for signed spends, of which each takes one of both. A thread a core does nothing else, as
 * libsodium does it, with texts as long as those of a spend: an intent of rush for what is checked, a receipt
 * for what is signed. Each thread goes round a thousand keys, so that none stays where the next request of a
 * crowd would not find it.
 *
 * Two figures each, because they say different things on a machine that others use as well: `per_s` is what
 * all threads together reached, `cpu_us` the processor time of one, which does not count what was taken away.
 *
 * usage: signatures SECONDS    So long for each of the two. Prints one line of JSON.
 */
#include <pthread.h>
#include <sched.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/slice.h"

enum {
    KEY_COUNT = 1000,
    INTENT_BYTES = 107,  /* of a spend of 0.01 */
    RECEIPT_BYTES = 232, /* of the same */
    TEXT_BYTES_MAX = RECEIPT_BYTES,
    TURNS_A_LOOK = 16, /* at the clock */
    SECONDS_MAX = 3600,
    THREADS_MAX = 1024,
    EXIT_USAGE = 2,
    EXIT_WORLD = 3
};

static const int64_t NS_PER_S = 1000000000;

/* One of many accounts, and a spend that it has signed. */
struct account {
    unsigned char public_key[crypto_sign_PUBLICKEYBYTES];
    unsigned char secret_key[crypto_sign_SECRETKEYBYTES];
    unsigned char signature[crypto_sign_BYTES];
    unsigned char text[TEXT_BYTES_MAX];
};

/* Checks or signs once. */
typedef void work_fn(const struct account *account);

struct worker {
    pthread_t thread;
    const struct account *accounts;
    work_fn *work;
    const atomic_bool *must_begin;
    int64_t duration_ns;
    uint64_t count;
    int64_t took_ns;
    int64_t cpu_ns;
};

struct result {
    double per_s;
    double cpu_us;
};

static void verify(const struct account *account)
{
    int status =
        crypto_sign_verify_detached(account->signature, account->text, INTENT_BYTES, account->public_key);
    ENSURE(status == 0);
}

static void sign(const struct account *account)
{
    unsigned char signature[crypto_sign_BYTES];
    int status = crypto_sign_detached(signature, NULL, account->text, RECEIPT_BYTES, account->secret_key);
    ENSURE(status == 0);
}

static void make_account(struct account *account)
{
    int status = crypto_sign_keypair(account->public_key, account->secret_key);
    ENSURE(status == 0);
    randombytes_buf(account->text, sizeof account->text);
    status = crypto_sign_detached(account->signature, NULL, account->text, INTENT_BYTES, account->secret_key);
    ENSURE(status == 0);
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    while (!atomic_load(worker->must_begin))
        sched_yield();
    int64_t cpu_from_ns = clock_thread_cpu_ns();
    int64_t from_ns = clock_mono_ns();
    int64_t now_ns = from_ns;
    while (now_ns - from_ns < worker->duration_ns) {
        for (int i = 0; i < TURNS_A_LOOK; i++)
            worker->work(&worker->accounts[worker->count++ % KEY_COUNT]);
        now_ns = clock_mono_ns();
    }
    worker->took_ns = now_ns - from_ns;
    worker->cpu_ns = clock_thread_cpu_ns() - cpu_from_ns;
    return NULL;
}

static size_t count_cores(void)
{
    cpu_set_t cores;
    int status = sched_getaffinity(0, sizeof cores, &cores);
    ENSURE(status == 0);
    size_t count = (size_t)CPU_COUNT(&cores);
    return count < THREADS_MAX ? count : THREADS_MAX;
}

/* All cores at once. False when there is no thread left. */
static bool measure(const struct account *accounts, work_fn *work, int64_t duration_ns, struct result *result)
{
    static struct worker workers[THREADS_MAX];
    size_t wanted = count_cores();
    size_t started = 0;
    atomic_bool must_begin = false;
    int64_t cpu_ns = 0;
    uint64_t count = 0;
    *result = (struct result){.per_s = 0};
    for (; started < wanted; started++) {
        workers[started] = (struct worker){
            .accounts = accounts, .work = work, .must_begin = &must_begin, .duration_ns = duration_ns};
        if (pthread_create(&workers[started].thread, NULL, run, &workers[started]) != 0)
            break;
    }
    atomic_store(&must_begin, true);
    for (size_t i = 0; i < started; i++) {
        const struct worker *worker = &workers[i];
        (void)pthread_join(worker->thread, NULL);
        result->per_s += (double)worker->count * 1e9 / (double)worker->took_ns;
        cpu_ns += worker->cpu_ns;
        count += worker->count;
    }
    if (count > 0)
        result->cpu_us = (double)cpu_ns / 1e3 / (double)count;
    return started == wanted;
}

static void print(const char *name, int text_bytes, const struct result *result, const char *end)
{
    (void)printf("\"%s\":{\"text_bytes\":%d,\"per_s\":%.1f,\"cpu_us\":%.2f}%s", name, text_bytes,
        result->per_s, result->cpu_us, end);
}

int main(int argc, char **argv)
{
    int64_t seconds;
    struct result verified;
    struct result made;
    if (argc != 2 || !slice_to_i64(slice_cstr(argv[1]), &seconds) || seconds < 1 || seconds > SECONDS_MAX) {
        (void)fprintf(stderr, "usage: signatures SECONDS\n");
        return EXIT_USAGE;
    }
    struct account *accounts = calloc(KEY_COUNT, sizeof *accounts);
    if (accounts == NULL || sodium_init() < 0) {
        (void)fprintf(stderr, "signatures: no memory, or libsodium does not begin\n");
        free(accounts);
        return EXIT_WORLD;
    }
    for (size_t i = 0; i < KEY_COUNT; i++)
        make_account(&accounts[i]);
    bool is_done = measure(accounts, verify, seconds * NS_PER_S, &verified) &&
                   measure(accounts, sign, seconds * NS_PER_S, &made);
    free(accounts);
    if (!is_done) {
        (void)fprintf(stderr, "signatures: no thread for each of %zu cores\n", count_cores());
        return EXIT_WORLD;
    }
    (void)printf("{\"threads\":%zu,\"keys\":%d,", count_cores(), KEY_COUNT);
    print("verify", INTENT_BYTES, &verified, ",");
    print("sign", RECEIPT_BYTES, &made, "}\n");
    return 0;
}
