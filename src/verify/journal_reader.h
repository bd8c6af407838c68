/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the crowd was told: reads journals of `doorbuster rush` into temporary tables beside the snapshot, so
 * that invariants can compare both. The format is a contract of its own, JSON objects, one a line:
 *
 *   {"journal":1,"scenario":"purchase-load","sku":"S","users":1000}                     a file's first line
 *   {"sku":"S","user":"u1","outcome":"acknowledged","purchaseNo":"PUR-20261121-0001"}
 *   {"sku":"S","user":"u2","outcome":"refused","code":"SALE_NOT_ACTIVE"}
 *   {"sku":"S","user":"u3","outcome":"unknown","code":"timeout"}
 *
 * or, of orders, which are told by their own names:
 *
 *   {"journal":1,"scenario":"async-flash","face":"orders"}                              or "face":"intake"
 *   {"order":"0d3c8a52-...","outcome":"acknowledged","status":"pending"}
 *   {"order":"7b1f09e4-...","outcome":"refused","code":"HTTP_503"}
 *   {"order":"c2d4f7aa-...","outcome":"unknown","code":"timeout"}     intake: without "order", nobody knows
 * it
 *
 * or, of vending machines:
 *
 *   {"journal":1,"scenario":"ladder","face":"vending"}
 *   {"request":"start-work","outcome":"acknowledged","machine":3,"lease":17}
 *   {"request":"choose-product","outcome":"acknowledged","machine":3,"product":8,"count":1,"lease":17}
 *   either with another outcome and a code; what is not known is missing. "lease" of a choice is the one that
 *   its user was given, which the request need not have named
 *
 * or, of wallets:
 *
 *   {"journal":1,"scenario":"double-spend","face":"marketplace","receipt_key":"9f..."}
 *   {"request":"register","outcome":"acknowledged","key":"3b...","email":"a@b"}
 *   {"request":"spend","outcome":"acknowledged","key":"3b...","nonce":"n-1","receipt":{"action":"spend",...}}
 *   {"request":"transfer","outcome":"acknowledged","key":"3b...","nonce":"n-2","receipt":{...}}
 *   {"request":"spend","outcome":"refused","code":"INSUFFICIENT_FUNDS","key":"3b...","nonce":"n-3"}
 *   {"request":"spend","outcome":"unknown","code":"timeout","key":"3b...","nonce":"n-4"}
 *
 * Keys have 64 hexadecimal digits: "receipt_key" is what GET /api/keys says, "key" whose wallet it is, of a
 * payment the payer's. "receipt" is what the server sent, signature and all. Refused: this request has
 * changed nothing; another one with the same key and nonce may have been accepted.
 *
 * Members that are not listed are ignored. A line without "sku" speaks of the header's. The last line of a
 * file may be torn (the writer was killed): a line that has no end and is no JSON is left out and reported;
 * any other line that is none of the above makes the journal unusable, because nobody knows what it said.
 *
 *   temp.audit_journal   id, file (from 1), line, sku, user_id, outcome, code, purchase_no, purchase_id
 *                        (the digits that end the number; NULL: it is no purchase number)
 *   temp.audit_order_journal   id, file, line, face ("orders", "intake"), order_id, outcome, code,
 *                              status, number (of a trading order: see trading_names.h)
 *   temp.audit_vending_journal   id, file, line, request, outcome, code, machine, product, units, lease
 *   temp.audit_market_journal   id, file, line, request, outcome, code, key, email, nonce, receipt_key,
 *                              receipt (as JSON), and what it says (NULL where it does not): transfer_id,
 *                              action, amount_minor, product_id, payee, order_id, purchase_id (the digits
 *                              that end the order's number), second, payer, receipt_nonce
 *   temp.audit_keys            when there are such lines, one row per wallet: key (64 digits), account_id
 *   temp.audit_named           ... one row per spend and transfer: from_account, nonce, id
 */
#ifndef DOORBUSTER_VERIFY_JOURNAL_READER_H
#define DOORBUSTER_VERIFY_JOURNAL_READER_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct journal_counts {
    int64_t lines; /* without headers and torn ones */
    int64_t acknowledged;
    int64_t refused;
    int64_t unknown;
    int64_t order_lines;   /* of these, about orders with slow payment */
    int64_t trading_lines; /* ... about trading orders */
    int64_t vending_lines; /* ... about vending machines */
    int64_t market_lines;  /* ... about wallets */
    int64_t torn_bytes;    /* 0: no file ends in a torn line */
};

/* Makes the tables, empty. Needs the tables of sums.h. */
MUST_CHECK enum err journal_reader_init(sqlite3 *db, struct error *error);

/*
 * Adds a file; `number` counts them from 1. A duplicate-user header also fills temp.audit_expected. ERR_IO:
 * cannot be read; ERR_NEWER: of a later version; ERR_REFUSED: it is no journal, has a broken line, or says
 * nothing. The message names file and line.
 */
MUST_CHECK enum err journal_reader_load(
    sqlite3 *db, const char *path, int number, struct journal_counts *counts, struct error *error);

/* After the last one: makes what is needed to look lines up. */
MUST_CHECK enum err journal_reader_finish(sqlite3 *db, struct error *error);

#endif
