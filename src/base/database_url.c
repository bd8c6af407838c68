/* SPDX-License-Identifier: Apache-2.0 */
#include "base/database_url.h"

#include <ctype.h>
#include <strings.h>

#include "base/strbuf.h"

static const char *after_scheme(const char *text)
{
    static const struct slice schemes[] = {SLICE_INIT("postgres://"), SLICE_INIT("postgresql://")};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (slice_starts_with(slice_cstr(text), schemes[i]))
            return text + schemes[i].len;
    return NULL;
}

bool database_url_is(const char *text)
{
    return after_scheme(text) != NULL;
}

static bool is_blank(char c)
{
    return isspace((unsigned char)c) != 0;
}

/* A word of libpq's own way to name a database, "host=h dbname=d", at its start or after a blank. */
static bool is_conninfo(const char *text)
{
    static const char *const words[] = {"host", "hostaddr", "dbname", "user", "password", "port", "service"};
    for (const char *at = text; *at != '\0'; at++) {
        if (is_blank(*at) || (at > text && !is_blank(at[-1])))
            continue;
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            size_t len = strlen(words[i]);
            if (strncasecmp(at, words[i], len) == 0 && at[len + strspn(at + len, " \t\r\n")] == '=')
                return true;
        }
    }
    return false;
}

static bool is_path(const char *text)
{
    return text[0] == '/' || strncmp(text, "./", 2) == 0 || strncmp(text, "../", 3) == 0;
}

static bool has_scheme(const char *text)
{
    return strstr(text, "://") != NULL || strncasecmp(text, "postgres:", 9) == 0 ||
           strncasecmp(text, "postgresql:", 11) == 0;
}

enum err database_store_check(const char *text, const char *name, struct error *error)
{
    if (is_path(text) || database_url_is(text) || (!has_scheme(text) && !is_conninfo(text)))
        return ERR_NONE;
    return error_set(error, ERR_USAGE,
        "%s looks like a database but is no URL like postgres://USER:PASSWORD@HOST:PORT/DATABASE, in small "
        "letters; "
        "a file of such a name is given as ./NAME",
        name);
}

bool database_may_be_secret(const char *text)
{
    return strstr(text, "://") != NULL || strcasestr(text, "password") != NULL || is_conninfo(text) ||
           (has_scheme(text) && strchr(text, '@') != NULL);
}

const char *database_shown(const char *text)
{
    return database_may_be_secret(text) ? "(not shown)" : text;
}

/* One @ at the most, and before the first slash: then it is certain where the password ends. */
static bool is_clear(const char *rest)
{
    const char *at = strchr(rest, '@');
    const char *slash = strchr(rest, '/');
    return at == NULL || ((slash == NULL || slash > at) && strchr(at + 1, '@') == NULL);
}

void database_url_name(const char *url, char name[DATABASE_NAME_LEN_MAX])
{
    struct strbuf buf;
    strbuf_init(&buf, name, DATABASE_NAME_LEN_MAX - 1);
    const char *rest = after_scheme(url);
    if (rest == NULL || !is_clear(rest)) {
        strbuf_lit(&buf, "(no clear URL of a database)");
    } else {
        const char *at = strchr(rest, '@');
        const char *place = at == NULL ? rest : at + 1;
        strbuf_lit(&buf, "postgres://");
        if (at != NULL)
            strbuf_put(&buf, slice_make(rest, strcspn(rest, ":@")));
        strbuf_put(&buf, at == NULL ? SLICE("") : SLICE("@"));
        strbuf_put(&buf, slice_make(place, strcspn(place, "?#")));
    }
    name[buf.len] = '\0';
}

enum err database_url_check(const char *url, struct error *error)
{
    const char *rest = after_scheme(url);
    if (rest == NULL)
        return error_set(
            error, ERR_USAGE, "the store is no URL like postgres://USER:PASSWORD@HOST:PORT/DATABASE");
    if (is_clear(rest))
        return ERR_NONE;
    return error_set(error, ERR_USAGE,
        "the URL of the store is not clear: one @ may stand in it, before the host; in a user's name or a "
        "password "
        "@ is written %%40, / is %%2F, : is %%3A and %% is %%25");
}
