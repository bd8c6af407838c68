/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: what the crowd was told, for an auditor that compares it with the store afterwards. A text
 * file of JSON objects, one a line (LF), UTF-8. The first line is the header:
 *
 *   {"journal":1,"scenario":"purchase-load","sku":"STRESS-LOAD-TEST","users":1000}
 *
 * "journal" is the version of this format; "users" is how many different names the buyers have, 0 when every
 * request has a name of its own. Each further line is one purchase attempt, written once its fate is known,
 * in no order:
 *
 *   {"sku":"S","user":"stress-user-00001","outcome":"acknowledged","purchaseNo":"PUR-20261120-0001"}
 *       200 with success:true: the purchase must be in the store exactly once, under this number
 *   {"sku":"S","user":"stress-user-00002","outcome":"refused","code":"SOLD_OUT"}
 *       a business refusal, a status from 400 to 499, or 503 with any code but OUTCOME_UNKNOWN; code is the
 * server's error.code, HTTP_<status> when it gave none, or NOT_SENT when no byte of the request left: the
 * attempt must have changed nothing
 *   {"sku":"S","user":"stress-user-00003","outcome":"unknown","code":"timeout"}
 *       sent, and no answer that says what became of it (code: timeout, connection_lost, malformed_reply,
 *       cut_short, or as above for another status): it may be in the store, at most once
 *
 * A journal of orders (order contracts 2 and 2b) names their face in the header and knows neither SKU nor
 * users:
 *
 *   {"journal":1,"scenario":"async-flash","face":"orders"}       or "intake"
 *   {"order":"0d3c8a52-...","outcome":"acknowledged","status":"pending"}
 *       the order must be in the store exactly once; status is what the answer said: pending (202), completed
 *       (200), failed (402), or QUEUED (201 of the intake)
 *   {"order":"7b1f09e4-...","outcome":"refused","code":"HTTP_503"}
 *       a status from 400 to 499, or 503: the order must not be in the store
 *   {"order":"c2d4f7aa-...","outcome":"unknown","code":"timeout"}
 *       it may be in the store, at most once
 *
 * Orders of the face "orders" are numbered by the crowd, so that an unanswered one has a name too. Those of
 * the intake get their number from the server: a line of one that is not acknowledged has no "order".
 *
 * A journal of vending machines (vending contract) has a line for every start-work and every choose-product:
 *
 *   {"journal":1,"scenario":"ladder","face":"vending"}
 *   {"request":"start-work","outcome":"acknowledged","machine":3,"lease":17}
 *       200: machine 3 was this user's; lease 17 must be one of machine 3, and no other such line may have it
 *   {"request":"start-work","outcome":"refused","code":"HTTP_409"}
 *       a status from 400 to 499, or 503: nobody got a machine or a place in the line through it
 *   {"request":"start-work","outcome":"unknown","code":"timeout"}
 *       a machine may have been given to nobody
 *   {"request":"choose-product","outcome":"acknowledged","machine":3,"product":8,"count":1,"lease":17}
 *       200: so many units were sold by this machine, once; "lease" is that of the user's start-work
 *   {"request":"choose-product","outcome":"refused","code":"HTTP_422","machine":3,"product":8,"count":1,
 *       "lease":17}                                                               (one line in the file)
 *       a status from 400 to 499, or 503: it sold nothing
 *   {"request":"choose-product","outcome":"unknown","code":"timeout","machine":3,...}
 *       as before; it may have sold, at most once
 *
 * Machines and products are told by their ids of the wire; codes are as above. "lease" is the member of that
 * name in the answer to start-work, missing when the server gave none. A lease that was acknowledged and has
 * no choose-product line was left by its user: the run was ended.
 *
 * A journal of the marketplace (marketplace contract) names the key that signs receipts, and has a line for
 * every registration, every spend and every transfer; "key" is whose wallet it is:
 *
 *   {"journal":1,"scenario":"double-spend","face":"marketplace","receipt_key":"<64 hexadecimal digits>"}
 *   {"request":"register","outcome":"acknowledged","key":"<64 hexadecimal digits>","email":"a@example.com"}
 *       201: the wallet must be there
 *   {"request":"spend","outcome":"acknowledged","key":"...","nonce":"n-1","receipt":{"action":"spend",...}}
 *       200: the receipt as it came; it must be signed, and in the store as it says, once; "transfer" alike
 *   {"request":"spend","outcome":"refused","code":"INSUFFICIENT_FUNDS","key":"...","nonce":"n-2"}
 *       a status from 400 to 499, or 503 with any code but OUTCOME_UNKNOWN: nothing was changed by this
 *       request; another with the same key and nonce may have been accepted
 *   {"request":"spend","outcome":"unknown","code":"timeout","key":"...","nonce":"n-3"}
 *       as before; it may be in the store, at most once
 *
 * Registrations that are refused or unknown look alike, with "email" for "nonce".
 *
 * Every line is written whole (several threads append to one file); what is buffered reaches the file after
 * at most 100 ms, so a killed generator loses no more than that. A run starts the file anew.
 */
#ifndef DOORBUSTER_RUSH_JOURNAL_H
#define DOORBUSTER_RUSH_JOURNAL_H

#include "base/err.h"
#include "base/strbuf.h"
#include "rush/scenario.h"

enum { JOURNAL_FLUSH_INTERVAL_MS = 100 };

struct journal {
    int fd; /* -1: none */
};

/* One a thread. */
struct journal_writer {
    const struct journal *journal;
    struct strbuf buffer;
    int failed_errno; /* the first write that failed; 0: none did */
};

/* path NULL: no journal, and everything below does nothing. Writes the first line unless the scenario
 * has_receipts. ERR_IO when the file cannot be made. */
MUST_CHECK enum err journal_open(
    struct journal *journal, const char *path, const struct rush *rush, struct error *error);
/* For scenarios whose journal has_receipts: the first line, before all others. ERR_IO when it cannot be
 * written. */
MUST_CHECK enum err journal_begin_receipts(
    const struct journal *journal, const struct rush *rush, struct slice receipt_key, struct error *error);
void journal_close(struct journal *journal);

/* False when memory is out. */
bool journal_writer_init(struct journal_writer *writer, const struct journal *journal);

/* Flushes. */
void journal_writer_fini(struct journal_writer *writer);

static inline bool journal_is_on(const struct journal_writer *writer)
{
    return writer->journal->fd >= 0;
}

void journal_add(struct journal_writer *writer, struct slice sku, struct slice user, enum truth truth,
    struct slice detail);

/* `order` may be empty: nobody knows its number. */
void journal_add_order(
    struct journal_writer *writer, struct slice order, enum truth truth, struct slice detail);

/* One request to the vending machines; numbers below 1 are not there. */
struct journal_vending {
    const char *request; /* "start-work", "choose-product" */
    enum truth truth;
    struct slice detail; /* the code, unless it was acknowledged */
    int64_t machine;
    int64_t product;
    int64_t count;
    int64_t lease;
};

void journal_add_vending(struct journal_writer *writer, const struct journal_vending *line);

/* One request to the marketplace; what is empty is not there. */
struct journal_market {
    const char *request; /* "register", "spend", "transfer"; NULL: no line */
    enum truth truth;
    struct slice detail; /* the code, unless it was acknowledged */
    struct slice key;
    struct slice nonce;
    struct slice email;
    struct slice receipt; /* JSON */
};

void journal_add_market(struct journal_writer *writer, const struct journal_market *line);

void journal_flush(struct journal_writer *writer);

#endif
