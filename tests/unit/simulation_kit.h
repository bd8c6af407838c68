/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What simulations share: crowds drawn by lot, many short runs, since each seed chooses its own shape of
 * crowd. One seed is always the same, another is new each time; a failure prints the command that repeats it.
 *
 *     PROGRAM [SEED [STEPS]]    or SIMULATION_SEED and SIMULATION_COMMANDS in the environment
 */
#ifndef DOORBUSTER_TESTS_UNIT_SIMULATION_KIT_H
#define DOORBUSTER_TESTS_UNIT_SIMULATION_KIT_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/result.h"

enum { SIMULATION_RESULTS = 128 /* above every number of result.def */ };

/* Where a run is. */
struct simulation_place {
    int64_t seed;
    int64_t step;
    int64_t now_ms;
    int64_t batch_max; /* steps */
};

struct simulation_plan {
    const char *name;
    int64_t step_count; /* when nobody asks for another number */
    int64_t run_steps;
    void (*run)(int64_t seed, int64_t steps, int64_t counts[SIMULATION_RESULTS]); /* adds its answers */
    bool (*is_expected)(enum result result); /* a crowd that never hears it does not test it */
};

/* Runs the known seed and a new one, or the one that is asked for; the exit status. */
int simulation_main(const struct simulation_plan *plan, int argc, char **argv);

/* What to print should the rules themselves find that something is impossible. At the start of each batch. */
void simulation_note(const struct simulation_place *place);

/* "repeat it with: PROGRAM SEED STEPS", to just behind the present batch. */
const char *simulation_way_back(const struct simulation_place *place);

/* Ends the test. */
#define SIMULATION_CHECK(place, condition, ...)                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_error(__VA_ARGS__);                                                              \
            fail_msg("\n'%s' does not hold at step %" PRId64 ", time %" PRId64 "; %s", #condition, \
                (place)->step, (place)->now_ms, simulation_way_back(place));                       \
        }                                                                                          \
    } while (0)

#endif
