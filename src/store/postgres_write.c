/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One batch into the tables: the list of changes as statements over arrays, then COMMIT, in one pipeline and
 * one round trip.
 *
 * Changes are written in their order as far as it matters: what is added to a table gathers in columns until
 * something is removed from it. The values of products are written once, as they are at the end. Whatever
 * fails before COMMIT makes the server skip COMMIT, so an error that it tells means that nothing was changed;
 * only a connection that breaks after COMMIT was sent leaves the outcome unknown.
 */
#include "store/postgres_priv.h"

#include "base/ensure.h"
#include "core/world_work.h"

/* Which columns are whose. */
enum {
    PURCHASES = 0, /* id, product, user, nth, time */
    KEYS = 5,      /* scope, key, fingerprint, result, number, time, created */
    OLD_KEYS = 12, /* scope, key */
    NEW_WORK = 14, /* id, kind, subject, body, due, token, created */
    SET_WORK = 21, /* id, due, token */
    OLD_WORK = 24, /* id */
};

struct writer {
    struct postgres_store *store;
    const struct world *world;
    bool is_commit_sent;
    bool is_commit_refused; /* the server's answer to COMMIT itself is an error */
    size_t sent_count;      /* statements whose results are to come */
    struct error *error;
};

static struct column *column(struct writer *writer, int at)
{
    return &writer->store->columns[at];
}

static enum err send(struct writer *writer, enum postgres_statement statement)
{
    writer->sent_count++;
    return link_send(&writer->store->link, statement, writer->error);
}

/* The columns first..first + count - 1 as parameters, and empty again. */
static enum err send_columns(struct writer *writer, int first, int count, enum postgres_statement statement)
{
    for (int i = first; i < first + count; i++) {
        struct slice array;
        if (!column_finish(column(writer, i), &array))
            return error_set(writer->error, ERR_MEMORY, "no memory to write a batch");
        link_param(&writer->store->link, array);
    }
    enum err err = send(writer, statement);
    column(writer, first)->count = 0;
    return err;
}

/* --- what gathers --- */

static void start_columns(struct writer *writer, int first, const enum postgres_type *types, int count)
{
    for (int i = 0; i < count; i++)
        column_start(column(writer, first + i), types[i]);
}

static void start_purchases(struct writer *writer)
{
    static const enum postgres_type types[] = {
        POSTGRES_INT8, POSTGRES_INT8, POSTGRES_TEXT, POSTGRES_INT8, POSTGRES_TIMESTAMPTZ};
    start_columns(writer, PURCHASES, types, 5);
}

static void start_keys(struct writer *writer)
{
    static const enum postgres_type types[] = {POSTGRES_TEXT, POSTGRES_TEXT, POSTGRES_BYTEA, POSTGRES_INT8,
        POSTGRES_INT8, POSTGRES_INT8, POSTGRES_TIMESTAMPTZ};
    start_columns(writer, KEYS, types, 7);
}

static void start_old_keys(struct writer *writer)
{
    static const enum postgres_type types[] = {POSTGRES_TEXT, POSTGRES_TEXT};
    start_columns(writer, OLD_KEYS, types, 2);
}

static enum err flush_purchases(struct writer *writer)
{
    if (column_is_empty(column(writer, PURCHASES)))
        return ERR_NONE;
    enum err err = send_columns(writer, PURCHASES, 5, STATEMENT_ADD_PURCHASES);
    start_purchases(writer);
    return err;
}

static enum err flush_keys(struct writer *writer)
{
    if (column_is_empty(column(writer, KEYS)))
        return ERR_NONE;
    enum err err = send_columns(writer, KEYS, 7, STATEMENT_ADD_KEYS);
    start_keys(writer);
    return err;
}

static enum err flush_old_keys(struct writer *writer)
{
    if (column_is_empty(column(writer, OLD_KEYS)))
        return ERR_NONE;
    enum err err = send_columns(writer, OLD_KEYS, 2, STATEMENT_REMOVE_KEYS);
    start_old_keys(writer);
    return err;
}

/* Ids of work are never given out twice, so its changes need no order among one another. */
static void start_work(struct writer *writer)
{
    static const enum postgres_type types[] = {POSTGRES_INT8, POSTGRES_TEXT, POSTGRES_TEXT, POSTGRES_TEXT,
        POSTGRES_TIMESTAMPTZ, POSTGRES_INT8, POSTGRES_TIMESTAMPTZ};
    static const enum postgres_type set_types[] = {POSTGRES_INT8, POSTGRES_TIMESTAMPTZ, POSTGRES_INT8};
    start_columns(writer, NEW_WORK, types, 7);
    start_columns(writer, SET_WORK, set_types, 3);
    start_columns(writer, OLD_WORK, types, 1);
}

static enum err flush_work(struct writer *writer)
{
    enum err err = ERR_NONE;
    if (!column_is_empty(column(writer, NEW_WORK)))
        err = send_columns(writer, NEW_WORK, 7, STATEMENT_ADD_WORK);
    if (err == ERR_NONE && !column_is_empty(column(writer, SET_WORK)))
        err = send_columns(writer, SET_WORK, 3, STATEMENT_SET_WORK);
    if (err == ERR_NONE && !column_is_empty(column(writer, OLD_WORK)))
        err = send_columns(writer, OLD_WORK, 1, STATEMENT_REMOVE_WORK);
    return err;
}

/* --- the kinds of change --- */

static void put_purchase(struct writer *writer, const struct change *change)
{
    const struct buyer *buyer = change->purchase.buyer;
    column_put_i64(column(writer, PURCHASES), change->purchase.id);
    column_put_i64(column(writer, PURCHASES + 1), change->product->id);
    column_put_text(column(writer, PURCHASES + 2), slice_make(buyer->user, buyer->user_len));
    column_put_i64(column(writer, PURCHASES + 3), change->purchase.nth);
    column_put_ms(column(writer, PURCHASES + 4), change->purchase.purchased_ms);
}

static enum err add_product(struct writer *writer, const struct product *product)
{
    const struct product_values *values = &product->values;
    struct link *link = &writer->store->link;
    char memory[9][8];
    const int64_t numbers[] = {
        product->id, values->initial_stock, values->stock, values->price_minor, values->per_user_limit};
    const int64_t times[] = {values->start_ms, values->end_ms, values->created_ms, values->updated_ms};
    for (int i = 0; i < 5; i++)
        link_param(link, postgres_i64(memory[i], numbers[i]));
    for (int i = 0; i < 4; i++)
        link_param(link, postgres_ms(memory[5 + i], times[i]));
    link_param(link, product->sku);
    link_param(link, values->name);
    link_param(link, sale_state_name(values->state));
    link_param(link, end_reason_name(values->end_reason));
    return send(writer, STATEMENT_ADD_PRODUCT);
}

static enum err remove_rows(
    struct writer *writer, const struct product *product, enum postgres_statement statement)
{
    char memory[8];
    enum err err = flush_purchases(writer);
    if (err != ERR_NONE)
        return err;
    link_param(&writer->store->link, postgres_i64(memory, product->id));
    return send(writer, statement);
}

static enum err put_key(struct writer *writer, const struct key_record *key)
{
    enum err err = flush_old_keys(writer);
    column_put_text(column(writer, KEYS), key->scope);
    column_put_text(column(writer, KEYS + 1), key->key);
    column_put_text(column(writer, KEYS + 2), slice_make(key->fingerprint, FINGERPRINT_BYTES));
    column_put_i64(column(writer, KEYS + 3), (int64_t)key->result);
    column_put_i64(column(writer, KEYS + 4), key->number);
    column_put_i64(column(writer, KEYS + 5), key->time_ms);
    column_put_ms(column(writer, KEYS + 6), key->created_ms);
    return err;
}

static enum err put_old_key(struct writer *writer, const struct key_record *key)
{
    enum err err = flush_keys(writer);
    column_put_text(column(writer, OLD_KEYS), key->scope);
    column_put_text(column(writer, OLD_KEYS + 1), key->key);
    return err;
}

static void put_new_work(struct writer *writer, const struct work *work)
{
    column_put_i64(column(writer, NEW_WORK), work->id);
    column_put_text(column(writer, NEW_WORK + 1), work_kind_name(work->kind));
    column_put_text(column(writer, NEW_WORK + 2), work->subject);
    column_put_text(column(writer, NEW_WORK + 3), work->body);
    column_put_ms(column(writer, NEW_WORK + 4), work->values.due_ms);
    column_put_i64(column(writer, NEW_WORK + 5), work->values.token);
    column_put_ms(column(writer, NEW_WORK + 6), work->created_ms);
}

/* What was added and removed in the same batch is never seen by the database. */
static void put_work(struct writer *writer, const struct change *change)
{
    const struct work *work = change->work.work;
    bool is_new = work->added_batch == writer->world->batch;
    if (change->kind == CHANGE_WORK_REMOVED && !is_new) {
        column_put_i64(column(writer, OLD_WORK), work->id);
    } else if (change->kind == CHANGE_WORK_ADDED && !work->is_removed) {
        put_new_work(writer, work);
    } else if (change->kind == CHANGE_WORK_UPDATED && !work->is_removed) {
        column_put_i64(column(writer, SET_WORK), work->id);
        column_put_ms(column(writer, SET_WORK + 1), work->values.due_ms);
        column_put_i64(column(writer, SET_WORK + 2), work->values.token);
    }
}

static enum err write_change(struct writer *writer, const struct change *change)
{
    switch (change->kind) {
    case CHANGE_PRODUCT_ADDED:
        return add_product(writer, change->product);
    case CHANGE_PRODUCT_UPDATED:
        return ERR_NONE; /* once, at the end */
    case CHANGE_PRODUCT_REMOVED:
        return remove_rows(writer, change->product, STATEMENT_REMOVE_PRODUCT);
    case CHANGE_PURCHASES_CLEARED:
        return remove_rows(writer, change->product, STATEMENT_CLEAR_PURCHASES);
    case CHANGE_PURCHASE_ADDED:
        put_purchase(writer, change);
        return ERR_NONE;
    case CHANGE_KEY_ADDED:
        return put_key(writer, change->key);
    case CHANGE_KEY_REMOVED:
        return put_old_key(writer, change->key);
    case CHANGE_WORK_ADDED:
    case CHANGE_WORK_UPDATED:
    case CHANGE_WORK_REMOVED:
        put_work(writer, change);
        return ERR_NONE;
    }
    bool is_known_kind = false;
    ENSURE(is_known_kind);
    return ERR_CORRUPT;
}

/* --- the values of products, and who hears of them --- */

static void put_product(struct writer *writer, const struct product *product)
{
    const struct product_values *values = &product->values;
    const int64_t numbers[] = {
        product->id, values->initial_stock, values->stock, values->price_minor, values->per_user_limit};
    const int64_t times[] = {values->start_ms, values->end_ms, values->updated_ms};
    for (int i = 0; i < 5; i++)
        column_put_i64(column(writer, i), numbers[i]);
    for (int i = 0; i < 3; i++)
        column_put_ms(column(writer, 5 + i), times[i]);
    column_put_text(column(writer, 8), values->name);
    column_put_text(column(writer, 9), sale_state_name(values->state));
    column_put_text(column(writer, 10), end_reason_name(values->end_reason));
}

/* All columns are free by now. */
static enum err set_products(struct writer *writer)
{
    static const enum postgres_type types[] = {POSTGRES_INT8, POSTGRES_INT8, POSTGRES_INT8, POSTGRES_INT8,
        POSTGRES_INT8, POSTGRES_TIMESTAMPTZ, POSTGRES_TIMESTAMPTZ, POSTGRES_TIMESTAMPTZ, POSTGRES_TEXT,
        POSTGRES_TEXT, POSTGRES_TEXT};
    const struct world *world = writer->world;
    start_columns(writer, 0, types, 11);
    for (size_t i = 0; i < world->change_count; i++) {
        const struct change *change = &world->changes[i];
        struct product *product = change->product;
        if (change->kind != CHANGE_PRODUCT_UPDATED || product->is_removed ||
            product->written_batch == world->batch)
            continue;
        product->written_batch = world->batch;
        put_product(writer, product);
    }
    return column_is_empty(column(writer, 0)) ? ERR_NONE
                                              : send_columns(writer, 0, 11, STATEMENT_SET_PRODUCTS);
}

/* Have only units gone? */
static bool is_quiet(const struct change *change)
{
    if (change->kind == CHANGE_PURCHASE_ADDED)
        return true;
    if (change->kind != CHANGE_PRODUCT_UPDATED || change->updated.is_name_new)
        return false;
    const struct product_values *before = &change->updated.before;
    const struct product_values *now = &change->product->values;
    return before->state == now->state && before->end_reason == now->end_reason &&
           before->initial_stock == now->initial_stock && before->price_minor == now->price_minor &&
           before->per_user_limit == now->per_user_limit && before->start_ms == now->start_ms &&
           before->end_ms == now->end_ms && before->created_ms == now->created_ms &&
           now->stock <= before->stock;
}

/* Other nodes hear in the commit what they refuse by, and soon after what they only tell
 * (postgres_listener.c). */
static enum err notify(struct writer *writer)
{
    const struct world *world = writer->world;
    const struct product *last = NULL;
    column_start(column(writer, 0), POSTGRES_TEXT);
    for (size_t i = 0; i < world->change_count; i++) {
        const struct change *change = &world->changes[i];
        if (change->product == NULL || change->product == last || is_quiet(change))
            continue;
        last = change->product;
        column_put_text(column(writer, 0), change->product->sku);
    }
    return column_is_empty(column(writer, 0)) ? ERR_NONE : send_columns(writer, 0, 1, STATEMENT_NOTIFY);
}

static void owe_quiet(struct writer *writer)
{
    const struct world *world = writer->world;
    for (size_t i = 0; i < world->change_count; i++) {
        const struct change *change = &world->changes[i];
        if (change->kind == CHANGE_PRODUCT_UPDATED && is_quiet(change))
            postgres_listener_owe(writer->store->listener, change->product->sku);
    }
}

/* --- the transaction --- */

static bool removes_purchases(const struct world *world)
{
    for (size_t i = 0; i < world->change_count; i++) {
        if (world->changes[i].kind == CHANGE_PURCHASES_CLEARED)
            return true;
    }
    return false;
}

static enum err send_changes(struct writer *writer, bool is_long)
{
    const struct world *world = writer->world;
    start_purchases(writer);
    start_keys(writer);
    start_old_keys(writer);
    start_work(writer);
    if (world->change_count == 0) /* a commit that writes something is flushed, and all that came before it */
        return send(writer, STATEMENT_PROBE);
    enum err err = is_long ? send(writer, STATEMENT_ALLOW_LONG) : ERR_NONE;
    for (size_t i = 0; i < world->change_count && err == ERR_NONE; i++)
        err = write_change(writer, &world->changes[i]);
    if (err == ERR_NONE)
        err = flush_purchases(writer);
    if (err == ERR_NONE)
        err = flush_keys(writer);
    if (err == ERR_NONE)
        err = flush_old_keys(writer);
    if (err == ERR_NONE)
        err = flush_work(writer);
    if (err == ERR_NONE)
        err = set_products(writer);
    return err == ERR_NONE ? notify(writer) : err;
}

static enum err send_all(struct writer *writer, bool is_long)
{
    enum err err = send_changes(writer, is_long);
    if (err != ERR_NONE)
        return err;
    writer->is_commit_sent = true;
    err = send(writer, STATEMENT_COMMIT);
    return err == ERR_NONE ? link_sync(&writer->store->link, writer->error) : err;
}

/* A failure names the statement that failed only roughly: they write all. */
static enum err receive_all(struct writer *writer)
{
    struct link *link = &writer->store->link;
    enum err err = ERR_NONE;
    for (size_t i = 0; i < writer->sent_count && err == ERR_NONE; i++) {
        PGresult *result;
        bool is_commit = i == writer->sent_count - 1;
        err =
            link_result(link, is_commit ? STATEMENT_COMMIT : STATEMENT_ADD_PURCHASES, &result, writer->error);
        writer->is_commit_refused = is_commit && err != ERR_NONE;
        ENSURE(err != ERR_NONE || !is_commit || slice_eq(slice_cstr(PQcmdStatus(result)), SLICE("COMMIT")));
        PQclear(result);
    }
    return err;
}

static enum err unknown(struct writer *writer)
{
    struct error cause = *writer->error;
    return error_set(writer->error, ERR_COMMIT_UNKNOWN,
        "%s; whether the last batch was committed is not known here: its clients are told so, and a "
        "repetition "
        "finds out",
        cause.message);
}

enum err postgres_commit(struct store *base, const struct world *world, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    struct error ignored;
    struct writer writer = {.store = store, .world = world, .error = error != NULL ? error : &ignored};
    struct link *link = &store->link;
    bool is_long = removes_purchases(world);
    ENSURE(store->is_in_transaction);
    link_begin(link, is_long ? POSTGRES_LONG_COMMIT_MS : POSTGRES_COMMIT_MS);
    enum err err = send_all(&writer, is_long);
    if (err != ERR_NONE && link->conn != NULL)
        link_close(link); /* half a pipeline has gone out, and COMMIT has not */
    else if (err == ERR_NONE)
        err = receive_all(&writer);
    /* What comes after COMMIT's own answer cannot change a success. A refusal of COMMIT counts when the
     * server lived to say that it goes on: one that gives up in the middle (PANIC: its log cannot be flushed)
     * may find the commit in its log when it recovers. */
    bool was_lost = link->conn == NULL;
    bool goes_on = !was_lost && link_end(link, NULL) == ERR_NONE;
    if (!goes_on)
        link_close(link);
    bool is_unknown =
        err != ERR_NONE && writer.is_commit_sent && (was_lost || (writer.is_commit_refused && !goes_on));
    if (err == ERR_NONE || is_unknown)
        owe_quiet(&writer);
    if (is_unknown) /* the world forgets it, and our own notifications are not heard: look at everything */
        postgres_listener_give_back(store->listener);
    if (err != ERR_NONE)
        postgres_abandon(base);
    store->is_in_transaction = false;
    return is_unknown ? unknown(&writer) : err;
}

/* Can a row be locked and written? Sequences are what every node needs; nothing is changed. */
enum err postgres_probe(struct store *base, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    struct link *link = &store->link;
    enum err err = link_open(link, error);
    if (err != ERR_NONE)
        return err;
    static const enum postgres_statement statements[] = {STATEMENT_BEGIN, STATEMENT_PROBE, STATEMENT_COMMIT};
    link_begin(link, POSTGRES_COMMIT_MS);
    for (int i = 0; i < 3 && err == ERR_NONE; i++)
        err = link_send(link, statements[i], error);
    if (err == ERR_NONE)
        err = link_sync(link, error);
    for (int i = 0; i < 3 && err == ERR_NONE; i++) {
        PGresult *result;
        err = link_result(link, statements[i], &result, error);
        PQclear(result);
    }
    if (link->conn != NULL && link_end(link, NULL) != ERR_NONE)
        link_close(link);
    if (err != ERR_NONE)
        link_send_and_forget(link, STATEMENT_ROLLBACK);
    return err;
}
