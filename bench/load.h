/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the clients of the other stores share: how long to go on, what counts, and how it is told. As with
 * `doorbuster rush throughput`, the first second is not measured, and a buyer is never the same twice. One
 * thread.
 */
#ifndef DOORBUSTER_BENCH_LOAD_H
#define DOORBUSTER_BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hist.h"

enum { LOAD_USER_BYTES = 32 };

/* Units on sale, as text for commands: more than any run can sell. */
#define LOAD_STOCK "100000000"

struct load {
    int64_t measure_from_ns;
    int64_t until_ns;
    uint64_t user_count;    /* purchases begun */
    uint64_t success_count; /* warm-up included: what the store must hold afterwards */
    uint64_t measured_count;
    uint64_t failure_count;
    struct hist latency;
};

/* Starts now. */
void load_begin(struct load *load, int64_t seconds);

/* Whether another purchase is to be sent. */
bool load_goes_on(const struct load *load, int64_t now_ns);

/* Writes the next buyer's name with a NUL and returns its length. */
int load_next_user(struct load *load, char name[LOAD_USER_BYTES]);

/* Notes one answer. */
void load_add(struct load *load, bool is_success, int64_t sent_ns, int64_t now_ns);

/* Prints one line of JSON: purchases a second, latencies in µs, failures. */
void load_print(const struct load *load);

#endif
