/* SPDX-License-Identifier: Apache-2.0 */
#include "base/database_url.h"

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
