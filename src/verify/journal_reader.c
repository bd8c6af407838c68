/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/journal_reader.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"
#include "verify/db.h"

enum {
    JOURNAL_VERSION = 1,
    LINE_BYTES_MAX = 64 * 1024 /* a line holds a SKU, a user and a code: far below this, escapes included */
};

struct reader {
    sqlite3 *db;
    sqlite3_stmt *insert;
    FILE *file;
    const char *path;
    int file_number;
    int64_t line_number; /* from 1 */
    char sku[256];       /* the header's; empty before it */
    bool has_header;
    struct journal_counts *counts;
    char line[LINE_BYTES_MAX];
};

enum line_kind {
    LINE_WHOLE,
    LINE_ENDLESS, /* the file ends before its line feed */
    LINE_TOO_LONG,
    LINE_NONE,    /* the file ends */
    LINE_UNREADABLE
};

/* Without its line feed. */
static enum line_kind read_line(struct reader *reader, size_t *len)
{
    int c;
    *len = 0;
    while ((c = getc_unlocked(reader->file)) != EOF && c != '\n') {
        if (*len == LINE_BYTES_MAX)
            return LINE_TOO_LONG;
        reader->line[(*len)++] = (char)c;
    }
    if (c == '\n')
        return LINE_WHOLE;
    if (ferror(reader->file))
        return LINE_UNREADABLE;
    return *len == 0 ? LINE_NONE : LINE_ENDLESS;
}

static enum err broken(const struct reader *reader, const char *what, struct error *error)
{
    return error_set(error, ERR_REFUSED, "the journal %s cannot be used: line %lld %s", reader->path,
        (long long)reader->line_number, what);
}

/* False when the member is missing or no string. */
static bool member_text(const json_t *object, const char *name, struct slice *text)
{
    const json_t *member = json_object_get(object, name);
    if (!json_is_string(member))
        return false;
    *text = slice_make(json_string_value(member), json_string_length(member));
    return true;
}

static enum err expect_users(struct reader *reader, int64_t users, struct error *error)
{
    static const char doing[] = "note the expected users";
    sqlite3_stmt *stmt;
    enum err err = db_prepare(reader->db,
        "INSERT INTO temp.audit_expected (sku, users) VALUES (:sku, :users)"
        " ON CONFLICT (sku) DO UPDATE SET users = users + excluded.users", doing, &stmt, error);
    if (err != ERR_NONE)
        return err;
    db_bind_text(stmt, ":sku", slice_cstr(reader->sku));
    db_bind_i64(stmt, ":users", users);
    if (sqlite3_step(stmt) != SQLITE_DONE)
        err = db_fail(reader->db, doing, error);
    sqlite3_finalize(stmt);
    return err;
}

static enum err take_header(struct reader *reader, const json_t *object, struct error *error)
{
    const json_t *version = json_object_get(object, "journal");
    const json_t *users = json_object_get(object, "users");
    struct slice sku;
    struct slice scenario = SLICE("");
    if (!json_is_integer(version))
        return broken(reader, "is not the header of a journal, {\"journal\":1,...}", error);
    if (json_integer_value(version) != JOURNAL_VERSION)
        return error_set(error, ERR_NEWER,
            "the journal %s has format version %lld, this auditor reads version %d", reader->path,
            (long long)json_integer_value(version), JOURNAL_VERSION);
    if (!member_text(object, "sku", &sku) || sku.len == 0 || sku.len >= sizeof reader->sku)
        return broken(reader, "is a header without a usable \"sku\"", error);
    memcpy(reader->sku, sku.base, sku.len);
    reader->sku[sku.len] = '\0';
    reader->has_header = true;
    (void)member_text(object, "scenario", &scenario);
    bool is_counted = slice_eq(scenario, SLICE("duplicate-user")) && json_integer_value(users) > 0;
    return is_counted ? expect_users(reader, json_integer_value(users), error) : ERR_NONE;
}

static void bind_number(sqlite3_stmt *stmt, struct slice purchase_no)
{
    struct slice digits = purchase_no;
    struct slice rest;
    int64_t id;
    for (size_t i = 0; i < purchase_no.len; i++)
        if (purchase_no.base[i] == '-')
            digits = slice_make(purchase_no.base + i + 1, purchase_no.len - i - 1);
    rest = slice_trim(digits);
    db_bind_text(stmt, ":purchase_no", purchase_no);
    if (rest.len == digits.len && slice_to_i64(digits, &id))
        db_bind_i64(stmt, ":purchase_id", id);
}

static enum err take_answer(struct reader *reader, const json_t *object, struct error *error)
{
    struct slice sku = slice_cstr(reader->sku);
    struct slice user;
    struct slice outcome;
    struct slice code = SLICE("");
    struct slice purchase_no = SLICE("");
    if (json_object_get(object, "sku") != NULL && !member_text(object, "sku", &sku))
        return broken(reader, "has a \"sku\" that is no text", error);
    if (!member_text(object, "user", &user))
        return broken(reader, "names no \"user\"", error);
    if (!member_text(object, "outcome", &outcome))
        return broken(reader, "has no \"outcome\"", error);
    (void)member_text(object, "code", &code);
    sqlite3_clear_bindings(reader->insert);
    if (slice_eq(outcome, SLICE("acknowledged"))) {
        if (!member_text(object, "purchaseNo", &purchase_no) || purchase_no.len == 0)
            return broken(reader, "acknowledges a purchase without a \"purchaseNo\"", error);
        bind_number(reader->insert, purchase_no);
        reader->counts->acknowledged++;
    } else if (slice_eq(outcome, SLICE("refused"))) {
        reader->counts->refused++;
    } else if (slice_eq(outcome, SLICE("unknown"))) {
        reader->counts->unknown++;
    } else {
        return broken(reader, "has an \"outcome\" that is not acknowledged, refused or unknown", error);
    }
    reader->counts->lines++;
    db_bind_i64(reader->insert, ":file", reader->file_number);
    db_bind_i64(reader->insert, ":line", reader->line_number);
    db_bind_text(reader->insert, ":sku", sku);
    db_bind_text(reader->insert, ":user", user);
    db_bind_text(reader->insert, ":outcome", outcome);
    db_bind_text(reader->insert, ":code", code);
    int rc = sqlite3_step(reader->insert);
    sqlite3_reset(reader->insert);
    return rc == SQLITE_DONE ? ERR_NONE : db_fail(reader->db, "keep the journal", error);
}

static enum err take_line(struct reader *reader, size_t len, bool has_end, struct error *error)
{
    json_t *object = json_loadb(reader->line, len, JSON_REJECT_DUPLICATES, NULL);
    if (object == NULL && !has_end) {
        reader->counts->torn_bytes += (int64_t)len;
        return ERR_NONE;
    }
    enum err err;
    if (!json_is_object(object))
        err = broken(reader, "is no JSON object", error);
    else if (!reader->has_header)
        err = take_header(reader, object, error);
    else
        err = take_answer(reader, object, error);
    json_decref(object);
    return err;
}

static enum err take_lines(struct reader *reader, struct error *error)
{
    for (;;) {
        size_t len;
        enum err err = ERR_NONE;
        reader->line_number++;
        switch (read_line(reader, &len)) {
        case LINE_WHOLE:
            err = take_line(reader, len, true, error);
            break;
        case LINE_ENDLESS:
            return take_line(reader, len, false, error);
        case LINE_TOO_LONG:
            return broken(reader, "is longer than 64 KiB", error);
        case LINE_NONE:
            return ERR_NONE;
        case LINE_UNREADABLE:
            return error_set(error, ERR_IO, "cannot read the journal %s: %s", reader->path, strerror(errno));
        }
        if (err != ERR_NONE)
            return err;
    }
}

enum err journal_reader_init(sqlite3 *db, struct error *error)
{
    return db_exec(db,
        "CREATE TEMP TABLE audit_journal (id INTEGER PRIMARY KEY, file INTEGER, line INTEGER, sku TEXT,"
        " user_id TEXT, outcome TEXT, code TEXT, purchase_no TEXT, purchase_id INTEGER);"
        "CREATE INDEX temp.audit_journal_user ON audit_journal (sku, user_id);",
        "make the tables of the audit", error);
}

enum err journal_reader_load(sqlite3 *db, const char *path, int number, struct journal_counts *counts,
    struct error *error)
{
    enum err err;
    int64_t lines_before = counts->lines;
    struct reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return error_set(error, ERR_MEMORY, "no memory for a journal");
    reader->db = db;
    reader->path = path;
    reader->file_number = number;
    reader->counts = counts;
    reader->file = fopen(path, "re");
    if (reader->file == NULL) {
        err = error_set(error, ERR_IO, "cannot read the journal %s: %s", path, strerror(errno));
        goto out;
    }
    err = db_prepare(db,
        "INSERT INTO temp.audit_journal (file, line, sku, user_id, outcome, code, purchase_no, purchase_id)"
        " VALUES (:file, :line, :sku, :user, :outcome, :code, :purchase_no, :purchase_id)",
        "keep the journal", &reader->insert, error);
    if (err == ERR_NONE)
        err = take_lines(reader, error);
    if (err == ERR_NONE && counts->lines == lines_before)
        err = error_set(error, ERR_REFUSED, "the journal %s says nothing: it holds no answer", path);
out:
    sqlite3_finalize(reader->insert);
    if (reader->file != NULL)
        (void)fclose(reader->file);
    free(reader);
    return err;
}
