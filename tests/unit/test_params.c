/* SPDX-License-Identifier: Apache-2.0 */
/* The command line and the environment: what they mean, and what is said when they make no sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/params_priv.h"

enum { WORDS_MAX = 32 };

struct run {
    struct params params;
    struct error error;
    enum err err;
    char line[2048];
    char *argv[WORDS_MAX];
};

/* A test that failed half-way leaves nothing to the next one; the caller's own variables do not matter
 * either. */
static int clear_environment(void **state)
{
    (void)state;
    for (const struct param_row *row = param_rows; row < param_rows + PARAM_COUNT; row++) {
        char name[PARAM_ENV_SIZE];
        for (int is_file = 0; is_file < 2; is_file++) {
            param_env_name(row, is_file == 1, name);
            assert_int_equal(unsetenv(name), 0);
        }
    }
    return 0;
}

/* Parses a command line whose first word is the verb; words are separated by single blanks. */
static void parse(struct run *run, const char *line)
{
    int argc = 0;
    char *rest = run->line;
    const char *nearest;
    enum verb verb;
    (void)snprintf(run->line, sizeof run->line, "%s", line);
    while (rest != NULL && argc < WORDS_MAX - 1)
        run->argv[argc++] = strsep(&rest, " ");
    run->argv[argc] = NULL;
    assert_true(params_find_verb(run->argv[0], &verb, &nearest));
    run->err = params_parse(&run->params, verb, argc, run->argv, &run->error);
}

static void assert_refused(const char *line, const char *message)
{
    struct run run;
    parse(&run, line);
    assert_int_equal(run.err, ERR_USAGE);
    assert_string_equal(run.error.message, message);
    params_fini(&run.params);
}

static void defaults_are_what_the_table_says(void **state)
{
    struct run run;
    (void)state;
    parse(&run, "serve");
    assert_int_equal(run.err, ERR_NONE);
    assert_int_equal(run.params.listen.count, 1);
    assert_string_equal(run.params.listen.items[0], "0.0.0.0:3000");
    assert_string_equal(run.params.store, "doorbuster.db");
    assert_null(run.params.admin_key);
    assert_int_equal(run.params.line_depth_max, 32768);
    assert_int_equal(run.params.answer_deadline_ms, 5000);
    assert_int_equal(run.params.purchase_interval_ms, 1000);
    assert_int_equal(run.params.idempotency_ttl_ms, 86400000);
    assert_int_equal(run.params.body_size_max, 1048576);
    assert_int_equal(run.params.sold_out_reply, SOLD_OUT_REPLY_NOT_ACTIVE);
    assert_int_equal(run.params.log_level, LOG_INFO);
    assert_int_equal(run.params.log_format, LOG_AUTO);
    assert_false(run.params.trust_loopback);
    assert_false(run.params.is_given[PARAM_store]);
    params_fini(&run.params);
}

static void flags_take_every_kind_of_value(void **state)
{
    struct run run;
    (void)state;
    parse(&run, "serve --listen a:1 --listen=[::1]:2 --store=x.db --trust-loopback --line-depth-max 7 "
                "--answer-deadline 250ms --body-max 64KiB --sold-out-reply sold_out --log-level error");
    assert_int_equal(run.err, ERR_NONE);
    assert_int_equal(run.params.listen.count, 2);
    assert_string_equal(run.params.listen.items[1], "[::1]:2");
    assert_string_equal(run.params.store, "x.db");
    assert_true(run.params.trust_loopback);
    assert_int_equal(run.params.line_depth_max, 7);
    assert_int_equal(run.params.answer_deadline_ms, 250);
    assert_int_equal(run.params.body_size_max, 65536);
    assert_int_equal(run.params.sold_out_reply, SOLD_OUT_REPLY_SOLD_OUT);
    assert_int_equal(run.params.log_level, LOG_ERROR);
    assert_true(run.params.is_given[PARAM_store]);
    params_fini(&run.params);
}

static void the_last_of_two_flags_counts(void **state)
{
    struct run run;
    (void)state;
    parse(&run, "serve --store a --store b --trust-loopback --trust-loopback=false");
    assert_int_equal(run.err, ERR_NONE);
    assert_string_equal(run.params.store, "b");
    assert_false(run.params.trust_loopback);
    params_fini(&run.params);
}

static void positional_arguments_are_left_in_order(void **state)
{
    struct run run;
    (void)state;
    parse(&run, "rush --users 5 purchase-load --rate 2.5");
    assert_int_equal(run.err, ERR_NONE);
    assert_int_equal(run.params.args_count, 1);
    assert_string_equal(run.params.args[0], "purchase-load");
    assert_int_equal(run.params.users, 5);
    assert_true(run.params.rate > 2.49 && run.params.rate < 2.51);
    params_fini(&run.params);
    assert_refused("rush", "SCENARIO is missing; doorbuster rush --help explains it");
    assert_refused("serve now", "\"now\" is one word too many; usage: doorbuster serve [--flag VALUE]...");
}

static void one_flag_may_mean_different_rows_to_different_verbs(void **state)
{
    struct run run;
    (void)state;
    parse(&run, "verify --journal a --journal b");
    assert_int_equal(run.params.journals.count, 2);
    assert_null(run.params.journal);
    params_fini(&run.params);
    parse(&run, "rush x --journal a");
    assert_int_equal(run.params.journals.count, 0);
    assert_string_equal(run.params.journal, "a");
    params_fini(&run.params);
}

static void the_environment_fills_in_and_flags_win(void **state)
{
    struct run run;
    (void)state;
    assert_int_equal(setenv("DOORBUSTER_STORE", "env.db", 1), 0);
    assert_int_equal(setenv("DOORBUSTER_LISTEN", "a:1,b:2", 1), 0);
    assert_int_equal(setenv("DOORBUSTER_TRUST_LOOPBACK", "yes", 1), 0);
    assert_int_equal(setenv("DOORBUSTER_NET_THREADS", "", 1), 0);
    parse(&run, "serve");
    assert_int_equal(run.err, ERR_NONE);
    assert_string_equal(run.params.store, "env.db");
    assert_int_equal(run.params.listen.count, 2);
    assert_string_equal(run.params.listen.items[1], "b:2");
    assert_true(run.params.trust_loopback);
    assert_false(run.params.is_given[PARAM_net_threads]);
    params_fini(&run.params);
    parse(&run, "serve --store flag.db --listen c:3 --trust-loopback=no");
    assert_string_equal(run.params.store, "flag.db");
    assert_int_equal(run.params.listen.count, 1);
    assert_string_equal(run.params.listen.items[0], "c:3");
    assert_false(run.params.trust_loopback);
    params_fini(&run.params);
}

static void a_bad_value_is_answered_with_what_was_expected(void **state)
{
    (void)state;
    assert_refused("serve --line-depth-max banana",
        "--line-depth-max is \"banana\", expected a whole number of commands from 1 to 1048576, for example "
        "--line-depth-max 32768");
    assert_refused("serve --answer-deadline 5", "--answer-deadline is \"5\", expected a time with its unit "
                                                "(ms, s, m, h, d) from 10ms to 10m, for example "
                                                "--answer-deadline 5s");
    assert_refused("serve --log-level loud",
        "--log-level is \"loud\", expected one of debug|info|warn|error, for example --log-level info");
    assert_refused("serve --store", "--store needs a value, for example --store doorbuster.db");
    assert_refused("serve --trust-loopback=perhaps",
        "--trust-loopback is \"perhaps\", expected true or false, for example --trust-loopback true");
    assert_int_equal(setenv("DOORBUSTER_BODY_MAX", "1MB", 1), 0);
    assert_refused("serve", "DOORBUSTER_BODY_MAX is \"1MB\", expected a size in bytes or with KiB, MiB, GiB "
                            "from 1B to 64MiB, for "
                            "example DOORBUSTER_BODY_MAX=1MiB");
}

static void values_at_and_beyond_their_limits(void **state)
{
    static const struct {
        const char *line;
        enum err err;
    } cases[] = {
        {"serve --line-depth-max 1", ERR_NONE},
        {"serve --line-depth-max 1048576", ERR_NONE},
        {"serve --line-depth-max 0", ERR_USAGE},
        {"serve --line-depth-max 1048577", ERR_USAGE},
        {"serve --line-depth-max -1", ERR_USAGE},
        {"serve --line-depth-max 99999999999999999999", ERR_USAGE},
        {"serve --line-depth-max 7x", ERR_USAGE},
        {"serve --purchase-interval 0", ERR_NONE},
        {"serve --purchase-interval 1h", ERR_NONE},
        {"serve --purchase-interval 3601s", ERR_USAGE},
        {"serve --purchase-interval 9223372036854775807h", ERR_USAGE},
        {"serve --purchase-interval ms", ERR_USAGE},
        {"serve --body-max 64MiB", ERR_NONE},
        {"serve --body-max 65MiB", ERR_USAGE},
        {"serve --body-max -1KiB", ERR_USAGE},
        {"serve --store=", ERR_USAGE},
        {"rush x --rate 1e3", ERR_NONE},
        {"rush x --rate nan", ERR_USAGE},
        {"rush x --rate inf", ERR_USAGE},
        {"rush x --rate -1", ERR_USAGE},
        {"rush x --rate 1e400", ERR_USAGE},
        {"rush x --rate 0x10", ERR_USAGE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct run run;
        parse(&run, cases[i].line);
        if (run.err != cases[i].err)
            fail_msg("%s: got %s", cases[i].line, run.err == ERR_NONE ? "accepted" : run.error.message);
        params_fini(&run.params);
    }
}

static void an_unknown_flag_gets_the_nearest_one_named(void **state)
{
    (void)state;
    assert_refused("serve --stoer x",
        "there is no flag --stoer; did you mean --store? doorbuster serve --help lists all");
    assert_refused(
        "serve --users 5", "there is no flag --users; doorbuster serve --help lists those there are");
    assert_refused("serve -v", "there is no flag -v; flags are whole words, --like-this");
}

static void a_list_has_an_end(void **state)
{
    char line[2048] = "serve";
    struct run run;
    (void)state;
    assert_int_equal(setenv("DOORBUSTER_LISTEN",
                         "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,"
                         "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a",
                         1),
        0);
    parse(&run, line);
    assert_int_equal(run.err, ERR_NONE);
    assert_int_equal(run.params.listen.count, PARAM_LIST_MAX);
    params_fini(&run.params);
    assert_int_equal(setenv("DOORBUSTER_LISTEN",
                         "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,"
                         "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a",
                         1),
        0);
    parse(&run, line);
    assert_int_equal(run.err, ERR_USAGE);
    params_fini(&run.params);
}

static void a_secret_is_read_from_a_file_and_never_repeated(void **state)
{
    char path[] = "/tmp/doorbuster-test-XXXXXX";
    char line[128];
    struct run run;
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "sixteen-char-key\nmore\n", 22), 22);
    (void)snprintf(line, sizeof line, "serve --admin-key-file %s", path);
    parse(&run, line);
    assert_int_equal(run.err, ERR_NONE);
    assert_string_equal(run.params.admin_key, "sixteen-char-key");
    params_fini(&run.params);
    assert_int_equal(setenv("DOORBUSTER_ADMIN_KEY_FILE", path, 1), 0);
    parse(&run, "serve");
    assert_string_equal(run.params.admin_key, "sixteen-char-key");
    params_fini(&run.params);
    assert_int_equal(ftruncate(fd, 15), 0);
    parse(&run, "serve");
    assert_int_equal(run.err, ERR_USAGE);
    assert_null(strstr(run.error.message, "sixteen"));
    params_fini(&run.params);
    assert_int_equal(unsetenv("DOORBUSTER_ADMIN_KEY_FILE"), 0);
    (void)close(fd);
    (void)unlink(path);
    parse(&run, line);
    assert_int_equal(run.err, ERR_USAGE);
    assert_non_null(strstr(run.error.message, "No such file"));
    params_fini(&run.params);
    assert_refused("serve --admin-key hunter2", "--admin-key is a text of 7 bytes (not shown), expected 16 "
                                                "to 255 printable ASCII characters, for example "
                                                "--admin-key \"$(openssl rand -hex 16)\"");
}

/* What standard error got while parsing. */
static void parse_and_read_stderr(const char *line, char text[512])
{
    struct run run;
    int saved = dup(STDERR_FILENO);
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
    parse(&run, line);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    (void)close(saved);
    assert_int_equal(run.err, ERR_NONE);
    rewind(file);
    text[fread(text, 1, 511, file)] = '\0';
    (void)fclose(file);
    params_fini(&run.params);
}

static void a_misspelt_variable_is_named_and_ignored(void **state)
{
    char text[512];
    (void)state;
    assert_int_equal(setenv("DOORBUSTER_STOER", "x", 1), 0);
    assert_int_equal(setenv("DOORBUSTER_BIN", "x", 1), 0);
    parse_and_read_stderr("serve", text);
    assert_string_equal(text,
        "doorbuster: the environment variable DOORBUSTER_STOER is unknown and ignored; did you "
        "mean DOORBUSTER_STORE?\n");
    (void)unsetenv("DOORBUSTER_STOER");
    parse_and_read_stderr("serve", text);
    assert_string_equal(text, "");
}

static void every_flag_stands_in_the_help_and_the_manual(void **state)
{
    char *help = NULL, *man = NULL;
    size_t size;
    (void)state;
    FILE *out = open_memstream(&help, &size);
    for (int verb = 0; verb < VERB_COUNT; verb++)
        params_help_verb(out, (enum verb)verb);
    (void)fclose(out);
    out = open_memstream(&man, &size);
    params_man(out);
    (void)fclose(out);
    for (const struct param_row *row = param_rows; row < param_rows + PARAM_COUNT; row++) {
        char name[PARAM_ENV_SIZE];
        param_env_name(row, false, name);
        assert_non_null(strstr(help, row->flag));
        assert_non_null(strstr(help, name));
        assert_non_null(strstr(man, name));
        assert_true(row->verbs != 0);
    }
    free(help);
    free(man);
}

static void no_verb_has_two_rows_for_one_flag(void **state)
{
    (void)state;
    for (int a = 0; a < PARAM_COUNT; a++)
        for (int b = a + 1; b < PARAM_COUNT; b++)
            if (strcmp(param_rows[a].flag, param_rows[b].flag) == 0)
                assert_int_equal(param_rows[a].verbs & param_rows[b].verbs, 0);
}

static void a_verb_is_found_and_a_misspelt_one_guessed(void **state)
{
    enum verb verb;
    const char *nearest;
    (void)state;
    assert_true(params_find_verb("verify", &verb, &nearest));
    assert_int_equal(verb, VERB_VERIFY);
    assert_false(params_find_verb("server", &verb, &nearest));
    assert_string_equal(nearest, "serve");
    assert_false(params_find_verb("frobnicate", &verb, &nearest));
    assert_null(nearest);
}

static void failures_have_the_exit_status_that_scripts_rely_on(void **state)
{
    struct error usage = {.code = ERR_USAGE, .message = "usage"};
    struct error world = {.code = ERR_ADDRESS, .message = "address"};
    (void)state;
    assert_int_equal(cmd_fail(VERB_SERVE, &usage), 2);
    assert_int_equal(cmd_fail(VERB_SERVE, &world), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults_are_what_the_table_says, clear_environment),
        cmocka_unit_test_setup(flags_take_every_kind_of_value, clear_environment),
        cmocka_unit_test_setup(the_last_of_two_flags_counts, clear_environment),
        cmocka_unit_test_setup(positional_arguments_are_left_in_order, clear_environment),
        cmocka_unit_test_setup(one_flag_may_mean_different_rows_to_different_verbs, clear_environment),
        cmocka_unit_test_setup(the_environment_fills_in_and_flags_win, clear_environment),
        cmocka_unit_test_setup(a_bad_value_is_answered_with_what_was_expected, clear_environment),
        cmocka_unit_test_setup(values_at_and_beyond_their_limits, clear_environment),
        cmocka_unit_test_setup(an_unknown_flag_gets_the_nearest_one_named, clear_environment),
        cmocka_unit_test_setup(a_list_has_an_end, clear_environment),
        cmocka_unit_test_setup(a_secret_is_read_from_a_file_and_never_repeated, clear_environment),
        cmocka_unit_test_setup(a_misspelt_variable_is_named_and_ignored, clear_environment),
        cmocka_unit_test_setup(every_flag_stands_in_the_help_and_the_manual, clear_environment),
        cmocka_unit_test_setup(no_verb_has_two_rows_for_one_flag, clear_environment),
        cmocka_unit_test_setup(a_verb_is_found_and_a_misspelt_one_guessed, clear_environment),
        cmocka_unit_test_setup(failures_have_the_exit_status_that_scripts_rely_on, clear_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
