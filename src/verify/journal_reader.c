/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite reads the JSON: one INSERT takes a line apart, and the CHECKs of the table, named after what is
 * wrong, refuse what is no answer. Only a line that was refused is looked at again, to tell a torn one from a
 * broken one.
 */
#include "verify/journal_reader.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"
#include "verify/db.h"

enum {
    JOURNAL_VERSION = 1,
    LINE_BYTES_MAX = 64 * 1024, /* a line holds a SKU, a user and a code: far below this, escapes included */
    SKU_BYTES_MAX = 256,
    KEY_DIGITS = 64
};

static const char table_sql[] =
    "CREATE TEMP TABLE audit_journal ("
    " id INTEGER PRIMARY KEY, file INTEGER, line INTEGER,"
    " sku     CONSTRAINT \"has a sku that is no text\" CHECK (typeof(sku) = 'text'),"
    " user_id CONSTRAINT \"names no user\" CHECK (typeof(user_id) = 'text'),"
    " outcome CONSTRAINT \"has no outcome of acknowledged, refused or unknown\""
    "   CHECK (ifnull(outcome, '') IN ('acknowledged', 'refused', 'unknown')),"
    " code,"
    " purchase_no,"
    " purchase_id,"
    " CONSTRAINT \"acknowledges a purchase without a purchaseNo\""
    "   CHECK (outcome <> 'acknowledged' OR typeof(purchase_no) = 'text'))";

static const char order_table_sql[] =
    "CREATE TEMP TABLE audit_order_journal ("
    " id INTEGER PRIMARY KEY, file INTEGER, line INTEGER, face,"
    " order_id CONSTRAINT \"has an order that is no text\" CHECK (typeof(order_id) IN ('text', 'null')),"
    " outcome CONSTRAINT \"has no outcome of acknowledged, refused or unknown\""
    "   CHECK (ifnull(outcome, '') IN ('acknowledged', 'refused', 'unknown')),"
    " code,"
    " status,"
    " number INTEGER,"
    " CONSTRAINT \"names no order\""
    "   CHECK (order_id IS NOT NULL OR (face = 'intake' AND outcome <> 'acknowledged')),"
    " CONSTRAINT \"acknowledges an order without a status\""
    "   CHECK (outcome <> 'acknowledged' OR typeof(status) = 'text'))";

static const char vending_table_sql[] =
    "CREATE TEMP TABLE audit_vending_journal ("
    " id INTEGER PRIMARY KEY, file INTEGER, line INTEGER,"
    " request CONSTRAINT \"has no request of start-work or choose-product\""
    "   CHECK (ifnull(request, '') IN ('start-work', 'choose-product')),"
    " outcome CONSTRAINT \"has no outcome of acknowledged, refused or unknown\""
    "   CHECK (ifnull(outcome, '') IN ('acknowledged', 'refused', 'unknown')),"
    " code,"
    " machine CONSTRAINT \"has a machine that is no number\" CHECK (typeof(machine) IN ('integer', 'null')),"
    " product CONSTRAINT \"has a product that is no number\" CHECK (typeof(product) IN ('integer', 'null')),"
    " units CONSTRAINT \"has a count that is no number\" CHECK (typeof(units) IN ('integer', 'null')),"
    " lease CONSTRAINT \"has a lease that is no number\" CHECK (typeof(lease) IN ('integer', 'null')),"
    " CONSTRAINT \"acknowledges a machine without its number and its lease's\""
    "   CHECK (request <> 'start-work' OR outcome <> 'acknowledged' OR (machine >= 1 AND lease >= 1) IS "
    "TRUE),"
    " CONSTRAINT \"speaks of a choice without a machine, a product and a count\""
    "   CHECK (request <> 'choose-product' OR (machine >= 1 AND product >= 1 AND units >= 1) IS TRUE))";

#define HEX_64(column) \
    "(typeof(" column ") = 'text' AND length(" column ") = 64 AND " column " NOT GLOB '*[^0-9a-f]*')"

static const char market_table_sql[] =
    "CREATE TEMP TABLE audit_market_journal ("
    " id INTEGER PRIMARY KEY, file INTEGER, line INTEGER,"
    " request CONSTRAINT \"has no request of register, spend or transfer\""
    "   CHECK (ifnull(request, '') IN ('register', 'spend', 'transfer')),"
    " outcome CONSTRAINT \"has no outcome of acknowledged, refused or unknown\""
    "   CHECK (ifnull(outcome, '') IN ('acknowledged', 'refused', 'unknown')),"
    " code,"
    " key CONSTRAINT \"has no key of 64 hexadecimal digits\" CHECK (" HEX_64(
        "key") "),"
               " email, nonce, receipt_key, receipt, transfer_id, action, amount_minor, product_id, payee, "
               "order_id,"
               " purchase_id, second, payer, receipt_nonce,"
               " CONSTRAINT \"acknowledges a registration without an address\""
               "   CHECK (request <> 'register' OR outcome <> 'acknowledged' OR typeof(email) = 'text'),"
               " CONSTRAINT \"names no nonce\" CHECK (request = 'register' OR typeof(nonce) = 'text'),"
               " CONSTRAINT \"acknowledges a payment without a receipt\""
               "   CHECK (request = 'register' OR outcome <> 'acknowledged' OR receipt IS NOT NULL))";

/* A number that stands in a text; NULL for any other text. */
#define DIGITS(text) \
    "CASE WHEN " text " NOT GLOB '*[^0-9]*' AND " text " <> '' THEN CAST(" text " AS INTEGER) END"

static const char insert_market_sql[] =
    "INSERT INTO temp.audit_market_journal"
    " (file, line, request, outcome, code, key, email, nonce, receipt_key, receipt, transfer_id, action,"
    "   amount_minor, product_id, payee, order_id, purchase_id, second, payer, receipt_nonce)"
    " SELECT :file, :number, request, outcome, ifnull(code, ''), lower(key), email, nonce, :receipt_key, "
    "receipt,"
    "   " DIGITS(
        "transfer") ", action, CAST(round(amount * 100) AS INTEGER), product, payee, ordered,"
                    "   CASE WHEN ordered LIKE 'PUR-________-_%' THEN " DIGITS(
                        "substr(ordered, 14)") " END, second, payer,"
                                               "   receipt_nonce"
                                               " FROM (SELECT *, json_extract(receipt, '$.id') AS transfer, "
                                               "json_extract(receipt, '$.action') AS action,"
                                               "     json_extract(receipt, '$.amount') AS amount, "
                                               "json_extract(receipt, '$.product_id') AS product,"
                                               "     json_extract(receipt, '$.to') AS payee, "
                                               "json_extract(receipt, '$.order_id') AS ordered,"
                                               "     json_extract(receipt, '$.timestamp') AS second, "
                                               "json_extract(receipt, '$.public_key') AS payer,"
                                               "     json_extract(receipt, '$.nonce') AS receipt_nonce"
                                               "   FROM (SELECT max(CASE key WHEN 'request' THEN atom END) "
                                               "AS request,"
                                               "       max(CASE key WHEN 'outcome' THEN atom END) AS "
                                               "outcome, max(CASE key WHEN 'code' THEN atom END) AS code,"
                                               "       max(CASE key WHEN 'key' THEN atom END) AS key, "
                                               "max(CASE key WHEN 'email' THEN atom END) AS email,"
                                               "       max(CASE key WHEN 'nonce' THEN atom END) AS nonce,"
                                               "       max(CASE WHEN key = 'receipt' AND type = 'object' "
                                               "THEN value END) AS receipt"
                                               "     FROM json_each(:line)))";

static const char insert_vending_sql[] =
    "INSERT INTO temp.audit_vending_journal"
    " (file, line, request, outcome, code, machine, product, units, lease)"
    " SELECT :file, :number, max(CASE key WHEN 'request' THEN atom END),"
    "   max(CASE key WHEN 'outcome' THEN atom END), ifnull(max(CASE key WHEN 'code' THEN atom END), ''),"
    "   max(CASE key WHEN 'machine' THEN atom END), max(CASE key WHEN 'product' THEN atom END),"
    "   max(CASE key WHEN 'count' THEN atom END), max(CASE key WHEN 'lease' THEN atom END)"
    " FROM json_each(:line)";

static const char insert_order_sql[] =
    "INSERT INTO temp.audit_order_journal (file, line, face, order_id, outcome, code, status)"
    " SELECT :file, :number, :face, max(CASE key WHEN 'order' THEN atom END),"
    "   max(CASE key WHEN 'outcome' THEN atom END), ifnull(max(CASE key WHEN 'code' THEN atom END), ''),"
    "   max(CASE key WHEN 'status' THEN atom END)"
    " FROM json_each(:line)";

/* PUR-YYYYMMDD- are 13 characters; what follows is the id. */
static const char insert_sql[] =
    "INSERT INTO temp.audit_journal (file, line, sku, user_id, outcome, code, purchase_no, purchase_id)"
    " SELECT :file, :number, ifnull(sku, :sku), user, outcome, ifnull(code, ''), no,"
    "   CASE WHEN no LIKE 'PUR-________-_%' AND substr(no, 14) NOT GLOB '*[^0-9]*'"
    "     THEN CAST(substr(no, 14) AS INTEGER) END"
    " FROM (SELECT max(CASE key WHEN 'sku' THEN atom END) AS sku,"
    "     max(CASE key WHEN 'user' THEN atom END) AS user,"
    "     max(CASE key WHEN 'outcome' THEN atom END) AS outcome,"
    "     max(CASE key WHEN 'code' THEN atom END) AS code,"
    "     max(CASE key WHEN 'purchaseNo' THEN atom END) AS no"
    "   FROM json_each(:line))";

/* Everything that the invariants look for by SKU and user; made when all lines are in, which is quicker. */
static const char index_sql[] =
    "CREATE INDEX temp.audit_journal_user ON audit_journal (sku, user_id, outcome, code, purchase_no);"
    "CREATE INDEX temp.audit_order_journal_order ON audit_order_journal (face, order_id, outcome, status);"
    "CREATE INDEX temp.audit_vending_journal_lease ON audit_vending_journal (lease, request, outcome);"
    "CREATE INDEX temp.audit_vending_journal_choice"
    " ON audit_vending_journal (machine, product, units, request, outcome);"
    "CREATE INDEX temp.audit_market_journal_nonce ON audit_market_journal (key, nonce, outcome);"
    "CREATE TEMP TABLE audit_keys (key, account_id);"
    "INSERT INTO temp.audit_keys SELECT lower(hex(public_key)), account_id FROM temp.audit_wallets"
    " WHERE EXISTS (SELECT 1 FROM temp.audit_market_journal);"
    "CREATE INDEX temp.audit_keys_key ON audit_keys (key);"
    "CREATE TEMP TABLE audit_named (from_account, nonce, id);"
    "INSERT INTO temp.audit_named SELECT from_account, nonce, id FROM temp.audit_transfers"
    " WHERE from_account IS NOT NULL AND EXISTS (SELECT 1 FROM temp.audit_market_journal);"
    "CREATE INDEX temp.audit_named_nonce ON audit_named (from_account, nonce)";

/* Nothing but NULLs for a line that is no JSON. */
static const char header_sql[] =
    "WITH read(line) AS (SELECT CASE WHEN json_valid(:line) THEN :line ELSE 'null' END)"
    " SELECT json_type(line, '$.journal') = 'integer', json_extract(line, '$.journal'),"
    "   json_type(line, '$.sku') = 'text', json_extract(line, '$.sku'),"
    "   CASE WHEN json_extract(line, '$.scenario') = 'duplicate-user' AND json_type(line, '$.users') = "
    "'integer'"
    "     THEN json_extract(line, '$.users') ELSE 0 END,"
    "   json_type(line, '$.face') IS NOT NULL, json_extract(line, '$.face'),"
    "   lower(json_extract(line, '$.receipt_key')) FROM read";

enum {
    HEADER_HAS_VERSION,
    HEADER_VERSION,
    HEADER_HAS_SKU,
    HEADER_SKU,
    HEADER_EXPECTED_USERS,
    HEADER_HAS_FACE,
    HEADER_FACE,
    HEADER_RECEIPT_KEY
};

enum face { FACE_PURCHASES, FACE_ORDERS, FACE_INTAKE, FACE_VENDING, FACE_MARKETPLACE, FACE_COUNT };
static const struct {
    struct slice name;
    const char *insert;
} faces[FACE_COUNT] = {
    [FACE_PURCHASES] = {SLICE_INIT(""), insert_sql},
    [FACE_ORDERS] = {SLICE_INIT("orders"), insert_order_sql},
    [FACE_INTAKE] = {SLICE_INIT("intake"), insert_order_sql},
    [FACE_VENDING] = {SLICE_INIT("vending"), insert_vending_sql},
    [FACE_MARKETPLACE] = {SLICE_INIT("marketplace"), insert_market_sql},
};

struct reader {
    sqlite3 *db;
    sqlite3_stmt *insert; /* made when the header has said what the lines are about */
    FILE *file;
    const char *path;
    int file_number;
    int64_t line_number;     /* from 1 */
    char sku[SKU_BYTES_MAX]; /* the header's */
    char receipt_key[KEY_DIGITS + 1];
    enum face face;
    bool has_header;
    int64_t torn_bytes;
    char line[LINE_BYTES_MAX];
    size_t line_len;
};

enum line_kind {
    LINE_WHOLE,
    LINE_ENDLESS, /* the file ends before its line feed */
    LINE_TOO_LONG,
    LINE_NONE, /* the file ends */
    LINE_UNREADABLE
};

/* Without its line feed. */
static enum line_kind read_line(struct reader *reader)
{
    int c;
    reader->line_len = 0;
    while ((c = getc_unlocked(reader->file)) != EOF && c != '\n') {
        if (reader->line_len == LINE_BYTES_MAX)
            return LINE_TOO_LONG;
        reader->line[reader->line_len++] = (char)c;
    }
    if (c == '\n')
        return LINE_WHOLE;
    if (ferror(reader->file))
        return LINE_UNREADABLE;
    return reader->line_len == 0 ? LINE_NONE : LINE_ENDLESS;
}

static enum err broken(const struct reader *reader, const char *what, struct error *error)
{
    return error_set(error, ERR_REFUSED, "the journal %s cannot be used: line %lld %s", reader->path,
        (long long)reader->line_number, what);
}

static struct slice line_of(const struct reader *reader)
{
    return slice_make(reader->line, reader->line_len);
}

static enum err is_json(struct reader *reader, bool *is_valid, struct error *error)
{
    static const char doing[] = "look at a line of the journal";
    sqlite3_stmt *stmt;
    enum err err = db_prepare(reader->db, "SELECT json_valid(:line)", doing, &stmt, error);
    if (err != ERR_NONE)
        return err;
    db_bind_text(stmt, ":line", line_of(reader));
    if (sqlite3_step(stmt) == SQLITE_ROW)
        *is_valid = sqlite3_column_int(stmt, 0) != 0;
    else
        err = db_fail(reader->db, doing, error);
    sqlite3_finalize(stmt);
    return err;
}

static enum err expect_users(struct reader *reader, int64_t users, struct error *error)
{
    static const char doing[] = "note the expected users";
    sqlite3_stmt *stmt;
    enum err err = db_prepare(reader->db,
        "INSERT INTO temp.audit_expected (sku, users) VALUES (:sku, :users)"
        " ON CONFLICT (sku) DO UPDATE SET users = users + excluded.users",
        doing, &stmt, error);
    if (err != ERR_NONE)
        return err;
    db_bind_text(stmt, ":sku", slice_cstr(reader->sku));
    db_bind_i64(stmt, ":users", users);
    if (sqlite3_step(stmt) != SQLITE_DONE)
        err = db_fail(reader->db, doing, error);
    sqlite3_finalize(stmt);
    return err;
}

static enum err take_sku(struct reader *reader, sqlite3_stmt *row, struct error *error)
{
    struct slice sku = db_text(row, HEADER_SKU);
    int64_t users = sqlite3_column_int64(row, HEADER_EXPECTED_USERS);
    if (sqlite3_column_int(row, HEADER_HAS_SKU) == 0 || sku.len == 0 || sku.len >= sizeof reader->sku)
        return broken(reader, "is a header without a usable \"sku\"", error);
    memcpy(reader->sku, sku.base, sku.len);
    reader->sku[sku.len] = '\0';
    return users > 0 ? expect_users(reader, users, error) : ERR_NONE;
}

static enum err take_receipt_key(struct reader *reader, sqlite3_stmt *row, struct error *error)
{
    struct slice key = db_text(row, HEADER_RECEIPT_KEY);
    if (key.len != KEY_DIGITS)
        return broken(reader, "is a header without a \"receipt_key\" of 64 hexadecimal digits", error);
    memcpy(reader->receipt_key, key.base, KEY_DIGITS);
    return ERR_NONE;
}

static enum err take_face(struct reader *reader, sqlite3_stmt *row, struct error *error)
{
    struct slice name = db_text(row, HEADER_FACE);
    for (int face = FACE_ORDERS; face < FACE_COUNT; face++) {
        if (slice_eq(name, faces[face].name)) {
            reader->face = (enum face)face;
            return face == FACE_MARKETPLACE ? take_receipt_key(reader, row, error) : ERR_NONE;
        }
    }
    return broken(
        reader, "is a header with a \"face\" other than orders, intake, vending and marketplace", error);
}

/* The row of header_sql. */
static enum err take_header_row(struct reader *reader, sqlite3_stmt *row, struct error *error)
{
    if (sqlite3_column_int(row, HEADER_HAS_VERSION) == 0)
        return broken(reader, "is not the header of a journal, {\"journal\":1,...}", error);
    if (sqlite3_column_int64(row, HEADER_VERSION) != JOURNAL_VERSION)
        return error_set(error, ERR_NEWER,
            "the journal %s has format version %lld, this auditor reads version %d", reader->path,
            (long long)sqlite3_column_int64(row, HEADER_VERSION), JOURNAL_VERSION);
    bool has_face = sqlite3_column_int(row, HEADER_HAS_FACE) != 0;
    enum err err = has_face ? take_face(reader, row, error) : take_sku(reader, row, error);
    if (err != ERR_NONE)
        return err;
    reader->has_header = true;
    return db_prepare(reader->db, faces[reader->face].insert, "keep the journal", &reader->insert, error);
}

static enum err take_header(struct reader *reader, struct error *error)
{
    static const char doing[] = "read the header of the journal";
    sqlite3_stmt *stmt;
    enum err err = db_prepare(reader->db, header_sql, doing, &stmt, error);
    if (err != ERR_NONE)
        return err;
    db_bind_text(stmt, ":line", line_of(reader));
    if (sqlite3_step(stmt) == SQLITE_ROW)
        err = take_header_row(reader, stmt, error);
    else
        err = db_fail(reader->db, doing, error);
    sqlite3_finalize(stmt);
    return err;
}

/* What the CHECK that failed is called; SQLite says "CHECK constraint failed: name". */
static const char *name_of_check(sqlite3 *db)
{
    const char *colon = strchr(sqlite3_errmsg(db), ':');
    return colon == NULL ? "is no answer" : colon + 2;
}

static enum err take_answer(struct reader *reader, struct error *error)
{
    enum err err = ERR_NONE;
    db_bind_i64(reader->insert, ":file", reader->file_number);
    db_bind_i64(reader->insert, ":number", reader->line_number);
    db_bind_text(reader->insert, ":sku", slice_cstr(reader->sku));
    db_bind_text(reader->insert, ":face", faces[reader->face].name);
    db_bind_text(reader->insert, ":receipt_key", slice_cstr(reader->receipt_key));
    db_bind_text(reader->insert, ":line", line_of(reader));
    if (sqlite3_step(reader->insert) != SQLITE_DONE) {
        if ((sqlite3_errcode(reader->db) & 0xff) == SQLITE_CONSTRAINT)
            err = broken(reader, name_of_check(reader->db), error);
        else
            err = db_fail(reader->db, "keep the journal", error);
    }
    sqlite3_reset(reader->insert);
    return err;
}

static enum err take_line(struct reader *reader, bool has_end, struct error *error)
{
    bool is_valid = false;
    enum err err = reader->has_header ? take_answer(reader, error) : take_header(reader, error);
    if (err == ERR_NONE)
        return ERR_NONE;
    if (is_json(reader, &is_valid, NULL) != ERR_NONE || is_valid)
        return err;
    if (has_end)
        return broken(reader, "is no JSON", error);
    reader->torn_bytes = (int64_t)reader->line_len;
    return ERR_NONE;
}

static enum err take_lines(struct reader *reader, struct error *error)
{
    for (;;) {
        enum err err = ERR_NONE;
        reader->line_number++;
        switch (read_line(reader)) {
        case LINE_WHOLE:
            err = take_line(reader, true, error);
            break;
        case LINE_ENDLESS:
            return take_line(reader, false, error);
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

static enum err add_counts(struct reader *reader, struct journal_counts *counts, struct error *error)
{
    static const char doing[] = "count the journal";
    sqlite3_stmt *stmt;
    enum err err = db_prepare(reader->db,
        "SELECT count(*), total(outcome = 'acknowledged'), total(outcome = 'refused'), total(outcome = "
        "'unknown')"
        " FROM (SELECT file, outcome FROM temp.audit_journal UNION ALL"
        "   SELECT file, outcome FROM temp.audit_order_journal UNION ALL"
        "   SELECT file, outcome FROM temp.audit_vending_journal UNION ALL"
        "   SELECT file, outcome FROM temp.audit_market_journal) WHERE file = :file",
        doing, &stmt, error);
    if (err != ERR_NONE)
        return err;
    db_bind_i64(stmt, ":file", reader->file_number);
    if (sqlite3_step(stmt) != SQLITE_ROW) {
        err = db_fail(reader->db, doing, error);
    } else if (sqlite3_column_int64(stmt, 0) == 0) {
        err = error_set(error, ERR_REFUSED, "the journal %s says nothing: it holds no answer", reader->path);
    } else {
        int64_t lines = sqlite3_column_int64(stmt, 0);
        counts->lines += lines;
        counts->order_lines += reader->face == FACE_ORDERS ? lines : 0;
        counts->trading_lines += reader->face == FACE_INTAKE ? lines : 0;
        counts->vending_lines += reader->face == FACE_VENDING ? lines : 0;
        counts->market_lines += reader->face == FACE_MARKETPLACE ? lines : 0;
        counts->acknowledged += sqlite3_column_int64(stmt, 1);
        counts->refused += sqlite3_column_int64(stmt, 2);
        counts->unknown += sqlite3_column_int64(stmt, 3);
        counts->torn_bytes += reader->torn_bytes;
    }
    sqlite3_finalize(stmt);
    return err;
}

enum err journal_reader_init(sqlite3 *db, struct error *error)
{
    static const char doing[] = "make the tables of the audit";
    enum err err = db_exec(db, table_sql, doing, error);
    if (err == ERR_NONE)
        err = db_exec(db, order_table_sql, doing, error);
    if (err == ERR_NONE)
        err = db_exec(db, vending_table_sql, doing, error);
    return err == ERR_NONE ? db_exec(db, market_table_sql, doing, error) : err;
}

enum err journal_reader_finish(sqlite3 *db, struct error *error)
{
    return db_exec(db, index_sql, "sort the journals", error);
}

enum err journal_reader_load(
    sqlite3 *db, const char *path, int number, struct journal_counts *counts, struct error *error)
{
    enum err err;
    struct reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return error_set(error, ERR_MEMORY, "no memory for a journal");
    reader->db = db;
    reader->path = path;
    reader->file_number = number;
    reader->file = fopen(path, "re");
    if (reader->file == NULL) {
        err = error_set(error, ERR_IO, "cannot read the journal %s: %s", path, strerror(errno));
        goto out;
    }
    err = take_lines(reader, error);
    if (err == ERR_NONE)
        err = add_counts(reader, counts, error);
out:
    sqlite3_finalize(reader->insert);
    if (reader->file != NULL)
        (void)fclose(reader->file);
    free(reader);
    return err;
}
