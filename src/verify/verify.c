/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/verify.h"

#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "verify/audit.h"
#include "verify/db.h"
#include "verify/journal_reader.h"
#include "verify/audit_report.h"
#include "verify/receipts.h"
#include "verify/snapshot.h"
#include "verify/sums.h"
#include "verify/trading_names.h"

/* A store that is taken up by a server or changed twice while it is being read is not a stopped one. */
enum { ATTEMPTS_MAX = 3 };

struct run {
    const struct verify_options *options;
    struct verify_summary *summary;
    struct error *error; /* summary->error */
    struct snapshot snapshot;
    struct journal_counts counts;
    struct audit audit;
    struct audit_report report;
};

static bool ends_with(const char *text, struct slice ending)
{
    struct slice whole = slice_cstr(text);
    return whole.len > ending.len &&
           slice_eq(slice_make(whole.base + whole.len - ending.len, ending.len), ending);
}

static enum err check_options(const struct verify_options *options, struct error *error)
{
    if (options->is_journal_complete && options->journal_count == 0)
        return error_set(error, ERR_USAGE, "--journal-complete needs at least one --journal FILE");
    if (options->report_path != NULL && !ends_with(options->report_path, SLICE(".json")) &&
        !ends_with(options->report_path, SLICE(".md")))
        return error_set(error, ERR_USAGE, "the report %s must end in .json or .md", options->report_path);
    return ERR_NONE;
}

/* --- before the checks: is there something to check? --- */

static enum err load_journals(struct run *run)
{
    const struct verify_options *options = run->options;
    sqlite3 *db = run->snapshot.db;
    enum err err = journal_reader_init(db, run->error);
    for (size_t i = 0; i < options->journal_count && err == ERR_NONE; i++)
        err = journal_reader_load(db, options->journals[i], (int)i + 1, &run->counts, run->error);
    if (err == ERR_NONE && run->counts.trading_lines > 0)
        err = trading_names_resolve(&run->snapshot, options->store_path, options->connection, run->error);
    if (err == ERR_NONE && run->counts.market_lines > 0)
        err = receipts_check(&run->snapshot, options->store_path, options->connection, run->error);
    if (err == ERR_NONE)
        err = journal_reader_finish(db, run->error);
    if (err == ERR_NONE && options->is_journal_complete && run->counts.torn_bytes > 0)
        err = error_set(run->error, ERR_REFUSED,
            "a journal ends in a torn line, so it is not complete; verify without --journal-complete");
    return err;
}

static enum err note_expected_users(struct run *run)
{
    static const char doing[] = "note the expected users";
    if (run->options->expect_users < 0)
        return ERR_NONE;
    sqlite3_stmt *stmt;
    enum err err = db_prepare(run->snapshot.db,
        "INSERT OR REPLACE INTO temp.audit_expected (sku, users) SELECT sku, :users FROM main.products",
        doing, &stmt, run->error);
    if (err != ERR_NONE)
        return err;
    db_bind_i64(stmt, ":users", run->options->expect_users);
    if (sqlite3_step(stmt) != SQLITE_DONE)
        err = db_fail(run->snapshot.db, doing, run->error);
    sqlite3_finalize(stmt);
    return err;
}

/* The number that a query about the wanted SKU (NULL: all) gives. */
static enum err count_wanted(struct run *run, const char *sql, int64_t *count)
{
    static const char doing[] = "count what there is to audit";
    sqlite3_stmt *stmt;
    enum err err = db_prepare(run->snapshot.db, sql, doing, &stmt, run->error);
    if (err != ERR_NONE)
        return err;
    if (run->options->sku != NULL)
        db_bind_text(stmt, ":sku", slice_cstr(run->options->sku));
    if (sqlite3_step(stmt) == SQLITE_ROW)
        *count = sqlite3_column_int64(stmt, 0);
    else
        err = db_fail(run->snapshot.db, doing, run->error);
    sqlite3_finalize(stmt);
    return err;
}

struct contents {
    int64_t products;
    int64_t purchases;
    int64_t others; /* rows of orders, accounts, machines and leases */
    int64_t machines;
    int64_t answers; /* of journals, about products of the store */
    int64_t acknowledged;
};

static enum err count_contents(struct run *run, struct contents *contents)
{
    const struct {
        const char *sql;
        int64_t *count;
    } rows[] = {
        {"SELECT count(*) FROM main.products WHERE :sku IS NULL OR sku = :sku", &contents->products},
        {"SELECT count(*) FROM main.purchases WHERE :sku IS NULL", &contents->purchases},
        {"SELECT count(*) FROM temp.audit_orders", &run->summary->orders},
        {"SELECT count(*) FROM temp.audit_intake_orders", &run->summary->trading_orders},
        {"SELECT count(*) FROM temp.audit_accounts", &contents->others},
        {"SELECT count(*) FROM temp.audit_all_leases", &run->summary->leases},
        {"SELECT count(*) FROM temp.audit_machines", &contents->machines},
        {"SELECT count(*) FROM temp.audit_transfers", &run->summary->transfers},
        {"SELECT count(*) FROM temp.audit_journal WHERE (:sku IS NULL OR sku = :sku)"
         " AND sku IN (SELECT sku FROM main.products)",
            &contents->answers},
        {"SELECT count(*) FROM temp.audit_journal WHERE (:sku IS NULL OR sku = :sku)"
         " AND outcome = 'acknowledged'",
            &contents->acknowledged},
    };
    enum err err = ERR_NONE;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && err == ERR_NONE; i++)
        err = count_wanted(run, rows[i].sql, rows[i].count);
    contents->others += run->summary->orders + run->summary->trading_orders + run->summary->leases;
    contents->others += contents->machines + run->summary->transfers;
    return err;
}

/* An audit of nothing would pass. */
static enum err check_there_is_something(struct run *run)
{
    const struct verify_options *options = run->options;
    struct contents contents = {.products = 0};
    int64_t order_lines = run->counts.order_lines + run->counts.trading_lines + run->counts.vending_lines +
                          run->counts.market_lines;
    enum err err = count_contents(run, &contents);
    if (err != ERR_NONE)
        return err;
    bool is_said_nothing =
        contents.answers == 0 && contents.acknowledged == 0 && (order_lines == 0 || options->sku != NULL);
    bool is_empty = contents.products == 0 && contents.purchases == 0 && contents.others == 0 &&
                    contents.acknowledged == 0 && order_lines == 0;
    if (options->sku != NULL && contents.products == 0)
        return error_set(
            run->error, ERR_REFUSED, "the store %s has no product %s", run->snapshot.name, options->sku);
    if (options->journal_count > 0 && is_said_nothing)
        return error_set(run->error, ERR_REFUSED, "the journals say nothing about %s",
            options->sku != NULL ? options->sku : "any product of this store");
    if (is_empty)
        return error_set(run->error, ERR_REFUSED,
            "the store %s holds no product, no order and no machine: there is nothing to audit",
            run->snapshot.name);
    return ERR_NONE;
}

/* --- the checks --- */

static void check_one(struct run *run, size_t index, const struct subject *subject)
{
    const struct finding *finding = audit_check(&run->audit, index, subject);
    audit_report_finding(&run->report, finding);
    run->summary->checks++;
    if (finding->status == FINDING_VIOLATED)
        run->summary->violated++;
    if (finding->status == FINDING_UNCHECKED && run->summary->unchecked++ == 0)
        error_set(run->error, ERR_IO, "%s %.*s", finding->invariant->name,
            SLICE_ARGS(strbuf_slice(&finding->numbers)));
}

static void check_all(struct run *run, const struct subject *subject)
{
    for (size_t i = 0; i < invariant_count(); i++)
        if (audit_applies(invariant_at(i), subject))
            check_one(run, i, subject);
    audit_report_section_end(&run->report);
}

enum {
    COLUMN_ID,
    COLUMN_SKU,
    COLUMN_STATE,
    COLUMN_END_REASON,
    COLUMN_INITIAL_STOCK,
    COLUMN_STOCK,
    COLUMN_PURCHASES,
    COLUMN_BUYERS,
    COLUMN_HAS_USERS,
    COLUMN_HAS_JOURNAL
};

/* Products first, in order of id; then what only journals speak of. */
static const char subjects_sql[] =
    "SELECT * FROM ("
    " SELECT product_id, sku, state, end_reason, initial_stock, stock, purchases, buyers,"
    "   expected_users IS NOT NULL, sku IN (SELECT sku FROM temp.audit_journal)"
    " FROM temp.audit"
    " UNION ALL"
    " SELECT DISTINCT 0, sku, NULL, NULL, 0, 0, 0, 0, 0, 1 FROM temp.audit_journal"
    " WHERE sku NOT IN (SELECT sku FROM main.products)"
    ") WHERE :sku IS NULL OR sku = :sku"
    " ORDER BY product_id = 0, product_id, sku";

static void check_subject(struct run *run, sqlite3_stmt *row)
{
    struct subject subject = {
        .product_id = sqlite3_column_int64(row, COLUMN_ID),
        .sku = db_text(row, COLUMN_SKU),
        .has_users = sqlite3_column_int(row, COLUMN_HAS_USERS) != 0,
        .has_journal = sqlite3_column_int(row, COLUMN_HAS_JOURNAL) != 0,
    };
    subject.is_complete = subject.has_journal && run->options->is_journal_complete;
    struct product_head head = {
        .sku = subject.sku,
        .exists = subject.product_id != 0,
        .state = db_text(row, COLUMN_STATE),
        .end_reason = db_text(row, COLUMN_END_REASON),
        .initial_stock = sqlite3_column_int64(row, COLUMN_INITIAL_STOCK),
        .stock = sqlite3_column_int64(row, COLUMN_STOCK),
        .purchases = sqlite3_column_int64(row, COLUMN_PURCHASES),
        .buyers = sqlite3_column_int64(row, COLUMN_BUYERS),
    };
    run->summary->products += head.exists ? 1 : 0;
    run->summary->purchases += head.purchases;
    audit_report_product_section(&run->report, &head);
    check_all(run, &subject);
}

static enum err check_subjects(struct run *run)
{
    static const char doing[] = "read the products";
    sqlite3_stmt *stmt;
    enum err err = db_prepare(run->snapshot.db, subjects_sql, doing, &stmt, run->error);
    if (err != ERR_NONE)
        return err;
    if (run->options->sku != NULL)
        db_bind_text(stmt, ":sku", slice_cstr(run->options->sku));
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        check_subject(run, stmt);
    if (rc != SQLITE_DONE)
        err = db_fail(run->snapshot.db, doing, run->error);
    sqlite3_finalize(stmt);
    return err;
}

static void check_store(struct run *run)
{
    struct subject store = {
        .is_store = true,
        .has_order_journal = run->counts.order_lines > 0,
        .has_trading_journal = run->counts.trading_lines > 0,
        .has_vending_journal = run->counts.vending_lines > 0,
        .has_market_journal = run->counts.market_lines > 0,
        .is_complete = run->options->is_journal_complete,
    };
    check_all(run, &store);
}

static enum err begin_audit(struct run *run)
{
    audit_report_sources(&run->report, run->options, &run->snapshot, &run->counts);
    audit_report_store_section(&run->report);
    return audit_init(&run->audit, run->snapshot.db, run->error);
}

/* Rows that cannot be read at all: then the soundness of the file is the one thing left to say. */
static enum err check_soundness_alone(struct run *run, enum err err)
{
    static const struct subject store = {.is_store = true};
    struct error kept = *run->error;
    if (begin_audit(run) != ERR_NONE)
        return err;
    for (size_t i = 0; i < invariant_count(); i++)
        if (invariant_at(i) == &inv_store_sound)
            check_one(run, i, &store);
    audit_report_section_end(&run->report);
    *run->error = kept;
    return run->summary->violated > 0 ? ERR_NONE : err;
}

static enum err check_snapshot(struct run *run)
{
    enum err err = sums_make(run->snapshot.db, run->error);
    if (err == ERR_CORRUPT)
        return check_soundness_alone(run, err);
    if (err == ERR_NONE)
        err = load_journals(run);
    if (err == ERR_NONE)
        err = note_expected_users(run);
    if (err == ERR_NONE)
        err = check_there_is_something(run);
    if (err == ERR_NONE)
        err = begin_audit(run);
    if (err != ERR_NONE)
        return err;
    check_store(run);
    return check_subjects(run);
}

/* One attempt. *is_intact false: the store changed under it, and nothing that it says counts. */
static enum err run_once(struct run *run, bool *is_intact)
{
    const struct verify_options *options = run->options;
    enum err err =
        options->connection == NULL
            ? snapshot_open(&run->snapshot, options->store_path, run->error)
            : snapshot_open_within(&run->snapshot, options->store_path, options->connection, run->error);
    if (err != ERR_NONE)
        return err;
    run->audit = (struct audit){.db = NULL};
    err = check_snapshot(run);
    audit_fini(&run->audit);
    *is_intact = snapshot_is_intact(&run->snapshot);
    snapshot_close(&run->snapshot);
    return err;
}

static enum err run_until_intact(struct run *run)
{
    for (int i = 0; i < ATTEMPTS_MAX; i++) {
        bool is_intact = true;
        *run->summary = (struct verify_summary){.products = 0};
        run->counts = (struct journal_counts){.lines = 0};
        audit_report_init(&run->report, run->options->is_quiet);
        enum err err = run_once(run, &is_intact);
        if (is_intact)
            return err;
        audit_report_fini(&run->report);
    }
    return error_set(
        run->error, ERR_LOCKED, "the store %s changed again and again while it was read", run->snapshot.name);
}

/* --- the report --- */

static enum err write_file(const struct run *run, const char *path)
{
    struct slice text = strbuf_slice(&run->report.text);
    FILE *file = fopen(path, "we");
    bool is_written = file != NULL;
    if (file != NULL && ends_with(path, SLICE(".json"))) {
        struct slice json = strbuf_slice(&run->report.json);
        is_written = fwrite(json.base, 1, json.len, file) == json.len;
    } else if (file != NULL) {
        is_written = fprintf(file, "# Audit of a store\n\n```text\n%.*s```\n", SLICE_ARGS(text)) >= 0;
    }
    if (file != NULL && fclose(file) != 0)
        is_written = false;
    if (is_written)
        return ERR_NONE;
    return error_set(run->error, ERR_IO, "cannot write the report %s: %s", path, strerror(errno));
}

static enum err print(struct run *run, FILE *out)
{
    audit_report_verdict(&run->report, run->summary);
    struct slice text = strbuf_slice(&run->report.text);
    if (run->report.text.has_overflowed || run->report.json.has_overflowed)
        return error_set(run->error, ERR_MEMORY, "the report is too long to keep; audit one --sku at a time");
    if (fwrite(text.base, 1, text.len, out) != text.len || fflush(out) != 0)
        return error_set(run->error, ERR_IO, "cannot write the report: %s", strerror(errno));
    return run->options->report_path == NULL ? ERR_NONE : write_file(run, run->options->report_path);
}

enum err verify_run(const struct verify_options *options, FILE *out, struct verify_summary *summary)
{
    int64_t start_ns = clock_mono_ns();
    *summary = (struct verify_summary){.products = 0};
    enum err err = check_options(options, &summary->error);
    if (err != ERR_NONE)
        return err;
    struct run run = {.options = options, .summary = summary, .error = &summary->error};
    err = run_until_intact(&run);
    summary->duration_ns = clock_mono_ns() - start_ns;
    if (err == ERR_NONE)
        err = print(&run, out);
    if (err == ERR_NONE && summary->violated == 0 && summary->unchecked > 0)
        err = summary->error.code;
    audit_report_fini(&run.report);
    return err;
}
