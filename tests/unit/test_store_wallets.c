/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What store.h promises of wallets and transfers, asked of every kind of store (store_kinds.h): commands go
 * through the rules as the engine decides them, and what they leave is looked at through readers, in the
 * rows, and after the store was opened again.
 *
 *     test_store_wallets [embedded | postgres]    the rows of one store only
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/machine.h"
#include "store_kinds.h"
#include "wallet_kit.h"

enum { ANN, BEN, CAT, NOBODY = 99 };

static const int64_t start_ms = INT64_C(1767225600000); /* 2026-01-01 */

static const struct rules rules = {.idempotency_ttl_ms = 1000, .idempotency_count_max = SIZE_MAX};

/* --- wishes --- */

/* A command and what it points to; it must not be moved. */
struct wish {
    struct command command;
    struct account_request account;
    struct wallet_request request;
    struct pool_request product;
    unsigned char key[WALLET_KEY_BYTES];
    char user[WALLET_USER_LEN_MAX];
    char email[32];
};

static void wish_to_register(struct wish *wish, int person, int64_t opening_minor)
{
    *wish = (struct wish){.command = {.kind = COMMAND_ACCOUNT_REGISTER}};
    wallet_kit_key(person, wish->key);
    (void)snprintf(wish->email, sizeof wish->email, "It's-%d@example.com", person);
    struct slice username = wallet_user(wish->key, wish->user);
    wish->account = (struct account_request){.username = username,
        .username_key = username,
        .email = slice_cstr(wish->email),
        .email_key = slice_cstr(wish->email),
        .full_name = SLICE("Ann \"\xC3\x84\" \\ {NULL}"),
        .public_key = wish->key,
        .opening_minor = opening_minor};
    wish->command.account = &wish->account;
}

static void wish_for(
    struct wish *wish, enum command_kind kind, int person, int64_t amount_minor, const char *nonce)
{
    *wish = (struct wish){.command = {.kind = kind}};
    wallet_kit_key(person, wish->request.key);
    wish->request.amount_minor = amount_minor;
    wish->request.nonce = slice_cstr(nonce);
    wallet_kit_fingerprint(SLICE(""), amount_minor, wish->request.fingerprint);
    wish->command.wallet = &wish->request;
}

static void wish_to_credit(struct wish *wish, int person, int64_t amount_minor, const char *reference)
{
    wish_for(wish, COMMAND_WALLET_CREDIT, person, amount_minor, reference);
}

static void wish_to_transfer(
    struct wish *wish, int person, int payee, int64_t amount_minor, const char *nonce)
{
    wish_for(wish, COMMAND_WALLET_TRANSFER, person, amount_minor, nonce);
    wallet_kit_key(payee, wish->request.to);
}

static void wish_to_spend(
    struct wish *wish, int person, const char *sku, int64_t amount_minor, const char *nonce)
{
    wish_for(wish, COMMAND_WALLET_SPEND, person, amount_minor, nonce);
    wish->command.sku = slice_cstr(sku);
    wish->command.user = wallet_user(wish->request.key, wish->user);
}

/* All of them in one batch; their outcomes are in them then. */
static void run(struct open_store *o, struct wish *wishes, size_t count, int64_t now_ms)
{
    struct command commands[STORE_COMMANDS_MAX];
    assert_in_range(count, 1, STORE_COMMANDS_MAX);
    for (size_t i = 0; i < count; i++)
        commands[i] = wishes[i].command;
    store_run(o, &rules, commands, count, now_ms);
    for (size_t i = 0; i < count; i++)
        wishes[i].command.outcome = commands[i].outcome;
}

static enum result run_one(struct open_store *o, struct wish *wish, int64_t now_ms)
{
    run(o, wish, 1, now_ms);
    return wish->command.outcome.result;
}

/* The id of the account. */
static int64_t join(struct open_store *o, int person, int64_t opening_minor)
{
    struct wish wish;
    wish_to_register(&wish, person, opening_minor);
    assert_int_equal(run_one(o, &wish, start_ms), RESULT_OK);
    return wish.command.outcome.number;
}

static enum result transfer(
    struct open_store *o, int person, int payee, int64_t amount_minor, const char *nonce)
{
    struct wish wish;
    wish_to_transfer(&wish, person, payee, amount_minor, nonce);
    return run_one(o, &wish, start_ms);
}

/* At once on sale; its id. */
static int64_t put_product(struct open_store *o, const char *sku, int64_t stock, int64_t price_minor)
{
    struct wish wish = {
        .command = {.kind = COMMAND_PRODUCT_ADD,
            .sku = slice_cstr(sku),
            .product = {.name = slice_cstr(sku), .initial_stock = stock, .price_minor = price_minor}}};
    wish.command.pool = &wish.product;
    assert_int_equal(run_one(o, &wish, start_ms), RESULT_OK);
    return wish.product.product.id;
}

/* --- looking --- */

/* Everything that was issued is in a wallet or was spent, and every spend is a purchase of its payer. */
static void assert_books(struct open_store *o, int64_t spends)
{
    assert_int_equal(store_number(o, "SELECT coalesce(sum(amount_minor), 0)"
                                     " - (SELECT coalesce(sum(balance_minor), 0) FROM wallets)"
                                     " - (SELECT coalesce(sum(amount_minor), 0) FROM transfers"
                                     " WHERE kind = 'spend') FROM transfers WHERE from_account IS NULL"),
        0);
    assert_int_equal(store_number(o, "SELECT count(*) FROM transfers WHERE kind = 'spend'"), spends);
    assert_int_equal(store_number(o, "SELECT count(*) FROM purchases"), spends);
    assert_int_equal(
        store_number(o, "SELECT count(*) FROM transfers JOIN purchases ON purchases.id = purchase_id"
                        " AND purchases.product_id = transfers.product_id"
                        " JOIN accounts ON accounts.id = from_account AND username = user_id"
                        " WHERE purchased_at = transfers.created_at"),
        spends);
}

static void assert_wallet(struct open_store *o, int person, int64_t account_id, int64_t balance_minor)
{
    unsigned char key[WALLET_KEY_BYTES];
    wallet_kit_key(person, key);
    for (int by_key = 0; by_key < 2; by_key++) {
        struct question question = {.kind = QUESTION_WALLET, .account_id = by_key ? 0 : account_id};
        question.key = by_key ? key : NULL;
        store_ask_once(o, &question);
        assert_true(question.is_found);
        assert_int_equal(question.wallet.account_id, account_id);
        assert_memory_equal(question.wallet.key, key, WALLET_KEY_BYTES);
        assert_int_equal(question.wallet.balance_minor, balance_minor);
        assert_int_equal(question.wallet.created_ms, start_ms);
        assert_true(slice_eq(question.wallet.name, SLICE("Ann \"\xC3\x84\" \\ {NULL}")));
        assert_true(slice_starts_with(question.wallet.email, SLICE("It's-")));
        question_fini(&question);
    }
}

static void assert_same_receipt(const struct wish *wish, const struct wish *first)
{
    const struct transfer_row *row = &wish->request.transfer;
    const struct transfer_row *expected = &first->request.transfer;
    assert_int_equal(wish->command.outcome.result, RESULT_OK);
    assert_true(wish->command.outcome.is_replay);
    assert_int_equal(wish->command.outcome.number, first->command.outcome.number);
    assert_int_equal(wish->command.outcome.time_ms, first->command.outcome.time_ms);
    assert_int_equal(wish->request.balance_minor, first->request.balance_minor);
    assert_int_equal(row->id, expected->id);
    assert_int_equal(row->kind, expected->kind);
    assert_int_equal(row->amount_minor, expected->amount_minor);
    assert_int_equal(row->product_id, expected->product_id);
    assert_int_equal(row->purchase_id, expected->purchase_id);
    assert_int_equal(row->created_ms, expected->created_ms);
}

/* --- wallets --- */

static void a_wallet_comes_back_as_it_was_made(void **state)
{
    struct open_store *o = *state;
    int64_t ann = join(o, ANN, 10000);
    int64_t ben = join(o, BEN, 0);
    for (int i = 0; i < 2; i++) {
        assert_wallet(o, ANN, ann, 10000);
        assert_wallet(o, BEN, ben, 0);
        store_reopen(o);
    }
    assert_int_equal(store_number(o, "SELECT count(*) FROM transfers WHERE kind = 'opening'"
                                     " AND nonce IS NULL AND fingerprint IS NULL AND from_account IS NULL"
                                     " AND to_balance_minor = 10000 AND amount_minor = 10000"),
        1);
    assert_int_equal(store_number(o, "SELECT count(*) FROM transfers"), 1);
    assert_books(o, 0);
}

static void what_is_not_there_is_not_found(void **state)
{
    struct open_store *o = *state;
    struct account_request request = {.username = SLICE("eve"),
        .username_key = SLICE("eve"),
        .email = SLICE("eve@example.com"),
        .email_key = SLICE("eve@example.com"),
        .password_hash = SLICE("$argon2id$v=19$")};
    struct command command = {.kind = COMMAND_ACCOUNT_REGISTER, .account = &request};
    unsigned char key[WALLET_KEY_BYTES];
    (void)join(o, ANN, 10000);
    store_run(o, &rules, &command, 1, start_ms);
    const int64_t ids[] = {INT64_MIN, -1, 0, command.outcome.number, INT64_MAX};
    for (int i = 0; i < 5; i++) {
        struct question wallet = {.kind = QUESTION_WALLET, .account_id = ids[i], .is_found = true};
        store_ask_once(o, &wallet);
        assert_false(wallet.is_found);
        question_fini(&wallet);
        struct question transfers = {.kind = QUESTION_TRANSFERS,
            .account_id = ids[i],
            .id_before = INT64_MAX,
            .limit = 10,
            .count = 7};
        store_ask_once(o, &transfers);
        assert_int_equal(transfers.count, 0);
        question_fini(&transfers);
    }
    wallet_kit_key(NOBODY, key);
    struct question question = {.kind = QUESTION_WALLET, .key = key, .is_found = true};
    store_ask_once(o, &question);
    assert_false(question.is_found);
    question_fini(&question);
}

/* Of many at once, and of one that comes after the store was opened again. */
static void a_key_and_an_address_are_given_once(void **state)
{
    struct open_store *o = *state;
    struct wish wishes[STORE_COMMANDS_MAX];
    for (int i = 0; i < STORE_COMMANDS_MAX; i++)
        wish_to_register(&wishes[i], ANN, 10000);
    wish_to_register(&wishes[6], BEN, 10000);
    wishes[6].account.email = wishes[6].account.email_key = SLICE("It's-0@example.com");
    wish_to_register(&wishes[7], CAT, 10000);
    static const enum result expected[] = {RESULT_OK, RESULT_PUBLIC_KEY_TAKEN, RESULT_PUBLIC_KEY_TAKEN,
        RESULT_PUBLIC_KEY_TAKEN, RESULT_PUBLIC_KEY_TAKEN, RESULT_PUBLIC_KEY_TAKEN, RESULT_EMAIL_TAKEN,
        RESULT_OK};
    run(o, wishes, STORE_COMMANDS_MAX, start_ms);
    for (int i = 0; i < STORE_COMMANDS_MAX; i++)
        assert_int_equal(wishes[i].command.outcome.result, expected[i]);
    store_reopen(o);
    run(o, wishes, STORE_COMMANDS_MAX, start_ms);
    for (int i = 0; i < STORE_COMMANDS_MAX; i++)
        assert_int_equal(
            wishes[i].command.outcome.result, i == 6 ? RESULT_EMAIL_TAKEN : RESULT_PUBLIC_KEY_TAKEN);
    assert_int_equal(store_number(o, "SELECT count(*) FROM accounts"), 2);
    assert_int_equal(store_number(o, "SELECT count(*) FROM wallets"), 2);
    assert_books(o, 0);
}

/* --- coins --- */

static void coins_are_handed_on_whole(void **state)
{
    struct open_store *o = *state;
    int64_t ann = join(o, ANN, 10000);
    int64_t ben = join(o, BEN, 10000);
    assert_int_equal(transfer(o, ANN, BEN, 10000, "n-1"), RESULT_OK);
    assert_wallet(o, ANN, ann, 0);
    assert_wallet(o, BEN, ben, 20000);
    assert_int_equal(transfer(o, ANN, BEN, 1, "n-2"), RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(transfer(o, BEN, NOBODY, 1, "n-2"), RESULT_PAYEE_NOT_FOUND);
    assert_int_equal(transfer(o, NOBODY, BEN, 1, "n-2"), RESULT_WALLET_NOT_FOUND);
    store_reopen(o);
    assert_wallet(o, ANN, ann, 0);
    assert_int_equal(transfer(o, ANN, BEN, 1, "n-2"), RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(transfer(o, BEN, ANN, 20000, "n-2"), RESULT_OK);
    assert_wallet(o, ANN, ann, 20000);
    assert_wallet(o, BEN, ben, 0);
    assert_int_equal(store_number(o, "SELECT count(*) FROM transfers AS t JOIN transfers AS p"
                                     " ON p.id = t.from_previous_id AND p.to_account = t.from_account"
                                     " WHERE t.kind = 'transfer' AND t.from_balance_minor = 0"
                                     " AND t.to_balance_minor = 20000 AND t.nonce <> ''"),
        2);
    assert_books(o, 0);
}

static void a_spend_is_a_purchase_in_the_same_batch(void **state)
{
    struct open_store *o = *state;
    int64_t ann = join(o, ANN, 10000);
    int64_t product_id = put_product(o, "TEA", 2, 250);
    struct wish wishes[4];
    wish_to_spend(&wishes[0], ANN, "TEA", 250, "n-1");
    wish_to_spend(&wishes[1], ANN, "TEA", 251, "n-2");
    wish_to_spend(&wishes[2], ANN, "TEA", 250, "n-3");
    wish_to_spend(&wishes[3], ANN, "TEA", 250, "n-4");
    static const enum result expected[] = {RESULT_OK, RESULT_PRICE_DIFFERS, RESULT_OK, RESULT_SOLD_OUT};
    run(o, wishes, 4, start_ms + 5);
    for (int i = 0; i < 4; i++)
        assert_int_equal(wishes[i].command.outcome.result, expected[i]);
    assert_int_equal(wishes[0].request.transfer.product_id, product_id);
    assert_true(wishes[2].request.transfer.purchase_id > wishes[0].request.transfer.purchase_id);
    assert_wallet(o, ANN, ann, 9500);
    assert_books(o, 2);
    store_reopen(o);
    assert_wallet(o, ANN, ann, 9500);
    assert_int_equal(store_number(o, "SELECT stock FROM products"), 0);
    assert_int_equal(store_number(o, "SELECT max(nth) FROM purchases WHERE user_id LIKE ' key %'"), 2);
    assert_books(o, 2);
}

/* Accounts, credits, transfers and a spend, each of which needs the one before. */
static void one_batch_may_do_all_of_it(void **state)
{
    struct open_store *o = *state;
    struct wish wishes[STORE_COMMANDS_MAX];
    (void)put_product(o, "TEA", 5, 250);
    wish_to_register(&wishes[0], ANN, 100);
    wish_to_register(&wishes[1], BEN, 0);
    wish_to_credit(&wishes[2], ANN, 150, "gift");
    wish_to_transfer(&wishes[3], ANN, BEN, 250, "n");
    wish_to_spend(&wishes[4], BEN, "TEA", 250, "n");
    wish_to_transfer(&wishes[5], ANN, BEN, 250, "n"); /* again */
    wish_to_credit(&wishes[6], ANN, 150, "gift");
    wish_to_spend(&wishes[7], BEN, "TEA", 250, "m");
    run(o, wishes, STORE_COMMANDS_MAX, start_ms);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(wishes[i].command.outcome.result, RESULT_OK);
        assert_int_equal(wishes[i].command.outcome.is_replay, i >= 5);
    }
    assert_int_equal(wishes[7].command.outcome.result, RESULT_INSUFFICIENT_FUNDS);
    store_reopen(o);
    assert_wallet(o, ANN, wishes[0].command.outcome.number, 0);
    assert_wallet(o, BEN, wishes[1].command.outcome.number, 0);
    assert_int_equal(store_number(o, "SELECT count(*) FROM transfers"), 4);
    assert_books(o, 1);
}

static void coins_go_round_in_a_ring(void **state)
{
    enum { ROUNDS = 3 };
    struct open_store *o = *state;
    int64_t ids[STORE_COMMANDS_MAX];
    for (int i = 0; i < STORE_COMMANDS_MAX; i++)
        ids[i] = join(o, i, i == 0 ? 1000 : 0);
    for (int round = 0; round < ROUNDS; round++) {
        struct wish wishes[STORE_COMMANDS_MAX];
        char nonce[16];
        (void)snprintf(nonce, sizeof nonce, "round %d", round);
        for (int i = 0; i < STORE_COMMANDS_MAX; i++)
            wish_to_transfer(&wishes[i], i, (i + 1) % STORE_COMMANDS_MAX, 1000, nonce);
        run(o, wishes, STORE_COMMANDS_MAX, start_ms + round);
        for (int i = 0; i < STORE_COMMANDS_MAX; i++)
            assert_int_equal(wishes[i].command.outcome.result, RESULT_OK);
        assert_wallet(o, 0, ids[0], 1000);
        assert_wallet(o, 5, ids[5], 0);
        store_reopen(o);
    }
    assert_int_equal(store_number(o, "SELECT count(*) FROM transfers"), 1 + ROUNDS * STORE_COMMANDS_MAX);
    assert_books(o, 0);
}

/* --- the same again --- */

/* After the store was opened again, and after the product is gone. */
static void what_was_decided_is_answered_again(void **state)
{
    struct open_store *o = *state;
    struct wish first[3];
    struct wish again[3];
    (void)join(o, ANN, 10000);
    (void)join(o, BEN, 10000);
    (void)put_product(o, "TEA", 5, 250);
    wish_to_spend(&first[0], ANN, "TEA", 250, "n");
    wish_to_transfer(&first[1], ANN, BEN, 250, "m");
    wish_to_credit(&first[2], ANN, 70, "m");
    run(o, first, 3, start_ms + 1);
    for (int i = 0; i < 3; i++)
        assert_false(first[i].command.outcome.is_replay);
    for (int i = 0; i < 3; i++) {
        wish_to_spend(&again[0], ANN, "TEA", 250, "n");
        wish_to_transfer(&again[1], ANN, BEN, 250, "m");
        wish_to_credit(&again[2], ANN, 70, "m");
        run(o, again, 3, start_ms + 60000);
        for (int j = 0; j < 3; j++)
            assert_same_receipt(&again[j], &first[j]);
        wish_to_spend(&again[0], ANN, "TEA", 251, "n");
        wish_to_transfer(&again[1], ANN, BEN, 251, "m");
        wish_to_credit(&again[2], ANN, 71, "m");
        run(o, again, 3, start_ms + 60000);
        for (int j = 0; j < 3; j++)
            assert_int_equal(again[j].command.outcome.result, RESULT_NONCE_REUSED);
        if (i == 0) {
            struct command command = {.kind = COMMAND_PRODUCT_DELETE, .sku = SLICE("TEA")};
            store_run(o, &rules, &command, 1, start_ms + 2);
            assert_int_equal(command.outcome.result, RESULT_OK);
        }
        store_reopen(o);
    }
    assert_int_equal(store_number(o, "SELECT count(*) FROM transfers"), 5);
}

static void a_nonce_is_its_payers_own(void **state)
{
    struct open_store *o = *state;
    (void)join(o, ANN, 10000);
    (void)join(o, BEN, 10000);
    struct wish wishes[3];
    for (int i = 0; i < 2; i++) {
        wish_to_transfer(&wishes[0], ANN, BEN, 5, "it's {\"mine\"},NULL\\");
        wish_to_transfer(&wishes[1], BEN, ANN, 5, "it's {\"mine\"},NULL\\");
        wish_to_credit(&wishes[2], BEN, 5, "it's {\"mine\"},NULL\\");
        run(o, wishes, 3, start_ms);
        for (int j = 0; j < 3; j++) {
            assert_int_equal(wishes[j].command.outcome.result, RESULT_OK);
            assert_int_equal(wishes[j].command.outcome.is_replay, i);
        }
        store_reopen(o);
    }
    assert_int_equal(store_number(o, "SELECT count(DISTINCT nonce) FROM transfers"), 1);
    assert_books(o, 0);
}

static void values_at_the_edges_are_kept(void **state)
{
    struct open_store *o = *state;
    char longest[NONCE_LEN_MAX + 1];
    for (int i = 0; i < NONCE_LEN_MAX / 4; i++)
        memcpy(longest + 4 * i, "\xF0\x9F\xA5\xA4", 4);
    longest[NONCE_LEN_MAX] = '\0';
    int64_t ann = join(o, ANN, WALLET_AMOUNT_MAX);
    int64_t ben = join(o, BEN, 0);
    assert_int_equal(transfer(o, ANN, BEN, WALLET_AMOUNT_MAX, longest), RESULT_OK);
    struct wish wish;
    wish_to_credit(&wish, BEN, 1, longest);
    assert_int_equal(run_one(o, &wish, start_ms), RESULT_BALANCE_TOO_LARGE);
    store_reopen(o);
    assert_wallet(o, ANN, ann, 0);
    assert_wallet(o, BEN, ben, WALLET_AMOUNT_MAX);
    assert_int_equal(run_one(o, &wish, start_ms), RESULT_BALANCE_TOO_LARGE);
    (void)put_product(o, "HOUSE", 1, WALLET_AMOUNT_MAX);
    wish_to_spend(&wish, BEN, "HOUSE", WALLET_AMOUNT_MAX, longest);
    assert_int_equal(run_one(o, &wish, start_ms), RESULT_OK);
    assert_wallet(o, BEN, ben, 0);
    assert_books(o, 1);
}

static void a_batch_that_was_rolled_back_leaves_nothing(void **state)
{
    struct open_store *o = *state;
    int64_t ann = join(o, ANN, 10000);
    (void)put_product(o, "TEA", 5, 250);
    struct wish wishes[4];
    struct command commands[4];
    wish_to_register(&wishes[0], BEN, 10000);
    wish_to_spend(&wishes[1], ANN, "TEA", 250, "n");
    wish_to_transfer(&wishes[2], ANN, BEN, 9750, "m");
    wish_to_credit(&wishes[3], ANN, 1, "n");
    for (int i = 0; i < 4; i++)
        commands[i] = wishes[i].command;
    store_decide(o, &rules, commands, 4, start_ms);
    for (int i = 0; i < 4; i++)
        assert_int_equal(commands[i].outcome.result, RESULT_OK);
    store_abandon(o->store);
    world_rollback(&o->world);
    world_accept_refreshed(&o->world);
    assert_wallet(o, ANN, ann, 10000);
    store_reopen(o);
    assert_wallet(o, ANN, ann, 10000);
    assert_int_equal(store_number(o, "SELECT count(*) FROM wallets"), 1);
    assert_int_equal(store_number(o, "SELECT stock FROM products"), 5);
    assert_books(o, 0);
    for (int i = 0; i < 4; i++) { /* all of it can be asked for anew */
        assert_int_equal(run_one(o, &wishes[i], start_ms), RESULT_OK);
        assert_false(wishes[i].command.outcome.is_replay);
    }
    assert_books(o, 1);
}

/* --- histories --- */

static void ask_transfers(
    struct open_store *o, struct question *question, int64_t account_id, int64_t id_before, size_t limit)
{
    *question = (struct question){
        .kind = QUESTION_TRANSFERS, .account_id = account_id, .id_before = id_before, .limit = limit};
    store_ask_once(o, question);
}

static void a_history_tells_who_paid_whom_for_what(void **state)
{
    struct open_store *o = *state;
    int64_t ann = join(o, ANN, 10000);
    (void)join(o, BEN, 10000);
    int64_t product_id = put_product(o, "TEA", 5, 250);
    struct wish wishes[4];
    wish_to_credit(&wishes[0], ANN, 70, "gift");
    wish_to_transfer(&wishes[1], ANN, BEN, 30, "n");
    wish_to_transfer(&wishes[2], BEN, ANN, 20, "n");
    wish_to_spend(&wishes[3], ANN, "TEA", 250, "m");
    run(o, wishes, 4, start_ms + 1);
    struct question question;
    ask_transfers(o, &question, ann, INT64_MAX, 10);
    static const struct {
        enum transfer_kind kind;
        int64_t amount;
        int64_t balance;
        const char *nonce;
        bool is_debit;
        bool has_other;
    } expected[] = {{TRANSFER_SPEND, 250, 9810, "m", true, false},
        {TRANSFER_TRANSFER, 20, 10060, "n", false, true}, {TRANSFER_TRANSFER, 30, 10040, "n", true, true},
        {TRANSFER_CREDIT, 70, 10070, "gift", false, false},
        {TRANSFER_OPENING, 10000, 10000, "", false, false}};
    unsigned char ben_key[WALLET_KEY_BYTES];
    wallet_kit_key(BEN, ben_key);
    assert_int_equal(question.count, 5);
    for (size_t i = 0; i < 5; i++) {
        const struct transfer_line *line = &question.transfers[i];
        assert_int_equal(line->row.kind, expected[i].kind);
        assert_int_equal(line->row.amount_minor, expected[i].amount);
        assert_int_equal(line->is_debit, expected[i].is_debit);
        assert_int_equal(
            line->is_debit ? line->row.from_balance_minor : line->row.to_balance_minor, expected[i].balance);
        assert_true(slice_eq(line->row.nonce, slice_cstr(expected[i].nonce)));
        assert_int_equal(line->has_other, expected[i].has_other);
        if (line->has_other)
            assert_memory_equal(line->other_key, ben_key, WALLET_KEY_BYTES);
        assert_int_equal(line->row.product_id, i == 0 ? product_id : 0);
        assert_int_equal(line->row.purchase_id, i == 0 ? wishes[3].request.transfer.purchase_id : 0);
        assert_int_equal(line->row.created_ms, i == 4 ? start_ms : start_ms + 1);
    }
    question_fini(&question);
}

/* From the newest back, a page from where the one before has ended; nobody's page from another's. */
static void a_history_comes_in_pages(void **state)
{
    struct open_store *o = *state;
    int64_t ann = join(o, ANN, 10000);
    int64_t ben = join(o, BEN, 10000);
    int64_t cat = join(o, CAT, 10000);
    for (int i = 1; i <= 6; i++) {
        char nonce[16];
        (void)snprintf(nonce, sizeof nonce, "n-%d", i);
        assert_int_equal(transfer(o, ANN, i % 2 == 0 ? BEN : CAT, i, nonce), RESULT_OK);
    }
    struct question question;
    int64_t id_before = INT64_MAX;
    for (int page = 0; page < 5; page++) {
        ask_transfers(o, &question, ann, id_before, 2);
        assert_int_equal(question.count, page < 3 ? 2 : page == 3 ? 1 : 0);
        for (size_t i = 0; i < question.count; i++) {
            int amount = 6 - 2 * page - (int)i;
            assert_int_equal(question.transfers[i].row.amount_minor, page < 3 ? amount : 10000);
            assert_true(question.transfers[i].row.id < id_before);
            id_before = question.transfers[i].row.id;
        }
        question_fini(&question);
    }
    ask_transfers(o, &question, ben, INT64_MAX, QUESTION_ROWS_MAX);
    assert_int_equal(question.count, 4);
    int64_t bens_id = question.transfers[0].row.id; /* Ann's too */
    int64_t bens_opening_id = question.transfers[3].row.id;
    question_fini(&question);
    ask_transfers(o, &question, ann, bens_id, QUESTION_ROWS_MAX);
    assert_int_equal(question.count, 6);
    question_fini(&question);
    const int64_t others[] = {bens_id, bens_opening_id, 0, -1, 1000000};
    for (int i = 0; i < 5; i++) {
        ask_transfers(o, &question, cat, others[i], QUESTION_ROWS_MAX);
        assert_int_equal(question.count, 0);
        question_fini(&question);
    }
}

int main(int argc, char **argv)
{
    static const struct behaviour behaviours[] = {
        BEHAVIOUR(a_wallet_comes_back_as_it_was_made),
        BEHAVIOUR(what_is_not_there_is_not_found),
        BEHAVIOUR(a_key_and_an_address_are_given_once),
        BEHAVIOUR(coins_are_handed_on_whole),
        BEHAVIOUR(a_spend_is_a_purchase_in_the_same_batch),
        BEHAVIOUR(one_batch_may_do_all_of_it),
        BEHAVIOUR(coins_go_round_in_a_ring),
        BEHAVIOUR(what_was_decided_is_answered_again),
        BEHAVIOUR(a_nonce_is_its_payers_own),
        BEHAVIOUR(values_at_the_edges_are_kept),
        BEHAVIOUR(a_batch_that_was_rolled_back_leaves_nothing),
        BEHAVIOUR(a_history_tells_who_paid_whom_for_what),
        BEHAVIOUR(a_history_comes_in_pages),
    };
    return kinds_run(
        "wallets in stores", argc > 1 ? argv[1] : "", behaviours, sizeof behaviours / sizeof behaviours[0]);
}
