/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of params.def as tables, for params.c and params_help.c only. */
#ifndef DOORBUSTER_CMD_PARAMS_PRIV_H
#define DOORBUSTER_CMD_PARAMS_PRIV_H

#include "base/strbuf.h"
#include "cmd/params.h"

enum param_kind {
    KIND_STRING,
    KIND_STORE,
    KIND_SECRET,
    KIND_LIST,
    KIND_FLAG,
    KIND_INT,
    KIND_DURATION,
    KIND_SIZE,
    KIND_RATE,
    KIND_CHOICE
};

struct param_row {
    enum param_kind kind;
    const char *flag;     /* without the dashes */
    unsigned verbs;       /* 1 << enum verb, or-ed */
    const char *fallback; /* as it would be typed; NULL: none */
    int64_t min;
    int64_t max;
    const char *detail;
    const char *text;
    size_t offset; /* of the member in struct params */
};

struct verb_row {
    const char *name;
    const char *arguments;
    int count_min;
    int count_max;
    const char *summary;
    const char *examples;
};

extern const struct param_row param_rows[PARAM_COUNT];
extern const struct verb_row verb_rows[VERB_COUNT];

enum { PARAM_ENV_SIZE = 64 };

/* The environment twin, DOORBUSTER_SOME_FLAG; a secret's file has "_FILE" behind. */
void param_env_name(const struct param_row *row, bool is_file, char name[PARAM_ENV_SIZE]);

/* "a whole number of commands from 1 to 1048576" and the like. */
void param_put_expected(struct strbuf *out, const struct param_row *row);

#endif
