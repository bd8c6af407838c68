/* SPDX-License-Identifier: Apache-2.0 */
/* `doorbuster demo [PLAY]`: the whole program shown on itself, on a stage of its own (cmd/stage.h). */
#include <signal.h>

#include "cmd/cmd.h"
#include "cmd/demo.h"

enum play_id { FLASH_SALE, ORDERS, VENDING, MARKETPLACE, PLAY_COUNT };

struct play {
    const char *name;
    enum err (*run)(struct stage *stage, const struct params *params, struct error *error);
    const char *flags;  /* that it takes beside --keep */
    const char *proven; /* the verdict when all held */
};

static const struct play plays[PLAY_COUNT] = {
    [FLASH_SALE] = {"", demo_flash_sale, "the flash sale takes --users and --stock",
        "every unit was sold once, nobody bought twice, nothing was lost"},
    [ORDERS] = {"orders", demo_orders, "orders takes --seconds and --payment-time",
        "what could be paid in time was accepted and paid, once; everything else was refused at once"},
    [VENDING] = {"vending", demo_vending, "vending takes --users and --dispense-time",
        "everybody was answered, the line was served in order, nothing was lost or sold twice"},
    [MARKETPLACE] = {"marketplace", demo_market, "marketplace takes --users",
        "everyone bought and can prove it, no coin was spent twice or lost, kill or no kill"},
};

/* Flags of some plays, and of which. */
static const struct {
    enum param_id id;
    const char *name;
    bool is_of[PLAY_COUNT];
} flags[] = {
    {PARAM_demo_users, "--users", {[FLASH_SALE] = true, [VENDING] = true, [MARKETPLACE] = true}},
    {PARAM_demo_stock, "--stock", {[FLASH_SALE] = true}},
    {PARAM_demo_seconds, "--seconds", {[ORDERS] = true}},
    {PARAM_demo_payment_ms, "--payment-time", {[ORDERS] = true}},
    {PARAM_demo_dispense_ms, "--dispense-time", {[VENDING] = true}},
};

static enum err check_flags(const struct params *params, enum play_id play, struct error *error)
{
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        if (params->is_typed[flags[i].id] && !flags[i].is_of[play])
            return error_set(error, ERR_USAGE, "%s is of another demo; %s", flags[i].name, plays[play].flags);
    if (play == FLASH_SALE && params->demo_stock > params->demo_users)
        return error_set(error, ERR_USAGE,
            "--stock is %lld, expected at most --users (%lld), so that the sale sells out, for example "
            "--stock 100",
            (long long)params->demo_stock, (long long)params->demo_users);
    return ERR_NONE;
}

static enum err choose(const struct params *params, const struct play **play, struct error *error)
{
    const char *name = params->args_count > 0 ? params->args[0] : "";
    for (int i = 0; i < PLAY_COUNT; i++)
        if (strcmp(name, plays[i].name) == 0) {
            *play = &plays[i];
            return check_flags(params, (enum play_id)i, error);
        }
    return error_set(error, ERR_USAGE,
        "there is no demo \"%.64s\"; expected orders, vending, marketplace, or nothing for the flash sale",
        name);
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
