/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One batch, one transaction: BEGIN IMMEDIATE, the list of changes from first to last, COMMIT. Engine thread.
 *
 * Ids are never given out twice. The world counts on from the largest id that was ever used; what must
 * survive a restart is that this id is known even when its row is gone. The rows that exist tell it for free,
 * so the table of sequences need not be written with each purchase, only before rows are deleted: the
 * invariant is
 *
 *     every id that was ever committed stands in its table, or is below its sequence's next_value,
 *
 * and whoever deletes ids up to d in a transaction raises next_value in the same transaction if it is not
 * above d. It is raised to the world's next id at once, so a stream of deletions (keys that expire, oldest
 * first) writes it once per whole table, not once per row. Loading continues at the larger of next_value and
 * the largest id plus 1 (sqlite_load.c). Ids of a batch that was rolled back were never told to anybody; they
 * may come again.
 *
 * Which errors leave the outcome of COMMIT open: sqlite_wal.c.
 */
#include "store/sqlite_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/ensure.h"
#include "base/log.h"
#include "core/world_work.h"

/* A probe wants as much room as a large batch needs in the log and the file, so that the door does not open
 * for the first batch to fall over the threshold. */
enum { PROBE_FREE_BYTES = 1024 * 1024 };

const struct slice sequence_names[SEQUENCE_COUNT] = {
    [SEQUENCE_PRODUCTS] = SLICE_INIT("products"),
    [SEQUENCE_PURCHASES] = SLICE_INIT("purchases"),
    [SEQUENCE_KEYS] = SLICE_INIT("idempotency_keys"),
    [SEQUENCE_WORK] = SLICE_INIT("work"),
    [SEQUENCE_ACCOUNTS] = SLICE_INIT("accounts"),
    [SEQUENCE_TRANSFERS] = SLICE_INIT("transfers"),
};

static const char *const statement_texts[STATEMENT_COUNT] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",
    [STATEMENT_PRODUCT_ADD] = "INSERT INTO products (id, product_name, initial_stock, stock, price_minor, "
                              "per_user_limit, start_time,"
                              " end_time, state, end_reason, created_at, updated_at, sku)"
                              " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    [STATEMENT_PRODUCT_SET] =
        "UPDATE products SET product_name = ?2, initial_stock = ?3, stock = ?4, price_minor = ?5,"
        " per_user_limit = ?6, start_time = ?7, end_time = ?8, state = ?9, end_reason = ?10, created_at = "
        "?11,"
        " updated_at = ?12 WHERE id = ?1",
    [STATEMENT_PRODUCT_REMOVE] = "DELETE FROM products WHERE id = ?1",
    [STATEMENT_PURCHASE_ADD] =
        "INSERT INTO purchase_log (id, product_id, user_id, nth, purchased_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    [STATEMENT_PURCHASES_CLEAR] = "DELETE FROM purchase_log WHERE id BETWEEN ?1 AND ?2 AND product_id = ?3",
    [STATEMENT_KEY_ADD] =
        ("INSERT INTO idempotency_keys (id, scope, key, fingerprint, result, number, time, created_at)"
         " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"),
    [STATEMENT_KEY_REMOVE] = "DELETE FROM idempotency_keys WHERE id = ?1",
    [STATEMENT_WORK_ADD] = ("INSERT INTO work (id, due_at, token, kind, subject, body, created_at)"
                            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"),
    [STATEMENT_WORK_SET] = "UPDATE work SET due_at = ?2, token = ?3 WHERE id = ?1",
    [STATEMENT_WORK_REMOVE] = "DELETE FROM work WHERE id = ?1",
    [STATEMENT_ORDER_ADD] = ("INSERT INTO orders (id, status, attempts, updated_at, paid_at, order_id, "
                             "customer_id, customer_email, items,"
                             " amount_minor, priority, is_sync, deadline, fingerprint, created_at)"
                             " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"),
    [STATEMENT_ORDER_SET] =
        "UPDATE orders SET status = ?2, attempts = ?3, updated_at = ?4, paid_at = ?5 WHERE id = ?1",
    [STATEMENT_PAYMENT_ADD] =
        "INSERT INTO payments (id, amount_minor, outcome, attempts, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    [STATEMENT_NOTIFICATION_ADD] =
        "INSERT INTO notifications (id, order_id, channel, event, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    [STATEMENT_NOTIFICATION_END] = "UPDATE notifications SET delivered_at = ?2 WHERE id = ?1",
    [STATEMENT_ACCOUNT_ADD] = ("INSERT INTO accounts (id, username, username_key, email, email_key, "
                               "full_name, password_hash, created_at)"
                               " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"),
    [STATEMENT_INTAKE_ADD] =
        ("INSERT INTO intake_orders (id, account_id, symbol, side, order_type, quantity, price, stop_price,"
         " trailing_stop_pct, iceberg_qty, time_in_force, created_at)"
         " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"),
    [STATEMENT_INTAKE_CANCEL] =
        "UPDATE intake_orders SET cancelled_at = ?2 WHERE id = ?1 AND cancelled_at IS NULL",
    [STATEMENT_INTAKE_DELIVERY_ADD] =
        "INSERT INTO intake_deliveries (first_id, last_id, executed_at) VALUES (?1, ?2, ?3)",
    [STATEMENT_INTAKE_STATE_SET] = "UPDATE intake_state SET sent_id = ?1, executed_id = ?2 WHERE id = 1",
    [STATEMENT_PRODUCT_LABEL] = "UPDATE products SET category = ?2, is_featured = ?3 WHERE id = ?1",
    [STATEMENT_MACHINE_ADD] =
        "INSERT INTO machines (id, name, status, is_draining, usage_count, lease_id, ticket_id, started_at,"
        " chosen_at, product_id, units, purchase_id, due_at, updated_at, created_at)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    [STATEMENT_MACHINE_SET] =
        "UPDATE machines SET name = ?2, status = ?3, is_draining = ?4, usage_count = ?5, lease_id = ?6,"
        " ticket_id = ?7, started_at = ?8, chosen_at = ?9, product_id = ?10, units = ?11, purchase_id = ?12,"
        " due_at = ?13, updated_at = ?14 WHERE id = ?1",
    [STATEMENT_MACHINE_REMOVE] = "DELETE FROM machines WHERE id = ?1",
    [STATEMENT_LEASE_ADD] =
        ("INSERT INTO leases (id, machine_id, ticket_id, started_at, chosen_at, product_id, units,"
         " purchase_id, outcome, ended_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"),
    [STATEMENT_TICKET_ADD] =
        ("INSERT INTO tickets (id, expires_at, state, end_lease_id, machine_id, ended_at, is_attached,"
         " first_lease_id, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"),
    [STATEMENT_TICKET_SET] = "UPDATE tickets SET expires_at = ?2, state = ?3, end_lease_id = ?4,"
                             " machine_id = ?5, ended_at = ?6 WHERE id = ?1",
    [STATEMENT_POOL_SET] =
        "UPDATE pool SET next_machine_id = ?1, next_lease_id = ?2, next_ticket_id = ?3 WHERE id = 1",
    [STATEMENT_WALLET_ADD] =
        ("INSERT INTO wallets (account_id, balance_minor, last_transfer_id, updated_at, public_key)"
         " VALUES (?1, ?2, ?3, ?4, ?5)"),
    [STATEMENT_WALLET_SET] =
        "UPDATE wallets SET balance_minor = ?2, last_transfer_id = ?3, updated_at = ?4 WHERE account_id = ?1",
    [STATEMENT_TRANSFER_ADD] =
        ("INSERT INTO transfers (id, kind, amount_minor, from_account, to_account, from_previous_id,"
         " to_previous_id, product_id, purchase_id, created_at, from_balance_minor, to_balance_minor, nonce,"
         " fingerprint) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"),
    [STATEMENT_SEQUENCE_SET] = "UPDATE sequences SET next_value = ?1 WHERE name = ?2",
    [STATEMENT_SEQUENCE_MOVE] = "UPDATE sequences SET next_value = next_value + ?1 WHERE name = ?2",
};

enum err write_init(struct sqlite_store *store, struct error *error)
{
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        int rc = sqlite3_prepare_v3(
            store->db, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT, &store->statements[i], NULL);
        if (rc != SQLITE_OK)
            return sqlite_failure(store->db, rc, store->path, "prepare to write", error);
    }
    return ERR_NONE;
}

void write_fini(struct sqlite_store *store)
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        (void)sqlite3_finalize(store->statements[i]);
    free(store->hashes);
}

/* --- statements --- */

/* Binding neither copies nor allocates; it fails only when the statement is misused. */
void bind_text(sqlite3_stmt *statement, int at, struct slice text)
{
    int rc = sqlite3_bind_text(statement, at, text.len == 0 ? "" : text.base, (int)text.len, SQLITE_STATIC);
    ENSURE(rc == SQLITE_OK);
}

void bind_blob(sqlite3_stmt *statement, int at, const void *bytes, size_t size)
{
    int rc = sqlite3_bind_blob(statement, at, bytes, (int)size, SQLITE_STATIC);
    ENSURE(rc == SQLITE_OK);
}

void bind_i64(sqlite3_stmt *statement, int at, int64_t value)
{
    int rc = sqlite3_bind_int64(statement, at, value);
    ENSURE(rc == SQLITE_OK);
}

void bind_null(sqlite3_stmt *statement, int at)
{
    int rc = sqlite3_bind_null(statement, at);
    ENSURE(rc == SQLITE_OK);
}

void bind_i64_or_null(sqlite3_stmt *statement, int at, int64_t value)
{
    if (value == 0)
        bind_null(statement, at);
    else
        bind_i64(statement, at, value);
}

static int run(struct sqlite_store *store, enum statement which)
{
    int rc = sqlite3_step(store->statements[which]);
    (void)sqlite3_reset(store->statements[which]);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

enum err run_write(struct sqlite_batch *batch, enum statement which)
{
    struct sqlite_store *store = batch->store;
    int rc = run(store, which);
    return rc == SQLITE_OK ? ERR_NONE : sqlite_failure(store->db, rc, store->path, "write to", batch->error);
}

/* A row that is not there was changed behind our back: what the rules decide by is not what is stored. */
enum err run_write_one(struct sqlite_batch *batch, enum statement which)
{
    enum err err = run_write(batch, which);
    if (err == ERR_NONE && sqlite3_changes(batch->store->db) != 1)
        err = error_set(batch->error, ERR_CORRUPT,
            "%s was changed by another program while it was served: a row is gone; restart doorbuster",
            batch->store->path);
    return err;
}

static void rollback(struct sqlite_store *store)
{
    if (sqlite3_get_autocommit(store->db) == 0)
        (void)run(store, STATEMENT_ROLLBACK);
    if (sqlite3_get_autocommit(store->db) != 0)
        return;
    /* Nothing was committed, but this connection is of no use any more. */
    log_error("store", "cannot take back a transaction in %s: %s", store->path, sqlite3_errmsg(store->db));
    store->is_broken = true;
}

/* --- the kinds of change --- */

/* Before ids up to `id_last` are deleted; see the head of this file. */
static enum err guard_sequence(
    struct sqlite_batch *batch, enum sequence sequence, int64_t id_last, int64_t next_id)
{
    if (id_last < batch->next_stored[sequence])
        return ERR_NONE;
    ENSURE(id_last < next_id);
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_SEQUENCE_SET];
    bind_i64(statement, 1, next_id);
    bind_text(statement, 2, sequence_names[sequence]);
    batch->next_stored[sequence] = next_id;
    return run_write_one(batch, STATEMENT_SEQUENCE_SET);
}

static void bind_product(sqlite3_stmt *statement, const struct product *product)
{
    const struct product_values *values = &product->values;
    bind_i64(statement, 1, product->id);
    bind_text(statement, 2, values->name);
    bind_i64(statement, 3, values->initial_stock);
    bind_i64(statement, 4, values->stock);
    bind_i64(statement, 5, values->price_minor);
    bind_i64(statement, 6, values->per_user_limit);
    bind_i64(statement, 7, values->start_ms);
    bind_i64(statement, 8, values->end_ms);
    bind_text(statement, 9, sale_state_name(values->state));
    if (values->end_reason == END_NONE)
        bind_null(statement, 10);
    else
        bind_text(statement, 10, end_reason_name(values->end_reason));
    bind_i64(statement, 11, values->created_ms);
    bind_i64(statement, 12, values->updated_ms);
}

static enum err add_product(struct sqlite_batch *batch, const struct product *product)
{
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_PRODUCT_ADD];
    bind_product(statement, product);
    bind_text(statement, 13, product->sku);
    return run_write(batch, STATEMENT_PRODUCT_ADD);
}

static enum err set_product(struct sqlite_batch *batch, const struct product *product)
{
    bind_product(batch->store->statements[STATEMENT_PRODUCT_SET], product);
    return run_write_one(batch, STATEMENT_PRODUCT_SET);
}

static enum err remove_product(struct sqlite_batch *batch, const struct product *product)
{
    enum err err = guard_sequence(batch, SEQUENCE_PRODUCTS, product->id, batch->world->next_product_id);
    if (err != ERR_NONE)
        return err;
    bind_i64(batch->store->statements[STATEMENT_PRODUCT_REMOVE], 1, product->id);
    return run_write_one(batch, STATEMENT_PRODUCT_REMOVE);
}

/* The index takes the purchase in after the commit; here it promises the room for it. */
static enum err add_purchase(struct sqlite_batch *batch, const struct change *change)
{
    struct sqlite_store *store = batch->store;
    const struct buyer *buyer = change->purchase.buyer;
    struct slice user = slice_make(buyer->user, buyer->user_len);
    uint64_t hash = purchase_index_hash(&store->index, change->product->sku, user);
    if (!purchase_index_reserve(&store->index, hash))
        return error_set(batch->error, ERR_MEMORY, "no memory for the index of purchases");
    ENSURE(batch->hash_count < store->hashes_size);
    store->hashes[batch->hash_count++] = hash;
    sqlite3_stmt *statement = store->statements[STATEMENT_PURCHASE_ADD];
    bind_i64(statement, 1, change->purchase.id);
    bind_i64(statement, 2, change->product->id);
    bind_text(statement, 3, user);
    bind_i64(statement, 4, change->purchase.nth);
    bind_i64(statement, 5, change->purchase.purchased_ms);
    return run_write(batch, STATEMENT_PURCHASE_ADD);
}

static enum err clear_purchases(struct sqlite_batch *batch, const struct change *change)
{
    if (change->cleared.id_first == 0)
        return ERR_NONE;
    int64_t id_last = change->cleared.id_last;
    enum err err = guard_sequence(batch, SEQUENCE_PURCHASES, id_last, batch->world->next_purchase_id);
    if (err != ERR_NONE)
        return err;
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_PURCHASES_CLEAR];
    bind_i64(statement, 1, change->cleared.id_first);
    bind_i64(statement, 2, id_last);
    bind_i64(statement, 3, change->product->id);
    return run_write(batch, STATEMENT_PURCHASES_CLEAR);
}

static enum err add_key(struct sqlite_batch *batch, const struct key_record *key)
{
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_KEY_ADD];
    bind_i64(statement, 1, key->id);
    bind_text(statement, 2, key->scope);
    bind_text(statement, 3, key->key);
    bind_blob(statement, 4, key->fingerprint, FINGERPRINT_BYTES);
    bind_i64(statement, 5, (int64_t)key->result);
    bind_i64(statement, 6, key->number);
    bind_i64(statement, 7, key->time_ms);
    bind_i64(statement, 8, key->created_ms);
    return run_write(batch, STATEMENT_KEY_ADD);
}

static enum err remove_key(struct sqlite_batch *batch, const struct key_record *key)
{
    enum err err = guard_sequence(batch, SEQUENCE_KEYS, key->id, batch->world->next_key_id);
    if (err != ERR_NONE)
        return err;
    bind_i64(batch->store->statements[STATEMENT_KEY_REMOVE], 1, key->id);
    return run_write_one(batch, STATEMENT_KEY_REMOVE);
}

static void bind_work(sqlite3_stmt *statement, const struct work *work)
{
    bind_i64(statement, 1, work->id);
    bind_i64(statement, 2, work->values.due_ms);
    bind_i64(statement, 3, work->values.token);
}

static enum err add_work(struct sqlite_batch *batch, const struct work *work)
{
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_WORK_ADD];
    bind_work(statement, work);
    bind_text(statement, 4, work_kind_name(work->kind));
    bind_text(statement, 5, work->subject);
    bind_text(statement, 6, work->body);
    bind_i64(statement, 7, work->created_ms);
    return run_write(batch, STATEMENT_WORK_ADD);
}

static enum err set_work(struct sqlite_batch *batch, const struct work *work)
{
    bind_work(batch->store->statements[STATEMENT_WORK_SET], work);
    return run_write_one(batch, STATEMENT_WORK_SET);
}

static enum err remove_work(struct sqlite_batch *batch, const struct work *work)
{
    enum err err = guard_sequence(batch, SEQUENCE_WORK, work->id, batch->world->next_work_id);
    if (err != ERR_NONE)
        return err;
    bind_i64(batch->store->statements[STATEMENT_WORK_REMOVE], 1, work->id);
    return run_write_one(batch, STATEMENT_WORK_REMOVE);
}

static enum err write_change(struct sqlite_batch *batch, const struct change *change)
{
    switch (change->kind) {
    case CHANGE_PRODUCT_ADDED:
        return add_product(batch, change->product);
    case CHANGE_PRODUCT_UPDATED:
        return set_product(batch, change->product);
    case CHANGE_PRODUCT_REMOVED:
        return remove_product(batch, change->product);
    case CHANGE_PURCHASES_CLEARED:
        return clear_purchases(batch, change);
    case CHANGE_PURCHASE_ADDED:
        return add_purchase(batch, change);
    case CHANGE_KEY_ADDED:
        return add_key(batch, change->key);
    case CHANGE_KEY_REMOVED:
        return remove_key(batch, change->key);
    case CHANGE_WORK_ADDED:
        return add_work(batch, change->work.work);
    case CHANGE_WORK_UPDATED:
        return set_work(batch, change->work.work);
    case CHANGE_WORK_REMOVED:
        return remove_work(batch, change->work.work);
    case CHANGE_PRODUCT_LABELLED:
    case CHANGE_MACHINE_ADDED:
    case CHANGE_MACHINE_UPDATED:
    case CHANGE_MACHINE_RENAMED:
    case CHANGE_MACHINE_REMOVED:
    case CHANGE_LEASE_ENDED:
    case CHANGE_TICKET_ADDED:
    case CHANGE_TICKET_UPDATED:
    case CHANGE_TICKET_ENDED:
    case CHANGE_POOL_UPDATED:
        return write_pool_change(batch, change);
    case CHANGE_WALLET_ADDED:
    case CHANGE_WALLET_UPDATED:
    case CHANGE_TRANSFER_ADDED:
        return write_wallet_change(batch, change);
    default:
        return write_order_change(batch, change);
    }
}

/* --- the transaction --- */

static bool make_room_for_hashes(struct sqlite_store *store, size_t count)
{
    if (count <= store->hashes_size)
        return true;
    uint64_t *hashes = realloc(store->hashes, count * sizeof *hashes);
    if (hashes == NULL)
        return false;
    store->hashes = hashes;
    store->hashes_size = count;
    return true;
}

static enum err refuse_broken(const struct sqlite_store *store, struct error *error)
{
    return error_set(error, ERR_IO,
        "%s is not written to any more, since an earlier commit could not be completed; restart doorbuster, "
        "which"
        " finds out what was kept",
        store->path);
}

static enum err write_all(struct sqlite_batch *batch)
{
    enum err err = run_write(batch, STATEMENT_BEGIN);
    for (size_t i = 0; i < batch->world->change_count && err == ERR_NONE; i++)
        err = write_change(batch, &batch->world->changes[i]);
    return err;
}

/* COMMIT, and what its failure means. */
static enum err finish(struct sqlite_store *store, struct error *error)
{
    int rc = run(store, STATEMENT_COMMIT);
    if (rc == SQLITE_OK)
        return ERR_NONE;
    struct error cause;
    int system_errno = wal_last_errno(&store->wal);
    enum err err = sqlite_failure_errno(store->db, rc, system_errno, store->path, "commit to", &cause);
    bool is_flush = rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC;
    rollback(store);
    if (!is_flush && wal_is_as_committed(&store->wal))
        return error_set(error, err, "%s", cause.message);
    store->is_broken = true;
    /* What was acknowledged is in the log and flushed; the next start reads it with its checksums. */
    (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    return error_set(error, ERR_COMMIT_UNKNOWN,
        "%s; only starting doorbuster again tells whether it was kept", cause.message);
}

static void apply_to_index(struct sqlite_store *store, const struct world *world)
{
    size_t hash_count = 0;
    for (size_t i = 0; i < world->change_count; i++) {
        const struct change *change = &world->changes[i];
        if (change->kind == CHANGE_PURCHASE_ADDED) {
            purchase_index_add(
                &store->index, store->hashes[hash_count++], change->purchase.id, change->purchase.nth);
        } else if (change->kind == CHANGE_PURCHASES_CLEARED) {
            size_t cursor = 0;
            const struct buyer *buyer;
            while ((buyer = map_next(&change->cleared.buyers, &cursor)) != NULL)
                purchase_index_remove(&store->index, purchase_index_hash(&store->index, change->product->sku,
                                                         slice_make(buyer->user, buyer->user_len)));
        } else if (change->kind == CHANGE_INTAKE_ADDED) {
            intake_index_add(&store->intake_index, change->intake.id, change->intake.request->account_id);
        } else if (change->kind == CHANGE_INTAKE_CANCELLED) {
            intake_index_cancel(&store->intake_index, change->intake.id);
        }
    }
}

enum err write_commit(struct store *base, const struct world *world, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    if (store->is_broken)
        return refuse_broken(store, error);
    if (world->change_count == 0)
        return ERR_NONE;
    if (!make_room_for_hashes(store, world->change_count))
        return error_set(error, ERR_MEMORY, "no memory for a batch of %zu changes", world->change_count);
    struct sqlite_batch batch = {.store = store, .world = world, .error = error};
    memcpy(batch.next_stored, store->next_stored, sizeof batch.next_stored);
    enum err err = write_all(&batch);
    if (err != ERR_NONE)
        rollback(store);
    else
        err = finish(store, error);
    if (err != ERR_NONE) {
        purchase_index_unreserve(&store->index);
        return err;
    }
    memcpy(store->next_stored, batch.next_stored, sizeof batch.next_stored);
    apply_to_index(store, world);
    wal_committed(&store->wal);
    return ERR_NONE;
}

/* --- the probe --- */

static enum err check_room(const struct sqlite_store *store, struct error *error)
{
    struct statvfs room;
    if (statvfs(store->path, &room) != 0)
        return error_set(
            error, ERR_IO, "cannot look at the file system of %s: %s", store->path, strerror(errno));
    if (room.f_bavail >= PROBE_FREE_BYTES / room.f_frsize)
        return ERR_NONE;
    return error_set(error, ERR_FULL, "less than %d MiB are free on the disk of %s; make room",
        PROBE_FREE_BYTES / (1024 * 1024), store->path);
}

static enum err move_sequence(struct sqlite_batch *batch, int64_t by)
{
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_SEQUENCE_MOVE];
    bind_i64(statement, 1, by);
    bind_text(statement, 2, sequence_names[SEQUENCE_PRODUCTS]);
    return run_write_one(batch, STATEMENT_SEQUENCE_MOVE);
}

/*
 * Only a write that was flushed proves that writes work, so the probe makes one: a number goes up and down
 * again in one transaction, which puts one page with unchanged content through log and flush. That alone
 * proves little about room, since the log's old blocks are written again; so the file system must also have
 * some to spare. A quota does not show there; with one, the next batch may be refused once more, harmlessly.
 */
enum err write_probe(struct store *base, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    if (store->is_broken)
        return refuse_broken(store, error);
    struct sqlite_batch batch = {.store = store, .error = error};
    enum err err = check_room(store, error);
    if (err == ERR_NONE)
        err = run_write(&batch, STATEMENT_BEGIN);
    if (err != ERR_NONE)
        return err;
    err = move_sequence(&batch, 1);
    if (err == ERR_NONE)
        err = move_sequence(&batch, -1);
    if (err != ERR_NONE) {
        rollback(store);
        return err;
    }
    err = finish(store, error);
    if (err == ERR_NONE)
        wal_committed(&store->wal);
    return err;
}
