/* SPDX-License-Identifier: Apache-2.0 */
#include "load.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/ensure.h"

static const int64_t ns_per_s = 1000000000;

void load_begin(struct load *load, int64_t seconds)
{
    *load = (struct load){.measure_from_ns = clock_mono_ns() + ns_per_s};
    load->until_ns = load->measure_from_ns + seconds * ns_per_s;
    hist_init(&load->latency);
}

bool load_goes_on(const struct load *load, int64_t now_ns)
{
    return now_ns < load->until_ns;
}

int load_next_user(struct load *load, char name[LOAD_USER_BYTES])
{
    int len = snprintf(name, LOAD_USER_BYTES, "bench-user-%010llu", (unsigned long long)++load->user_count);
    ENSURE(len > 0 && len < LOAD_USER_BYTES);
    return len;
}

void load_add(struct load *load, bool is_success, int64_t sent_ns, int64_t now_ns)
{
    if (!is_success) {
        load->failure_count++;
        return;
    }
    load->success_count++;
    if (sent_ns < load->measure_from_ns || now_ns > load->until_ns)
        return;
    load->measured_count++;
    hist_add(&load->latency, (uint64_t)(now_ns - sent_ns));
}

void load_print(const struct load *load)
{
    double seconds = (double)(load->until_ns - load->measure_from_ns) / 1e9;
    (void)printf("{\"requests_per_s\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"failures\":%llu}\n",
        (double)load->measured_count / seconds, (double)hist_percentile_ns(&load->latency, 50) / 1e3,
        (double)hist_percentile_ns(&load->latency, 99) / 1e3, (unsigned long long)load->failure_count);
}
