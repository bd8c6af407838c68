/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain reads: a connection of their own, one query for however many questions. A connection that has broken
 * is made again with the next question.
 */
#include "store/postgres_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"

enum { READ_PURCHASES, READ_BEGIN, READ_ALLOW_LONG, READ_SALE_TOTALS, READ_COMMIT, READ_COUNT };

enum { SECOND_ATTEMPT_MS = 1000, NS_PER_MS = 1000000 };

static const struct link_statement statements[READ_COUNT] = {
    [READ_PURCHASES] =
        {"SELECT asked.place, found.id, found.purchased_at"
         " FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (sku, user_id, place),"
         " LATERAL (SELECT purchase_log.id, purchased_at FROM products, purchase_log"
         " WHERE products.sku = asked.sku AND product_id = products.id AND user_id = asked.user_id"
         " ORDER BY nth DESC LIMIT 1) AS found",
            "look up purchases in"},
    [READ_BEGIN] = {"BEGIN READ ONLY", "read from"},
    [READ_ALLOW_LONG] = {"SET LOCAL statement_timeout = '25s'", "read from"},
    [READ_SALE_TOTALS] =
        {"SELECT initial_stock, stock, per_user_limit, state, coalesce(end_reason, ''), units, buyers"
         " FROM products, (SELECT count(*) AS units, count(DISTINCT user_id) AS buyers FROM purchase_log"
         " WHERE product_id = $1::bigint) AS sold WHERE products.id = $1::bigint",
            "count the purchases of a product in"},
    [READ_COMMIT] = {"COMMIT", "read from"},
};

struct postgres_reader {
    struct store_reader base;
    char application_name[64];
    struct link link;
    struct column skus;
    struct column users;
};

enum err postgres_reader_open(struct store *base, struct store_reader **reader_out, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    struct postgres_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return error_set(error, ERR_MEMORY, "no memory for a reader");
    reader->base.store = base;
    (void)snprintf(reader->application_name, sizeof reader->application_name, "%s reader %u",
        store->application_name, atomic_fetch_add(&store->readers_opened, 1) + 1);
    link_init(&reader->link, store->url, reader->application_name, statements, READ_COUNT);
    *reader_out = &reader->base;
    return ERR_NONE; /* it connects when it is asked something */
}

static void take_row(const PGresult *result, int row, struct purchase_lookup *lookups, size_t count)
{
    size_t place = (size_t)postgres_get_i64(PQgetvalue(result, row, 0)) - 1;
    ENSURE(place < count);
    lookups[place].is_found = true;
    lookups[place].row.id = postgres_get_i64(PQgetvalue(result, row, 1));
    lookups[place].row.purchased_ms = postgres_get_ms(PQgetvalue(result, row, 2));
}

static enum err ask(
    struct postgres_reader *reader, struct purchase_lookup *lookups, size_t count, struct error *error)
{
    struct link *link = &reader->link;
    struct slice skus;
    struct slice users;
    PGresult *result = NULL;
    if (!column_finish(&reader->skus, &skus) || !column_finish(&reader->users, &users))
        return error_set(error, ERR_MEMORY, "no memory to look up %zu purchases", count);
    enum err err = link_open(link, error);
    if (err != ERR_NONE)
        return err;
    link_begin(link, POSTGRES_READ_MS);
    link_param(link, skus);
    link_param(link, users);
    err = link_send(link, READ_PURCHASES, error);
    if (err == ERR_NONE)
        err = link_sync(link, error);
    if (err == ERR_NONE)
        err = link_result(link, READ_PURCHASES, &result, error);
    for (int row = 0; err == ERR_NONE && row < PQntuples(result); row++)
        take_row(result, row, lookups, count);
    PQclear(result);
    if (link->conn != NULL && link_end(link, NULL) != ERR_NONE)
        link_close(link);
    return err;
}

enum err postgres_reader_purchases(
    struct store_reader *base, struct purchase_lookup *lookups, size_t count, struct error *error)
{
    struct postgres_reader *reader = (struct postgres_reader *)base;
    bool was_open = reader->link.conn != NULL;
    int64_t late_ns = clock_mono_ns() + (int64_t)SECOND_ATTEMPT_MS * NS_PER_MS;
    column_start(&reader->skus, POSTGRES_TEXT);
    column_start(&reader->users, POSTGRES_TEXT);
    for (size_t i = 0; i < count; i++) {
        lookups[i].is_found = false;
        column_put_text(&reader->skus, lookups[i].sku);
        column_put_text(&reader->users, lookups[i].user);
    }
    enum err err = ask(reader, lookups, count, error);
    /* One that was cut while nobody used it: a question may be asked twice, when the first time was quick. */
    if (err == ERR_UNAVAILABLE && was_open && reader->link.conn == NULL && clock_mono_ns() < late_ns)
        err = ask(reader, lookups, count, error);
    return err;
}

/* --- what a product has sold --- */

static struct slice get_text(const PGresult *result, int column)
{
    return slice_make(PQgetvalue(result, 0, column), (size_t)PQgetlength(result, 0, column));
}

static enum err take_totals(const struct postgres_reader *reader, const PGresult *result,
    struct sale_totals *totals, struct error *error)
{
    char name[POSTGRES_NAME_LEN_MAX];
    totals->is_found = PQntuples(result) == 1;
    if (!totals->is_found)
        return ERR_NONE;
    totals->initial_stock = postgres_get_i64(PQgetvalue(result, 0, 0));
    totals->stock = postgres_get_i64(PQgetvalue(result, 0, 1));
    totals->per_user_limit = postgres_get_i64(PQgetvalue(result, 0, 2));
    totals->unit_count = postgres_get_i64(PQgetvalue(result, 0, 5));
    totals->buyer_count = postgres_get_i64(PQgetvalue(result, 0, 6));
    if (sale_state_from_name(get_text(result, 3), &totals->state) &&
        end_reason_from_name(get_text(result, 4), &totals->end_reason))
        return ERR_NONE;
    postgres_name(reader->link.url, name);
    return error_set(error, ERR_CORRUPT, "product %lld in %s is in a state that doorbuster never writes",
        (long long)totals->product_id, name);
}

static enum err ask_totals(struct postgres_reader *reader, struct sale_totals *totals, struct error *error)
{
    static const int reads[] = {READ_BEGIN, READ_ALLOW_LONG, READ_SALE_TOTALS, READ_COMMIT};
    struct link *link = &reader->link;
    char memory[8];
    enum err err = link_open(link, error);
    if (err != ERR_NONE)
        return err;
    link_begin(link, POSTGRES_COUNT_MS);
    for (int i = 0; i < 4 && err == ERR_NONE; i++) {
        if (reads[i] == READ_SALE_TOTALS)
            link_param(link, postgres_i64(memory, totals->product_id));
        err = link_send(link, reads[i], error);
    }
    if (err == ERR_NONE)
        err = link_sync(link, error);
    for (int i = 0; i < 4 && err == ERR_NONE; i++) {
        PGresult *result;
        err = link_result(link, reads[i], &result, error);
        if (err == ERR_NONE && reads[i] == READ_SALE_TOTALS)
            err = take_totals(reader, result, totals, error);
        PQclear(result);
    }
    if (link->conn != NULL && (link_end(link, NULL) != ERR_NONE || err != ERR_NONE))
        link_close(link); /* a transaction may be open */
    return err;
}

enum err postgres_reader_sale_totals(
    struct store_reader *base, struct sale_totals *totals, struct error *error)
{
    struct postgres_reader *reader = (struct postgres_reader *)base;
    bool was_open = reader->link.conn != NULL;
    enum err err = ask_totals(reader, totals, error);
    if (err == ERR_UNAVAILABLE && was_open && reader->link.conn == NULL)
        err = ask_totals(reader, totals, error); /* as above */
    return err;
}

void postgres_reader_close(struct store_reader *base)
{
    struct postgres_reader *reader = (struct postgres_reader *)base;
    link_close(&reader->link);
    column_fini(&reader->skus);
    column_fini(&reader->users);
    free(reader);
}
