/* SPDX-License-Identifier: Apache-2.0 */
#include "simulation_kit.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/id.h"
#include "base/slice.h"

static const struct simulation_plan *plan;
static const char *program;
static int64_t seed_asked = -1;
static int64_t step_count;
static char way_back[512]; /* how to repeat the present batch */

const char *simulation_way_back(const struct simulation_place *place)
{
    simulation_note(place);
    return way_back;
}

void simulation_note(const struct simulation_place *place)
{
    (void)snprintf(way_back, sizeof way_back, "repeat it with: %s %" PRId64 " %" PRId64 "\n", program,
        place->seed, place->step + place->batch_max);
}

static void on_abort(int signal_number)
{
    (void)signal_number;
    (void)!write(STDERR_FILENO, way_back, strlen(way_back));
}

static void run_many(int64_t seed)
{
    int64_t counts[SIMULATION_RESULTS] = {0};
    for (int64_t done = 0; done < step_count; done += plan->run_steps, seed++)
        plan->run(seed, plan->run_steps, counts);
    const struct result_info *info;
    for (unsigned i = 0; (info = result_info_at(i)) != NULL && step_count >= plan->step_count; i++) {
        if (plan->is_expected(info->result) && counts[info->result] == 0)
            fail_msg("no command was ever answered %s", info->name);
    }
}

static void a_known_crowd_gets_the_answers_of_the_contract(void **state)
{
    (void)state;
    run_many(1);
}

static void a_new_crowd_gets_the_answers_of_the_contract(void **state)
{
    struct id_source random;
    (void)state;
    id_source_init(&random);
    run_many((int64_t)(id_next(&random) >> 16));
}

static void the_crowd_asked_for_gets_the_answers_of_the_contract(void **state)
{
    int64_t counts[SIMULATION_RESULTS] = {0};
    (void)state;
    plan->run(seed_asked, step_count, counts);
}

/* The argument, else the variable, else what stands there already. False: not a number. */
static bool read_number(const char *argument, const char *variable, int64_t *value)
{
    const char *text = argument != NULL ? argument : getenv(variable);
    return text == NULL || (slice_to_i64(slice_cstr(text), value) && *value >= 0);
}

int simulation_main(const struct simulation_plan *of, int argc, char **argv)
{
    const struct CMUnitTest suite[] = {
        cmocka_unit_test(a_known_crowd_gets_the_answers_of_the_contract),
        cmocka_unit_test(a_new_crowd_gets_the_answers_of_the_contract),
    };
    const struct CMUnitTest asked[] = {
        cmocka_unit_test(the_crowd_asked_for_gets_the_answers_of_the_contract),
    };
    plan = of;
    program = argv[0];
    step_count = plan->step_count;
    if (!read_number(argc > 1 ? argv[1] : NULL, "SIMULATION_SEED", &seed_asked) ||
        !read_number(argc > 2 ? argv[2] : NULL, "SIMULATION_COMMANDS", &step_count)) {
        (void)fprintf(stderr, "usage: %s [SEED [STEPS]], both whole numbers from 0\n", program);
        return 2;
    }
    (void)signal(SIGABRT, on_abort);
    return seed_asked < 0 ? cmocka_run_group_tests_name(plan->name, suite, NULL, NULL)
                          : cmocka_run_group_tests_name(plan->name, asked, NULL, NULL);
}
