/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs of the command line, one file cmd_<verb>.c each. Only these files and main.c read argv, the
 * environment or print to standard output.
 */
#ifndef DOORBUSTER_CMD_CMD_H
#define DOORBUSTER_CMD_CMD_H

#include "base/err.h"
#include "cmd/params.h"

/* Exit statuses; scripts rely on them. */
enum {
    EXIT_WELL = 0,   /* all well */
    EXIT_FAILED = 1, /* a threshold or an invariant failed: the program works, what it looked at does not */
    EXIT_USAGE = 2,  /* the command line or the environment makes no sense */
    EXIT_WORLD = 3   /* the world failed: port taken, disk full, store unreadable */
};

/* Each takes the command line from the verb on (argv[0] is the verb) and returns the exit status. */
#define VERB(id, name, arguments, count_min, count_max, summary, examples) \
    int cmd_##name(int argc, char **argv);
#include "cmd/params.def"
#undef VERB

/* Prints "doorbuster VERB: message" to standard error and returns the exit status that belongs to the error.
 */
MUST_CHECK int cmd_fail(enum verb verb, const struct error *error);

#endif
