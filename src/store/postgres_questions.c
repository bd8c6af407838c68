/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The questions of question.h, each one statement and one round trip. Numbers that stand for a whole table
 * come from sub-selects that are run once, before the rows, so that an index can be walked by them and a list
 * ends with its last row.
 */
#include "store/postgres_reader.h"

#include <string.h>

#include "base/ensure.h"
#include "base/utf8.h"

#define ORDER_STATE_COLUMNS "status, attempts, updated_at, paid_at"
#define ACCOUNT_COLUMNS "SELECT id, username, email, full_name, password_hash, created_at FROM accounts "
#define EXECUTED_ID "(SELECT executed_id FROM intake_state WHERE id = 1)"
#define INTAKE_COLUMNS                                                                                 \
    "SELECT id, account_id, symbol, side, order_type, quantity, price, stop_price, trailing_stop_pct," \
    " iceberg_qty, time_in_force, created_at, cancelled_at,"                                           \
    " (SELECT executed_at FROM intake_deliveries WHERE last_id >= intake_orders.id"                    \
    " AND first_id <= intake_orders.id ORDER BY last_id LIMIT 1) FROM intake_orders "
#define MACHINE_COLUMNS                                                                                \
    "machines.id, name, status, is_draining::int::bigint, usage_count, lease_id, machines.created_at," \
    " machines.updated_at"
#define PRODUCT_COLUMNS "SELECT id, sku, product_name, stock, created_at, updated_at FROM products "
#define WALLET_COLUMNS                                                                                      \
    "SELECT account_id, public_key, balance_minor, created_at, email, full_name FROM wallets JOIN accounts" \
    " ON accounts.id = account_id "
/* Of the account $1: its last transfer, or the one before the transfer $2, if that is its own. */
#define CHAIN_BEGIN                                                                                        \
    "CASE $2::bigint WHEN 9223372036854775807 THEN (SELECT last_transfer_id FROM wallets"                  \
    " WHERE account_id = $1::bigint) ELSE (SELECT CASE $1::bigint WHEN from_account THEN from_previous_id" \
    " WHEN to_account THEN to_previous_id END FROM transfers WHERE id = $2::bigint) END"
#define DEAD_OF_KIND(kind)                                                                      \
    "(SELECT id, subject, token FROM work WHERE kind = '" kind "' AND due_at = $1::timestamptz" \
    " AND id > $2::bigint ORDER BY id LIMIT $3::bigint)"
#define DEAD_WEBHOOKS DEAD_OF_KIND("webhook")
#define DEAD_EMAILS DEAD_OF_KIND("email")

const struct link_statement postgres_reads[READ_COUNT] = {
    [READ_PURCHASES] =
        {"SELECT asked.place, found.id, found.purchased_at"
         " FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (sku, user_id, place),"
         " LATERAL (SELECT purchase_log.id, purchased_at FROM products, purchase_log"
         " WHERE products.sku = asked.sku AND product_id = products.id AND user_id = asked.user_id"
         " ORDER BY nth DESC LIMIT 1) AS found",
            "look up purchases in"},
    [READ_SALE_TOTALS] =
        {"SELECT initial_stock, stock, per_user_limit, state, coalesce(end_reason, ''), units, buyers,"
         " by_payers FROM products, (SELECT count(*) AS units,"
         " count(DISTINCT user_id) FILTER (WHERE user_id NOT LIKE ' %') AS buyers,"
         " count(*) FILTER (WHERE user_id LIKE ' %') AS by_payers FROM purchase_log"
         " WHERE product_id = $1::bigint) AS sold WHERE products.id = $1::bigint",
            "count the purchases of a product in"},
    [READ_ORDER] =
        {"SELECT id, order_id, customer_id, items, amount_minor, priority, is_sync::int::bigint, "
         "created_at, " ORDER_STATE_COLUMNS
         ", CASE WHEN status = 'pending' THEN (SELECT count(*) FROM (SELECT FROM work AS own, work AS other"
         " WHERE own.id = orders.id AND other.kind = 'payment'"
         " AND (other.due_at, other.id) < (own.due_at, own.id) LIMIT $2::bigint) AS before) ELSE 0 END"
         " FROM orders WHERE order_id = $1::text",
            "look up an order in"},
    [READ_ORDER_STATES] = {"SELECT asked.place, " ORDER_STATE_COLUMNS
                           " FROM unnest($1::bigint[]) WITH ORDINALITY AS asked (id, place) JOIN orders ON "
                           "orders.id = asked.id",
        "look up orders in"},
    [READ_ORDER_TOTALS] =
        {"SELECT count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status = 'processing'),"
         " count(*) FILTER (WHERE status = 'completed'), count(*) FILTER (WHERE status = 'failed'),"
         " count(*) FILTER (WHERE status = 'cancelled'), min(created_at) FILTER (WHERE status = 'pending')"
         " FROM orders",
            "count the orders in"},
    [READ_OPEN_ORDER_TOTALS] =
        {"SELECT (SELECT count(*) FROM orders WHERE status = 'pending'),"
         " (SELECT count(*) FROM orders WHERE status = 'processing'), 0::bigint, 0::bigint, 0::bigint,"
         " (SELECT min(created_at) FROM orders WHERE status = 'pending')",
            "count the open orders in"},
    [READ_DEAD_LETTERS] =
        {"SELECT dead.id, orders.order_id, channel, subject, token, told.created_at"
         " FROM (SELECT * FROM (" DEAD_WEBHOOKS " UNION ALL " DEAD_EMAILS ") AS two"
         " ORDER BY id LIMIT $3::bigint) AS dead,"
         " LATERAL (SELECT * FROM notifications WHERE id = dead.id LIMIT 1) AS told,"
         " LATERAL (SELECT * FROM orders WHERE id = told.order_id LIMIT 1) AS orders ORDER BY dead.id",
            "look up dead letters in"},
    [READ_ACCOUNT_BY_EMAIL] = {ACCOUNT_COLUMNS "WHERE email_key = $1::text", "look up an account in"},
    [READ_ACCOUNT_BY_ID] = {ACCOUNT_COLUMNS "WHERE id = $1::bigint", "look up an account in"},
    [READ_INTAKE_ORDER] = {INTAKE_COLUMNS "WHERE id = $1::bigint", "look up a trading order in"},
    /* By the index of accounts whatever the planner thinks of it: some have a million orders, most have few.
     * $4: only queued ones (0), only executed ones (1), all (-1). */
    [READ_INTAKE_ORDERS] = {INTAKE_COLUMNS
        "WHERE (account_id, id) < ($1::bigint, $2::bigint)"
        " AND (account_id, id) > ($1::bigint, CASE WHEN $4::bigint = 0 THEN " EXECUTED_ID " ELSE 0 END)"
        " AND (account_id, id) <= ($1::bigint, CASE WHEN $4::bigint = 1 THEN " EXECUTED_ID
        " ELSE $2::bigint END)"
        " AND ($4::bigint = -1 OR cancelled_at IS NULL)"
        " ORDER BY account_id DESC, id DESC LIMIT $3::bigint",
        "look up trading orders in"},
    [READ_INTAKE_CANCELLED] = {INTAKE_COLUMNS
        "WHERE (account_id, id) < ($1::bigint, $2::bigint) AND (account_id, id) > ($1::bigint, 0::bigint)"
        " AND cancelled_at IS NOT NULL ORDER BY account_id DESC, id DESC LIMIT $3::bigint",
        "look up trading orders in"},
    [READ_INTAKE_RANGE] = {INTAKE_COLUMNS "WHERE id > $1::bigint AND id <= $2::bigint"
                                          " AND cancelled_at IS NULL ORDER BY id LIMIT $3::bigint",
        "look up trading orders in"},
    [READ_MACHINE] = {"SELECT " MACHINE_COLUMNS " FROM machines WHERE id = $1::bigint",
        "look up a machine in"},
    [READ_MACHINES] = {"SELECT " MACHINE_COLUMNS
                       " FROM machines WHERE id > $1::bigint ORDER BY id LIMIT $2::bigint",
        "list the machines of"},
    [READ_PRODUCT] = {PRODUCT_COLUMNS "WHERE id = $1::bigint", "look up a product in"},
    [READ_PRODUCTS] = {PRODUCT_COLUMNS "WHERE id > $1::bigint ORDER BY id LIMIT $2::bigint",
        "list the products of"},
    [READ_TICKET] =
        {"SELECT tickets.id, state, is_attached::int::bigint, expires_at, tickets.created_at, ended_at,"
         " end_lease_id, machine_id, " MACHINE_COLUMNS " FROM tickets LEFT JOIN machines"
         " ON machines.id = machine_id AND lease_id = end_lease_id WHERE tickets.id = $1::bigint",
            "look up a ticket in"},
    [READ_WALLET_BY_KEY] = {WALLET_COLUMNS "WHERE public_key = $1::bytea", "look up a wallet in"},
    [READ_WALLET_BY_ACCOUNT] = {WALLET_COLUMNS "WHERE account_id = $1::bigint", "look up a wallet in"},
    [READ_TRANSFERS] =
        {"WITH RECURSIVE chain AS (SELECT 1::bigint AS nth, transfers.* FROM transfers WHERE id "
         "= " CHAIN_BEGIN
         " UNION ALL SELECT nth + 1, before.* FROM chain, LATERAL (SELECT * FROM transfers WHERE id ="
         " CASE $1::bigint WHEN chain.from_account THEN chain.from_previous_id ELSE chain.to_previous_id END"
         " LIMIT 1) AS before WHERE nth < $3::bigint)"
         " SELECT id, amount_minor, created_at, from_account, to_account, from_balance_minor,"
         " to_balance_minor, product_id, purchase_id, kind, nonce, (SELECT public_key FROM wallets WHERE"
         " account_id = CASE $1::bigint WHEN from_account THEN to_account ELSE from_account END)"
         " FROM chain ORDER BY nth",
            "look up transfers in"},
    [READ_BEGIN] = {"BEGIN READ ONLY", "read from"},
    [READ_ALLOW_LONG] = {"SET LOCAL statement_timeout = '25s'", "read from"},
    [READ_COMMIT] = {"COMMIT", "read from"},
};

enum err postgres_question_no_memory(struct error *error)
{
    return error_set(error, ERR_MEMORY, "no memory for an answer of the store");
}

enum err postgres_question_damaged(
    const struct postgres_reader *reader, const char *what, int64_t id, struct error *error)
{
    char name[POSTGRES_NAME_LEN_MAX];
    postgres_name(reader->link.url, name);
    return error_set(error, ERR_CORRUPT,
        "%s %lld in %s holds what doorbuster never writes; run doorbuster verify and restore a backup", what,
        (long long)id, name);
}

static bool copy(struct question *question, const PGresult *result, int row, int at, struct slice *text)
{
    return question_copy(question, result_text(result, row, at), text);
}

/* --- orders --- */

static enum err put_order(struct postgres_reader *reader, const void *asked, struct error *error)
{
    link_param(&reader->link, ((const struct question *)asked)->name);
    postgres_put_number(reader, QUESTION_POSITION_MAX);
    return ERR_NONE;
}

static enum err take_order(
    struct postgres_reader *reader, const PGresult *result, void *asked, struct error *error)
{
    struct question *question = asked;
    struct order_row *order = &question->order;
    question->is_found = PQntuples(result) == 1;
    if (!question->is_found)
        return ERR_NONE;
    *order = (struct order_row){
        .id = result_i64(result, 0, 0),
        .customer_id = result_i64(result, 0, 2),
        .amount_minor = result_i64(result, 0, 4),
        .priority = (int)result_i64(result, 0, 5),
        .is_sync = result_i64(result, 0, 6) != 0,
        .created_ms = result_ms(result, 0, 7),
        .attempts = result_i64(result, 0, 9),
        .updated_ms = result_ms(result, 0, 10),
        .paid_ms = result_ms(result, 0, 11),
        .position = result_i64(result, 0, 12),
    };
    if (!order_status_from_name(result_text(result, 0, 8), &order->status))
        return postgres_question_damaged(reader, "order", order->id, error);
    return copy(question, result, 0, 1, &order->order_id) && copy(question, result, 0, 3, &order->items)
               ? ERR_NONE
               : postgres_question_no_memory(error);
}

static enum err put_states(struct postgres_reader *reader, const void *asked, struct error *error)
{
    const struct question *question = asked;
    column_start(&reader->columns[0], POSTGRES_INT8);
    for (size_t i = 0; i < question->state_count; i++)
        column_put_i64(&reader->columns[0], question->states[i].id);
    return postgres_put_columns(reader, 1, error);
}

static enum err take_states(
    struct postgres_reader *reader, const PGresult *result, void *asked, struct error *error)
{
    const struct question *question = asked;
    for (size_t i = 0; i < question->state_count; i++)
        question->states[i] = (struct order_state){.id = question->states[i].id};
    for (int row = 0; row < PQntuples(result); row++) {
        size_t place = (size_t)result_i64(result, row, 0) - 1;
        ENSURE(place < question->state_count);
        struct order_state *state = &question->states[place];
        state->is_found = true;
        state->attempts = result_i64(result, row, 2);
        state->updated_ms = result_ms(result, row, 3);
        state->paid_ms = result_ms(result, row, 4);
        if (!order_status_from_name(result_text(result, row, 1), &state->status))
            return postgres_question_damaged(reader, "order", state->id, error);
    }
    return ERR_NONE;
}

static enum err put_nothing(struct postgres_reader *reader, const void *asked, struct error *error)
{
    return ERR_NONE;
}

static enum err take_totals(
    struct postgres_reader *reader, const PGresult *result, void *asked, struct error *error)
{
    struct order_totals *totals = &((struct question *)asked)->totals;
    for (int status = 0; status < ORDER_STATUS_COUNT; status++) /* the columns are in their order */
        totals->counts[status] = result_i64(result, 0, status);
    totals->oldest_pending_ms = result_ms(result, 0, ORDER_STATUS_COUNT);
    return ERR_NONE;
}

/* --- lists --- */

void *postgres_make_list(struct question *question, const PGresult *result, size_t row_size)
{
    ENSURE(PQntuples(result) <= QUESTION_ROWS_MAX);
    question->count = 0;
    return question_alloc(question, ((size_t)PQntuples(result) + 1) * row_size);
}

void postgres_put_limit(struct postgres_reader *reader, const struct question *question)
{
    ENSURE(question->limit >= 1 && question->limit <= QUESTION_ROWS_MAX);
    postgres_put_number(reader, (int64_t)question->limit);
}

static enum err put_dead_letters(struct postgres_reader *reader, const void *asked, struct error *error)
{
    const struct question *question = asked;
    postgres_put_ms(reader, WORK_DEAD_MS);
    postgres_put_number(reader, question->id);
    postgres_put_limit(reader, question);
    return ERR_NONE;
}

static bool take_dead_letter(
    struct question *question, const PGresult *result, int row, struct dead_letter *letter)
{
    bool is_email = slice_eq(result_text(result, row, 2), channel_name(CHANNEL_EMAIL));
    *letter = (struct dead_letter){
        .id = result_i64(result, row, 0),
        .channel = is_email ? CHANNEL_EMAIL : CHANNEL_WEBHOOK,
        .attempts = result_i64(result, row, 4),
        .created_ms = result_ms(result, row, 5),
    };
    return copy(question, result, row, 1, &letter->order_id) &&
           (!is_email || copy(question, result, row, 3, &letter->target));
}

static enum err take_dead_letters(
    struct postgres_reader *reader, const PGresult *result, void *asked, struct error *error)
{
    struct question *question = asked;
    question->dead_letters = postgres_make_list(question, result, sizeof *question->dead_letters);
    bool is_well = question->dead_letters != NULL;
    for (int row = 0; row < PQntuples(result) && is_well; row++)
        is_well = take_dead_letter(question, result, row, &question->dead_letters[question->count++]);
    return is_well ? ERR_NONE : postgres_question_no_memory(error);
}

/* --- accounts --- */

static enum err put_account(struct postgres_reader *reader, const void *asked, struct error *error)
{
    const struct question *question = asked;
    if (question->name.len > 0)
        link_param(&reader->link, question->name);
    else
        postgres_put_number(reader, question->id);
    return ERR_NONE;
}

static enum err take_account(
    struct postgres_reader *reader, const PGresult *result, void *asked, struct error *error)
{
    struct question *question = asked;
    struct account_row *account = &question->account;
    question->is_found = PQntuples(result) == 1;
    if (!question->is_found)
        return ERR_NONE;
    account->id = result_i64(result, 0, 0);
    account->created_ms = result_ms(result, 0, 5);
    bool is_copied = copy(question, result, 0, 1, &account->username) &&
                     copy(question, result, 0, 2, &account->email) &&
                     copy(question, result, 0, 3, &account->full_name) &&
                     copy(question, result, 0, 4, &account->password_hash);
    return is_copied ? ERR_NONE : postgres_question_no_memory(error);
}

/* --- trading orders --- */

static struct optional_decimal result_decimal(const PGresult *result, int row, int at)
{
    return (struct optional_decimal){
        .is_set = PQgetisnull(result, row, at) == 0, .value = result_i64(result, row, at)};
}

static enum err take_intake_row(struct postgres_reader *reader, const PGresult *result, int row,
    struct question *question, struct intake_row *order, struct error *error)
{
    bool is_cancelled = PQgetisnull(result, row, 12) == 0;
    bool is_executed = PQgetisnull(result, row, 13) == 0;
    *order = (struct intake_row){
        .id = result_i64(result, row, 0),
        .account_id = result_i64(result, row, 1),
        .quantity = result_i64(result, row, 5),
        .price = result_decimal(result, row, 6),
        .stop_price = result_decimal(result, row, 7),
        .trailing_stop_pct = result_decimal(result, row, 8),
        .iceberg_qty = result_decimal(result, row, 9),
        .created_ms = result_ms(result, row, 11),
        .updated_ms = result_ms(result, row,
            is_cancelled  ? 12
            : is_executed ? 13
                          : 11),
        .status = is_cancelled  ? INTAKE_CANCELLED
                  : is_executed ? INTAKE_EXECUTED
                                : INTAKE_QUEUED,
    };
    if (!intake_side_from_name(result_text(result, row, 3), &order->side) ||
        !intake_type_from_name(result_text(result, row, 4), &order->type))
        return postgres_question_damaged(reader, "trading order", order->id, error);
    return copy(question, result, row, 2, &order->symbol) &&
                   copy(question, result, row, 10, &order->time_in_force)
               ? ERR_NONE
               : postgres_question_no_memory(error);
}

static enum err put_intake(struct postgres_reader *reader, const void *asked, struct error *error)
{
    postgres_put_number(reader, ((const struct question *)asked)->id);
    return ERR_NONE;
}

static enum err take_intake(
    struct postgres_reader *reader, const PGresult *result, void *asked, struct error *error)
{
    struct question *question = asked;
    question->is_found = PQntuples(result) == 1;
    return question->is_found ? take_intake_row(reader, result, 0, question, &question->intake, error)
                              : ERR_NONE;
}

static bool wants_cancelled(const struct question *question)
{
    return question->has_status && question->status == INTAKE_CANCELLED;
}

static enum err put_intake_list(struct postgres_reader *reader, const void *asked, struct error *error)
{
    const struct question *question = asked;
    postgres_put_number(reader, question->account_id);
    postgres_put_number(reader, question->id_before);
    postgres_put_limit(reader, question);
    if (!wants_cancelled(question))
        postgres_put_number(reader, question->has_status ? (int64_t)question->status : -1);
    return ERR_NONE;
}

static enum err put_intake_range(struct postgres_reader *reader, const void *asked, struct error *error)
{
    const struct question *question = asked;
    postgres_put_number(reader, question->id);
    postgres_put_number(reader, question->id_last);
    postgres_put_limit(reader, question);
    return ERR_NONE;
}

static enum err take_intake_list(
    struct postgres_reader *reader, const PGresult *result, void *asked, struct error *error)
{
    struct question *question = asked;
    enum err err = ERR_NONE;
    question->intake_rows = postgres_make_list(question, result, sizeof *question->intake_rows);
    if (question->intake_rows == NULL)
        return postgres_question_no_memory(error);
    for (int row = 0; row < PQntuples(result) && err == ERR_NONE; row++)
        err =
            take_intake_row(reader, result, row, question, &question->intake_rows[question->count++], error);
    return err;
}

/* --- --- */

/* False: not one that is asked here. */
static bool make_inquiry(struct question *question, struct inquiry *inquiry)
{
    switch (question->kind) {
    case QUESTION_ORDER:
        *inquiry = (struct inquiry){.read = READ_ORDER, .put = put_order, .take = take_order};
        return true;
    case QUESTION_ORDER_STATES:
        *inquiry = (struct inquiry){.read = READ_ORDER_STATES, .put = put_states, .take = take_states};
        return true;
    case QUESTION_ORDER_TOTALS:
        *inquiry =
            (struct inquiry){.read = question->is_open_only ? READ_OPEN_ORDER_TOTALS : READ_ORDER_TOTALS,
                .put = put_nothing,
                .take = take_totals};
        return true;
    case QUESTION_DEAD_LETTERS:
        *inquiry =
            (struct inquiry){.read = READ_DEAD_LETTERS, .put = put_dead_letters, .take = take_dead_letters};
        return true;
    case QUESTION_ACCOUNT:
        *inquiry =
            (struct inquiry){.read = question->name.len > 0 ? READ_ACCOUNT_BY_EMAIL : READ_ACCOUNT_BY_ID,
                .put = put_account,
                .take = take_account};
        return true;
    case QUESTION_INTAKE_ORDER:
        *inquiry = (struct inquiry){.read = READ_INTAKE_ORDER, .put = put_intake, .take = take_intake};
        return true;
    case QUESTION_INTAKE_ORDERS:
        *inquiry =
            (struct inquiry){.read = wants_cancelled(question) ? READ_INTAKE_CANCELLED : READ_INTAKE_ORDERS,
                .put = put_intake_list,
                .take = take_intake_list};
        return true;
    case QUESTION_INTAKE_RANGE:
        *inquiry =
            (struct inquiry){.read = READ_INTAKE_RANGE, .put = put_intake_range, .take = take_intake_list};
        return true;
    default: /* QUESTION_PURCHASE is store_read_purchases */
        return postgres_wallet_inquiry(question, inquiry) || postgres_pool_inquiry(question, inquiry);
    }
}

/* The database takes no other text, not even to look for it. */
static bool can_be_stored(struct slice text)
{
    return utf8_is_valid(text) && (text.len == 0 || memchr(text.base, '\0', text.len) == NULL);
}

enum err postgres_reader_ask(struct store_reader *base, struct question *question, struct error *error)
{
    struct inquiry inquiry;
    bool is_asked_here = make_inquiry(question, &inquiry);
    ENSURE(is_asked_here);
    inquiry.asked = question;
    question->is_found = false;
    if (!can_be_stored(question->name))
        return ERR_NONE;
    return postgres_inquire((struct postgres_reader *)base, &inquiry, error);
}
