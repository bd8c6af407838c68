/* SPDX-License-Identifier: Apache-2.0 */
/* What the program says about itself: help on a terminal and the manual page, both from params.def. */
#include "base/ensure.h"
#include "cmd/params_priv.h"

enum { HELP_COLUMNS = 80, HELP_INDENT = 8 };

static const char description[] = "Doorbuster sells a limited stock to a crowd that arrives all at once: "
                                  "every unit once, nobody twice, nothing "
                                  "lost, and it proves that afterwards.";

static const char rules[] = "A flag is written --flag VALUE or --flag=VALUE; one that takes no value can be "
                            "taken back with =false. Every "
                            "flag has an environment variable; the flag wins. Exit status: 0 all well, 1 a "
                            "threshold or an invariant failed, "
                            "2 wrong usage, 3 the world failed (port taken, disk full).";

static bool has_verb(const struct param_row *row, int verb)
{
    return (row->verbs & (1U << verb)) != 0;
}

/* Words of `text` in lines of HELP_COLUMNS, each with the indent before it. */
static void put_wrapped(FILE *out, const char *text, int indent)
{
    int column = 0;
    for (const char *word = text; *word != '\0';) {
        int len = (int)strcspn(word, " ");
        if (column == 0 || column + 1 + len > HELP_COLUMNS) {
            (void)fprintf(out, "%s%*s", column == 0 ? "" : "\n", indent, "");
            column = indent;
        } else {
            (void)fputc(' ', out);
            column++;
        }
        (void)fprintf(out, "%.*s", len, word);
        column += len;
        word += len;
        word += strspn(word, " ");
    }
    (void)fputc('\n', out);
}

/* What stands behind the flag: "COMMANDS", "TIME", "a|b|c"; empty for a flag without value. */
static const char *value_name(const struct param_row *row)
{
    switch (row->kind) {
    case KIND_FLAG:
        return "";
    case KIND_INT:
    case KIND_RATE:
        return "N";
    case KIND_DURATION:
        return "TIME";
    case KIND_SIZE:
        return "SIZE";
    default:
        return row->detail;
    }
}

/* "A whole number of ... Default: ... Environment: ..." */
static void put_rule(struct strbuf *text, const struct param_row *row)
{
    char name[PARAM_ENV_SIZE];
    if (row->kind == KIND_INT || row->kind == KIND_RATE || row->kind == KIND_DURATION ||
        row->kind == KIND_SIZE || row->kind == KIND_SECRET) {
        size_t start = text->len;
        param_put_expected(text, row);
        if (!text->has_overflowed && text->base[start] == 'a')
            text->base[start] = 'A';
        strbuf_lit(text, ". ");
    }
    strbuf_printf(text, "Default: %s. Environment: ",
        row->kind == KIND_FLAG  ? "off"
        : row->fallback == NULL ? "none"
                                : row->fallback);
    param_env_name(row, false, name);
    strbuf_printf(text, "%s", name);
    if (row->kind == KIND_SECRET) {
        param_env_name(row, true, name);
        strbuf_printf(text, ". Or the first line of the file that --%s-file or %s names", row->flag, name);
    }
    strbuf_put_char(text, '.');
    strbuf_put_char(text, '\0');
    ENSURE(!text->has_overflowed);
}

void params_help(FILE *out)
{
    put_wrapped(out, description, 0);
    (void)fputs("\nUsage: doorbuster VERB [--flag VALUE]...\n\n", out);
    for (int i = 0; i < VERB_COUNT; i++)
        (void)fprintf(out, "  %-8s %s\n", verb_rows[i].name, verb_rows[i].summary);
    (void)fputs("\ndoorbuster VERB --help explains a verb and its flags; doorbuster help --man prints the\n"
                "manual page; doorbuster --version says which version this is.\n\n",
        out);
    put_wrapped(out, rules, 0);
}

static void put_examples(FILE *out, const char *examples, const char *prefix)
{
    struct slice rest = slice_cstr(examples);
    while (rest.len > 0) {
        struct slice line = slice_split(rest, '\n', &rest);
        (void)fprintf(out, "%s%.*s\n", prefix, SLICE_ARGS(line));
    }
}

void params_help_verb(FILE *out, enum verb verb)
{
    const struct verb_row *row = &verb_rows[verb];
    (void)fprintf(out, "doorbuster %s: %s\n\nUsage: doorbuster %s %s%s[--flag VALUE]...\n\n", row->name,
        row->summary, row->name, row->arguments, *row->arguments == '\0' ? "" : " ");
    for (const struct param_row *param = param_rows; param < param_rows + PARAM_COUNT; param++) {
        if (!has_verb(param, (int)verb))
            continue;
        char space[512];
        struct strbuf rule;
        strbuf_init(&rule, space, sizeof space);
        put_rule(&rule, param);
        const char *value = value_name(param);
        (void)fprintf(out, "  --%s%s%s\n", param->flag, *value == '\0' ? "" : " ", value);
        put_wrapped(out, param->text, HELP_INDENT);
        put_wrapped(out, rule.base, HELP_INDENT);
    }
    (void)fputs("\nExamples:\n", out);
    put_examples(out, row->examples, "  ");
    (void)fputc('\n', out);
    put_wrapped(out, rules, 0);
}

/* --- the manual page (man(7) macros) --- */

/* Text in roff: backslashes and minus signs are escaped, and so is a leading dot or quote. */
static void put_roff(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        (void)fputs("\\&", out);
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            (void)fputs("\\e", out);
        else if (*text == '-')
            (void)fputs("\\-", out);
        else
            (void)fputc(*text, out);
    }
}

static void man_param(FILE *out, const struct param_row *row)
{
    char space[512];
    struct strbuf rule;
    strbuf_init(&rule, space, sizeof space);
    put_rule(&rule, row);
    (void)fputs(".TP\n\\fB\\-\\-", out);
    put_roff(out, row->flag);
    (void)fputs("\\fR \\fI", out);
    put_roff(out, value_name(row));
    (void)fputs("\\fR\n", out);
    put_roff(out, row->text);
    (void)fputc('\n', out);
    put_roff(out, rule.base);
    (void)fputc('\n', out);
}

static void man_verb(FILE *out, int verb)
{
    const struct verb_row *row = &verb_rows[verb];
    (void)fprintf(out, ".SH DOORBUSTER %s\n.B doorbuster %s\n", row->name, row->name);
    put_roff(out, row->arguments);
    (void)fputs("\n[\\fI\\-\\-flag value\\fR ...]\n.PP\n", out);
    put_roff(out, row->summary);
    (void)fputs(".\n", out);
    for (const struct param_row *param = param_rows; param < param_rows + PARAM_COUNT; param++)
        if (has_verb(param, verb))
            man_param(out, param);
    (void)fputs(".PP\nExamples:\n.PP\n.nf\n", out);
    struct slice rest = slice_cstr(row->examples);
    while (rest.len > 0) {
        char line[256];
        struct slice text = slice_split(rest, '\n', &rest);
        (void)snprintf(line, sizeof line, "%.*s", SLICE_ARGS(text));
        put_roff(out, line);
        (void)fputc('\n', out);
    }
    (void)fputs(".fi\n", out);
}

void params_man(FILE *out)
{
    (void)fputs(".TH DOORBUSTER 1 \"\" \"doorbuster " DOORBUSTER_VERSION "\" \"User commands\"\n"
                ".SH NAME\ndoorbuster \\- sell a limited stock to a crowd, and prove it\n"
                ".SH SYNOPSIS\n.B doorbuster\n\\fIverb\\fR [\\fI\\-\\-flag value\\fR ...]\n.SH DESCRIPTION\n",
        out);
    put_roff(out, description);
    (void)fputs("\n.PP\n", out);
    put_roff(out, rules);
    (void)fputc('\n', out);
    for (int i = 0; i < VERB_COUNT; i++)
        man_verb(out, i);
    (void)fputs(".SH EXIT STATUS\n"
                "0 all well; 1 a threshold or an invariant failed; 2 wrong usage; 3 the world failed.\n",
        out);
}
