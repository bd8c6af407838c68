/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"

int cmd_fail(enum verb verb, const struct error *error)
{
    (void)fprintf(stderr, "doorbuster %s: %s\n", params_verb_name(verb), error->message);
    return error->code == ERR_USAGE ? EXIT_USAGE : EXIT_WORLD;
}
