/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the command line and the environment into struct params.
 *
 * Three sources fill a member in turn, each over the one before: the default, the environment, the flags.
 * Every value passes the same reader, defaults included, so a default that breaks its own rule stops the
 * first run of the program. A secret is never repeated in a message, whatever is wrong with it.
 */
#include "cmd/params.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/database_url.h"
#include "base/ensure.h"
#include "cmd/params_priv.h"

extern char **environ;

#define ENV_PREFIX "DOORBUSTER_"

enum {
    IN_SERVE = 1 << VERB_SERVE,
    IN_RUSH = 1 << VERB_RUSH,
    IN_VERIFY = 1 << VERB_VERIFY,
    IN_MIGRATE = 1 << VERB_MIGRATE,
    IN_DEMO = 1 << VERB_DEMO,
    IN_HELP = 1 << VERB_HELP
};

#define SECOND_MS INT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)
#define MIB INT64_C(1048576)

const struct param_row param_rows[PARAM_COUNT] = {
#define PARAM(kind, member, flag, verbs, fallback, min, max, detail, text) \
    {KIND_##kind, flag, verbs, fallback, min, max, detail, text, offsetof(struct params, member)},
#include "cmd/params.def"
#undef PARAM
};

const struct verb_row verb_rows[VERB_COUNT] = {
#define VERB(id, name, arguments, count_min, count_max, summary, examples) \
    {#name, arguments, count_min, count_max, summary, examples},
#include "cmd/params.def"
#undef VERB
};

/* Variables with our prefix that are not for this program: the tests' and scripts' own. */
static const char *const foreign_env[] = {"DOORBUSTER_BIN", "DOORBUSTER_TEST_"};

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit duration_units[] = {
    {"ms", 1}, {"s", SECOND_MS}, {"m", MINUTE_MS}, {"h", HOUR_MS}, {"d", DAY_MS}, {NULL, 0}};

static const struct unit size_units[] = {
    {"", 1}, {"B", 1}, {"KiB", 1024}, {"MiB", MIB}, {"GiB", 1024 * MIB}, {NULL, 0}};

/* Where a value came from, for messages: "--flag" or "DOORBUSTER_FLAG". */
struct origin {
    const char *name;
    bool is_env;
};

enum { SHOWN_SIZE = 64 };

static bool has_verb(const struct param_row *row, enum verb verb)
{
    return (row->verbs & (1U << verb)) != 0;
}

/* --- names --- */

void param_env_name(const struct param_row *row, bool is_file, char name[PARAM_ENV_SIZE])
{
    int len = snprintf(name, PARAM_ENV_SIZE, ENV_PREFIX "%s%s", row->flag, is_file ? "_FILE" : "");
    ENSURE(len > 0 && len < PARAM_ENV_SIZE);
    for (char *c = name; *c != '\0'; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
}

/* Number of single-character changes between two words (Levenshtein); words over 63 bytes count as far apart.
 */
static size_t distance(const char *a, const char *b)
{
    size_t row[64];
    size_t len_a = strlen(a), len_b = strlen(b);
    if (len_a >= 64 || len_b >= 64)
        return SIZE_MAX;
    for (size_t j = 0; j <= len_b; j++)
        row[j] = j;
    for (size_t i = 1; i <= len_a; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= len_b; j++) {
            size_t cost = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = cost < step ? cost : step;
        }
    }
    return row[len_b];
}

/* Keeps `candidate` when it is nearer to `word` than what was kept before and near enough to be a typing
 * error. */
static void keep_nearest(const char *word, const char *candidate, size_t *best, const char **nearest)
{
    size_t d = distance(word, candidate);
    size_t limit = strlen(candidate) / 3 + 1;
    if (d <= limit && d < *best) {
        *best = d;
        *nearest = candidate;
    }
}

bool params_find_verb(const char *name, enum verb *verb, const char **nearest)
{
    size_t best = SIZE_MAX;
    *nearest = NULL;
    for (int i = 0; i < VERB_COUNT; i++) {
        if (strcmp(name, verb_rows[i].name) == 0) {
            *verb = (enum verb)i;
            return true;
        }
        keep_nearest(name, verb_rows[i].name, &best, nearest);
    }
    return false;
}

const char *params_verb_name(enum verb verb)
{
    ENSURE(verb < VERB_COUNT);
    return verb_rows[verb].name;
}

/* --- one value --- */

/* The number with the largest unit that divides it. */
static void put_with_unit(struct strbuf *out, const struct unit *units, int64_t value)
{
    const struct unit *best = units;
    for (const struct unit *unit = units; unit->name != NULL; unit++)
        if (value % unit->factor == 0 && value >= unit->factor)
            best = unit;
    strbuf_put_i64(out, value / best->factor);
    if (value != 0)
        strbuf_put(out, slice_cstr(best->name));
}

void param_put_expected(struct strbuf *out, const struct param_row *row)
{
    switch (row->kind) {
    case KIND_STRING:
    case KIND_STORE:
    case KIND_LIST:
        strbuf_printf(out, "%s of %lld to %lld bytes", row->detail, (long long)row->min, (long long)row->max);
        break;
    case KIND_SECRET:
        strbuf_printf(
            out, "%lld to %lld printable ASCII characters", (long long)row->min, (long long)row->max);
        break;
    case KIND_FLAG:
        strbuf_lit(out, "true or false");
        break;
    case KIND_INT:
        strbuf_printf(out, "a whole number of %s from %lld to %lld", row->detail, (long long)row->min,
            (long long)row->max);
        break;
    case KIND_DURATION:
        strbuf_lit(out, "a time with its unit (ms, s, m, h, d) from ");
        put_with_unit(out, duration_units, row->min);
        strbuf_lit(out, " to ");
        put_with_unit(out, duration_units, row->max);
        break;
    case KIND_SIZE:
        strbuf_lit(out, "a size in bytes or with KiB, MiB, GiB from ");
        put_with_unit(out, size_units, row->min);
        strbuf_lit(out, " to ");
        put_with_unit(out, size_units, row->max);
        break;
    case KIND_RATE:
        strbuf_printf(
            out, "a number from %lld to %lld (%s)", (long long)row->min, (long long)row->max, row->detail);
        break;
    case KIND_CHOICE:
        strbuf_printf(out, "one of %s", row->detail);
        break;
    }
}

static const char *example_value(const struct param_row *row)
{
    if (row->kind == KIND_FLAG)
        return "true";
    if (row->fallback != NULL)
        return row->fallback;
    if (row->kind == KIND_SECRET)
        return "\"$(openssl rand -hex 16)\"";
    return row->detail;
}

/* "text", cut and without control characters; one that may be a secret only by its length. */
static void show(const char *text, bool is_secret, char shown[SHOWN_SIZE])
{
    if (is_secret || database_may_be_secret(text)) {
        (void)snprintf(shown, SHOWN_SIZE, "a text of %zu bytes (not shown)", strlen(text));
        return;
    }
    (void)snprintf(shown, SHOWN_SIZE, "\"%.48s%s", text, strlen(text) > 48 ? "...\"" : "\"");
    for (char *c = shown; *c != '\0'; c++)
        *c = isprint((unsigned char)*c) || (unsigned char)*c >= 0x80 ? *c : '?';
}

/* The one sentence about a bad value: what was given, what was expected, an example. */
static enum err bad_value(
    const struct param_row *row, const struct origin *origin, const char *text, struct error *error)
{
    char shown[SHOWN_SIZE];
    if (row->kind == KIND_STORE && database_store_check(text, origin->name, error) != ERR_NONE)
        return ERR_USAGE;
    show(text, row->kind == KIND_SECRET || row->kind == KIND_STORE, shown);
    char space[256];
    struct strbuf expected;
    strbuf_init(&expected, space, sizeof space);
    param_put_expected(&expected, row);
    return error_set(error, ERR_USAGE, "%s is %s, expected %.*s, for example %s%s%s", origin->name, shown,
        SLICE_ARGS(strbuf_slice(&expected)), origin->name, origin->is_env ? "=" : " ", example_value(row));
}

/* A non-negative whole number followed by one of the units; "0" needs none. False also when it overflows. */
static bool read_with_unit(const char *text, const struct unit *units, int64_t *value)
{
    size_t digits = strspn(text, "0123456789");
    int64_t number;
    if (digits == 0 || !slice_to_i64(slice_make(text, digits), &number))
        return false;
    const char *name = text + digits;
    if (number == 0 && *name == '\0') {
        *value = 0;
        return true;
    }
    for (const struct unit *unit = units; unit->name != NULL; unit++)
        if (strcmp(name, unit->name) == 0)
            return !__builtin_mul_overflow(number, unit->factor, value);
    return false;
}

static bool read_rate(const char *text, double *value)
{
    char *end;
    if (!isdigit((unsigned char)text[0]) || strpbrk(text, "xXpP") != NULL)
        return false;
    *value = strtod(text, &end);
    return *end == '\0' && isfinite(*value);
}

static bool read_flag(const char *text, bool *value)
{
    static const char *const words[] = {"false", "true", "0", "1", "no", "yes", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(text, words[i]) == 0) {
            *value = i % 2 == 1;
            return true;
        }
    }
    return false;
}

static bool read_choice(const char *text, const char *words, int *value)
{
    struct slice rest = slice_cstr(words);
    for (int i = 0; rest.len > 0; i++) {
        struct slice word = slice_split(rest, '|', &rest);
        if (slice_eq(word, slice_cstr(text))) {
            *value = i;
            return true;
        }
    }
    return false;
}

static bool is_length_ok(const struct param_row *row, const char *text)
{
    size_t len = strlen(text);
    return len >= (size_t)row->min && len <= (size_t)row->max;
}

static bool is_secret_ok(const struct param_row *row, const char *text)
{
    for (const char *c = text; *c != '\0'; c++)
        if (*c < '!' || *c > '~')
            return false;
    return is_length_ok(row, text);
}

static bool list_add(const struct param_row *row, struct param_list *list, const char *text)
{
    if (!is_length_ok(row, text) || list->count == PARAM_LIST_MAX)
        return false;
    list->items[list->count++] = text;
    return true;
}

static bool in_range(const struct param_row *row, int64_t value)
{
    return value >= row->min && value <= row->max;
}

/* Reads `text` into the row's member; a LIST gets one more item. False: it breaks the row's rule. */
static bool read_value(struct params *params, const struct param_row *row, const char *text)
{
    void *member = (char *)params + row->offset;
    int64_t *number = member;
    switch (row->kind) {
    case KIND_STRING:
        *(const char **)member = text;
        return is_length_ok(row, text);
    case KIND_STORE:
        *(const char **)member = text;
        return is_length_ok(row, text) && database_store_check(text, "", NULL) == ERR_NONE;
    case KIND_SECRET:
        *(const char **)member = text;
        return is_secret_ok(row, text);
    case KIND_LIST:
        return list_add(row, member, text);
    case KIND_FLAG:
        return read_flag(text, member);
    case KIND_INT:
        return slice_to_i64(slice_cstr(text), number) && in_range(row, *number);
    case KIND_DURATION:
        return read_with_unit(text, duration_units, number) && in_range(row, *number);
    case KIND_SIZE:
        return read_with_unit(text, size_units, number) && in_range(row, *number);
    case KIND_RATE:
        return read_rate(text, member) && *(double *)member >= (double)row->min &&
               *(double *)member <= (double)row->max;
    case KIND_CHOICE:
        return read_choice(text, row->detail, member);
    }
    return false;
}

/* A copy of the text that lives until params_fini. */
static char *own(struct params *params, const char *text)
{
    char *copy = strdup(text);
    char **owned = reallocarray(params->owned, params->owned_count + 1, sizeof *owned);
    ENSURE(copy != NULL);
    ENSURE(owned != NULL);
    params->owned = owned;
    params->owned[params->owned_count++] = copy;
    return copy;
}

/* "A,B,C" into the row's list. */
static bool read_list(struct params *params, const struct param_row *row, const char *text)
{
    struct param_list *list = (struct param_list *)(void *)((char *)params + row->offset);
    char *rest = own(params, text);
    list->count = 0;
    for (char *item; (item = strsep(&rest, ",")) != NULL;)
        if (!list_add(row, list, item))
            return false;
    return true;
}

/* Reads a secret from the first line of a file. */
static enum err read_secret_file(struct params *params, const struct param_row *row,
    const struct origin *origin, const char *path, struct error *error)
{
    char text[1024];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return error_set(error, ERR_USAGE, "%s names \"%s\", which cannot be read: %s", origin->name,
            database_shown(path), strerror(errno));
    if (fgets(text, sizeof text, file) == NULL)
        text[0] = '\0';
    (void)fclose(file);
    text[strcspn(text, "\r\n")] = '\0';
    char *copy = own(params, text);
    explicit_bzero(text, sizeof text);
    if (read_value(params, row, copy))
        return ERR_NONE;
    return error_set(error, ERR_USAGE,
        "%s names \"%s\", whose first line has %zu bytes, expected %lld to %lld printable ASCII characters, "
        "for "
        "example from openssl rand -hex 16",
        origin->name, path, strlen(copy), (long long)row->min, (long long)row->max);
}

/* --- the three sources --- */

static void set_default(struct params *params, const struct param_row *row)
{
    if (row->fallback == NULL)
        return;
    bool is_read = row->kind == KIND_LIST ? read_list(params, row, row->fallback)
                                          : read_value(params, row, row->fallback);
    ENSURE(is_read);
}

static enum err set_env(struct params *params, const struct param_row *row, struct error *error)
{
    char name[PARAM_ENV_SIZE];
    struct origin origin = {name, true};
    if (row->kind == KIND_SECRET) {
        param_env_name(row, true, name);
        const char *path = getenv(name);
        if (path != NULL && *path != '\0') {
            params->is_given[row - param_rows] = true;
            enum err err = read_secret_file(params, row, &origin, path, error);
            if (err != ERR_NONE)
                return err;
        }
    }
    param_env_name(row, false, name);
    const char *text = getenv(name);
    if (text == NULL || *text == '\0')
        return ERR_NONE;
    params->is_given[row - param_rows] = true;
    bool is_read = row->kind == KIND_LIST ? read_list(params, row, text) : read_value(params, row, text);
    return is_read ? ERR_NONE : bad_value(row, &origin, text, error);
}

/* The row of this verb whose flag is `name`; *is_file when `name` is the -file twin of a secret. */
static const struct param_row *find_row(enum verb verb, struct slice name, bool *is_file)
{
    for (const struct param_row *row = param_rows; row < param_rows + PARAM_COUNT; row++) {
        if (!has_verb(row, verb))
            continue;
        struct slice flag = slice_cstr(row->flag);
        *is_file = row->kind == KIND_SECRET && name.len == flag.len + 5 && slice_starts_with(name, flag) &&
                   slice_eq(slice_make(name.base + flag.len, 5), SLICE("-file"));
        if (*is_file || slice_eq(name, flag))
            return row;
    }
    return NULL;
}

static enum err unknown_flag(enum verb verb, struct slice name, struct error *error)
{
    char word[64];
    size_t best = SIZE_MAX;
    const char *nearest = NULL;
    (void)snprintf(word, sizeof word, "%.*s", SLICE_ARGS(name));
    for (const struct param_row *row = param_rows; row < param_rows + PARAM_COUNT; row++)
        if (has_verb(row, verb))
            keep_nearest(word, row->flag, &best, &nearest);
    const char *verb_name = verb_rows[verb].name;
    if (nearest == NULL)
        return error_set(error, ERR_USAGE,
            "there is no flag --%s; doorbuster %s --help lists those there are", database_shown(word),
            verb_name);
    return error_set(error, ERR_USAGE,
        "there is no flag --%s; did you mean --%s? doorbuster %s --help lists all", word, nearest, verb_name);
}

/* Reads one "--flag[=value]" at argv[*i] and moves *i to the last argument used. */
static enum err set_flag(struct params *params, enum verb verb, int argc, char **argv, int *i,
    bool has_list[PARAM_COUNT], struct error *error)
{
    struct slice value, name = slice_cstr(argv[*i] + 2);
    bool is_file, has_value = strchr(argv[*i], '=') != NULL;
    name = slice_split(name, '=', &value);
    const struct param_row *row = find_row(verb, name, &is_file);
    if (row == NULL)
        return unknown_flag(verb, name, error);
    const char *text = has_value ? value.base : NULL;
    if (text == NULL && row->kind == KIND_FLAG)
        text = "true";
    else if (text == NULL && *i + 1 < argc)
        text = argv[++*i];
    if (text == NULL)
        return error_set(error, ERR_USAGE, "--%s needs a value, for example --%s %s", row->flag, row->flag,
            example_value(row));

    char flag[72];
    (void)snprintf(flag, sizeof flag, "--%.*s", SLICE_ARGS(name));
    struct origin origin = {flag, false};
    ptrdiff_t id = row - param_rows;
    params->is_given[id] = true;
    params->is_typed[id] = true;
    if (is_file)
        return read_secret_file(params, row, &origin, text, error);
    if (row->kind == KIND_LIST && !has_list[id]) {
        ((struct param_list *)(void *)((char *)params + row->offset))->count = 0;
        has_list[id] = true;
    }
    return read_value(params, row, text) ? ERR_NONE : bad_value(row, &origin, text, error);
}

static enum err set_flags(struct params *params, enum verb verb, int argc, char **argv, struct error *error)
{
    bool has_list[PARAM_COUNT] = {false}; /* the flags have begun to replace the list of lower rank */
    bool is_after_flags = false;
    params->args = argv + 1;
    for (int i = 1; i < argc; i++) {
        if (!is_after_flags && strcmp(argv[i], "--") == 0) {
            is_after_flags = true;
        } else if (is_after_flags || argv[i][0] != '-' || argv[i][1] == '\0') {
            params->args[params->args_count++] = argv[i];
        } else if (argv[i][1] != '-') {
            return error_set(error, ERR_USAGE, "there is no flag %s; flags are whole words, --like-this",
                database_shown(argv[i]));
        } else {
            enum err err = set_flag(params, verb, argc, argv, &i, has_list, error);
            if (err != ERR_NONE)
                return err;
        }
    }
    return ERR_NONE;
}

static enum err check_arguments(const struct params *params, enum verb verb, struct error *error)
{
    const struct verb_row *row = &verb_rows[verb];
    if (params->args_count > row->count_max) {
        char shown[SHOWN_SIZE];
        show(params->args[row->count_max], false, shown);
        return error_set(error, ERR_USAGE,
            "%s is one word too many; usage: doorbuster %s %s[--flag VALUE]...", shown, row->name,
            row->count_max == 0 ? "" : row->arguments);
    }
    if (params->args_count < row->count_min)
        return error_set(
            error, ERR_USAGE, "%s is missing; doorbuster %s --help explains it", row->arguments, row->name);
    return ERR_NONE;
}

/* --- unknown variables --- */

static bool is_known_env(const char *name)
{
    char known[PARAM_ENV_SIZE];
    for (size_t i = 0; i < sizeof foreign_env / sizeof foreign_env[0]; i++)
        if (strncmp(name, foreign_env[i], strlen(foreign_env[i])) == 0)
            return true;
    for (const struct param_row *row = param_rows; row < param_rows + PARAM_COUNT; row++) {
        param_env_name(row, false, known);
        if (strcmp(name, known) == 0)
            return true;
        param_env_name(row, true, known);
        if (row->kind == KIND_SECRET && strcmp(name, known) == 0)
            return true;
    }
    return false;
}

/* Compares what follows the prefix, as a flag would be written. */
static void warn_env(const char *name)
{
    char flag[PARAM_ENV_SIZE], twin[PARAM_ENV_SIZE] = "";
    const char *nearest = NULL;
    size_t best = SIZE_MAX;
    (void)snprintf(flag, sizeof flag, "%s", name + strlen(ENV_PREFIX));
    for (char *c = flag; *c != '\0'; c++)
        *c = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
    for (const struct param_row *row = param_rows; row < param_rows + PARAM_COUNT; row++) {
        size_t before = best;
        keep_nearest(flag, row->flag, &best, &nearest);
        if (best < before)
            param_env_name(row, false, twin);
    }
    (void)fprintf(stderr, "doorbuster: the environment variable %s is unknown and ignored%s%s%s\n", name,
        nearest != NULL ? "; did you mean " : "", twin, nearest != NULL ? "?" : "");
}

static void warn_unknown_env(void)
{
    for (char **entry = environ; *entry != NULL; entry++) {
        char name[PARAM_ENV_SIZE];
        size_t len = strcspn(*entry, "=");
        if (strncmp(*entry, ENV_PREFIX, strlen(ENV_PREFIX)) != 0)
            continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)(len < 60 ? len : 60), *entry);
        if (!is_known_env(name))
            warn_env(name);
    }
}

enum err params_parse(struct params *params, enum verb verb, int argc, char **argv, struct error *error)
{
    enum err err = ERR_NONE;
    memset(params, 0, sizeof *params);
    warn_unknown_env();
    for (const struct param_row *row = param_rows; row < param_rows + PARAM_COUNT; row++)
        set_default(params, row);
    for (const struct param_row *row = param_rows; row < param_rows + PARAM_COUNT && err == ERR_NONE; row++)
        if (has_verb(row, verb))
            err = set_env(params, row, error);
    if (err == ERR_NONE)
        err = set_flags(params, verb, argc, argv, error);
    if (err == ERR_NONE)
        err = check_arguments(params, verb, error);
    return err;
}

void params_fini(struct params *params)
{
    for (size_t i = 0; i < params->owned_count; i++) {
        explicit_bzero(params->owned[i], strlen(params->owned[i]));
        free(params->owned[i]);
    }
    free(params->owned);
    params->owned = NULL;
    params->owned_count = 0;
}
