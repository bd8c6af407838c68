/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sqlstate.h"

static const struct sqlstate states[] = {
    /* who is let in */
    {SLICE_INIT("28P01"), ERR_UNAVAILABLE, "the password is wrong or missing",
        "give the right one in the URL, in PGPASSWORD or in ~/.pgpass"},
    {SLICE_INIT("28"), ERR_UNAVAILABLE, "it does not let this user in",
        "look at the user's name, at pg_hba.conf and at the rights of the user"},
    {SLICE_INIT("3D000"), ERR_UNAVAILABLE, "there is no such database",
        "make it with createdb, or correct the URL"},
    {SLICE_INIT("53300"), ERR_UNAVAILABLE, "all connections that it allows are taken",
        "raise its max_connections, or run fewer nodes"},
    {SLICE_INIT("42501"), ERR_UNAVAILABLE, "the user has no right to do that",
        "connect as the owner of the tables, or grant it"},

    /* how it is */
    {SLICE_INIT("53100"), ERR_FULL, "the disk of the database server is full", "make room there"},
    {SLICE_INIT("53"), ERR_UNAVAILABLE, "the database server has run out of memory or another resource",
        "give it more"},
    {SLICE_INIT("25006"), ERR_UNAVAILABLE, "it takes no changes: it is a standby, or set to read only",
        "name the primary, or all of them with target_session_attrs=read-write"},
    {SLICE_INIT("57P03"), ERR_UNAVAILABLE, "it is starting, recovering or shutting down",
        "try again in a moment"},
    {SLICE_INIT("57014"), ERR_TIMEOUT, "it took longer than is allowed",
        "look at what the database is busy with"},
    {SLICE_INIT("57"), ERR_UNAVAILABLE, "it is shutting down or has cut the connection",
        "try again in a moment"},
    {SLICE_INIT("08"), ERR_UNAVAILABLE, "the connection is lost", "try again in a moment"},
    {SLICE_INIT("58"), ERR_IO, "the database server cannot read or write its files",
        "look at its log and its disk"},
    {SLICE_INIT("XX"), ERR_CORRUPT, "the database is damaged",
        "look at its log; restore a backup or a standby"},
    {SLICE_INIT("25P03"), ERR_UNAVAILABLE, "it has cut a transaction that stood still for too long",
        "raise its idle_in_transaction_session_timeout"},

    /* who else is at work */
    {SLICE_INIT("40"), ERR_CONFLICT, "another transaction has changed the same rows", "try again"},
    {SLICE_INIT("23505"), ERR_CONFLICT, "another transaction has made the same row", "try again"},
    {SLICE_INIT("55P03"), ERR_UNAVAILABLE, "another transaction holds the rows for too long",
        "look for it in pg_stat_activity"},
    {SLICE_INIT("55006"), ERR_LOCKED, "somebody else is using it", "try again when they have gone"},

    /* what the tables are like */
    {SLICE_INIT("42P01"), ERR_OLDER, "its tables are missing",
        "make them with doorbuster migrate --store URL"},
    {SLICE_INIT("3F000"), ERR_OLDER, "there is no schema for its tables",
        "make one, or set the search_path of the user"},
    {SLICE_INIT("42P07"), ERR_CORRUPT, "tables of these names are there already",
        "use a database of its own"},
    {SLICE_INIT("42"), ERR_CORRUPT, "its tables are not those that doorbuster has made",
        "see what was changed in them with doorbuster verify, and restore them"},
    {SLICE_INIT("23"), ERR_CORRUPT, "its constraints refuse a row", "run doorbuster verify on it"},
    {SLICE_INIT("22"), ERR_CORRUPT, "it cannot hold a value", "run doorbuster verify on it"},
};

static const struct sqlstate other = {
    SLICE_INIT(""), ERR_REFUSED, "the database refuses it", "look at the log of the database server"};

const struct sqlstate *sqlstate_find(struct slice code)
{
    const struct sqlstate *nearest = &other;
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        if (slice_starts_with(code, states[i].code) && states[i].code.len > nearest->code.len)
            nearest = &states[i];
    return nearest;
}

static bool is_code_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
}

/* ":  28P01: " */
static bool is_code_at(struct slice message, size_t i)
{
    enum { BEFORE = 3, WHOLE = BEFORE + SQLSTATE_LEN + 2 };
    if (message.len - i < WHOLE || memcmp(message.base + i, ":  ", BEFORE) != 0 ||
        memcmp(message.base + i + BEFORE + SQLSTATE_LEN, ": ", 2) != 0)
        return false;
    for (size_t at = 0; at < SQLSTATE_LEN; at++)
        if (!is_code_char(message.base[i + BEFORE + at]))
            return false;
    return true;
}

bool sqlstate_in(struct slice message, struct slice *code, struct slice *said)
{
    for (size_t i = message.len; i-- > 0;) {
        if (!is_code_at(message, i))
            continue;
        struct slice rest;
        struct slice after = slice_make(message.base + i + 3, message.len - i - 3);
        *code = slice_make(after.base, SQLSTATE_LEN);
        after = slice_make(after.base + SQLSTATE_LEN + 2, after.len - SQLSTATE_LEN - 2);
        *said = slice_split(after, '\n', &rest);
        return true;
    }
    return false;
}

const char *sqlstate_advice_without(const char *message)
{
    static const char *const away[] = {"refused", "timed out", "timeout", "No route", "unreachable",
        "No such file", "closed the connection"};
    for (size_t i = 0; i < sizeof away / sizeof away[0]; i++)
        if (strcasestr(message, away[i]) != NULL)
            return "is PostgreSQL running there, and let through?";
    return "look at the URL, at the variables PG... and at the log of the database server";
}

void sqlstate_put_line(struct strbuf *line, struct slice message)
{
    struct slice rest = slice_trim(message);
    bool is_first = true;
    while (rest.len > 0) {
        struct slice part = slice_split(rest, '\n', &rest);
        bool is_aside = part.len > 0 && part.base[0] == '\t';
        part = slice_trim(part);
        if (is_aside || part.len == 0 || slice_starts_with(part, SLICE("LOCATION:")))
            continue;
        if (!is_first)
            strbuf_lit(line, "; ");
        strbuf_put(line, part);
        is_first = false;
    }
}
