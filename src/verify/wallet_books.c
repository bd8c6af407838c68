/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transfer is a line in one book or two: its payer's and its payee's. The lines are sorted by account and
 * id, and each book is read from its wallet's last transfer back, from each line to the one that it names as
 * the one before. So nothing is taken from the order of ids, which in a database is none of time, and each
 * line is found by a search among its account's. A line that was read is marked: one that leads to a marked
 * one closes a circle, and one that is left unmarked belongs to no chain.
 *
 * Sums are of 128 bits: those of a damaged store must be compared too, not overflow.
 */
#include "verify/wallet_books.h"

#include <stdbool.h>
#include <stdlib.h>

#include "verify/db.h"

typedef __int128 wide; /* a small value handle */

struct line {
    int64_t account_id;
    int64_t id;          /* of the transfer */
    int64_t previous_id; /* 0: the first */
    int64_t amount;
    int64_t balance; /* afterwards */
    bool is_out;
    bool is_read;
};

struct purse {
    int64_t account_id;
    int64_t balance;
    int64_t last_id; /* 0: none */
};

struct books {
    sqlite3 *db;
    struct error *error;
    sqlite3_stmt *chain_fault; /* what note_chain inserts with */
    sqlite3_stmt *balance_fault;
    struct line *lines;
    size_t line_count;
    size_t line_size; /* available */
    struct purse *purses;
    size_t purse_count;
    size_t purse_size;
    wide issued;
    wide held;
    wide spent;
};

enum { ROWS_FIRST = 1024, WIDE_DIGITS_MAX = 48 };

static const char tables_sql[] = "CREATE TEMP TABLE audit_coins (issued, held, spent, adds_up);"
                                 "CREATE TEMP TABLE audit_balance_faults (account_id, balance, moved);"
                                 "CREATE TEMP TABLE audit_chain_faults (id, account_id, what, other_id)";

static const char doing_read[] = "read the wallets";
static const char doing_note[] = "note the faults of wallets";

/* --- reading --- */

enum { ID, FROM, FROM_PREVIOUS, AMOUNT, FROM_BALANCE, TO, TO_PREVIOUS, TO_BALANCE };
static const char lines_sql[] = "SELECT id, from_account, from_previous_id, amount_minor, from_balance_minor,"
                                " to_account, to_previous_id, to_balance_minor FROM temp.audit_transfers";
static const char purses_sql[] =
    "SELECT account_id, balance_minor, last_transfer_id FROM temp.audit_wallets ORDER BY account_id";

/* Room for one more; false when memory is out. */
static bool make_room(void **rows, size_t count, size_t *size, size_t row_size)
{
    if (count < *size)
        return true;
    size_t wanted = *size == 0 ? ROWS_FIRST : *size * 2;
    void *moved = reallocarray(*rows, wanted, row_size);
    if (moved == NULL)
        return false;
    *rows = moved;
    *size = wanted;
    return true;
}

static bool add_line(struct books *books, const struct line *line)
{
    void *rows = books->lines;
    if (!make_room(&rows, books->line_count, &books->line_size, sizeof *line))
        return false;
    books->lines = rows;
    books->lines[books->line_count++] = *line;
    return true;
}

static bool take_transfer(struct books *books, sqlite3_stmt *row)
{
    bool has_from = sqlite3_column_type(row, FROM) != SQLITE_NULL;
    bool has_to = sqlite3_column_type(row, TO) != SQLITE_NULL;
    int64_t amount = sqlite3_column_int64(row, AMOUNT);
    struct line line = {.id = sqlite3_column_int64(row, ID), .amount = amount};
    books->issued += has_from ? 0 : amount;
    books->spent += has_to ? 0 : amount;
    line.account_id = sqlite3_column_int64(row, FROM);
    line.previous_id = sqlite3_column_int64(row, FROM_PREVIOUS);
    line.balance = sqlite3_column_int64(row, FROM_BALANCE);
    line.is_out = true;
    if (has_from && !add_line(books, &line))
        return false;
    line.account_id = sqlite3_column_int64(row, TO);
    line.previous_id = sqlite3_column_int64(row, TO_PREVIOUS);
    line.balance = sqlite3_column_int64(row, TO_BALANCE);
    line.is_out = false;
    return !has_to || add_line(books, &line);
}

static bool take_wallet(struct books *books, sqlite3_stmt *row)
{
    void *rows = books->purses;
    if (!make_room(&rows, books->purse_count, &books->purse_size, sizeof *books->purses))
        return false;
    books->purses = rows;
    struct purse *purse = &books->purses[books->purse_count++];
    purse->account_id = sqlite3_column_int64(row, 0);
    purse->balance = sqlite3_column_int64(row, 1);
    purse->last_id = sqlite3_column_int64(row, 2);
    books->held += purse->balance;
    return true;
}

static enum err read_rows(
    struct books *books, const char *sql, bool (*take)(struct books *books, sqlite3_stmt *row))
{
    sqlite3_stmt *row;
    enum err err = db_prepare(books->db, sql, doing_read, &row, books->error);
    if (err != ERR_NONE)
        return err;
    int rc;
    while ((rc = sqlite3_step(row)) == SQLITE_ROW && err == ERR_NONE)
        if (!take(books, row))
            err = error_set(books->error, ERR_MEMORY, "no memory for the books of the wallets");
    if (err == ERR_NONE && rc != SQLITE_DONE)
        err = db_fail(books->db, doing_read, books->error);
    sqlite3_finalize(row);
    return err;
}

static int compare_lines(const void *left, const void *right)
{
    const struct line *a = left;
    const struct line *b = right;
    if (a->account_id != b->account_id)
        return a->account_id < b->account_id ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

/* --- what is found --- */

static enum err run(struct books *books, sqlite3_stmt *stmt)
{
    enum err err =
        sqlite3_step(stmt) == SQLITE_DONE ? ERR_NONE : db_fail(books->db, doing_note, books->error);
    sqlite3_reset(stmt);
    return err;
}

static enum err note_chain(
    struct books *books, int64_t id, int64_t account_id, const char *what, int64_t other_id)
{
    db_bind_i64(books->chain_fault, ":id", id);
    db_bind_i64(books->chain_fault, ":account", account_id);
    db_bind_text(books->chain_fault, ":what", slice_cstr(what));
    db_bind_i64(books->chain_fault, ":other", other_id);
    return run(books, books->chain_fault);
}

/* In decimal. */
static void bind_wide(sqlite3_stmt *stmt, const char *name, wide value)
{
    char digits[WIDE_DIGITS_MAX];
    size_t at = sizeof digits;
    bool is_negative = value < 0;
    unsigned __int128 rest = is_negative ? -(unsigned __int128)value : (unsigned __int128)value;
    do {
        digits[--at] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    } while (rest > 0);
    if (is_negative)
        digits[--at] = '-';
    db_bind_text(stmt, name, slice_make(digits + at, sizeof digits - at));
}

static enum err note_coins(struct books *books)
{
    sqlite3_stmt *stmt;
    enum err err =
        db_prepare(books->db, "INSERT INTO temp.audit_coins VALUES (:issued, :held, :spent, :adds_up)",
            doing_note, &stmt, books->error);
    if (err != ERR_NONE)
        return err;
    bind_wide(stmt, ":issued", books->issued);
    bind_wide(stmt, ":held", books->held);
    bind_wide(stmt, ":spent", books->spent);
    db_bind_i64(stmt, ":adds_up", books->issued == books->held + books->spent);
    err = run(books, stmt);
    sqlite3_finalize(stmt);
    return err;
}

/* --- a book --- */

/* The lines of one account. */
struct book {
    struct line *lines;
    size_t count;
};

static wide moved(const struct line *line)
{
    return line->is_out ? -(wide)line->amount : (wide)line->amount;
}

static struct line *find(const struct book *book, int64_t id)
{
    size_t low = 0;
    size_t high = book->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (book->lines[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < book->count && book->lines[low].id == id ? &book->lines[low] : NULL;
}

/* Whether a line goes on from the balance that the one before it (NULL: nothing) has left. */
static bool goes_on(const struct line *line, const struct line *before)
{
    return (wide)line->balance - moved(line) == (before == NULL ? 0 : before->balance);
}

/* From the last transfer back to the first. */
static enum err follow_chain(struct books *books, const struct book *book, const struct purse *purse)
{
    const struct line *later = NULL;
    enum err err = ERR_NONE;
    for (int64_t at = purse->last_id; at != 0 && err == ERR_NONE;) {
        struct line *line = find(book, at);
        int64_t later_id = later == NULL ? 0 : later->id;
        if (line == NULL)
            return note_chain(books, at, purse->account_id, "missing", later_id);
        if (line->is_read)
            return note_chain(books, at, purse->account_id, "again", later_id);
        line->is_read = true;
        if (later != NULL && !goes_on(later, line))
            err = note_chain(books, later->id, purse->account_id, "balance", line->id);
        later = line;
        at = line->previous_id;
    }
    if (err == ERR_NONE && later != NULL && !goes_on(later, NULL))
        err = note_chain(books, later->id, purse->account_id, "balance", 0);
    return err;
}

static enum err check_sum(struct books *books, const struct book *book, const struct purse *purse)
{
    wide sum = 0;
    for (size_t i = 0; i < book->count; i++)
        sum += moved(&book->lines[i]);
    if (sum == purse->balance)
        return ERR_NONE;
    db_bind_i64(books->balance_fault, ":account", purse->account_id);
    db_bind_i64(books->balance_fault, ":balance", purse->balance);
    bind_wide(books->balance_fault, ":moved", sum);
    return run(books, books->balance_fault);
}

static enum err check_book(struct books *books, const struct book *book, const struct purse *purse)
{
    enum err err = check_sum(books, book, purse);
    if (err == ERR_NONE)
        err = follow_chain(books, book, purse);
    for (size_t i = 0; i < book->count && err == ERR_NONE; i++)
        if (!book->lines[i].is_read)
            err = note_chain(books, book->lines[i].id, purse->account_id, "outside", 0);
    return err;
}

/* The lines from `begun` on that are of accounts before that wallet's (NULL: all): they have none. */
static enum err note_homeless(struct books *books, size_t *begun, const struct purse *before)
{
    enum err err = ERR_NONE;
    for (; *begun < books->line_count && err == ERR_NONE; ++*begun) {
        const struct line *line = &books->lines[*begun];
        if (before != NULL && line->account_id >= before->account_id)
            break;
        err = note_chain(books, line->id, line->account_id, "homeless", 0);
    }
    return err;
}

/* Both in order of account, side by side. A wallet that is there twice is a fault of its own. */
static enum err check_books(struct books *books)
{
    size_t begun = 0;
    enum err err = ERR_NONE;
    for (size_t i = 0; i < books->purse_count && err == ERR_NONE; i++) {
        const struct purse *purse = &books->purses[i];
        if (i > 0 && purse[-1].account_id == purse->account_id)
            continue;
        err = note_homeless(books, &begun, purse);
        struct book book = {.lines = begun < books->line_count ? &books->lines[begun] : NULL};
        while (begun < books->line_count && books->lines[begun].account_id == purse->account_id) {
            book.count++;
            begun++;
        }
        if (err == ERR_NONE)
            err = check_book(books, &book, purse);
    }
    return err == ERR_NONE ? note_homeless(books, &begun, NULL) : err;
}

static enum err check_all(struct books *books)
{
    enum err err =
        db_prepare(books->db, "INSERT INTO temp.audit_chain_faults VALUES (:id, :account, :what, :other)",
            doing_note, &books->chain_fault, books->error);
    if (err == ERR_NONE)
        err =
            db_prepare(books->db, "INSERT INTO temp.audit_balance_faults VALUES (:account, :balance, :moved)",
                doing_note, &books->balance_fault, books->error);
    if (err == ERR_NONE)
        err = check_books(books);
    sqlite3_finalize(books->chain_fault);
    sqlite3_finalize(books->balance_fault);
    return err == ERR_NONE ? note_coins(books) : err;
}

enum err wallet_books_make(sqlite3 *db, struct error *error)
{
    struct books books = {.db = db, .error = error};
    enum err err = db_exec(db, tables_sql, "make the tables of the audit", error);
    if (err == ERR_NONE)
        err = read_rows(&books, lines_sql, take_transfer);
    if (err == ERR_NONE)
        err = read_rows(&books, purses_sql, take_wallet);
    if (err == ERR_NONE && books.line_count > 0)
        qsort(books.lines, books.line_count, sizeof *books.lines, compare_lines);
    if (err == ERR_NONE)
        err = check_all(&books);
    free(books.lines);
    free(books.purses);
    return err;
}
