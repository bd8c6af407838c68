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

/* path NULL: no journal, and everything below does nothing. ERR_IO when the file cannot be made. */
MUST_CHECK enum err journal_open(
    struct journal *journal, const char *path, const struct rush *rush, struct error *error);
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

void journal_flush(struct journal_writer *writer);

#endif
