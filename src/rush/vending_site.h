/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a crowd finds its vending machines: makes them and their products before the run, writes and reads
 * the two requests of a user (start-work, choose-product), and knows what must be left in the shelves.
 *
 * What is written and read by squads is so by many threads at once; all else belongs to the thread that
 * called rush_run.
 */
#ifndef DOORBUSTER_RUSH_VENDING_SITE_H
#define DOORBUSTER_RUSH_VENDING_SITE_H

#include "rush/journal.h"
#include "rush/vending.h"

enum { SITE_MACHINES_MAX = 10000, SITE_PRODUCTS = 10, SITE_REQUEST_MAX = 1024 };

/* What a product had at the beginning, and what was acknowledged as sold since. */
struct shelf {
    int64_t product;
    int64_t supplied;
    _Atomic int64_t sold;
};

struct vending_site {
    struct vending_items machines;
    struct shelf *shelves;
    size_t shelf_count;
    int64_t supplied;
    char start_request[SITE_REQUEST_MAX];
    size_t start_request_len;
};

/* Where the site keeps in session->memory what the user has. */
enum site_memory { SITE_MACHINE, SITE_LEASE, SITE_PRODUCT, SITE_MEMORY_COUNT };

/* ERR_USAGE: options that make no sense for vending machines. options.machines and options.stock (units of
 * each product) are the caller's to fill in. */
MUST_CHECK enum err site_init(struct vending_site *site, const struct rush *rush, struct error *error);
void site_fini(struct vending_site *site);

/* Removes what machines and products there are and makes options.machines, and SITE_PRODUCTS of
 * options.stock each; with options.is_sale_kept takes what it finds. */
MUST_CHECK enum err site_set_up(struct vending_site *site, struct rush *rush, struct error *error);

/* An operator's request. */
void site_put_admin(
    const struct rush *rush, struct strbuf *request, const char *method, const char *path, struct slice body);

/* --- a user, for write, judge and note_vending --- */

/* session->step 0: start-work; else choose-product of a product drawn by (series, session->serial), one
 * unit, with the machine of the user's start-work. */
void site_write(const struct vending_site *site, const struct rush *rush, uint64_t series,
    struct session *session, struct strbuf *request);

/* The session goes on when the user got a machine. */
void site_judge(struct vending_site *site, struct session *session, const struct reply *reply,
    struct judgement *judgement);
void site_note(const struct rush *rush, const struct session *session, struct journal_vending *line);

/* --- the stock --- */

/* What was supplied less what was acknowledged. */
int64_t site_expected_stock(const struct vending_site *site);

/* What the server says is left, and how many products have another stock than they should; -1 when nobody
 * tells. */
int64_t site_ask_stock(struct vending_site *site, struct rush *rush, uint64_t *off_count);

/* Adds as an invariant that both are the same. */
void site_judge_stock(struct vending_site *site, struct rush *rush);

#endif
