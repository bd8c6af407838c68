/* SPDX-License-Identifier: Apache-2.0 */
/* `doorbuster demo [PLAY]`: the whole program shown on itself, on a stage of its own (cmd/stage.h). */
#include <signal.h>

#include "cmd/cmd.h"
#include "cmd/demo.h"

struct play {
    const char *name;
    enum err (*run)(struct stage *stage, const struct params *params, struct error *error);
    const char *proven; /* the verdict when all held */
};

static const struct play flash_sale = {
    "", demo_flash_sale, "every unit was sold once, nobody bought twice, nothing was lost"};
static const struct play orders = {"orders", demo_orders,
    "what could be paid in time was accepted and paid, once; everything else was refused at once"};

static const enum param_id of_flash_sale[] = {PARAM_demo_users, PARAM_demo_stock, PARAM_COUNT};
static const enum param_id of_orders[] = {PARAM_demo_seconds, PARAM_demo_payment_ms, PARAM_COUNT};

/* Whether one of these flags was typed. */
static bool is_any_typed(const struct params *params, const enum param_id *ids)
{
    for (; *ids != PARAM_COUNT; ids++)
        if (params->is_typed[*ids])
            return true;
    return false;
}

static enum err choose(const struct params *params, const struct play **play, struct error *error)
{
    const char *name = params->args_count > 0 ? params->args[0] : "";
    *play = strcmp(name, orders.name) == 0 ? &orders : &flash_sale;
    if (strcmp(name, (*play)->name) != 0)
        return error_set(error, ERR_USAGE,
            "there is no demo \"%.64s\"; expected orders, or nothing for the flash sale", name);
    if (*play == &orders && is_any_typed(params, of_flash_sale))
        return error_set(error, ERR_USAGE,
            "--users and --stock are of the flash sale; the demo of orders takes --seconds and "
            "--payment-time");
    if (*play == &flash_sale && is_any_typed(params, of_orders))
        return error_set(error, ERR_USAGE,
            "--seconds and --payment-time are of the demo of orders, for example doorbuster demo orders "
            "--seconds 30");
    if (*play == &flash_sale && params->demo_stock > params->demo_users)
        return error_set(error, ERR_USAGE,
            "--stock is %lld, expected at most --users (%lld), so that the sale sells out, for example "
            "--stock "
            "100",
            (long long)params->demo_stock, (long long)params->demo_users);
    return ERR_NONE;
}

/* Ends as the signal would have ended it, so that a calling shell knows. */
static void die_of(int signal_number)
{
    sigset_t set;
    (void)signal(signal_number, SIG_DFL);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, signal_number);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    (void)raise(signal_number);
}

static int perform(const struct play *play, const struct params *params)
{
    struct stage stage;
    struct error error;
    enum err err = stage_open(&stage, &error);
    if (err == ERR_NONE)
        err = play->run(&stage, params, &error);
    if (err == ERR_NONE && stage.signal_number == 0)
        stage_say("\nverdict: %s, %s", stage.failures == 0 ? "PASS" : "FAIL",
            stage.failures == 0 ? play->proven : "see what failed above");
    stage_close(&stage);
    if (stage.signal_number != 0)
        die_of(stage.signal_number);
    if (err != ERR_NONE)
        return cmd_fail(VERB_DEMO, &error);
    return stage.failures == 0 ? EXIT_WELL : EXIT_FAILED;
}

int cmd_demo(int argc, char **argv)
{
    struct params params;
    struct error error;
    const struct play *play = NULL;
    enum err err = params_parse(&params, VERB_DEMO, argc, argv, &error);
    if (err == ERR_NONE)
        err = choose(&params, &play, &error);
    int status = err == ERR_NONE ? perform(play, &params) : cmd_fail(VERB_DEMO, &error);
    params_fini(&params);
    return status;
}
