/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain reads: a connection of their own, one query for however many questions. A connection that has broken
 * is made again with the next question.
 */
#include "store/postgres_reader.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"

enum { SECOND_ATTEMPT_MS = 1000, NS_PER_MS = 1000000 };

enum err postgres_reader_open(struct store *base, struct store_reader **reader_out, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    struct postgres_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return error_set(error, ERR_MEMORY, "no memory for a reader");
    reader->base.store = base;
    (void)snprintf(reader->application_name, sizeof reader->application_name, "%s reader %u",
        store->application_name, atomic_fetch_add(&store->readers_opened, 1) + 1);
    link_init(&reader->link, store->url, reader->application_name, postgres_reads, READ_COUNT);
    *reader_out = &reader->base;
    return ERR_NONE; /* it connects when it is asked something */
}

void postgres_reader_close(struct store_reader *base)
{
    struct postgres_reader *reader = (struct postgres_reader *)base;
    link_close(&reader->link);
    for (int i = 0; i < READ_COLUMNS_MAX; i++)
        column_fini(&reader->columns[i]);
    free(reader);
}

/* --- asking --- */

static char *number_memory(struct postgres_reader *reader)
{
    ENSURE(reader->number_count < READ_NUMBERS_MAX);
    return reader->numbers[reader->number_count++];
}

void postgres_put_number(struct postgres_reader *reader, int64_t value)
{
    link_param(&reader->link, postgres_i64(number_memory(reader), value));
}

void postgres_put_ms(struct postgres_reader *reader, int64_t time_ms)
{
    link_param(&reader->link, postgres_ms(number_memory(reader), time_ms));
}

enum err postgres_put_columns(struct postgres_reader *reader, int count, struct error *error)
{
    for (int i = 0; i < count; i++) {
        struct slice array;
        if (!column_finish(&reader->columns[i], &array))
            return error_set(error, ERR_MEMORY, "no memory to ask the database");
        link_param(&reader->link, array);
    }
    return ERR_NONE;
}

/* What is sent for a question, in order. */
static size_t steps_of(const struct inquiry *inquiry, enum postgres_read steps[4])
{
    size_t count = 0;
    if (inquiry->is_long) {
        steps[count++] = READ_BEGIN;
        steps[count++] = READ_ALLOW_LONG;
    }
    steps[count++] = inquiry->read;
    if (inquiry->is_long)
        steps[count++] = READ_COMMIT;
    return count;
}

static enum err send_steps(struct postgres_reader *reader, const struct inquiry *inquiry,
    const enum postgres_read *steps, size_t count, struct error *error)
{
    enum err err = ERR_NONE;
    reader->number_count = 0;
    for (size_t i = 0; i < count && err == ERR_NONE; i++) {
        if (steps[i] == inquiry->read)
            err = inquiry->put(reader, inquiry->asked, error);
        if (err == ERR_NONE)
            err = link_send(&reader->link, steps[i], error);
    }
    return err == ERR_NONE ? link_sync(&reader->link, error) : err;
}

static enum err receive_steps(struct postgres_reader *reader, const struct inquiry *inquiry,
    const enum postgres_read *steps, size_t count, struct error *error)
{
    enum err err = ERR_NONE;
    for (size_t i = 0; i < count && err == ERR_NONE; i++) {
        PGresult *result;
        err = link_result(&reader->link, steps[i], &result, error);
        if (err == ERR_NONE && steps[i] == inquiry->read)
            err = inquiry->take(reader, result, inquiry->asked, error);
        PQclear(result);
    }
    return err;
}

static enum err ask(struct postgres_reader *reader, const struct inquiry *inquiry, struct error *error)
{
    struct link *link = &reader->link;
    enum postgres_read steps[4];
    size_t count = steps_of(inquiry, steps);
    enum err err = link_open(link, error);
    if (err != ERR_NONE)
        return err;
    link_begin(link, inquiry->is_long ? POSTGRES_COUNT_MS : POSTGRES_READ_MS);
    err = send_steps(reader, inquiry, steps, count, error);
    if (err != ERR_NONE) {
        link_close(link); /* half a pipeline has gone out */
        return err;
    }
    err = receive_steps(reader, inquiry, steps, count, error);
    bool leaves_transaction = err != ERR_NONE && inquiry->is_long;
    if (link->conn != NULL && (link_end(link, NULL) != ERR_NONE || leaves_transaction))
        link_close(link);
    return err;
}

enum err postgres_inquire(struct postgres_reader *reader, const struct inquiry *inquiry, struct error *error)
{
    bool was_open = reader->link.conn != NULL;
    int64_t late_ns = clock_mono_ns() + (int64_t)SECOND_ATTEMPT_MS * NS_PER_MS;
    enum err err = ask(reader, inquiry, error);
    if (err == ERR_UNAVAILABLE && was_open && reader->link.conn == NULL && clock_mono_ns() < late_ns)
        err = ask(reader, inquiry, error);
    return err;
}

/* --- purchases --- */

struct lookups {
    struct purchase_lookup *lookups;
    size_t count;
};

static enum err put_lookups(struct postgres_reader *reader, const void *asked, struct error *error)
{
    const struct lookups *all = asked;
    column_start(&reader->columns[0], POSTGRES_TEXT);
    column_start(&reader->columns[1], POSTGRES_TEXT);
    for (size_t i = 0; i < all->count; i++) {
        column_put_text(&reader->columns[0], all->lookups[i].sku);
        column_put_text(&reader->columns[1], all->lookups[i].user);
    }
    return postgres_put_columns(reader, 2, error);
}

static enum err take_lookups(
    struct postgres_reader *reader, const PGresult *result, void *asked, struct error *error)
{
    const struct lookups *all = asked;
    for (int row = 0; row < PQntuples(result); row++) {
        size_t place = (size_t)result_i64(result, row, 0) - 1;
        ENSURE(place < all->count);
        struct purchase_lookup *lookup = &all->lookups[place];
        lookup->is_found = true;
        lookup->row.id = result_i64(result, row, 1);
        lookup->row.purchased_ms = result_ms(result, row, 2);
    }
    return ERR_NONE;
}

enum err postgres_reader_purchases(
    struct store_reader *base, struct purchase_lookup *lookups, size_t count, struct error *error)
{
    struct lookups all = {lookups, count};
    const struct inquiry inquiry = {
        .read = READ_PURCHASES, .put = put_lookups, .take = take_lookups, .asked = &all};
    for (size_t i = 0; i < count; i++)
        lookups[i].is_found = false;
    return postgres_inquire((struct postgres_reader *)base, &inquiry, error);
}

/* --- what a product has sold --- */

static enum err put_totals(struct postgres_reader *reader, const void *asked, struct error *error)
{
    const struct sale_totals *totals = asked;
    postgres_put_number(reader, totals->product_id);
    return ERR_NONE;
}

static enum err take_totals(
    struct postgres_reader *reader, const PGresult *result, void *asked, struct error *error)
{
    char name[POSTGRES_NAME_LEN_MAX];
    struct sale_totals *totals = asked;
    totals->is_found = PQntuples(result) == 1;
    if (!totals->is_found)
        return ERR_NONE;
    totals->initial_stock = result_i64(result, 0, 0);
    totals->stock = result_i64(result, 0, 1);
    totals->per_user_limit = result_i64(result, 0, 2);
    totals->unit_count = result_i64(result, 0, 5);
    totals->buyer_count = result_i64(result, 0, 6);
    totals->payer_unit_count = result_i64(result, 0, 7);
    if (sale_state_from_name(result_text(result, 0, 3), &totals->state) &&
        end_reason_from_name(result_text(result, 0, 4), &totals->end_reason))
        return ERR_NONE;
    postgres_name(reader->link.url, name);
    return error_set(error, ERR_CORRUPT, "product %lld in %s is in a state that doorbuster never writes",
        (long long)totals->product_id, name);
}

enum err postgres_reader_sale_totals(
    struct store_reader *base, struct sale_totals *totals, struct error *error)
{
    const struct inquiry inquiry = {
        .read = READ_SALE_TOTALS, .is_long = true, .put = put_totals, .take = take_totals, .asked = totals};
    return postgres_inquire((struct postgres_reader *)base, &inquiry, error);
}
