/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A receipt is signed in its canonical form (RFC 8785) without the member "signature": members in order of
 * their names, no blanks, text with the escapes that it must have and no other, numbers as shortly as they
 * can be written. Receipts have text, whole numbers and amounts with two decimals at the most, whose shortest
 * form is their digits without zeros at the end; so nothing else has to be written here. SQLite's order of
 * names, by bytes of UTF-8, is the one asked for (by units of UTF-16) as long as they are ASCII, which all
 * are.
 *
 * The key is made from the store's secret: its seed is HMAC-SHA256(secret, "doorbuster receipts").
 */
#include "verify/receipts.h"

#include <inttypes.h>
#include <math.h>
#include <sodium.h>

#include "base/strbuf.h"
#include "verify/db.h"
#include "verify/store_secret.h"

enum { CANONICAL_BYTES_MAX = 64 * 1024, MINOR_PER_COIN = 100 };
static const int64_t number_max = INT64_C(1) << 53; /* whole numbers up to it are what a double says */

static const char doing[] = "look at the receipts";
static const char tables_sql[] = "CREATE TEMP TABLE audit_receipt_key (key);"
                                 "CREATE TEMP TABLE audit_receipt_faults (id INTEGER PRIMARY KEY, what)";

/* --- the canonical form --- */

/* RFC 8785, section 3.2.2.2. */
static void put_text(struct strbuf *out, struct slice text)
{
    static const char letters[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r', ['"'] = '"', ['\\'] = '\\'};
    strbuf_put_char(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.base[i];
        if (c < sizeof letters && letters[c] != '\0')
            strbuf_printf(out, "\\%c", letters[c]);
        else if (c < 0x20)
            strbuf_printf(out, "\\u%04x", c);
        else
            strbuf_put_char(out, (char)c);
    }
    strbuf_put_char(out, '"');
}

/* A number of hundredths. */
static void put_amount(struct strbuf *out, int64_t minor)
{
    int64_t rest = llabs(minor % MINOR_PER_COIN);
    strbuf_put(out, minor < 0 ? SLICE("-") : SLICE(""));
    strbuf_put_i64(out, llabs(minor / MINOR_PER_COIN));
    if (rest % 10 != 0)
        strbuf_printf(out, ".%02" PRId64, rest);
    else if (rest != 0)
        strbuf_printf(out, ".%" PRId64, rest / 10);
}

/* False: it cannot be written here. */
static bool put_real(struct strbuf *out, double value)
{
    double minor = round(value * MINOR_PER_COIN);
    if (!(fabs(minor) <= (double)number_max) || minor / MINOR_PER_COIN != value)
        return false;
    put_amount(out, (int64_t)minor);
    return true;
}

static bool put_whole(struct strbuf *out, int64_t value)
{
    strbuf_put_i64(out, value);
    return value >= -number_max && value <= number_max;
}

enum { MEMBER_NAME, MEMBER_TYPE, MEMBER_VALUE };

static bool put_member(struct strbuf *out, sqlite3_stmt *member)
{
    struct slice type = db_text(member, MEMBER_TYPE);
    put_text(out, db_text(member, MEMBER_NAME));
    strbuf_put_char(out, ':');
    if (slice_eq(type, SLICE("text"))) {
        put_text(out, db_text(member, MEMBER_VALUE));
        return true;
    }
    if (slice_eq(type, SLICE("integer")))
        return put_whole(out, sqlite3_column_int64(member, MEMBER_VALUE));
    return slice_eq(type, SLICE("real")) && put_real(out, sqlite3_column_double(member, MEMBER_VALUE));
}

/* --- a receipt --- */

struct checker {
    sqlite3 *db;
    struct error *error;
    sqlite3_stmt *members;
    sqlite3_stmt *fault;
    struct strbuf canonical;
};

enum verdict { VERDICT_SIGNED, VERDICT_SHAPE, VERDICT_SIGNATURE };

static bool take_hex(struct slice digits, unsigned char *bytes, size_t size)
{
    size_t len = 0;
    return sodium_hex2bin(bytes, size, digits.base, digits.len, NULL, &len, NULL) == 0 && len == size;
}

/* Writes all but the signature, which is taken. False: it is no receipt. */
static bool write_canonical(struct checker *checker, struct slice receipt, unsigned char *signature)
{
    struct strbuf *out = &checker->canonical;
    bool has_signature = false;
    bool is_written = true;
    int rc;
    strbuf_reset(out);
    strbuf_put_char(out, '{');
    db_bind_text(checker->members, ":receipt", receipt);
    while ((rc = sqlite3_step(checker->members)) == SQLITE_ROW) {
        if (slice_eq(db_text(checker->members, MEMBER_NAME), SLICE("signature"))) {
            has_signature = !has_signature &&
                            take_hex(db_text(checker->members, MEMBER_VALUE), signature, crypto_sign_BYTES);
            continue;
        }
        strbuf_put(out, out->len > 1 ? SLICE(",") : SLICE(""));
        is_written = is_written && put_member(out, checker->members);
    }
    sqlite3_reset(checker->members);
    strbuf_put_char(out, '}');
    return rc == SQLITE_DONE && has_signature && is_written && !out->has_overflowed;
}

static enum verdict judge(struct checker *checker, struct slice receipt, struct slice key_digits)
{
    unsigned char key[crypto_sign_PUBLICKEYBYTES];
    unsigned char signature[crypto_sign_BYTES];
    if (!write_canonical(checker, receipt, signature))
        return VERDICT_SHAPE;
    bool is_signed = take_hex(key_digits, key, sizeof key) &&
                     crypto_sign_verify_detached(signature, (const unsigned char *)checker->canonical.base,
                         checker->canonical.len, key) == 0;
    return is_signed ? VERDICT_SIGNED : VERDICT_SIGNATURE;
}

static enum err note_fault(struct checker *checker, int64_t id, enum verdict verdict)
{
    db_bind_i64(checker->fault, ":id", id);
    db_bind_text(checker->fault, ":what", verdict == VERDICT_SHAPE ? SLICE("shape") : SLICE("signature"));
    enum err err =
        sqlite3_step(checker->fault) == SQLITE_DONE ? ERR_NONE : db_fail(checker->db, doing, checker->error);
    sqlite3_reset(checker->fault);
    return err;
}

static enum err check_lines(struct checker *checker)
{
    sqlite3_stmt *line;
    enum err err = db_prepare(checker->db,
        "SELECT id, receipt, receipt_key FROM temp.audit_market_journal WHERE receipt IS NOT NULL", doing,
        &line, checker->error);
    if (err != ERR_NONE)
        return err;
    int rc;
    while ((rc = sqlite3_step(line)) == SQLITE_ROW && err == ERR_NONE) {
        enum verdict verdict = judge(checker, db_text(line, 1), db_text(line, 2));
        if (verdict != VERDICT_SIGNED)
            err = note_fault(checker, sqlite3_column_int64(line, 0), verdict);
    }
    if (err == ERR_NONE && rc != SQLITE_DONE)
        err = db_fail(checker->db, doing, checker->error);
    sqlite3_finalize(line);
    return err;
}

static enum err check_all(sqlite3 *db, struct error *error)
{
    struct checker checker = {.db = db, .error = error};
    strbuf_init_heap(&checker.canonical, CANONICAL_BYTES_MAX);
    enum err err = db_prepare(
        db, "SELECT key, type, atom FROM json_each(:receipt) ORDER BY key", doing, &checker.members, error);
    if (err == ERR_NONE)
        err = db_prepare(
            db, "INSERT INTO temp.audit_receipt_faults VALUES (:id, :what)", doing, &checker.fault, error);
    if (err == ERR_NONE)
        err = check_lines(&checker);
    sqlite3_finalize(checker.members);
    sqlite3_finalize(checker.fault);
    strbuf_fini(&checker.canonical);
    return err;
}

/* --- the key --- */

static void make_key(
    const unsigned char secret[STORE_SECRET_BYTES], char digits[crypto_sign_PUBLICKEYBYTES * 2 + 1])
{
    static const unsigned char purpose[] = "doorbuster receipts";
    unsigned char seed[crypto_auth_hmacsha256_BYTES];
    unsigned char public_key[crypto_sign_PUBLICKEYBYTES];
    unsigned char secret_key[crypto_sign_SECRETKEYBYTES];
    crypto_auth_hmacsha256_state state;
    _Static_assert(sizeof seed == crypto_sign_SEEDBYTES, "a seed is one hash");
    (void)crypto_auth_hmacsha256_init(&state, secret, STORE_SECRET_BYTES);
    (void)crypto_auth_hmacsha256_update(&state, purpose, sizeof purpose - 1);
    (void)crypto_auth_hmacsha256_final(&state, seed);
    (void)crypto_sign_seed_keypair(public_key, secret_key, seed);
    (void)sodium_bin2hex(digits, crypto_sign_PUBLICKEYBYTES * 2 + 1, public_key, sizeof public_key);
    sodium_memzero(&state, sizeof state);
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(secret_key, sizeof secret_key);
}

static enum err note_key(sqlite3 *db, const char *digits, struct error *error)
{
    sqlite3_stmt *stmt;
    enum err err = db_prepare(db, "INSERT INTO temp.audit_receipt_key VALUES (:key)", doing, &stmt, error);
    if (err != ERR_NONE)
        return err;
    db_bind_text(stmt, ":key", slice_cstr(digits));
    if (sqlite3_step(stmt) != SQLITE_DONE)
        err = db_fail(db, doing, error);
    sqlite3_finalize(stmt);
    return err;
}

enum err receipts_check(
    const struct snapshot *snapshot, const char *store, struct pg_conn *within, struct error *error)
{
    unsigned char secret[STORE_SECRET_BYTES];
    char digits[crypto_sign_PUBLICKEYBYTES * 2 + 1];
    if (sodium_init() < 0)
        return error_set(error, ERR_IO, "cannot %s: libsodium does not start", doing);
    enum err err = store_secret_read(snapshot, store, within, "receipts are signed", secret, error);
    if (err != ERR_NONE)
        return err;
    make_key(secret, digits);
    sodium_memzero(secret, sizeof secret);
    err = db_exec(snapshot->db, tables_sql, doing, error);
    if (err == ERR_NONE)
        err = note_key(snapshot->db, digits, error);
    return err == ERR_NONE ? check_all(snapshot->db, error) : err;
}
