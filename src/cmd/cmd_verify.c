/* SPDX-License-Identifier: Apache-2.0 */
/* `doorbuster verify`: the auditor (verify/verify.h) from the command line. */
#include "cmd/cmd.h"
#include "verify/verify.h"

static struct verify_options options_of(const struct params *params)
{
    return (struct verify_options){
        .store_path = params->store,
        .sku = params->sku,
        .journals = params->journals.items,
        .journal_count = params->journals.count,
        .is_journal_complete = params->journal_complete,
        .expect_users = params->expect_users,
        .is_quiet = params->quiet,
        .report_path = params->report,
    };
}

int cmd_verify(int argc, char **argv)
{
    struct params params;
    struct error error;
    int status;
    if (params_parse(&params, VERB_VERIFY, argc, argv, &error) != ERR_NONE) {
        status = cmd_fail(VERB_VERIFY, &error);
    } else {
        struct verify_summary summary;
        struct verify_options options = options_of(&params);
        if (verify_run(&options, stdout, &summary) != ERR_NONE)
            status = cmd_fail(VERB_VERIFY, &summary.error);
        else
            status = summary.violated > 0 ? EXIT_FAILED : EXIT_WELL;
    }
    params_fini(&params);
    return status;
}
