/* SPDX-License-Identifier: Apache-2.0 */
/* The one entry point: finds the verb and hands the rest of the command line to its cmd_<verb>. */
#include "base/slice.h"
#include "base/database_url.h"
#include "cmd/cmd.h"

typedef int verb_run(int argc, char **argv);

static verb_run *const verb_runs[VERB_COUNT] = {
#define VERB(id, name, arguments, count_min, count_max, summary, examples) cmd_##name,
#include "cmd/params.def"
#undef VERB
};

/* Whether --help stands among the flags; `doorbuster VERB --help` works whatever else was typed. */
static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static int run_help(const char *verb_name)
{
    char word[] = "help";
    char *argv[] = {word, (char *)(uintptr_t)verb_name, NULL};
    return cmd_help(verb_name == NULL ? 1 : 2, argv);
}

int main(int argc, char **argv)
{
    enum verb verb;
    const char *nearest;
    if (argc < 2) {
        params_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return run_help(NULL);
    if (strcmp(argv[1], "--version") == 0)
        return printf("doorbuster %s\n", DOORBUSTER_VERSION) < 0 || fflush(stdout) != 0 ? EXIT_WORLD
                                                                                        : EXIT_WELL;
    if (!params_find_verb(argv[1], &verb, &nearest)) {
        (void)fprintf(stderr, "doorbuster: there is no verb \"%s\"%s%s; doorbuster --help lists them\n",
            database_shown(argv[1]), nearest == NULL ? "" : "; did you mean ",
            nearest == NULL ? "" : nearest);
        return EXIT_USAGE;
    }
    if (asks_for_help(argc - 1, argv + 1))
        return run_help(params_verb_name(verb));
    return verb_runs[verb](argc - 1, argv + 1);
}
