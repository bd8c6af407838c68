/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wallets of several nodes on one database: who decides a nonce that both are asked about, coins that are
 * spent once, answers that are lost. What one node does is asked in test_store_wallets.c.
 *
 * Needs a PostgreSQL server (postgres_fixture.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/id.h"
#include "core/account.h"
#include "core/machine.h"
#include "core/wallet.h"
#include "postgres_nodes.h"

enum { PRICE = 500, OPENING = 10000 };

static const int64_t start_ms = INT64_C(1767225600000); /* 2026-01-01 */

/* --- commands --- */

/* What a command borrows. */
struct wish {
    char user[WALLET_USER_LEN_MAX];
    char email[16];
    char text[24];
    struct account_request account;
    struct wallet_request wallet;
    struct pool_request pool;
};

/* Its owner goes by one letter. */
static void put_key(unsigned char key[WALLET_KEY_BYTES], char name)
{
    memset(key, name, WALLET_KEY_BYTES);
}

static struct command registration(struct wish *wish, char name, const char *email, int64_t opening)
{
    *wish = (struct wish){.email = ""};
    put_key(wish->wallet.key, name);
    (void)snprintf(wish->email, sizeof wish->email, "%s", email);
    struct slice user = wallet_user(wish->wallet.key, wish->user);
    wish->account = (struct account_request){.username = user,
        .username_key = user,
        .email = slice_cstr(wish->email),
        .email_key = slice_cstr(wish->email),
        .full_name = SLICE("A Name"),
        .public_key = wish->wallet.key,
        .opening_minor = opening};
    return (struct command){.kind = COMMAND_ACCOUNT_REGISTER, .account = &wish->account};
}

/* The fingerprint is that of the amount and of whom it is for. */
static struct command about_wallet(
    struct wish *wish, enum command_kind kind, char name, int64_t amount_minor, const char *nonce)
{
    *wish = (struct wish){.wallet = {.amount_minor = amount_minor}};
    (void)snprintf(wish->text, sizeof wish->text, "%s", nonce);
    put_key(wish->wallet.key, name);
    wish->wallet.nonce = slice_cstr(wish->text);
    memcpy(wish->wallet.fingerprint, &amount_minor, sizeof amount_minor);
    return (struct command){.kind = kind, .wallet = &wish->wallet};
}

static struct command spend(struct wish *wish, char name, const char *sku, const char *nonce)
{
    struct command command = about_wallet(wish, COMMAND_WALLET_SPEND, name, PRICE, nonce);
    size_t len = strlen(sku);
    memcpy(wish->wallet.fingerprint + 8, sku, len < 8 ? len : 8);
    command.sku = slice_cstr(sku);
    command.user = wallet_user(wish->wallet.key, wish->user);
    return command;
}

static struct command transfer(struct wish *wish, char from, char to, int64_t amount_minor, const char *nonce)
{
    struct command command = about_wallet(wish, COMMAND_WALLET_TRANSFER, from, amount_minor, nonce);
    put_key(wish->wallet.to, to);
    wish->wallet.fingerprint[8] = (unsigned char)to;
    return command;
}

static struct command credit(struct wish *wish, char name, int64_t amount_minor, const char *reference)
{
    struct command command = about_wallet(wish, COMMAND_WALLET_CREDIT, name, amount_minor, reference);
    wish->wallet.fingerprint[8] = (unsigned char)name;
    return command;
}

/* --- batches --- */

static enum result decide(struct node *node, struct command command)
{
    struct error error = {.message = ""};
    if (node_decide(node, &test_rules, &command, 1, start_ms, NULL, &error) != ERR_NONE)
        fail_msg("cannot decide: %s", error.message);
    return command.outcome.result;
}

static void register_name(struct node *node, char name, int64_t opening)
{
    struct wish wish;
    const char email[] = {name, '@', 'x', '\0'};
    assert_int_equal(decide(node, registration(&wish, name, email, opening)), RESULT_OK);
}

static void add_product(struct node *node, const char *sku, const char *category, bool is_featured)
{
    struct pool_request request = {.units = 0};
    struct command command = {.kind = COMMAND_PRODUCT_ADD,
        .sku = slice_cstr(sku),
        .product = {.name = slice_cstr(sku), .initial_stock = 100000, .price_minor = PRICE},
        .labels = {.category = slice_cstr(category), .is_featured = is_featured},
        .pool = &request};
    assert_int_equal(decide(node, command), RESULT_OK);
}

/* Two owners with coins, and two products. */
static void open_shop(struct node_pair *s)
{
    register_name(&s->a, 'a', OPENING);
    register_name(&s->b, 'b', OPENING);
    add_product(&s->a, "TEA", "", false);
    add_product(&s->b, "COFFEE", "", false);
}

static int64_t balance_of(const struct database *database, char name)
{
    return database_number(database,
        "SELECT balance_minor FROM wallets WHERE public_key = decode(repeat('%02x', 32), 'hex')",
        (unsigned)name);
}

static int64_t count_rows(const struct database *database, const char *table, const char *condition)
{
    return database_number(database, "SELECT count(*) FROM %s WHERE %s", table, condition);
}

/* One that another node will make wait. */
static struct waiting waiting_of(struct node *node, struct command *command)
{
    return (struct waiting){
        .node = node, .rules = &test_rules, .now_ms = start_ms, .commands = command, .count = 1};
}

static void finish(struct node *node, struct command *command)
{
    struct error error = {.message = ""};
    assert_int_equal(node_finish(node, &test_rules, command, 1, start_ms, &error), ERR_NONE);
}

/* It has seen what the other has written: no second decision was needed. */
static void end_without_conflict(struct waiting *w)
{
    waiting_end(w);
    assert_int_equal(w->conflicts, 0);
}

/* --- what must be true of the tables, whoever has written them --- */

static void check_books(const struct node_pair *s)
{
    static const char *const broken[] = {
        /* what was issued is there or was spent */
        "SELECT (SELECT coalesce(sum(amount_minor), 0) FROM transfers WHERE from_account IS NULL)"
        " - (SELECT coalesce(sum(amount_minor), 0) FROM transfers WHERE to_account IS NULL)"
        " - (SELECT coalesce(sum(balance_minor), 0) FROM wallets)",
        "SELECT count(*) FROM wallets WHERE balance_minor <>"
        " (SELECT coalesce(sum(amount_minor), 0) FROM transfers WHERE to_account = account_id)"
        " - (SELECT coalesce(sum(amount_minor), 0) FROM transfers WHERE from_account = account_id)",
        /* the chains: each goes on from what was there, and none has a fork */
        "SELECT count(*) FROM transfers AS t JOIN transfers AS p ON p.id = t.from_previous_id"
        " WHERE t.from_balance_minor <> CASE t.from_account WHEN p.from_account THEN p.from_balance_minor"
        " WHEN p.to_account THEN p.to_balance_minor ELSE -1 END - t.amount_minor",
        "SELECT count(*) FROM transfers AS t JOIN transfers AS p ON p.id = t.to_previous_id"
        " WHERE t.to_balance_minor <> CASE t.to_account WHEN p.from_account THEN p.from_balance_minor"
        " WHEN p.to_account THEN p.to_balance_minor ELSE -1 END + t.amount_minor",
        "SELECT count(*) FROM (SELECT FROM (SELECT from_account AS account, from_previous_id AS previous"
        " FROM transfers WHERE from_account IS NOT NULL UNION ALL SELECT to_account, to_previous_id"
        " FROM transfers WHERE to_account IS NOT NULL) AS legs GROUP BY account, previous"
        " HAVING count(*) > 1) AS forks",
        "SELECT count(*) FROM wallets JOIN transfers ON id = last_transfer_id WHERE balance_minor <>"
        " CASE account_id WHEN from_account THEN from_balance_minor ELSE to_balance_minor END",
        /* a spend is a purchase, and a purchase a spend */
        "SELECT count(*) FROM (SELECT purchase_id AS id, product_id FROM transfers WHERE kind = 'spend')"
        " AS paid FULL JOIN (SELECT id, product_id FROM purchase_log WHERE user_id LIKE ' key %') AS bought"
        " USING (id, product_id) WHERE paid IS NULL OR bought IS NULL",
        "SELECT count(*) FROM products WHERE initial_stock - stock <>"
        " (SELECT count(*) FROM purchase_log WHERE product_id = products.id)",
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        int64_t count = database_number(&s->database, "%s", broken[i]);
        if (count != 0)
            fail_msg("%lld: %s", (long long)count, broken[i]);
    }
}

/* --- one wallet, whichever node is asked --- */

static void what_one_node_has_decided_the_other_knows(void **state)
{
    struct node_pair *s = *state;
    struct wish wish;
    struct error error = {.message = ""};
    open_shop(s);
    struct command command = transfer(&wish, 'a', 'b', 2500, "n");
    assert_int_equal(decide(&s->a, command), RESULT_OK);
    assert_int_equal(wish.wallet.balance_minor, OPENING - 2500);
    int64_t id = wish.wallet.transfer.id;
    assert_int_equal(node_decide(&s->b, &test_rules, &command, 1, start_ms + 5, NULL, &error), ERR_NONE);
    assert_int_equal(command.outcome.result, RESULT_OK);
    assert_true(command.outcome.is_replay);
    assert_int_equal(command.outcome.time_ms, start_ms);
    assert_int_equal(wish.wallet.transfer.id, id);
    assert_int_equal(wish.wallet.balance_minor, OPENING - 2500);
    assert_int_equal(decide(&s->b, transfer(&wish, 'a', 'b', 2501, "n")), RESULT_NONCE_REUSED);
    assert_int_equal(decide(&s->b, spend(&wish, 'a', "TEA", "n")), RESULT_NONCE_REUSED);
    assert_int_equal(decide(&s->b, transfer(&wish, 'b', 'a', 2500, "n")), RESULT_OK); /* another's nonce */
    assert_int_equal(decide(&s->a, credit(&wish, 'a', 2500, "n")), RESULT_OK);        /* and the admin's */
    assert_int_equal(decide(&s->b, credit(&wish, 'a', 2500, "n")), RESULT_OK);
    assert_int_equal(balance_of(&s->database, 'a'), OPENING + 2500);
    assert_int_equal(count_rows(&s->database, "transfers", "true"), 5);
    check_books(s);
}

/* Each is a unit of its own, of the same buyer: the node has to know how many the other has sold him. */
static void a_wallet_buys_one_product_on_both_nodes(void **state)
{
    struct node_pair *s = *state;
    struct node *nodes[] = {&s->a, &s->b};
    struct wish wish;
    open_shop(s);
    for (int i = 0; i < 4; i++) {
        char nonce[8];
        (void)snprintf(nonce, sizeof nonce, "n-%d", i);
        assert_int_equal(decide(nodes[i % 2], spend(&wish, 'a', "TEA", nonce)), RESULT_OK);
        assert_int_equal(wish.wallet.balance_minor, OPENING - (i + 1) * PRICE);
    }
    assert_int_equal(count_rows(&s->database, "purchase_log", "user_id LIKE ' key 6161%' AND nth <= 4"), 4);
    check_books(s);
}

static void what_is_not_there_is_said_in_its_order(void **state)
{
    struct node_pair *s = *state;
    struct wish wish;
    open_shop(s);
    assert_int_equal(decide(&s->a, spend(&wish, 'x', "NONE", "n")), RESULT_WALLET_NOT_FOUND);
    assert_int_equal(decide(&s->a, spend(&wish, 'a', "NONE", "n")), RESULT_PRODUCT_NOT_FOUND);
    assert_int_equal(decide(&s->a, spend(&wish, 'a', "", "n")), RESULT_PRODUCT_NOT_FOUND);
    assert_int_equal(decide(&s->a, transfer(&wish, 'a', 'x', 1, "n")), RESULT_PAYEE_NOT_FOUND);
    assert_int_equal(decide(&s->a, transfer(&wish, 'x', 'a', 1, "n")), RESULT_WALLET_NOT_FOUND);
    assert_int_equal(decide(&s->a, credit(&wish, 'x', 1, "n")), RESULT_WALLET_NOT_FOUND);
    assert_int_equal(decide(&s->a, transfer(&wish, 'a', 'b', OPENING + 1, "n")), RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(
        decide(&s->a, credit(&wish, 'a', WALLET_AMOUNT_MAX - OPENING + 1, "n")), RESULT_BALANCE_TOO_LARGE);
    assert_int_equal(decide(&s->a, credit(&wish, 'a', WALLET_AMOUNT_MAX - OPENING, "n")), RESULT_OK);
    assert_int_equal(decide(&s->b, transfer(&wish, 'b', 'a', 1, "n")), RESULT_BALANCE_TOO_LARGE);
    assert_int_equal(balance_of(&s->database, 'a'), WALLET_AMOUNT_MAX);
}

/* All of them in one batch, which names products, machines and wallets. */
static void a_batch_of_everything_is_decided_in_its_order(void **state)
{
    struct node_pair *s = *state;
    struct wish wishes[6];
    struct error error = {.message = ""};
    open_shop(s);
    struct pool_request machine = {.name = SLICE("m")};
    struct command commands[] = {registration(&wishes[0], 'c', "c@x", 0),
        transfer(&wishes[1], 'a', 'c', PRICE, "1"), spend(&wishes[2], 'c', "TEA", "1"),
        {.kind = COMMAND_PURCHASE, .sku = SLICE("COFFEE"), .user = SLICE("ann")},
        {.kind = COMMAND_MACHINE_CREATE, .pool = &machine}, spend(&wishes[3], 'c', "TEA", "2"),
        transfer(&wishes[4], 'a', 'c', PRICE, "1"), spend(&wishes[5], 'a', "", "2")};
    static const enum result expected[] = {RESULT_OK, RESULT_OK, RESULT_OK, RESULT_OK, RESULT_OK,
        RESULT_INSUFFICIENT_FUNDS, RESULT_OK, RESULT_PRODUCT_NOT_FOUND};
    assert_int_equal(node_decide(&s->b, &test_rules, commands, 8, start_ms, NULL, &error), ERR_NONE);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(commands[i].outcome.result, expected[i]);
    assert_true(commands[6].outcome.is_replay);
    assert_int_equal(balance_of(&s->database, 'c'), 0);
    assert_int_equal(balance_of(&s->database, 'a'), OPENING - PRICE);
    assert_int_equal(count_rows(&s->database, "wallets", "last_transfer_id IS NULL"), 0);
    check_books(s);
}

/* A wallet that another node changes must not be believed in the next batch. */
static void a_world_keeps_no_wallet_beyond_its_batch(void **state)
{
    struct node_pair *s = *state;
    struct wish wish;
    open_shop(s);
    assert_int_equal(decide(&s->a, transfer(&wish, 'a', 'b', 1, "n")), RESULT_OK);
    assert_int_equal(s->a.world.wallets_by_key.count, 2);
    node_refresh(&s->a);
    assert_int_equal(s->a.world.wallets_by_key.count, 0);
    assert_int_equal(s->a.world.transfers_by_nonce.count, 0);
}

/* --- two nodes at once --- */

static void a_nonce_that_two_nodes_race_for_is_decided_once(void **state)
{
    struct node_pair *s = *state;
    struct wish ours;
    struct wish theirs;
    open_shop(s);
    struct command here = transfer(&ours, 'a', 'b', 700, "n");
    struct command there = transfer(&theirs, 'a', 'b', 700, "n");
    struct waiting w = waiting_of(&s->b, &there);
    node_load(&s->a, &here, 1);
    waiting_start(&w, &s->database);
    finish(&s->a, &here);
    end_without_conflict(&w);
    assert_int_equal(here.outcome.result, RESULT_OK);
    assert_int_equal(there.outcome.result, RESULT_OK);
    assert_true(!here.outcome.is_replay && there.outcome.is_replay);
    assert_int_equal(theirs.wallet.transfer.id, ours.wallet.transfer.id);
    assert_int_equal(theirs.wallet.balance_minor, OPENING - 700);
    assert_int_equal(balance_of(&s->database, 'a'), OPENING - 700);
    check_books(s);
}

/* They have no product in common: it is the wallet that they meet at. */
static void a_nonce_is_for_one_product_when_two_nodes_sell_one_each(void **state)
{
    struct node_pair *s = *state;
    struct wish ours;
    struct wish theirs;
    open_shop(s);
    struct command here = spend(&ours, 'a', "TEA", "n");
    struct command there = spend(&theirs, 'a', "COFFEE", "n");
    struct waiting w = waiting_of(&s->b, &there);
    node_load(&s->a, &here, 1);
    waiting_start(&w, &s->database);
    finish(&s->a, &here);
    end_without_conflict(&w);
    assert_int_equal(here.outcome.result, RESULT_OK);
    assert_int_equal(there.outcome.result, RESULT_NONCE_REUSED);
    assert_int_equal(count_rows(&s->database, "purchase_log", "true"), 1);
    check_books(s);
}

static void the_last_coins_are_spent_once(void **state)
{
    struct node_pair *s = *state;
    struct wish ours;
    struct wish theirs;
    open_shop(s);
    register_name(&s->a, 'c', 2 * PRICE - 1);
    struct command here = spend(&ours, 'c', "TEA", "1");
    struct command there = spend(&theirs, 'c', "COFFEE", "2");
    struct waiting w = waiting_of(&s->b, &there);
    node_load(&s->a, &here, 1);
    waiting_start(&w, &s->database);
    finish(&s->a, &here);
    end_without_conflict(&w);
    assert_int_equal(here.outcome.result, RESULT_OK);
    assert_int_equal(there.outcome.result, RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(balance_of(&s->database, 'c'), PRICE - 1);
    check_books(s);
}

/* What was decided first and then taken back is not there for who has waited. */
static void coins_that_were_given_back_are_spent_by_who_waited(void **state)
{
    struct node_pair *s = *state;
    struct wish ours;
    struct wish theirs;
    open_shop(s);
    struct command here = transfer(&ours, 'a', 'b', OPENING, "1");
    struct command there = transfer(&theirs, 'a', 'b', OPENING, "2");
    struct waiting w = waiting_of(&s->b, &there);
    node_load(&s->a, &here, 1);
    waiting_start(&w, &s->database);
    assert_true(rules_decide(&test_rules, &s->a.world, &here, start_ms));
    world_rollback(&s->a.world);
    store_abandon(s->a.store);
    waiting_end(&w);
    assert_int_equal(there.outcome.result, RESULT_OK);
    assert_false(there.outcome.is_replay);
    assert_int_equal(decide(&s->a, transfer(&ours, 'a', 'b', OPENING, "1")), RESULT_INSUFFICIENT_FUNDS);
    check_books(s);
}

static void a_key_registered_on_two_nodes_at_once_has_one_account(void **state)
{
    struct node_pair *s = *state;
    struct wish ours;
    struct wish theirs;
    struct command here = registration(&ours, 'k', "one@x", OPENING);
    struct command there = registration(&theirs, 'k', "two@x", OPENING);
    struct waiting w = waiting_of(&s->b, &there);
    node_load(&s->a, &here, 1);
    waiting_start(&w, &s->database);
    finish(&s->a, &here);
    end_without_conflict(&w);
    assert_int_equal(there.outcome.result, RESULT_PUBLIC_KEY_TAKEN);
    assert_int_equal(decide(&s->b, registration(&theirs, 'l', "one@x", OPENING)), RESULT_EMAIL_TAKEN);
    assert_int_equal(count_rows(&s->database, "accounts", "true"), 1);
    assert_int_equal(count_rows(&s->database, "wallets", "balance_minor = 10000"), 1);
    assert_int_equal(count_rows(&s->database, "transfers", "kind = 'opening'"), 1);
    check_books(s);
}

/* Each would wait for a name that the other has added, whatever order they were added in. */
static void names_that_cross_over_stop_nobody(void **state)
{
    enum { PAIR = 2 };
    struct node_pair *s = *state;
    struct wish ours[PAIR];
    struct wish theirs[PAIR];
    struct command here[PAIR] = {
        registration(&ours[0], 'k', "five@x", OPENING), registration(&ours[1], 'm', "one@x", OPENING)};
    struct command there[PAIR] = {
        registration(&theirs[0], 'l', "one@x", OPENING), registration(&theirs[1], 'n', "five@x", OPENING)};
    struct waiting w = waiting_of(&s->b, there);
    struct error error = {.message = ""};
    w.count = PAIR;
    node_load(&s->a, here, PAIR);
    waiting_start(&w, &s->database);
    assert_int_equal(node_finish(&s->a, &test_rules, here, PAIR, start_ms, &error), ERR_NONE);
    end_without_conflict(&w);
    for (size_t i = 0; i < PAIR; i++) {
        assert_int_equal(here[i].outcome.result, RESULT_OK);
        assert_int_equal(there[i].outcome.result, RESULT_EMAIL_TAKEN);
    }
    check_books(s);
}

/* The admin has no row that could be locked: the second finds out when it writes, and decides again. */
static void a_reference_given_on_two_nodes_at_once_is_one_credit(void **state)
{
    struct node_pair *s = *state;
    struct wish ours;
    struct wish theirs;
    struct error error = {.message = ""};
    open_shop(s);
    struct command here = credit(&ours, 'a', 300, "r");
    struct command there = credit(&theirs, 'b', 300, "r");
    node_load(&s->a, &here, 1);
    node_load(&s->b, &there, 1);
    finish(&s->a, &here);
    assert_int_equal(node_finish(&s->b, &test_rules, &there, 1, start_ms, &error), ERR_CONFLICT);
    assert_int_equal(decide(&s->b, there), RESULT_NONCE_REUSED);
    there = credit(&theirs, 'a', 300, "r");
    assert_int_equal(decide(&s->b, there), RESULT_OK);
    assert_int_equal(theirs.wallet.transfer.id, ours.wallet.transfer.id);
    assert_int_equal(theirs.wallet.balance_minor, OPENING + 300);
    assert_int_equal(balance_of(&s->database, 'a'), OPENING + 300);
    assert_int_equal(balance_of(&s->database, 'b'), OPENING);
    check_books(s);
}

/* --- answers that are lost --- */

/* Whatever became of it, the same intent again has spent once. */
static void lose_and_repeat(struct node_pair *s, enum cut cut, bool *was_there)
{
    char url[640];
    struct proxy *proxy = proxy_start(s->database.url, url, sizeof url);
    struct node node;
    struct wish wish;
    struct error error = {.message = ""};
    open_shop(s);
    node_open(&node, url);
    struct command command = spend(&wish, 'a', "TEA", "n");
    node_load(&node, &command, 1);
    proxy_cut_at(proxy, STATEMENT_COMMIT, cut);
    assert_int_equal(node_finish(&node, &test_rules, &command, 1, start_ms, &error), ERR_COMMIT_UNKNOWN);
    assert_int_equal(node_decide(&node, &test_rules, &command, 1, start_ms, NULL, &error), ERR_NONE);
    assert_int_equal(command.outcome.result, RESULT_OK);
    assert_int_equal(wish.wallet.balance_minor, OPENING - PRICE);
    *was_there = command.outcome.is_replay;
    assert_int_equal(balance_of(&s->database, 'a'), OPENING - PRICE);
    assert_int_equal(count_rows(&s->database, "transfers", "kind = 'spend'"), 1);
    check_books(s);
    node_close(&node);
    proxy_stop(proxy);
}

static void a_spend_that_never_arrived_is_decided_when_it_comes_again(void **state)
{
    bool was_there;
    lose_and_repeat(*state, CUT_BEFORE, &was_there);
    assert_false(was_there);
}

static void a_spend_whose_answer_was_lost_is_answered_again(void **state)
{
    bool was_there;
    lose_and_repeat(*state, CUT_ANSWER, &was_there);
    assert_true(was_there);
}

static void a_spend_in_flight_is_there_once(void **state)
{
    bool was_there;
    lose_and_repeat(*state, CUT_UNANSWERED, &was_there);
}

/* --- what readers are told --- */

static void ask(struct node *node, struct question *question)
{
    struct store_reader *reader;
    struct error error = {.message = ""};
    assert_int_equal(store_reader_open(node->store, &reader, &error), ERR_NONE);
    if (store_ask(reader, question, &error) != ERR_NONE)
        fail_msg("cannot ask: %s", error.message);
    store_reader_close(reader);
}

static void a_wallet_is_found_by_its_key_and_by_its_account(void **state)
{
    struct node_pair *s = *state;
    unsigned char key[WALLET_KEY_BYTES];
    struct wish wish;
    open_shop(s);
    assert_int_equal(decide(&s->a, transfer(&wish, 'a', 'b', 1, "n")), RESULT_OK);
    put_key(key, 'a');
    struct question by_key = {.kind = QUESTION_WALLET, .key = key};
    ask(&s->b, &by_key);
    assert_true(by_key.is_found);
    assert_int_equal(by_key.wallet.balance_minor, OPENING - 1);
    assert_int_equal(by_key.wallet.created_ms, start_ms);
    assert_true(slice_eq(by_key.wallet.email, SLICE("a@x")));
    assert_true(slice_eq(by_key.wallet.name, SLICE("A Name")));
    struct question by_account = {.kind = QUESTION_WALLET, .account_id = by_key.wallet.account_id};
    ask(&s->a, &by_account);
    assert_true(by_account.is_found);
    assert_memory_equal(by_account.wallet.key, key, sizeof key);
    put_key(key, 'x');
    struct question nobodys[] = {
        {.kind = QUESTION_WALLET, .key = key}, {.kind = QUESTION_WALLET, .account_id = INT64_C(1) << 40}};
    for (int i = 0; i < 2; i++) {
        ask(&s->a, &nobodys[i]);
        assert_false(nobodys[i].is_found);
        question_fini(&nobodys[i]);
    }
    question_fini(&by_key);
    question_fini(&by_account);
}

/* Ids come in blocks, so those of the later ones may be the lower ones. */
static void transfers_are_told_newest_first_whatever_their_ids(void **state)
{
    struct node_pair *s = *state;
    struct node *nodes[] = {&s->a, &s->b};
    static const int64_t balances[] = {9995, 9994, 9996, 9997, 9998, 9999, 10000};
    struct wish wish;
    open_shop(s);
    for (int i = 0; i < 5; i++) {
        const char nonce[] = {(char)('0' + i), '\0'};
        assert_int_equal(decide(nodes[i % 2], transfer(&wish, 'a', 'b', i < 4 ? 1 : 2, nonce)), RESULT_OK);
    }
    assert_int_equal(decide(&s->b, transfer(&wish, 'b', 'a', 1, "b's own")), RESULT_OK);
    int64_t account_id = wish.wallet.transfer.to_account;
    int64_t before = INT64_MAX;
    int64_t before_that = 0;
    bool has_descended = true;
    for (int i = 0; i < 7; i++) {
        struct question page = {
            .kind = QUESTION_TRANSFERS, .account_id = account_id, .id_before = before, .limit = 1};
        ask(nodes[i % 2], &page);
        assert_int_equal(page.count, 1);
        const struct transfer_line *line = &page.transfers[0];
        assert_int_equal(
            line->is_debit ? line->row.from_balance_minor : line->row.to_balance_minor, balances[i]);
        assert_int_equal(line->row.kind, i < 6 ? TRANSFER_TRANSFER : TRANSFER_OPENING);
        assert_int_equal(line->is_debit, i > 0 && i < 6);
        assert_int_equal(line->has_other, i < 6);
        assert_int_equal(line->other_key[0], i < 6 ? 'b' : 0);
        assert_int_equal(line->row.nonce.len, i == 0 ? 7 : i < 6 ? 1 : 0);
        has_descended = has_descended && line->row.id < before;
        before_that = before;
        before = line->row.id;
        question_fini(&page);
    }
    assert_false(has_descended); /* else nothing was tried */
    struct question ends[] = {
        {.kind = QUESTION_TRANSFERS, .account_id = account_id, .id_before = before, .limit = 10},
        {.kind = QUESTION_TRANSFERS, .account_id = account_id + 1000, .id_before = before_that, .limit = 10},
        {.kind = QUESTION_TRANSFERS, .account_id = account_id, .id_before = 1000000, .limit = 10},
        {.kind = QUESTION_TRANSFERS, .account_id = account_id + 1000, .id_before = INT64_MAX, .limit = 10}};
    for (int i = 0; i < 4; i++) {
        ask(&s->a, &ends[i]);
        assert_int_equal(ends[i].count, 0);
        question_fini(&ends[i]);
    }
    struct question all = {
        .kind = QUESTION_TRANSFERS, .account_id = account_id, .id_before = INT64_MAX, .limit = 1000};
    ask(&s->a, &all);
    assert_int_equal(all.count, 7);
    question_fini(&all);
}

/* --- what products are listed under --- */

static void labels_come_with_the_product_to_every_node(void **state)
{
    struct node_pair *s = *state;
    struct wish wish;
    register_name(&s->a, 'a', OPENING);
    add_product(&s->a, "TEA", "hot", true);
    add_product(&s->a, "COFFEE", "", true);
    assert_int_equal(decide(&s->b, spend(&wish, 'a', "TEA", "n")), RESULT_OK); /* by the lock */
    struct node late;
    node_open(&late, s->database.url); /* with all */
    const struct product *products[] = {node_product(&s->b, "TEA"), node_product(&late, "TEA")};
    for (int i = 0; i < 2; i++) {
        assert_non_null(products[i]);
        assert_true(slice_eq(products[i]->labels.category, SLICE("hot")));
        assert_true(products[i]->labels.is_featured);
    }
    assert_true(node_product(&late, "COFFEE")->labels.is_featured);
    assert_int_equal(node_product(&late, "COFFEE")->labels.category.len, 0);
    node_close(&late);
}

static void a_product_that_was_made_again_has_its_new_labels(void **state)
{
    struct node_pair *s = *state;
    struct wish wish;
    register_name(&s->a, 'a', OPENING);
    add_product(&s->a, "TEA", "hot", true);
    assert_int_equal(decide(&s->b, spend(&wish, 'a', "TEA", "n")), RESULT_OK);
    struct command removal = {.kind = COMMAND_PRODUCT_DELETE, .sku = SLICE("TEA")};
    assert_int_equal(decide(&s->a, removal), RESULT_OK);
    add_product(&s->a, "TEA", "cold", false);
    assert_int_equal(decide(&s->b, spend(&wish, 'a', "TEA", "m")), RESULT_OK);
    assert_true(slice_eq(node_product(&s->b, "TEA")->labels.category, SLICE("cold")));
    assert_false(node_product(&s->b, "TEA")->labels.is_featured);
}

/* --- the database itself --- */

static void rows_that_no_doorbuster_writes_are_refused(void **state)
{
    struct node_pair *s = *state;
    static const struct {
        const char *damage;
        const char *repair;
    } rows[] = {
        {"UPDATE wallets SET updated_at = 'infinity'", "UPDATE wallets SET updated_at = now()"},
        {"UPDATE wallets SET balance_minor = balance_minor + 1000000000000000",
            "UPDATE wallets SET balance_minor = balance_minor - 1000000000000000"},
        {"UPDATE transfers SET created_at = 'infinity'", "UPDATE transfers SET created_at = now()"},
        {"UPDATE transfers SET id = -id", "UPDATE transfers SET id = -id"},
    };
    struct wish wish;
    open_shop(s);
    struct command command = transfer(&wish, 'a', 'b', 1, "n");
    assert_int_equal(decide(&s->a, command), RESULT_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error error = {.message = ""};
        database_run(&s->database, "%s", rows[i].damage);
        enum err err = node_decide(&s->a, &test_rules, &command, 1, start_ms, NULL, &error);
        if (err != ERR_CORRUPT || strstr(error.message, "restore a backup") == NULL)
            fail_msg("'%s' gives %s: %s", rows[i].damage, err_name(err), error.message);
        database_run(&s->database, "%s", rows[i].repair);
        assert_int_equal(decide(&s->a, command), RESULT_OK);
    }
}

static void the_database_refuses_coins_that_must_never_be(void **state)
{
    struct node_pair *s = *state;
    static const struct {
        const char *sqlstate;
        const char *sql;
    } never[] = {
        {"23514", "UPDATE wallets SET balance_minor = -1"},
        {"23514", "UPDATE wallets SET public_key = 'short'"},
        {"23505", "UPDATE wallets SET public_key = decode(repeat('61', 32), 'hex')"},
        {"23503", "INSERT INTO wallets VALUES (1000, decode(repeat('00', 32), 'hex'), 0, NULL, now())"},
        {"23505", "INSERT INTO transfers SELECT id + 1000, kind, from_account, to_account, from_previous_id,"
                  " to_previous_id, amount_minor, from_balance_minor, to_balance_minor, product_id,"
                  " purchase_id, nonce, fingerprint, created_at FROM transfers WHERE kind = 'transfer'"},
        {"23505", "INSERT INTO transfers SELECT id + 1000, kind, from_account, to_account, from_previous_id,"
                  " to_previous_id, amount_minor, from_balance_minor, to_balance_minor, product_id,"
                  " purchase_id, nonce, fingerprint, created_at FROM transfers WHERE kind = 'credit'"},
        {"23514", "UPDATE transfers SET amount_minor = 0"},
        {"23514", "UPDATE transfers SET kind = 'gift'"},
        {"23514", "UPDATE transfers SET kind = 'opening' WHERE kind = 'transfer'"},
        {"23514", "UPDATE transfers SET from_balance_minor = -1 WHERE kind = 'transfer'"},
        {"23514", "UPDATE transfers SET from_balance_minor = NULL WHERE kind = 'transfer'"},
        {"23514", "UPDATE transfers SET to_account = NULL WHERE kind = 'transfer'"},
        {"23514", "UPDATE transfers SET product_id = 1 WHERE kind = 'transfer'"},
        {"23514", "UPDATE transfers SET purchase_id = NULL WHERE kind = 'spend'"},
        {"23514", "UPDATE transfers SET nonce = NULL, fingerprint = NULL WHERE kind = 'credit'"},
        {"23514", "UPDATE transfers SET fingerprint = 'short' WHERE kind = 'credit'"},
    };
    struct wish wish;
    open_shop(s);
    assert_int_equal(decide(&s->a, transfer(&wish, 'a', 'b', 1, "n")), RESULT_OK);
    assert_int_equal(decide(&s->a, spend(&wish, 'a', "TEA", "m")), RESULT_OK);
    assert_int_equal(decide(&s->a, credit(&wish, 'a', 1, "n")), RESULT_OK);
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) {
        if (!database_refuses(&s->database, never[i].sqlstate, never[i].sql))
            fail_msg("the database takes this: %s", never[i].sql);
    }
}

/* --- a crowd on two nodes --- */

enum { CROWD_ROUNDS = 120, CROWD_BATCH = 8, CROWD_OWNERS = 6, RING_ROUNDS = 150 };

struct crowd {
    struct node *node;
    struct id_source random;
    char name; /* of the node: what it names and nobody else */
    int rounds;
    int conflicts;
    int64_t spent;    /* spends that were decided here */
    int64_t accepted; /* transfers and credits */
    int64_t repeated;
    enum err err;
    struct error error;
};

static unsigned lot(struct crowd *c, unsigned limit)
{
    return (unsigned)(id_next(&c->random) % limit);
}

/* Nonces are few, so the same ones come again, on the same node and on the other one. */
static struct command random_command(struct crowd *c, struct wish *wish, int round)
{
    static const char *const skus[] = {"TEA", "COFFEE", ""};
    unsigned payer = lot(c, CROWD_OWNERS);
    unsigned other = (payer + 1 + lot(c, CROWD_OWNERS - 1)) % CROWD_OWNERS;
    char from = (char)('a' + payer);
    char to = (char)('a' + other);
    char nonce[24];
    (void)snprintf(nonce, sizeof nonce, "%u", lot(c, 60));
    switch (lot(c, 8)) {
    case 0:
        (void)snprintf(nonce, sizeof nonce, "%c-%d", c->name, round); /* credits of one name run into one
                                                                         another when they are written */
        return credit(wish, to, 1, nonce);
    case 1:
    case 2:
    case 3:
        return spend(wish, from, skus[lot(c, 3)], nonce);
    case 4:
        *wish = (struct wish){.pool = {.name = SLICE("m")}};
        return (struct command){.kind = COMMAND_MACHINE_CREATE, .pool = &wish->pool};
    default:
        return transfer(wish, from, to, PRICE, nonce);
    }
}

static void count_outcome(struct crowd *c, const struct command *command)
{
    if (!command_names_wallet(command->kind) || command->outcome.result != RESULT_OK)
        return;
    if (command->outcome.is_replay)
        c->repeated++;
    else if (command->kind == COMMAND_WALLET_SPEND)
        c->spent++;
    else
        c->accepted++;
}

static void *crowd_in_a_thread(void *context)
{
    struct crowd *c = context;
    for (int round = 0; round < c->rounds && c->err == ERR_NONE; round++) {
        struct wish wishes[CROWD_BATCH];
        struct command commands[CROWD_BATCH];
        size_t count = 1 + lot(c, CROWD_BATCH);
        for (size_t i = 0; i < count; i++)
            commands[i] = random_command(c, &wishes[i], round);
        c->err = node_decide(c->node, &test_rules, commands, count, start_ms, &c->conflicts, &c->error);
        for (size_t i = 0; i < count && c->err == ERR_NONE; i++)
            count_outcome(c, &commands[i]);
    }
    return NULL;
}

/* From a to b on one node and from b to a on the other, in both orders: each waits for both wallets. */
static void *ring_in_a_thread(void *context)
{
    struct crowd *c = context;
    for (int round = 0; round < c->rounds && c->err == ERR_NONE; round++) {
        struct wish wishes[2];
        char nonce[24];
        (void)snprintf(nonce, sizeof nonce, "%c-%d", c->name, round);
        bool is_forth = (c->name == 'A') == (round % 2 == 0);
        struct command commands[] = {
            transfer(&wishes[0], is_forth ? 'a' : 'b', is_forth ? 'b' : 'a', 1 + lot(c, 50), nonce),
            transfer(&wishes[1], is_forth ? 'b' : 'c', is_forth ? 'c' : 'b', 1 + lot(c, 50), nonce)};
        c->err = node_decide(c->node, &test_rules, commands, 2, start_ms, &c->conflicts, &c->error);
        for (size_t i = 0; i < 2 && c->err == ERR_NONE; i++)
            count_outcome(c, &commands[i]);
    }
    return NULL;
}

/* Both at once, to their end. */
static void run_crowds(struct node_pair *s, struct crowd crowds[2], int rounds, void *(*run)(void *context))
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        crowds[i] =
            (struct crowd){.node = i == 0 ? &s->a : &s->b, .name = i == 0 ? 'A' : 'B', .rounds = rounds};
        id_source_init_seed(&crowds[i].random, (uint64_t)i + 1);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, &crowds[i]), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 2; i++) {
        if (crowds[i].err != ERR_NONE)
            fail_msg("a node cannot go on: %s", crowds[i].error.message);
        assert_int_equal(crowds[i].conflicts, 0); /* two that wait for one another are one */
    }
}

static void transfers_in_a_ring_neither_stand_still_nor_lose_a_coin(void **state)
{
    struct node_pair *s = *state;
    struct crowd crowds[2];
    open_shop(s);
    register_name(&s->a, 'c', OPENING);
    run_crowds(s, crowds, RING_ROUNDS, ring_in_a_thread);
    assert_int_equal(
        count_rows(&s->database, "transfers", "kind = 'transfer'"), crowds[0].accepted + crowds[1].accepted);
    assert_int_equal(
        database_number(&s->database, "SELECT sum(balance_minor)::bigint FROM wallets"), 3 * OPENING);
    check_books(s);
}

/* Products, machines and wallets in one batch: locks that are not taken in one order would show. */
static void nodes_in_a_crowd_keep_one_set_of_books(void **state)
{
    struct node_pair *s = *state;
    struct crowd crowds[2];
    open_shop(s);
    for (int i = 2; i < CROWD_OWNERS; i++)
        register_name(&s->a, (char)('a' + i), OPENING);
    run_crowds(s, crowds, CROWD_ROUNDS, crowd_in_a_thread);
    assert_int_equal(
        count_rows(&s->database, "transfers", "kind = 'spend'"), crowds[0].spent + crowds[1].spent);
    assert_int_equal(count_rows(&s->database, "transfers", "kind IN ('transfer', 'credit')"),
        crowds[0].accepted + crowds[1].accepted);
    assert_true(crowds[0].spent > 0 && crowds[1].spent > 0);
    assert_true(crowds[0].repeated + crowds[1].repeated > 0);
    check_books(s);
}

/* --- --- */

#define SCENE_TEST(test) cmocka_unit_test_setup_teardown(test, node_pair_set_up, node_pair_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(what_one_node_has_decided_the_other_knows),
        SCENE_TEST(a_wallet_buys_one_product_on_both_nodes),
        SCENE_TEST(what_is_not_there_is_said_in_its_order),
        SCENE_TEST(a_batch_of_everything_is_decided_in_its_order),
        SCENE_TEST(a_world_keeps_no_wallet_beyond_its_batch),
        SCENE_TEST(a_nonce_that_two_nodes_race_for_is_decided_once),
        SCENE_TEST(a_nonce_is_for_one_product_when_two_nodes_sell_one_each),
        SCENE_TEST(the_last_coins_are_spent_once),
        SCENE_TEST(coins_that_were_given_back_are_spent_by_who_waited),
        SCENE_TEST(a_key_registered_on_two_nodes_at_once_has_one_account),
        SCENE_TEST(names_that_cross_over_stop_nobody),
        SCENE_TEST(a_reference_given_on_two_nodes_at_once_is_one_credit),
        SCENE_TEST(a_spend_that_never_arrived_is_decided_when_it_comes_again),
        SCENE_TEST(a_spend_whose_answer_was_lost_is_answered_again),
        SCENE_TEST(a_spend_in_flight_is_there_once),
        SCENE_TEST(a_wallet_is_found_by_its_key_and_by_its_account),
        SCENE_TEST(transfers_are_told_newest_first_whatever_their_ids),
        SCENE_TEST(labels_come_with_the_product_to_every_node),
        SCENE_TEST(a_product_that_was_made_again_has_its_new_labels),
        SCENE_TEST(rows_that_no_doorbuster_writes_are_refused),
        SCENE_TEST(the_database_refuses_coins_that_must_never_be),
        SCENE_TEST(transfers_in_a_ring_neither_stand_still_nor_lose_a_coin),
        SCENE_TEST(nodes_in_a_crowd_keep_one_set_of_books),
    };
    if (!postgres_is_there())
        return postgres_skip_all("wallets of several nodes");
    return cmocka_run_group_tests_name("wallets of several nodes", tests, NULL, NULL);
}
