/* SPDX-License-Identifier: Apache-2.0 */
/* `doorbuster help [VERB] [--man]`. */
#include "base/database_url.h"
#include "cmd/cmd.h"

/* The text on standard output is all that was asked for: when it cannot be written, that is a failure. */
static int finish(void)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return EXIT_WELL;
    perror("doorbuster help: standard output");
    return EXIT_WORLD;
}

static int help_verb(const char *name)
{
    struct error error;
    enum verb verb;
    const char *nearest;
    if (params_find_verb(name, &verb, &nearest)) {
        params_help_verb(stdout, verb);
        return finish();
    }
    error_set(&error, ERR_USAGE, "there is no verb \"%s\"%s%s%s", database_shown(name),
        nearest == NULL ? "" : "; did you mean ", nearest == NULL ? "" : nearest,
        nearest == NULL ? "; doorbuster --help lists them" : "?");
    return cmd_fail(VERB_HELP, &error);
}

int cmd_help(int argc, char **argv)
{
    struct params params;
    struct error error;
    int status;
    if (params_parse(&params, VERB_HELP, argc, argv, &error) != ERR_NONE) {
        status = cmd_fail(VERB_HELP, &error);
    } else if (params.args_count == 1) {
        status = help_verb(params.args[0]);
    } else {
        if (params.man)
            params_man(stdout);
        else
            params_help(stdout);
        status = finish();
    }
    params_fini(&params);
    return status;
}
