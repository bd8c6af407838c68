/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the command line and the environment ask for. params.def holds one row per parameter; every row is one
 * member of struct params, one flag, one environment variable, one check and one paragraph of the manual.
 * A flag wins over the environment, which wins over the default. Main thread, at the start of the program.
 */
#ifndef DOORBUSTER_CMD_PARAMS_H
#define DOORBUSTER_CMD_PARAMS_H

#include <stdio.h>

#include "base/err.h"
#include "base/slice.h"

enum verb {
#define VERB(id, name, arguments, count_min, count_max, summary, examples) VERB_##id,
#include "cmd/params.def"
#undef VERB
    VERB_COUNT
};

enum param_id {
#define PARAM(kind, member, flag, verbs, fallback, min, max, detail, text) PARAM_##member,
#include "cmd/params.def"
#undef PARAM
    PARAM_COUNT
};

/* The members that CHOICE rows fill with the number of the word; log_level and log_format are the enums of
 * base/log.h. */
enum { SOLD_OUT_REPLY_NOT_ACTIVE, SOLD_OUT_REPLY_SOLD_OUT };

enum { PARAM_LIST_MAX = 64 }; /* values of a repeatable flag; more are a mistake, not a wish */

struct param_list {
    size_t count;
    const char *items[PARAM_LIST_MAX];
};

#define PARAM_MEMBER_STRING(member) const char *member;
#define PARAM_MEMBER_STORE(member) const char *member;
#define PARAM_MEMBER_SECRET(member) const char *member;
#define PARAM_MEMBER_LIST(member) struct param_list member;
#define PARAM_MEMBER_FLAG(member) bool member;
#define PARAM_MEMBER_INT(member) int64_t member;
#define PARAM_MEMBER_DURATION(member) int64_t member;
#define PARAM_MEMBER_SIZE(member) int64_t member;
#define PARAM_MEMBER_RATE(member) double member;
#define PARAM_MEMBER_CHOICE(member) int member;

/* Texts belong to argv, to the environment or to this struct; they are good until params_fini. */
struct params {
#define PARAM(kind, member, flag, verbs, fallback, min, max, detail, text) PARAM_MEMBER_##kind(member)
#include "cmd/params.def"
#undef PARAM
    char **args; /* the positional arguments, in argv */
    int args_count;
    bool is_given[PARAM_COUNT]; /* by flag or environment rather than by default; is_given[PARAM_member] */
    bool is_typed[PARAM_COUNT]; /* by flag */
    char **owned;               /* texts that are neither in argv nor in the environment */
    size_t owned_count;
};

/*
 * Reads argv (argv[0] is the verb and is skipped) and the environment for this verb; members of other verbs
 * get their defaults. Flags are --flag VALUE or --flag=VALUE; FLAG rows take no value or =true/=false; `--`
 * ends the flags; a flag given twice counts as given last, a repeatable one collects. argv is reordered: the
 * positional arguments move to its front. Variables DOORBUSTER_* that no row knows are named on standard
 * error and otherwise ignored. ERR_USAGE: the message says what was given, what was expected and an example.
 */
MUST_CHECK enum err params_parse(
    struct params *params, enum verb verb, int argc, char **argv, struct error *error);

/* After a failed params_parse too. */
void params_fini(struct params *params);

/* The verb with this name; false when there is none. *nearest becomes the most similar name, or NULL. */
bool params_find_verb(const char *name, enum verb *verb, const char **nearest);
const char *params_verb_name(enum verb verb);

/* What `doorbuster --help`, `doorbuster VERB --help` and `doorbuster help --man` print. */
void params_help(FILE *out);
void params_help_verb(FILE *out, enum verb verb);
void params_man(FILE *out);

#endif
