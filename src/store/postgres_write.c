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
#include "store/postgres_write.h"

#include "base/ensure.h"

/* A sheet's statement and the types of its columns. */
struct sheet {
    enum postgres_statement statement;
    int count;
    enum postgres_type types[SHEET_COLUMNS_MAX];
};

#define BYTES POSTGRES_BYTEA
#define INT POSTGRES_INT8
#define TEXT POSTGRES_TEXT
#define TIME POSTGRES_TIMESTAMPTZ

static const struct sheet sheets[SHEET_COUNT] = {
    [SHEET_PURCHASES] = {STATEMENT_ADD_PURCHASES, 5, {INT, INT, TEXT, INT, TIME}},
    [SHEET_KEYS] = {STATEMENT_ADD_KEYS, 7, {TEXT, TEXT, BYTES, INT, INT, INT, TIME}},
    [SHEET_OLD_KEYS] = {STATEMENT_REMOVE_KEYS, 2, {TEXT, TEXT}},
    [SHEET_ORDERS] = {STATEMENT_ADD_ORDERS, 15,
        {INT, TEXT, INT, TEXT, TEXT, INT, INT, INT, TIME, BYTES, TEXT, INT, TIME, TIME, TIME}},
    [SHEET_SET_ORDERS] = {STATEMENT_SET_ORDERS, 5, {INT, TEXT, INT, TIME, TIME}},
    [SHEET_PAYMENTS] = {STATEMENT_ADD_PAYMENTS, 5, {INT, INT, TEXT, INT, TIME}},
    [SHEET_NOTIFICATIONS] = {STATEMENT_ADD_NOTIFICATIONS, 5, {INT, INT, TEXT, TEXT, TIME}},
    [SHEET_OLD_NOTIFICATIONS] = {STATEMENT_END_NOTIFICATIONS, 2, {INT, TIME}},
    [SHEET_WORK] = {STATEMENT_ADD_WORK, 7, {INT, TEXT, TEXT, TEXT, TIME, INT, TIME}},
    [SHEET_SET_WORK] = {STATEMENT_SET_WORK, 3, {INT, TIME, INT}},
    [SHEET_OLD_WORK] = {STATEMENT_REMOVE_WORK, 1, {INT}},
    [SHEET_ACCOUNTS] = {STATEMENT_ADD_ACCOUNTS, 8, {INT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TIME}},
    [SHEET_WALLETS] = {STATEMENT_ADD_WALLETS, 5, {INT, INT, INT, TIME, BYTES}},
    [SHEET_SET_WALLETS] = {STATEMENT_SET_WALLETS, 4, {INT, INT, INT, TIME}},
    [SHEET_TRANSFERS] = {STATEMENT_ADD_TRANSFERS, 14,
        {INT, INT, INT, INT, INT, INT, INT, INT, INT, INT, TIME, TEXT, TEXT, BYTES}},
    [SHEET_INTAKE] = {STATEMENT_ADD_INTAKE, 12,
        {INT, INT, TEXT, TEXT, TEXT, INT, INT, INT, INT, INT, TEXT, TIME}},
    [SHEET_OLD_INTAKE] = {STATEMENT_CANCEL_INTAKE, 2, {INT, TIME}},
    [SHEET_DELIVERIES] = {STATEMENT_ADD_DELIVERIES, 3, {INT, INT, TIME}},
    [SHEET_MACHINES] = {STATEMENT_ADD_MACHINES, 16,
        {INT, TEXT, TEXT, INT, INT, INT, INT, TIME, TIME, INT, INT, INT, TIME, TIME, INT, TIME}},
    [SHEET_SET_MACHINES] = {STATEMENT_SET_MACHINES, 15,
        {INT, TEXT, TEXT, INT, INT, INT, INT, TIME, TIME, INT, INT, INT, TIME, TIME, INT}},
    [SHEET_OLD_MACHINES] = {STATEMENT_REMOVE_MACHINES, 1, {INT}},
    [SHEET_LEASES] = {STATEMENT_ADD_LEASES, 10, {INT, INT, INT, TIME, TIME, INT, INT, INT, TEXT, TIME}},
    [SHEET_TICKETS] = {STATEMENT_ADD_TICKETS, 10, {INT, TEXT, TIME, INT, INT, TIME, INT, INT, INT, TIME}},
    [SHEET_SET_TICKETS] = {STATEMENT_SET_TICKETS, 7, {INT, TEXT, TIME, INT, INT, TIME, INT}},
    [SHEET_SET_PRODUCTS] = {STATEMENT_SET_PRODUCTS, 11,
        {INT, INT, INT, INT, INT, TIME, TIME, TIME, TEXT, TEXT, TEXT}},
    [SHEET_NOTIFY] = {STATEMENT_NOTIFY, 1, {TEXT}},
};

struct column *writer_row(struct writer *writer, enum sheet_name name)
{
    struct column *columns = writer->store->sheets[name];
    if (writer->is_started[name])
        return columns;
    writer->is_started[name] = true;
    for (int i = 0; i < sheets[name].count; i++)
        column_start(&columns[i], sheets[name].types[i]);
    return columns;
}

enum err writer_send(struct writer *writer, enum postgres_statement statement)
{
    writer->sent_count++;
    return link_send(&writer->store->link, statement, writer->error);
}

/* Its rows, if there are any, go out, and it is empty again. */
static enum err flush(struct writer *writer, enum sheet_name name)
{
    if (!writer->is_started[name])
        return ERR_NONE;
    writer->is_started[name] = false;
    for (int i = 0; i < sheets[name].count; i++) {
        struct slice array;
        if (!column_finish(&writer->store->sheets[name][i], &array))
            return error_set(writer->error, ERR_MEMORY, "no memory to write a batch");
        link_param(&writer->store->link, array);
    }
    return writer_send(writer, sheets[name].statement);
}

/* --- the kinds of change --- */

static void put_purchase(struct writer *writer, const struct change *change)
{
    const struct buyer *buyer = change->purchase.buyer;
    struct column *row = writer_row(writer, SHEET_PURCHASES);
    column_put_i64(&row[0], change->purchase.id);
    column_put_i64(&row[1], change->product->id);
    column_put_text(&row[2], slice_make(buyer->user, buyer->user_len));
    column_put_i64(&row[3], change->purchase.nth);
    column_put_ms(&row[4], change->purchase.purchased_ms);
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
    return writer_send(writer, STATEMENT_ADD_PRODUCT);
}

static enum err remove_rows(
    struct writer *writer, const struct product *product, enum postgres_statement statement)
{
    char memory[8];
    enum err err = flush(writer, SHEET_PURCHASES);
    if (err != ERR_NONE)
        return err;
    link_param(&writer->store->link, postgres_i64(memory, product->id));
    return writer_send(writer, statement);
}

static enum err put_key(struct writer *writer, const struct key_record *key)
{
    enum err err = flush(writer, SHEET_OLD_KEYS);
    struct column *row = writer_row(writer, SHEET_KEYS);
    column_put_text(&row[0], key->scope);
    column_put_text(&row[1], key->key);
    column_put_text(&row[2], slice_make(key->fingerprint, FINGERPRINT_BYTES));
    column_put_i64(&row[3], (int64_t)key->result);
    column_put_i64(&row[4], key->number);
    column_put_i64(&row[5], key->time_ms);
    column_put_ms(&row[6], key->created_ms);
    return err;
}

static enum err put_old_key(struct writer *writer, const struct key_record *key)
{
    enum err err = flush(writer, SHEET_KEYS);
    struct column *row = writer_row(writer, SHEET_OLD_KEYS);
    column_put_text(&row[0], key->scope);
    column_put_text(&row[1], key->key);
    return err;
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
    default:
        break;
    }
    enum err err;
    if (writer_put_wallet_change(writer, change))
        return ERR_NONE;
    return writer_put_pool_change(writer, change, &err) ? err : writer_put_order_change(writer, change);
}

/* --- the values of products, and who hears of them --- */

static void put_product(struct writer *writer, const struct product *product)
{
    const struct product_values *values = &product->values;
    struct column *row = writer_row(writer, SHEET_SET_PRODUCTS);
    const int64_t numbers[] = {
        product->id, values->initial_stock, values->stock, values->price_minor, values->per_user_limit};
    const int64_t times[] = {values->start_ms, values->end_ms, values->updated_ms};
    for (int i = 0; i < 5; i++)
        column_put_i64(&row[i], numbers[i]);
    for (int i = 0; i < 3; i++)
        column_put_ms(&row[5 + i], times[i]);
    column_put_text(&row[8], values->name);
    column_put_text(&row[9], sale_state_name(values->state));
    column_put_text(&row[10], end_reason_name(values->end_reason));
}

static void put_products(struct writer *writer)
{
    const struct world *world = writer->world;
    for (size_t i = 0; i < world->change_count; i++) {
        const struct change *change = &world->changes[i];
        struct product *product = change->product;
        if (change->kind != CHANGE_PRODUCT_UPDATED || product->is_removed ||
            product->written_batch == world->batch)
            continue;
        product->written_batch = world->batch;
        put_product(writer, product);
    }
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
static void put_notices(struct writer *writer)
{
    const struct world *world = writer->world;
    const struct product *last = NULL;
    for (size_t i = 0; i < world->change_count; i++) {
        const struct change *change = &world->changes[i];
        if (change->product == NULL || change->product == last || is_quiet(change))
            continue;
        last = change->product;
        column_put_text(writer_row(writer, SHEET_NOTIFY), change->product->sku);
    }
    if (writer_pool_news(writer) == POOL_LINE_MOVED)
        column_put_text(writer_row(writer, SHEET_NOTIFY), postgres_pool_notice);
}

static void owe_quiet(struct writer *writer)
{
    const struct world *world = writer->world;
    for (size_t i = 0; i < world->change_count; i++) {
        const struct change *change = &world->changes[i];
        if (change->kind == CHANGE_PRODUCT_UPDATED && is_quiet(change))
            postgres_listener_owe(writer->store->listener, change->product->sku);
    }
    if (writer_pool_news(writer) == POOL_CHANGED)
        postgres_listener_owe(writer->store->listener, postgres_pool_notice);
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
    if (world->change_count == 0) /* a commit that writes something is flushed, and all that came before it */
        return writer_send(writer, STATEMENT_PROBE);
    enum err err = is_long ? writer_send(writer, STATEMENT_ALLOW_LONG) : ERR_NONE;
    for (size_t i = 0; i < world->change_count && err == ERR_NONE; i++)
        err = write_change(writer, &world->changes[i]);
    put_products(writer);
    put_notices(writer);
    for (int name = 0; name < SHEET_COUNT && err == ERR_NONE; name++)
        err = flush(writer, (enum sheet_name)name);
    return err;
}

static enum err send_all(struct writer *writer, bool is_long)
{
    enum err err = send_changes(writer, is_long);
    if (err != ERR_NONE)
        return err;
    writer->is_commit_sent = true;
    err = writer_send(writer, STATEMENT_COMMIT);
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
        err = link_result(link, is_commit ? STATEMENT_COMMIT : STATEMENT_PROBE, &result, writer->error);
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
