/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the embedded store (question.h), each a prepared statement or two of the reader's. What takes
 * two looks is asked within one snapshot where it matters: the status of an order and its place may be of
 * different moments, and both are true of one.
 */
#include <string.h>

#include "base/ensure.h"
#include "store/sqlite_priv.h"

#define ORDER_STATE_COLUMNS "status, attempts, updated_at, coalesce(paid_at, 0)"
#define ACCOUNT_COLUMNS "SELECT id, username, email, full_name, password_hash, created_at FROM accounts "
#define INTAKE_COLUMNS                                                                                      \
    "SELECT id, account_id, symbol, side, order_type, quantity, price, stop_price, trailing_stop_pct,"      \
    " iceberg_qty, time_in_force, created_at, cancelled_at,"                                                \
    " (SELECT executed_at FROM intake_deliveries WHERE last_id >= intake_orders.id ORDER BY last_id LIMIT " \
    "1)"                                                                                                    \
    " FROM intake_orders "
#define MACHINE_COLUMNS                                                                                      \
    "SELECT id, name, status, is_draining, usage_count, coalesce(lease_id, 0), created_at, updated_at FROM " \
    "machines "
#define PRODUCT_COLUMNS "SELECT id, sku, product_name, stock, created_at, updated_at FROM products "
#define WALLET_COLUMNS                                                                                      \
    "SELECT account_id, public_key, balance_minor, created_at, email, full_name FROM wallets JOIN accounts" \
    " ON accounts.id = account_id "
/* Back from the account's last transfer, or from the one before the given one, by way of the rows. */
#define TRANSFER_CHAIN                                                                                 \
    "WITH RECURSIVE chain (id, nth) AS ("                                                              \
    " SELECT CASE WHEN ?2 = 9223372036854775807 THEN"                                                  \
    " (SELECT last_transfer_id FROM wallets WHERE account_id = ?1) ELSE"                               \
    " (SELECT CASE ?1 WHEN from_account THEN from_previous_id WHEN to_account THEN to_previous_id END" \
    " FROM transfers WHERE id = ?2) END, 1 UNION ALL"                                                  \
    " SELECT CASE ?1 WHEN from_account THEN from_previous_id ELSE to_previous_id END, nth + 1"         \
    " FROM chain JOIN transfers ON transfers.id = chain.id WHERE nth < ?3) "
#define IS_EXECUTED "id <= (SELECT executed_id FROM intake_state)"

static const char *const texts[ASK_COUNT] = {
    [ASK_ORDER] = "SELECT id, order_id, customer_id, items, amount_minor, priority, is_sync, "
                  "created_at, " ORDER_STATE_COLUMNS " FROM orders WHERE order_id = ?1",
    [ASK_POSITION] =
        "SELECT count(*) FROM (SELECT 1 FROM work, (SELECT due_at AS due, id AS own FROM work WHERE id = ?1)"
        " WHERE kind = 'payment' AND (due_at, id) < (due, own) LIMIT ?2)",
    [ASK_ORDER_STATE] = "SELECT " ORDER_STATE_COLUMNS " FROM orders WHERE id = ?1",
    [ASK_ORDER_TOTALS] = "SELECT status, count(*) FROM orders GROUP BY status",
    [ASK_OLDEST_PENDING] = "SELECT coalesce(min(created_at), 0) FROM orders WHERE status = 'pending'",
    [ASK_DEAD_LETTERS] = "SELECT work.id, orders.order_id, channel, subject, token, notifications.created_at"
                         " FROM work JOIN notifications ON notifications.id = work.id"
                         " JOIN orders ON orders.id = notifications.order_id"
                         " WHERE kind IN ('webhook', 'email') AND due_at = ?1 AND work.id > ?2"
                         " ORDER BY work.id LIMIT ?3",
    [ASK_ACCOUNT_BY_EMAIL] = ACCOUNT_COLUMNS "WHERE email_key = ?1",
    [ASK_ACCOUNT_BY_ID] = ACCOUNT_COLUMNS "WHERE id = ?1",
    [ASK_INTAKE_ORDER] = INTAKE_COLUMNS "WHERE id = ?1",
    [ASK_INTAKE_EXECUTED_ID] = "SELECT executed_id FROM intake_state",
    [ASK_INTAKE_RANGE] =
        INTAKE_COLUMNS "WHERE id > ?1 AND id <= ?2 AND cancelled_at IS NULL ORDER BY id LIMIT ?3",
    [ASK_MACHINE] = MACHINE_COLUMNS "WHERE id = ?1",
    [ASK_MACHINES] = MACHINE_COLUMNS "WHERE id > ?1 ORDER BY id LIMIT ?2",
    [ASK_PRODUCT] = PRODUCT_COLUMNS "WHERE id = ?1",
    [ASK_PRODUCTS] = PRODUCT_COLUMNS "WHERE id > ?1 ORDER BY id LIMIT ?2",
    [ASK_TICKET] = "SELECT id, state, is_attached, expires_at, created_at, ended_at, end_lease_id, machine_id"
                   " FROM tickets WHERE id = ?1",
    [ASK_WALLET_BY_KEY] = WALLET_COLUMNS "WHERE public_key = ?1",
    [ASK_WALLET_BY_ACCOUNT] = WALLET_COLUMNS "WHERE account_id = ?1",
    [ASK_TRANSFERS] = TRANSFER_CHAIN
    "SELECT transfers.id, amount_minor, created_at, from_account, to_account, from_balance_minor,"
    " to_balance_minor, product_id, purchase_id, kind, nonce, wallets.public_key"
    " FROM chain JOIN transfers ON transfers.id = chain.id LEFT JOIN wallets"
    " ON account_id = CASE ?1 WHEN from_account THEN to_account ELSE from_account END ORDER BY nth",
};

int sqlite_ask_init(struct sqlite_reader *reader)
{
    int rc = SQLITE_OK;
    for (int i = 0; i < ASK_COUNT && rc == SQLITE_OK; i++)
        rc = sqlite3_prepare_v3(reader->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &reader->asks[i], NULL);
    return rc;
}

void sqlite_ask_fini(struct sqlite_reader *reader)
{
    for (int i = 0; i < ASK_COUNT; i++)
        (void)sqlite3_finalize(reader->asks[i]);
}

static const char *path_of(const struct ask *ask)
{
    return ((const struct sqlite_store *)ask->reader->base.store)->path;
}

enum err ask_run(struct ask *ask, enum ask_statement which, take_row *take)
{
    sqlite3_stmt *statement = ask->reader->asks[which];
    enum err err = ERR_NONE;
    int rc;
    while (err == ERR_NONE && (rc = sqlite3_step(statement)) == SQLITE_ROW)
        err = take(ask, statement);
    if (err == ERR_NONE && rc != SQLITE_DONE)
        err = sqlite_failure(ask->reader->db, rc, path_of(ask), "read from", ask->error);
    (void)sqlite3_reset(statement);
    return err;
}

enum err ask_damaged(const struct ask *ask, const char *table, int64_t id)
{
    return error_set(ask->error, ERR_CORRUPT,
        "row %lld of %s in %s holds what doorbuster never writes; run doorbuster verify and restore a backup",
        (long long)id, table, path_of(ask));
}

enum err ask_no_memory(const struct ask *ask)
{
    return error_set(ask->error, ERR_MEMORY, "no memory for an answer of the store");
}

bool ask_copy(struct ask *ask, sqlite3_stmt *row, int at, struct slice *text)
{
    return question_copy(ask->question, row_text(row, at), text);
}

/* --- orders --- */

static enum err take_order(struct ask *ask, sqlite3_stmt *row)
{
    struct question *question = ask->question;
    struct order_row *order = &question->order;
    *order = (struct order_row){
        .id = sqlite3_column_int64(row, 0),
        .customer_id = sqlite3_column_int64(row, 2),
        .amount_minor = sqlite3_column_int64(row, 4),
        .priority = sqlite3_column_int(row, 5),
        .is_sync = sqlite3_column_int(row, 6) != 0,
        .created_ms = sqlite3_column_int64(row, 7),
        .attempts = sqlite3_column_int64(row, 9),
        .updated_ms = sqlite3_column_int64(row, 10),
        .paid_ms = sqlite3_column_int64(row, 11),
    };
    question->is_found = true;
    if (!order_status_from_name(row_text(row, 8), &order->status))
        return ask_damaged(ask, "orders", order->id);
    return ask_copy(ask, row, 1, &order->order_id) && ask_copy(ask, row, 3, &order->items)
               ? ERR_NONE
               : ask_no_memory(ask);
}

static enum err take_position(struct ask *ask, sqlite3_stmt *row)
{
    ask->question->order.position = sqlite3_column_int64(row, 0);
    return ERR_NONE;
}

static enum err ask_order(struct ask *ask)
{
    struct question *question = ask->question;
    bind_text(ask->reader->asks[ASK_ORDER], 1, question->name);
    enum err err = ask_run(ask, ASK_ORDER, take_order);
    if (err != ERR_NONE || !question->is_found || question->order.status != ORDER_PENDING)
        return err;
    bind_i64(ask->reader->asks[ASK_POSITION], 1, question->order.id);
    bind_i64(ask->reader->asks[ASK_POSITION], 2, QUESTION_POSITION_MAX);
    return ask_run(ask, ASK_POSITION, take_position);
}

static enum err take_state(struct ask *ask, sqlite3_stmt *row)
{
    struct order_state *state = &ask->question->states[ask->question->count];
    state->is_found = true;
    state->attempts = sqlite3_column_int64(row, 1);
    state->updated_ms = sqlite3_column_int64(row, 2);
    state->paid_ms = sqlite3_column_int64(row, 3);
    return order_status_from_name(row_text(row, 0), &state->status) ? ERR_NONE
                                                                    : ask_damaged(ask, "orders", state->id);
}

static enum err ask_states(struct ask *ask)
{
    struct question *question = ask->question;
    enum err err = ERR_NONE;
    for (question->count = 0; question->count < question->state_count && err == ERR_NONE; question->count++) {
        struct order_state *state = &question->states[question->count];
        *state = (struct order_state){.id = state->id};
        bind_i64(ask->reader->asks[ASK_ORDER_STATE], 1, state->id);
        err = ask_run(ask, ASK_ORDER_STATE, take_state);
    }
    return err;
}

static enum err take_total(struct ask *ask, sqlite3_stmt *row)
{
    enum order_status status;
    if (!order_status_from_name(row_text(row, 0), &status))
        return ask_damaged(ask, "orders", 0);
    ask->question->totals.counts[status] = sqlite3_column_int64(row, 1);
    return ERR_NONE;
}

static enum err take_oldest(struct ask *ask, sqlite3_stmt *row)
{
    ask->question->totals.oldest_pending_ms = sqlite3_column_int64(row, 0);
    return ERR_NONE;
}

static enum err ask_totals(struct ask *ask)
{
    ask->question->totals = (struct order_totals){0};
    enum err err = ask_run(ask, ASK_ORDER_TOTALS, take_total);
    return err == ERR_NONE ? ask_run(ask, ASK_OLDEST_PENDING, take_oldest) : err;
}

/* --- lists --- */

void *ask_make_list(struct ask *ask, size_t row_size)
{
    struct question *question = ask->question;
    ENSURE(question->limit >= 1 && question->limit <= QUESTION_ROWS_MAX);
    question->count = 0;
    return question_alloc(question, question->limit * row_size);
}

static enum err take_dead_letter(struct ask *ask, sqlite3_stmt *row)
{
    struct dead_letter *letter = &ask->question->dead_letters[ask->question->count++];
    bool is_email = slice_eq(row_text(row, 2), channel_name(CHANNEL_EMAIL));
    *letter = (struct dead_letter){
        .id = sqlite3_column_int64(row, 0),
        .channel = is_email ? CHANNEL_EMAIL : CHANNEL_WEBHOOK,
        .attempts = sqlite3_column_int64(row, 4),
        .created_ms = sqlite3_column_int64(row, 5),
    };
    bool is_copied =
        ask_copy(ask, row, 1, &letter->order_id) && (!is_email || ask_copy(ask, row, 3, &letter->target));
    return is_copied ? ERR_NONE : ask_no_memory(ask);
}

static enum err ask_dead_letters(struct ask *ask)
{
    sqlite3_stmt *statement = ask->reader->asks[ASK_DEAD_LETTERS];
    ask->question->dead_letters = ask_make_list(ask, sizeof *ask->question->dead_letters);
    if (ask->question->dead_letters == NULL)
        return ask_no_memory(ask);
    bind_i64(statement, 1, WORK_DEAD_MS);
    bind_i64(statement, 2, ask->question->id);
    bind_i64(statement, 3, (int64_t)ask->question->limit);
    return ask_run(ask, ASK_DEAD_LETTERS, take_dead_letter);
}

/* --- accounts --- */

static enum err take_account(struct ask *ask, sqlite3_stmt *row)
{
    struct account_row *account = &ask->question->account;
    account->id = sqlite3_column_int64(row, 0);
    account->created_ms = sqlite3_column_int64(row, 5);
    ask->question->is_found = true;
    bool is_copied = ask_copy(ask, row, 1, &account->username) && ask_copy(ask, row, 2, &account->email) &&
                     ask_copy(ask, row, 3, &account->full_name) &&
                     ask_copy(ask, row, 4, &account->password_hash);
    return is_copied ? ERR_NONE : ask_no_memory(ask);
}

static enum err ask_account(struct ask *ask)
{
    const struct question *question = ask->question;
    if (question->name.len > 0) {
        bind_text(ask->reader->asks[ASK_ACCOUNT_BY_EMAIL], 1, question->name);
        return ask_run(ask, ASK_ACCOUNT_BY_EMAIL, take_account);
    }
    bind_i64(ask->reader->asks[ASK_ACCOUNT_BY_ID], 1, question->id);
    return ask_run(ask, ASK_ACCOUNT_BY_ID, take_account);
}

/* --- trading orders --- */

static struct optional_decimal row_decimal(sqlite3_stmt *row, int at)
{
    bool is_set = sqlite3_column_type(row, at) != SQLITE_NULL;
    return (struct optional_decimal){.is_set = is_set, .value = is_set ? sqlite3_column_int64(row, at) : 0};
}

static enum err read_intake(struct ask *ask, sqlite3_stmt *row, struct intake_row *order)
{
    bool is_cancelled = sqlite3_column_type(row, 12) != SQLITE_NULL;
    bool is_executed = sqlite3_column_type(row, 13) != SQLITE_NULL;
    *order = (struct intake_row){
        .id = sqlite3_column_int64(row, 0),
        .account_id = sqlite3_column_int64(row, 1),
        .quantity = sqlite3_column_int64(row, 5),
        .price = row_decimal(row, 6),
        .stop_price = row_decimal(row, 7),
        .trailing_stop_pct = row_decimal(row, 8),
        .iceberg_qty = row_decimal(row, 9),
        .created_ms = sqlite3_column_int64(row, 11),
        .status = is_cancelled  ? INTAKE_CANCELLED
                  : is_executed ? INTAKE_EXECUTED
                                : INTAKE_QUEUED,
    };
    order->updated_ms = is_cancelled  ? sqlite3_column_int64(row, 12)
                        : is_executed ? sqlite3_column_int64(row, 13)
                                      : order->created_ms;
    if (!intake_side_from_name(row_text(row, 3), &order->side) ||
        !intake_type_from_name(row_text(row, 4), &order->type))
        return ask_damaged(ask, "intake_orders", order->id);
    return ask_copy(ask, row, 2, &order->symbol) && ask_copy(ask, row, 10, &order->time_in_force)
               ? ERR_NONE
               : ask_no_memory(ask);
}

static enum err take_intake(struct ask *ask, sqlite3_stmt *row)
{
    ask->question->is_found = true;
    return read_intake(ask, row, &ask->question->intake);
}

static enum err take_intake_row(struct ask *ask, sqlite3_stmt *row)
{
    return read_intake(ask, row, &ask->question->intake_rows[ask->question->count++]);
}

static enum err ask_intake_range(struct ask *ask)
{
    struct question *question = ask->question;
    sqlite3_stmt *statement = ask->reader->asks[ASK_INTAKE_RANGE];
    question->intake_rows = ask_make_list(ask, sizeof *question->intake_rows);
    if (question->intake_rows == NULL)
        return ask_no_memory(ask);
    bind_i64(statement, 1, question->id);
    bind_i64(statement, 2, question->id_last);
    bind_i64(statement, 3, (int64_t)question->limit);
    return ask_run(ask, ASK_INTAKE_RANGE, take_intake_row);
}

static enum err take_executed_id(struct ask *ask, sqlite3_stmt *row)
{
    ask->executed_id = sqlite3_column_int64(row, 0);
    return ERR_NONE;
}

static enum err ask_intake(struct ask *ask, int64_t id, take_row *take)
{
    bind_i64(ask->reader->asks[ASK_INTAKE_ORDER], 1, id);
    return ask_run(ask, ASK_INTAKE_ORDER, take);
}

/* An order of the account from which a walk need not begin at the latest: who goes on with a list names one.
 */
static enum err find_own_id(struct ask *ask, struct intake_walk *walk)
{
    struct question *question = ask->question;
    enum err err = walk->id_below == INT64_MAX ? ERR_NONE : ask_intake(ask, walk->id_below, take_intake);
    if (err == ERR_NONE && question->is_found && question->intake.account_id == question->account_id)
        walk->own_id = walk->id_below;
    question->is_found = false;
    return err;
}

/* Where orders of that status are: executed ones up to the id that stands for them, queued ones above it. */
static enum err plan_walk(struct ask *ask, struct intake_walk *walk)
{
    struct question *question = ask->question;
    *walk = (struct intake_walk){.account_id = question->account_id, .id_below = question->id_before};
    enum err err = find_own_id(ask, walk);
    if (err != ERR_NONE || !question->has_status)
        return err;
    walk->pick = question->status == INTAKE_CANCELLED ? INTAKE_PICK_CANCELLED : INTAKE_PICK_NOT_CANCELLED;
    err = ask_run(ask, ASK_INTAKE_EXECUTED_ID, take_executed_id);
    if (question->status == INTAKE_QUEUED)
        walk->id_above = ask->executed_id;
    else if (question->status == INTAKE_EXECUTED && ask->executed_id < walk->id_below)
        walk->id_below = ask->executed_id + 1;
    return err;
}

/* The rows decide: what has changed since the walk was planned is left out. */
static enum err take_walked(struct ask *ask, const int64_t *ids, size_t count)
{
    struct question *question = ask->question;
    enum err err = ERR_NONE;
    for (size_t i = 0; i < count && err == ERR_NONE; i++) {
        size_t before = question->count;
        err = ask_intake(ask, ids[i], take_intake_row);
        const struct intake_row *row = &question->intake_rows[before];
        bool is_wanted = err == ERR_NONE && question->count > before &&
                         row->account_id == question->account_id &&
                         (!question->has_status || row->status == question->status);
        question->count = before + is_wanted;
    }
    return err;
}

static enum err ask_intake_orders(struct ask *ask)
{
    enum { WALKED_MAX = 128 };
    struct question *question = ask->question;
    struct intake_index *index = &((struct sqlite_store *)ask->reader->base.store)->intake_index;
    struct intake_walk walk;
    int64_t ids[WALKED_MAX];
    size_t walked;
    question->intake_rows = ask_make_list(ask, sizeof *question->intake_rows);
    if (question->intake_rows == NULL)
        return ask_no_memory(ask);
    enum err err = plan_walk(ask, &walk);
    while (err == ERR_NONE && question->count < question->limit) {
        size_t wanted = question->limit - question->count;
        walked = intake_index_walk(index, &walk, ids, wanted < WALKED_MAX ? wanted : WALKED_MAX);
        if (walked == 0)
            break;
        err = take_walked(ask, ids, walked);
    }
    return err;
}

enum err reader_ask(struct store_reader *base, struct question *question, struct error *error)
{
    struct ask ask = {.reader = (struct sqlite_reader *)base, .question = question, .error = error};
    question->is_found = false;
    switch (question->kind) {
    case QUESTION_ORDER:
        return ask_order(&ask);
    case QUESTION_ORDER_STATES:
        return ask_states(&ask);
    case QUESTION_ORDER_TOTALS:
        return ask_totals(&ask);
    case QUESTION_DEAD_LETTERS:
        return ask_dead_letters(&ask);
    case QUESTION_ACCOUNT:
        return ask_account(&ask);
    case QUESTION_INTAKE_ORDER:
        return ask_intake(&ask, question->id, take_intake);
    case QUESTION_INTAKE_ORDERS:
        return ask_intake_orders(&ask);
    case QUESTION_INTAKE_RANGE:
        return ask_intake_range(&ask);
    case QUESTION_MACHINE:
    case QUESTION_MACHINES:
    case QUESTION_PRODUCT:
    case QUESTION_PRODUCTS:
    case QUESTION_TICKET:
        return ask_pool(&ask);
    case QUESTION_WALLET:
    case QUESTION_TRANSFERS:
        return ask_wallets(&ask);
    case QUESTION_PURCHASE:
        break; /* store_read_purchases */
    }
    ensure_failed("the question is of a kind that store_ask answers", __FILE__, __LINE__, __func__);
}
