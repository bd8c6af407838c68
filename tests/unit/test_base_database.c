/* SPDX-License-Identifier: Apache-2.0 */
/* How a database is named without its password, and what the codes of SQL mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/database_url.h"
#include "base/sqlstate.h"

/* Wrong if this fails: a path is taken for a database, or the other way round. */
static void urls_are_told_from_paths(void **state)
{
    (void)state;
    assert_true(database_url_is("postgres://h/d"));
    assert_true(database_url_is("postgresql:///d?host=/run/postgresql"));
    assert_false(database_url_is("shop.db"));
    assert_false(database_url_is("/tmp/postgres://h/d"));
    assert_false(database_url_is("postgres:/h/d"));
    assert_false(database_url_is(""));
}

/* Wrong if this fails: a database that was named wrongly becomes a new file of that name, or a file is
 * refused. */
static void what_is_neither_path_nor_url_is_refused(void **state)
{
    static const char *const stores[] = {"shop.db", "/var/lib/a://b", "./mysql://x", "../host=h",
        "postgres://h/d", "postgresql:///d", "postgres", "postgres.db", "myhost=1", "a/user=1", "hosts=1",
        "host", "user name", ""};
    static const char *const others[] = {"postgres:shop", "Postgres://h/d", "POSTGRESQL:d", "postgresql:/h/d",
        "mysql://a:secret@h/d", "x/mysql://h", "host=h dbname=shop password=secret", " dbname=d", "x\tport=1",
        "HOST = h", "password=secret", "service=s", "hostaddr=1.2.3.4", "user=u"};
    (void)state;
    for (size_t i = 0; i < sizeof stores / sizeof stores[0]; i++)
        assert_int_equal(database_store_check(stores[i], "--store", NULL), ERR_NONE);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct error error;
        assert_int_equal(database_store_check(others[i], "--store", &error), ERR_USAGE);
        assert_ptr_equal(strstr(error.message, "--store looks like a database"), error.message);
        assert_non_null(strstr(error.message, "./NAME"));
        assert_null(strstr(error.message, "secret"));
    }
}

/* Wrong if this fails: a password typed in a wrong place is repeated, or what else was typed is not. */
static void only_what_may_be_a_secret_is_hidden(void **state)
{
    static const char *const secrets[] = {
        "postgres://u:p@h/d", "http://u:p@h", "Password=x", "host=h pass=x", "postgres:u:p@h"};
    static const char *const words[] = {"now", "shop.db", "127.0.0.1:3000", "a@b", ""};
    (void)state;
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
        assert_string_equal(database_shown(secrets[i]), "(not shown)");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        assert_ptr_equal(database_shown(words[i]), words[i]);
}

/* Wrong if this fails: who forgot a password is sent to look for a server. */
static void advice_fits_what_libpq_says(void **state)
{
    static const char *const away[] = {"Connection refused", "Connection timed out", "timeout expired",
        "No route to host", "Network is unreachable"};
    static const char *const ours[] = {"fe_sendauth: no password supplied", "invalid port number: \"x\"",
        "invalid sslmode value: \"x\"", "server does not support SSL, but SSL was required", ""};
    (void)state;
    for (size_t i = 0; i < sizeof away / sizeof away[0]; i++)
        assert_non_null(strstr(sqlstate_advice_without(away[i]), "is PostgreSQL running there"));
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        assert_null(strstr(sqlstate_advice_without(ours[i]), "running"));
}

/* Wrong if this fails: a password, or a piece of one, is shown. */
static void names_show_no_password(void **state)
{
    static const struct {
        const char *url;
        const char *name;
        bool is_clear;
    } rows[] = {
        {"postgres://u:secret@h:5432/d?x=y", "postgres://u@h:5432/d", true},
        {"postgresql://u@h/d", "postgres://u@h/d", true},
        {"postgres://h1:1,h2:2/d?password=secret", "postgres://h1:1,h2:2/d", true},
        {"postgres:///d", "postgres:///d", true},
        {"postgres://u:p?s#s@h/d", "postgres://u@h/d", true},
        {"postgres://:secret@h/d", "postgres://@h/d", true},
        {"postgres://u:se@cret@h/d", "(no clear URL of a database)", false},
        {"postgres://u:se/cret@h/d", "(no clear URL of a database)", false},
        {"postgres://h/d?password=se@cret", "(no clear URL of a database)", false},
        {"shop.db", "(no clear URL of a database)", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[DATABASE_NAME_LEN_MAX];
        struct error error = {.message = ""};
        database_url_name(rows[i].url, name);
        assert_string_equal(name, rows[i].name);
        enum err err = database_url_check(rows[i].url, &error);
        assert_int_equal(err, rows[i].is_clear ? ERR_NONE : ERR_USAGE);
        assert_null(strstr(error.message, "cret"));
    }
}

static void a_long_url_is_cut(void **state)
{
    char url[1024] = "postgres://u:secret@";
    char name[DATABASE_NAME_LEN_MAX];
    (void)state;
    memset(url + strlen(url), 'h', sizeof url - 1 - strlen(url));
    database_url_name(url, name);
    assert_true(strlen(name) < DATABASE_NAME_LEN_MAX);
    assert_null(strstr(name, "secret"));
}

/* Wrong if this fails: a full disk or a lost connection is handled as something else. */
static void codes_have_their_meaning(void **state)
{
    static const struct {
        const char *code;
        enum err err;
        const char *what;
    } rows[] = {
        {"28P01", ERR_UNAVAILABLE, "password"},
        {"28000", ERR_UNAVAILABLE, "let this user in"},
        {"3D000", ERR_UNAVAILABLE, "no such database"},
        {"53300", ERR_UNAVAILABLE, "connections"},
        {"53100", ERR_FULL, "disk"},
        {"53200", ERR_UNAVAILABLE, "memory"},
        {"25006", ERR_UNAVAILABLE, "standby"},
        {"57P03", ERR_UNAVAILABLE, "starting"},
        {"57P01", ERR_UNAVAILABLE, "shutting down"},
        {"57014", ERR_TIMEOUT, "longer"},
        {"08006", ERR_UNAVAILABLE, "connection is lost"},
        {"40001", ERR_CONFLICT, "changed the same rows"},
        {"40P01", ERR_CONFLICT, "changed the same rows"},
        {"23505", ERR_CONFLICT, "made the same row"},
        {"23514", ERR_CORRUPT, "constraints"},
        {"55P03", ERR_UNAVAILABLE, "holds the rows"},
        {"42P01", ERR_OLDER, "missing"},
        {"42703", ERR_CORRUPT, "not those"},
        {"42501", ERR_UNAVAILABLE, "no right"},
        {"XX001", ERR_CORRUPT, "damaged"},
        {"ZZZZZ", ERR_REFUSED, "refuses"},
        {"", ERR_REFUSED, "refuses"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct sqlstate *found = sqlstate_find(slice_cstr(rows[i].code));
        assert_int_equal(found->err, rows[i].err);
        assert_non_null(strstr(found->what, rows[i].what));
    }
}

/* Wrong if this fails: why a server lets nobody in is not understood, in whatever language it says so. */
static void codes_are_found_in_messages(void **state)
{
    static const char message[] =
        "connection to server at \"h\" (1.2.3.4), port 1 failed: timeout\n"
        "connection to server at \"i\", port 2 failed: FATAL:  28P01: Passwort falsch\n"
        "LOCATION:  auth_failed, auth.c:327\n";
    struct slice code;
    struct slice said;
    (void)state;
    assert_true(sqlstate_in(slice_cstr(message), &code, &said));
    assert_true(slice_eq(code, SLICE("28P01")));
    assert_true(slice_eq(said, SLICE("Passwort falsch")));
    assert_true(sqlstate_in(SLICE(":  57P03: "), &code, &said));
    assert_int_equal(said.len, 0);
    static const char *const without[] = {"", ":", ":  28P01:", ":  28p01: x", "FATAL:  the end", "28P01: x"};
    for (size_t i = 0; i < sizeof without / sizeof without[0]; i++)
        assert_false(sqlstate_in(slice_cstr(without[i]), &code, &said));
}

static void messages_become_one_line(void **state)
{
    char space[128];
    struct strbuf line;
    (void)state;
    strbuf_init(&line, space, sizeof space);
    sqlstate_put_line(&line, SLICE("refused\n\tIs it running?\n\nLOCATION:  here\nagain\n"));
    assert_true(slice_eq(strbuf_slice(&line), SLICE("refused; again")));
    strbuf_reset(&line);
    sqlstate_put_line(&line, SLICE("\n"));
    assert_int_equal(line.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_told_from_paths),
        cmocka_unit_test(what_is_neither_path_nor_url_is_refused),
        cmocka_unit_test(only_what_may_be_a_secret_is_hidden),
        cmocka_unit_test(advice_fits_what_libpq_says),
        cmocka_unit_test(names_show_no_password),
        cmocka_unit_test(a_long_url_is_cut),
        cmocka_unit_test(codes_have_their_meaning),
        cmocka_unit_test(codes_are_found_in_messages),
        cmocka_unit_test(messages_become_one_line),
    };
    return cmocka_run_group_tests_name("base database", tests, NULL, NULL);
}
