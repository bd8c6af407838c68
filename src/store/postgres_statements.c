/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every statement of a batch, prepared once a connection. Each looks up its rows one by one by an index, in a
 * LATERAL of one row where it is asked about many, so that its plan is right whatever size the tables had
 * when it was made.
 */
#include "store/postgres_priv.h"

/* What somebody else has written into the table stays there for the auditor and is not touched. */
#define WORK_IS_OURS \
    "octet_length(subject) <= 255 AND octet_length(body) <= 4000 AND token < 9000000000000000000"
/* Put in a way that no index matches: an order is looked up by its work's id. */
#define ORDER_IS_OPEN                                                              \
    "octet_length(orders.order_id) <= 255 AND octet_length(customer_email) <= 254" \
    " AND status <> ALL ('{completed,failed,cancelled}')"
#define WORK_COLUMNS "work.id, due_at, token, work.created_at, kind, subject, body"
#define ORDER_COLUMNS                                                                  \
    "orders.id, orders.order_id, customer_email, customer_id, amount_minor, priority," \
    " orders.created_at, deadline, fingerprint, status, attempts, orders.updated_at, paid_at"
/* Ids in the first array, or of orders with the names in the second. */
#define IDS_OR_NAMES "($1::bigint[] || ARRAY(SELECT id FROM orders WHERE order_id = ANY ($2::text[])))"
#define PRODUCT_COLUMNS                                                                               \
    "SELECT id, initial_stock, stock, price_minor, per_user_limit, start_time, end_time, created_at," \
    " updated_at, sku, product_name, state, end_reason, category, is_featured::int::bigint FROM products "
#define POOL_ROW                                                                         \
    "SELECT next_machine_id, next_lease_id, next_ticket_id, version, whole_version FROM" \
    " pool WHERE id = 1"
/* The version that is known, or before the first one when a copy of it may hold what is gone by now. */
#define MACHINES_SINCE \
    "(CASE WHEN (SELECT whole_version FROM pool WHERE id = 1) > $1::bigint THEN -1 ELSE $1::bigint END)"
#define TICKET_COLUMNS                                                                                       \
    "SELECT id, is_attached::int::bigint, expires_at, first_lease_id, end_lease_id, machine_id, created_at," \
    " ended_at, state FROM tickets "

const struct link_statement postgres_statements[STATEMENT_COUNT] = {
    [STATEMENT_READ_SECRET] = {"SELECT value FROM secrets WHERE name = 'tokens'", "read the secret of"},
    [STATEMENT_BEGIN] = {"BEGIN", "begin a transaction in"},
    [STATEMENT_UNSYNCED] = {"SET LOCAL synchronous_commit = off", "reserve ids in"},
    [STATEMENT_RESERVE_IDS] =
        {"UPDATE sequences SET next_value = next_value + $2::bigint WHERE name = $1::text"
         " RETURNING next_value - $2::bigint",
            "reserve ids in"},
    [STATEMENT_COMMIT] = {"COMMIT", "commit to"},
    [STATEMENT_ROLLBACK] = {"ROLLBACK", "roll back in"},
    [STATEMENT_LOCK_PRODUCTS] = {PRODUCT_COLUMNS "WHERE sku = ANY ($1::text[]) ORDER BY id FOR NO KEY UPDATE",
        "lock products in"},
    [STATEMENT_LOCK_DUE_PRODUCTS] = {PRODUCT_COLUMNS
        "WHERE (state = 'UPCOMING' AND start_time <= $1::timestamptz)"
        " OR (state = 'ACTIVE' AND end_time <= $1::timestamptz)"
        " ORDER BY id LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED",
        "look for sales that are due in"},
    [STATEMENT_LOCK_DUE_KEYS] =
        {"SELECT scope, key, fingerprint, result::bigint, number, time, created_at"
         " FROM idempotency_keys WHERE created_at <= greatest($1::timestamptz, (SELECT created_at"
         " FROM idempotency_keys WHERE id <= (SELECT max(id) FROM idempotency_keys) - $3::bigint"
         " ORDER BY id DESC LIMIT 1)) ORDER BY created_at LIMIT $2::bigint FOR UPDATE SKIP LOCKED",
            "look for stored answers that are due in"},
    [STATEMENT_FIND_BUYERS] =
        {"SELECT asked.place, found.nth FROM products,"
         " unnest($2::text[]) WITH ORDINALITY AS asked (user_id, place),"
         " LATERAL (SELECT nth FROM purchase_log WHERE product_id = products.id AND user_id = asked.user_id"
         " ORDER BY nth DESC LIMIT 1) AS found WHERE products.sku = $1::text",
            "look up buyers in"},
    [STATEMENT_HAS_PURCHASES] = {"SELECT EXISTS (SELECT FROM purchase_log JOIN products"
                                 " ON products.id = product_id WHERE sku = $1::text)::int::bigint",
        "look up purchases in"},
    [STATEMENT_FIND_KEYS] =
        {"SELECT found.* FROM unnest($1::text[], $2::text[]) AS asked (scope, key),"
         " LATERAL (SELECT scope, key, fingerprint, result::bigint, number, time, created_at"
         " FROM idempotency_keys WHERE scope = asked.scope AND key = asked.key LIMIT 1) AS found",
            "look up stored answers in"},
    [STATEMENT_LOCK_WORK] = {"SELECT " WORK_COLUMNS " FROM work WHERE " WORK_IS_OURS
                             " AND id = ANY " IDS_OR_NAMES " ORDER BY id FOR UPDATE",
        "lock work in"},
    [STATEMENT_LOCK_ORDERS] = {"SELECT " ORDER_COLUMNS " FROM orders WHERE id = ANY " IDS_OR_NAMES
                               " ORDER BY id FOR NO KEY UPDATE",
        "lock orders in"},
    [STATEMENT_LOCK_DUE_WORK] = {"SELECT " WORK_COLUMNS " FROM work WHERE " WORK_IS_OURS
                                 " AND kind = $1::text AND due_at <= now()"
                                 " ORDER BY due_at, id LIMIT $2::bigint FOR UPDATE SKIP LOCKED",
        "look for work that is due in"},
    [STATEMENT_LOCK_DUE_PAYMENTS] =
        {"SELECT " WORK_COLUMNS ", " ORDER_COLUMNS " FROM work JOIN orders ON orders.id = work.id"
         " WHERE " WORK_IS_OURS " AND " ORDER_IS_OPEN " AND kind = $1::text AND due_at <= now()"
         " ORDER BY due_at, work.id LIMIT $2::bigint FOR NO KEY UPDATE SKIP LOCKED",
            "look for payments that are due in"},
    [STATEMENT_FIND_ORDERS] = {"SELECT " ORDER_COLUMNS " FROM orders WHERE order_id = ANY ($1::text[])",
        "look up orders in"},
    /* An account has two names that nobody else has, so that no order of adding them would do. The number is
     * the one that locks the schema, and one more. */
    [STATEMENT_LOCK_ACCOUNTS] = {"SELECT pg_advisory_xact_lock(1145197397)", "lock the names of accounts in"},
    [STATEMENT_FIND_ACCOUNTS] = {"SELECT id, username_key, email_key FROM accounts"
                                 " WHERE username_key = ANY ($1::text[])"
                                 " UNION ALL SELECT id, username_key, email_key FROM accounts"
                                 " WHERE email_key = ANY ($2::text[])",
        "look up accounts in"},
    [STATEMENT_LOCK_INTAKE] = {"SELECT next_id, sent_id, executed_id FROM intake_state WHERE id = 1"
                               " FOR NO KEY UPDATE",
        "lock the state of trading orders in"},
    [STATEMENT_LOCK_POOL] = {POOL_ROW " FOR NO KEY UPDATE", "lock the machines in"},
    [STATEMENT_LOCK_DUE_POOL] = {POOL_ROW " FOR NO KEY UPDATE SKIP LOCKED",
        "look for leases that are due in"},
    [STATEMENT_READ_POOL] = {POOL_ROW, "read the machines of"},
    [STATEMENT_READ_MACHINES] =
        {"SELECT id, is_draining::int::bigint, usage_count, created_at, updated_at, lease_id, ticket_id,"
         " started_at, chosen_at, product_id, units, purchase_id, due_at, name, status FROM machines"
         " WHERE era >= " MACHINES_SINCE " / 16 AND version > " MACHINES_SINCE,
            "read the machines of"},
    [STATEMENT_READ_LINE] = {TICKET_COLUMNS "WHERE state = 'waiting' ORDER BY id", "read the tickets of"},
    [STATEMENT_READ_TICKETS] = {TICKET_COLUMNS "WHERE version > $1::bigint ORDER BY version",
        "read the tickets of"},
    [STATEMENT_FIND_NAMES] = {PRODUCT_COLUMNS
        "WHERE product_name = ANY ($1::text[]) UNION ALL " PRODUCT_COLUMNS "WHERE sku = ANY ($2::text[])",
        "look up products in"},
    [STATEMENT_LOCK_WALLETS] =
        {"SELECT account_id, balance_minor, last_transfer_id, updated_at, public_key FROM wallets"
         " WHERE public_key = ANY ($1::bytea[]) ORDER BY account_id FOR NO KEY UPDATE",
            "lock wallets in"},
    /* The payer's key, or NULL for the admin. */
    [STATEMENT_FIND_TRANSFERS] =
        {"SELECT found.* FROM unnest($1::bytea[], $2::text[]) AS asked (key, nonce),"
         " LATERAL (SELECT id, from_account, to_account, from_previous_id, to_previous_id, amount_minor,"
         " from_balance_minor, to_balance_minor, product_id, purchase_id, created_at, kind, nonce, "
         "fingerprint"
         " FROM transfers WHERE coalesce(from_account, 0) = CASE WHEN asked.key IS NULL THEN 0 ELSE"
         " (SELECT account_id FROM wallets WHERE public_key = asked.key) END AND nonce = asked.nonce"
         " LIMIT 1) AS found",
            "look up transfers in"},
    [STATEMENT_REFRESH_PRODUCTS] = {PRODUCT_COLUMNS "WHERE sku = ANY ($1::text[])", "read products of"},
    [STATEMENT_REFRESH_ALL] = {PRODUCT_COLUMNS " ORDER BY id", "read the products of"},
    [STATEMENT_PROBE] = {"UPDATE sequences SET next_value = next_value WHERE name = 'products'", "write to"},
    [STATEMENT_ALLOW_LONG] = {"SET LOCAL statement_timeout = '60s'", "write to"},
    [STATEMENT_ADD_PRODUCT] =
        {"INSERT INTO products (id, initial_stock, stock, price_minor, per_user_limit, start_time, end_time,"
         " created_at, updated_at, sku, product_name, state, end_reason) VALUES ($1::bigint, $2::bigint,"
         " $3::bigint, $4::bigint, $5::bigint, $6::timestamptz, $7::timestamptz, $8::timestamptz,"
         " $9::timestamptz, $10::text, $11::text, $12::text, nullif($13::text, ''))",
            "add a product to"},
    [STATEMENT_SET_PRODUCTS] =
        {"UPDATE products SET initial_stock = new.initial_stock, stock = new.stock, price_minor = "
         "new.price_minor,"
         " per_user_limit = new.per_user_limit, start_time = new.start_time, end_time = new.end_time,"
         " updated_at = new.updated_at, product_name = new.product_name, state = new.state,"
         " end_reason = nullif(new.end_reason, '')"
         " FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], "
         "$6::timestamptz[],"
         " $7::timestamptz[], $8::timestamptz[], $9::text[], $10::text[], $11::text[])"
         " AS new (id, initial_stock, stock, price_minor, per_user_limit, start_time, end_time, updated_at,"
         " product_name, state, end_reason) WHERE products.id = new.id",
            "write products to"},
    [STATEMENT_REMOVE_PRODUCT] = {"DELETE FROM products WHERE id = $1::bigint", "remove a product from"},
    [STATEMENT_CLEAR_PURCHASES] = {"DELETE FROM purchase_log WHERE product_id = $1::bigint",
        "remove purchases from"},
    [STATEMENT_ADD_PURCHASES] =
        {"INSERT INTO purchase_log (id, product_id, user_id, nth, purchased_at) SELECT * FROM"
         " unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::timestamptz[])",
            "write purchases to"},
    [STATEMENT_ADD_KEYS] =
        {"INSERT INTO idempotency_keys (scope, key, fingerprint, result, number, time, created_at)"
         " SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::bigint[], "
         "$6::bigint[],"
         " $7::timestamptz[])",
            "write stored answers to"},
    [STATEMENT_REMOVE_KEYS] =
        {"DELETE FROM idempotency_keys USING unnest($1::text[], $2::text[]) AS old (scope, key)"
         " WHERE idempotency_keys.scope = old.scope AND idempotency_keys.key = old.key",
            "remove stored answers from"},
    [STATEMENT_ADD_WORK] =
        {"INSERT INTO work (id, kind, subject, body, due_at, token, created_at) SELECT * FROM"
         " unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::timestamptz[],"
         " $6::bigint[], $7::timestamptz[])",
            "write work to"},
    [STATEMENT_SET_WORK] =
        {"UPDATE work SET due_at = new.due_at, token = new.token"
         " FROM unnest($1::bigint[], $2::timestamptz[], $3::bigint[]) AS new (id, due_at, token)"
         " WHERE work.id = new.id",
            "write work to"},
    [STATEMENT_REMOVE_WORK] = {"DELETE FROM work WHERE id = ANY ($1::bigint[])", "remove work from"},
    [STATEMENT_ADD_ORDERS] = /* in one order on all nodes: two that take the same ones wait only one for the
                                other */
    {"INSERT INTO orders (id, order_id, customer_id, customer_email, items, amount_minor, priority, is_sync,"
     " deadline, fingerprint, status, attempts, created_at, updated_at, paid_at)"
     " SELECT id, order_id, customer_id, customer_email, items, amount_minor, priority, is_sync <> 0,"
     " deadline, fingerprint, status, attempts, created_at, updated_at, paid_at"
     " FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[],"
     " $7::bigint[], $8::bigint[], $9::timestamptz[], $10::bytea[], $11::text[], $12::bigint[],"
     " $13::timestamptz[], $14::timestamptz[], $15::timestamptz[])"
     " AS new (id, order_id, customer_id, customer_email, items, amount_minor, priority, is_sync, deadline,"
     " fingerprint, status, attempts, created_at, updated_at, paid_at) ORDER BY order_id COLLATE \"C\"",
        "write orders to"},
    [STATEMENT_SET_ORDERS] =
        {"UPDATE orders SET status = new.status, attempts = new.attempts, updated_at = new.updated_at,"
         " paid_at = new.paid_at FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::timestamptz[],"
         " $5::timestamptz[]) AS new (id, status, attempts, updated_at, paid_at) WHERE orders.id = new.id",
            "write orders to"},
    [STATEMENT_ADD_PAYMENTS] =
        {"INSERT INTO payments (id, amount_minor, outcome, attempts, created_at) SELECT * FROM"
         " unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::timestamptz[])",
            "write payments to"},
    [STATEMENT_ADD_NOTIFICATIONS] =
        {"INSERT INTO notifications (id, order_id, channel, event, created_at) SELECT * FROM"
         " unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[])",
            "write notifications to"},
    [STATEMENT_END_NOTIFICATIONS] = {"UPDATE notifications SET delivered_at = old.delivered_at"
                                     " FROM unnest($1::bigint[], $2::timestamptz[]) AS old (id, delivered_at)"
                                     " WHERE notifications.id = old.id",
        "write notifications to"},
    [STATEMENT_ADD_ACCOUNTS] =
        {"INSERT INTO accounts (id, username, username_key, email, email_key, full_name, password_hash,"
         " created_at) SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[],"
         " $6::text[], $7::text[], $8::timestamptz[])",
            "write accounts to"},
    [STATEMENT_ADD_INTAKE] =
        {"INSERT INTO intake_orders (id, account_id, symbol, side, order_type, quantity, price, stop_price,"
         " trailing_stop_pct, iceberg_qty, time_in_force, created_at) SELECT * FROM"
         " unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],"
         " $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::timestamptz[])",
            "write trading orders to"},
    [STATEMENT_CANCEL_INTAKE] = {"UPDATE intake_orders SET cancelled_at = old.cancelled_at"
                                 " FROM unnest($1::bigint[], $2::timestamptz[]) AS old (id, cancelled_at)"
                                 " WHERE intake_orders.id = old.id AND intake_orders.cancelled_at IS NULL",
        "write trading orders to"},
    [STATEMENT_ADD_DELIVERIES] =
        {"INSERT INTO intake_deliveries (first_id, last_id, executed_at) SELECT * FROM"
         " unnest($1::bigint[], $2::bigint[], $3::timestamptz[])",
            "write deliveries to"},
    [STATEMENT_SET_INTAKE] =
        {"UPDATE intake_state SET next_id = $1::bigint, sent_id = $2::bigint, executed_id = $3::bigint"
         " WHERE id = 1",
            "write the state of trading orders to"},
    [STATEMENT_LABEL_PRODUCT] =
        {"UPDATE products SET category = $2::text, is_featured = $3::bigint <> 0 WHERE id = $1::bigint",
            "write products to"},
    [STATEMENT_ADD_MACHINES] =
        {"INSERT INTO machines (id, name, status, is_draining, usage_count, lease_id, ticket_id, started_at,"
         " chosen_at, product_id, units, purchase_id, due_at, updated_at, version, created_at)"
         " SELECT id, name, status, is_draining <> 0, usage_count, lease_id, ticket_id, started_at,"
         " chosen_at, product_id, units, purchase_id, due_at, updated_at, version, created_at"
         " FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],"
         " $7::bigint[], $8::timestamptz[], $9::timestamptz[], $10::bigint[], $11::bigint[], $12::bigint[],"
         " $13::timestamptz[], $14::timestamptz[], $15::bigint[], $16::timestamptz[])"
         " AS new (id, name, status, is_draining, usage_count, lease_id, ticket_id, started_at,"
         " chosen_at, product_id, units, purchase_id, due_at, updated_at, version, created_at)",
            "write machines to"},
    [STATEMENT_SET_MACHINES] =
        {"UPDATE machines SET name = new.name, status = new.status, is_draining = new.is_draining <> 0,"
         " usage_count = new.usage_count, lease_id = new.lease_id, ticket_id = new.ticket_id,"
         " started_at = new.started_at, chosen_at = new.chosen_at, product_id = new.product_id,"
         " units = new.units, purchase_id = new.purchase_id, due_at = new.due_at,"
         " updated_at = new.updated_at, version = new.version"
         " FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],"
         " $7::bigint[], $8::timestamptz[], $9::timestamptz[], $10::bigint[], $11::bigint[], $12::bigint[],"
         " $13::timestamptz[], $14::timestamptz[], $15::bigint[])"
         " AS new (id, name, status, is_draining, usage_count, lease_id, ticket_id, started_at,"
         " chosen_at, product_id, units, purchase_id, due_at, updated_at, version)"
         " WHERE machines.id = new.id",
            "write machines to"},
    [STATEMENT_REMOVE_MACHINES] = {"DELETE FROM machines WHERE id = ANY ($1::bigint[])",
        "remove machines from"},
    [STATEMENT_ADD_LEASES] =
        {"INSERT INTO leases (id, machine_id, ticket_id, started_at, chosen_at, product_id, units,"
         " purchase_id, outcome, ended_at) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[],"
         " $4::timestamptz[], $5::timestamptz[], $6::bigint[], $7::bigint[], $8::bigint[], $9::text[],"
         " $10::timestamptz[])",
            "write leases to"},
    [STATEMENT_ADD_TICKETS] =
        {"INSERT INTO tickets (id, state, expires_at, end_lease_id, machine_id, ended_at, version,"
         " is_attached, first_lease_id, created_at)"
         " SELECT id, state, expires_at, end_lease_id, machine_id, ended_at, version, is_attached <> 0,"
         " first_lease_id, created_at"
         " FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::bigint[], $5::bigint[],"
         " $6::timestamptz[], $7::bigint[], $8::bigint[], $9::bigint[], $10::timestamptz[])"
         " AS new (id, state, expires_at, end_lease_id, machine_id, ended_at, version, is_attached,"
         " first_lease_id, created_at)",
            "write tickets to"},
    [STATEMENT_SET_TICKETS] =
        {"UPDATE tickets SET state = new.state, expires_at = new.expires_at,"
         " end_lease_id = new.end_lease_id, machine_id = new.machine_id, ended_at = new.ended_at,"
         " version = new.version FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::bigint[],"
         " $5::bigint[], $6::timestamptz[], $7::bigint[])"
         " AS new (id, state, expires_at, end_lease_id, machine_id, ended_at, version)"
         " WHERE tickets.id = new.id",
            "write tickets to"},
    [STATEMENT_SET_POOL] =
        {"UPDATE pool SET next_machine_id = $1::bigint, next_lease_id = $2::bigint,"
         " next_ticket_id = $3::bigint, version = $4::bigint, whole_version = $5::bigint WHERE id = 1",
            "write the state of the machines to"},
    [STATEMENT_ADD_WALLETS] =
        {"INSERT INTO wallets (account_id, balance_minor, last_transfer_id, updated_at, public_key)"
         " SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::bytea[])",
            "write wallets to"},
    [STATEMENT_SET_WALLETS] =
        {"UPDATE wallets SET balance_minor = new.balance_minor, last_transfer_id = new.last_transfer_id,"
         " updated_at = new.updated_at"
         " FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::timestamptz[])"
         " AS new (account_id, balance_minor, last_transfer_id, updated_at)"
         " WHERE wallets.account_id = new.account_id",
            "write wallets to"},
    [STATEMENT_ADD_TRANSFERS] = /* credits in one order on all nodes, as for orders; who pays is locked */
    {"INSERT INTO transfers (id, from_account, to_account, from_previous_id, to_previous_id, amount_minor,"
     " from_balance_minor, to_balance_minor, product_id, purchase_id, created_at, kind, nonce, fingerprint)"
     " SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],"
     " $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::timestamptz[],"
     " $12::text[], $13::text[], $14::bytea[])"
     " AS new (id, from_account, to_account, from_previous_id, to_previous_id, amount_minor,"
     " from_balance_minor, to_balance_minor, product_id, purchase_id, created_at, kind, nonce, fingerprint)"
     " ORDER BY CASE kind WHEN 'credit' THEN nonce END COLLATE \"C\", id",
        "write transfers to"},
    [STATEMENT_NOTIFY] = {"SELECT count(pg_notify('doorbuster', sku)) FROM unnest($1::text[]) AS sku",
        "tell other nodes through"},
};
