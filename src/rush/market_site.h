/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a crowd finds its marketplace: makes the product before the run, registers wallets, writes the
 * requests of their owners, and knows what must be in each wallet and left of the product. Every run has
 * names of its own, so runs of one server do not meet.
 *
 * What squads write and read is so by many threads at once, each slot by one of them; all else belongs to the
 * thread that called rush_run.
 */
#ifndef DOORBUSTER_RUSH_MARKET_SITE_H
#define DOORBUSTER_RUSH_MARKET_SITE_H

#include "rush/journal.h"
#include "rush/market_answer.h"

enum { MARKET_EMAIL_SIZE = 64, MARKET_ID_SIZE = 24, MARKET_TAG_SIZE = 17, MARKET_OPENING_MINOR = 10000 };

/* An account of this run. */
struct market_wallet {
    struct market_key key;
    char email[MARKET_EMAIL_SIZE];
    struct market_token token;
    int64_t opening_minor;         /* what the server said at registration; -1: not registered */
    _Atomic int64_t balance_minor; /* that, and all that was acknowledged since */
    int64_t told_minor;            /* what the server said last; -1: nothing */
};

/* One spend or transfer that one session asks for, as often as it takes. */
struct market_slot {
    struct market_wallet *wallet;
    struct market_intent intent;
    char nonce[MARKET_NONCE_SIZE];
    unsigned char signature[MARKET_SIGNATURE_BYTES];
    struct market_receipt receipt; /* of the last acknowledgement */
    unsigned outcome;              /* of the last answer; 0: there was none (OUTCOME_TIMEOUT) */
    bool is_answered;
};

struct market_product {
    char id[MARKET_ID_SIZE];
    int64_t price_minor;
    int64_t supplied;
};

struct market_site {
    char tag[MARKET_TAG_SIZE]; /* of this run, in all its names */
    unsigned char receipt_key[MARKET_KEY_BYTES];
    struct journal_writer journal; /* for what is asked before and after the crowd */
    unsigned product_count;
};

/* Draws the run's tag. */
void market_site_init(struct market_site *site);
void market_site_fini(struct market_site *site);

/* Asks for the key that signs receipts and begins the journal. */
MUST_CHECK enum err market_site_set_up(struct market_site *site, struct rush *rush, struct error *error);

/* Puts a featured product on sale. product->price_minor and supplied are the caller's to fill in. */
MUST_CHECK enum err market_site_add_product(
    struct market_site *site, struct rush *rush, struct market_product *product, struct error *error);

/* Makes the keys and the address of wallet `number` of this run; it is not registered yet. */
void market_wallet_make(struct market_wallet *wallet, const struct market_site *site, uint64_t number);

/* Registers it, one request, and waits; with a line in the journal. */
MUST_CHECK enum err market_site_register(
    struct market_site *site, struct rush *rush, struct market_wallet *wallet, struct error *error);

/* Issues coins to it, as the operator. */
MUST_CHECK enum err market_site_credit(struct market_site *site, struct rush *rush,
    struct market_wallet *wallet, int64_t amount_minor, struct error *error);

/* Reads its balance into told_minor, which stays -1 when nobody tells for patience_ms. */
void market_site_read_balance(struct rush *rush, struct market_wallet *wallet, int64_t patience_ms);

/*
 * Units left, as the catalogue tells; -1: it does not, for as long as patience_ms. What another node shows
 * may be a moment old: while it is not between `least` and `most`, it is asked for again, for a second.
 */
int64_t market_site_ask_stock(struct rush *rush, const struct market_product *product, int64_t least,
    int64_t most, int64_t patience_ms);

/* --- slots --- */

/* Seconds since 1970, for intents. */
int64_t market_now_s(void);

/* Gives it a nonce and forgets what was answered; it is not signed yet. `number` is one that no other slot of
 * its wallet in this run has, or the nonce is the same. */
void market_slot_name(
    struct market_slot *slot, const struct market_site *site, uint64_t number, int64_t timestamp_s);

/* Names and signs it now. */
void market_slot_sign(struct market_slot *slot, const struct market_site *site, uint64_t number);

/* --- requests, for write --- */

void market_write_registration(
    const struct rush *rush, const struct market_wallet *wallet, struct strbuf *request);
void market_write_challenge(
    const struct rush *rush, const struct market_wallet *wallet, struct strbuf *request);
void market_write_verification(const struct rush *rush, const struct market_wallet *wallet,
    const struct market_challenge *challenge, struct strbuf *request);
void market_write_featured(const struct rush *rush, struct strbuf *request);
void market_write_balance(
    const struct rush *rush, const struct market_wallet *wallet, struct strbuf *request);
void market_write_transactions(
    const struct rush *rush, const struct market_wallet *wallet, struct strbuf *request);
void market_write_transact(const struct rush *rush, const struct market_slot *slot, struct strbuf *request);

/* --- answers, for judge --- */

/* Keeps the answer. True when it is the slot's first acknowledgement. */
bool market_slot_judge(struct market_slot *slot, const struct reply *reply, struct judgement *judgement);

/* Moves the slot's coins in the expected balances: of its wallet, and of `payee`; NULL: the shop. */
void market_slot_settle(struct market_slot *slot, struct market_wallet *payee);

/* An answer that says that the same intent is to be sent again. */
bool market_is_passing(unsigned outcome);

/* The journal's line of a slot, and of a registration. */
void market_slot_note(const struct market_slot *slot, struct journal_market *line);
void market_wallet_note(const struct market_wallet *wallet, struct journal_market *line);

/* --- receipts --- */

struct market_books {
    uint64_t receipt_count;
    uint64_t unsigned_count; /* receipts whose signature is not that of the server's key */
    uint64_t repeated_count; /* receipts with a number, or an order, that another one has too */
};

/* Of all slots that were acknowledged, which are different purchases or transfers. */
struct market_books market_books_of(
    const struct market_site *site, const struct market_slot *slots, size_t count);

#endif
