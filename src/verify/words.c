/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/words.h"

#include <string.h>

#include "base/slice.h"
#include "base/strbuf.h"
#include "verify/db.h"

enum { WORDS_MAX = 128 };

static void put_result(sqlite3_context *context, const struct strbuf *text)
{
    if (text->has_overflowed)
        sqlite3_result_error_toobig(context);
    else
        sqlite3_result_text(context, text->base, (int)text->len, SQLITE_TRANSIENT);
}

static struct slice text_of(sqlite3_value *value)
{
    const unsigned char *text = sqlite3_value_text(value);
    return text == NULL ? SLICE("") : slice_make(text, (size_t)sqlite3_value_bytes(value));
}

static void audit_count(sqlite3_context *context, int count, sqlite3_value **values)
{
    char memory[WORDS_MAX];
    struct strbuf text;
    (void)count;
    if (sqlite3_value_type(values[0]) == SQLITE_NULL)
        return; /* NULL */
    int64_t number = sqlite3_value_int64(values[0]);
    strbuf_init(&text, memory, sizeof memory);
    strbuf_put_i64(&text, number);
    strbuf_put_char(&text, ' ');
    strbuf_put(&text, text_of(values[number == 1 ? 1 : 2]));
    put_result(context, &text);
}

static bool is_whole(struct slice digits)
{
    for (size_t i = 0; i < digits.len; i++)
        if (digits.base[i] < '0' || digits.base[i] > '9')
            return false;
    return digits.len > 0;
}

static void audit_coins(sqlite3_context *context, int count, sqlite3_value **values)
{
    char memory[WORDS_MAX];
    struct strbuf text;
    (void)count;
    struct slice digits = text_of(values[0]);
    bool is_negative = digits.len > 0 && digits.base[0] == '-';
    if (is_negative)
        digits = slice_make(digits.base + 1, digits.len - 1);
    if (!is_whole(digits)) {
        sqlite3_result_value(context, values[0]);
        return;
    }
    size_t whole = digits.len > 2 ? digits.len - 2 : 0;
    strbuf_init(&text, memory, sizeof memory);
    strbuf_put(&text, is_negative ? SLICE("-") : SLICE(""));
    strbuf_put(&text, whole > 0 ? slice_make(digits.base, whole) : SLICE("0"));
    strbuf_put_char(&text, '.');
    strbuf_put(&text, digits.len < 2 ? SLICE("0") : SLICE(""));
    strbuf_put(&text, slice_make(digits.base + whole, digits.len - whole));
    put_result(context, &text);
}

enum err words_register(sqlite3 *db, struct error *error)
{
    static const struct {
        const char *name;
        int arguments;
        void (*function)(sqlite3_context *context, int count, sqlite3_value **values);
    } rows[] = {{"audit_count", 3, audit_count}, {"audit_coins", 1, audit_coins}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (sqlite3_create_function_v2(db, rows[i].name, rows[i].arguments,
                SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, rows[i].function, NULL, NULL, NULL) != SQLITE_OK)
            return db_fail(db, "set up the audit", error);
    return ERR_NONE;
}
