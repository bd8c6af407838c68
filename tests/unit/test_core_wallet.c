/* SPDX-License-Identifier: Apache-2.0 */
/* Who may register, pay and be paid, and what is answered when it is asked for again: marketplace contract.
 * Every refusal is looked at in its order of precedence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/sale.h"
#include "wallet_kit.h"

enum { ANN, BEN, CAT, NOBODY };

static struct world world;
static struct wallet_kit kit;

static int make_world(void **state)
{
    (void)state;
    world_init(&world, &world_kit_hash_key);
    world_begin(&world);
    wallet_kit_init(&kit, &world);
    return 0;
}

/* The indexes are looked at once more. */
static int drop_world(void **state)
{
    struct strbuf text;
    (void)state;
    strbuf_init_heap(&text, 1 << 20);
    world_dump(&world, &text);
    strbuf_fini(&text);
    world_fini(&world);
    return 0;
}

/* The present batch is on disk, a new one begins. */
static void next_batch(void)
{
    world_accept(&world);
    world_begin(&world);
}

/* Ann and Ben with 100.00 each. */
static void put_people(void)
{
    assert_int_equal(ask_register(&kit, ANN, ANN, 10000), RESULT_OK);
    assert_int_equal(ask_register(&kit, BEN, BEN, 10000), RESULT_OK);
    next_batch();
}

/* --- registration --- */

static void a_key_comes_with_one_account_and_one_wallet(void **state)
{
    (void)state;
    assert_int_equal(ask_register(&kit, ANN, ANN, 10000), RESULT_OK);
    assert_int_equal(kit.outcome.time_ms, kit.now_ms);
    const struct wallet *wallet = wallet_of(&kit, ANN);
    assert_int_equal(wallet->account_id, kit.outcome.number);
    assert_int_equal(wallet->values.balance_minor, 10000);
    assert_int_equal(wallet->values.last_transfer_id, 1);
    assert_int_equal(wallet->values.updated_ms, kit.now_ms);
    const struct account *account = world_account_by_username(&world, kit.account.username_key);
    assert_non_null(account);
    assert_int_equal(account->id, wallet->account_id);
    assert_true(slice_starts_with(account->username_key, SLICE(" key ")));
    assert_int_equal(account->username_key.len, 5 + 64);
}

static void the_key_is_looked_at_before_the_address(void **state)
{
    (void)state;
    put_people();
    assert_int_equal(ask_register(&kit, ANN, ANN, 10000), RESULT_PUBLIC_KEY_TAKEN);
    assert_int_equal(ask_register(&kit, ANN, BEN, 10000), RESULT_PUBLIC_KEY_TAKEN);
    assert_int_equal(ask_register(&kit, ANN, CAT, 10000), RESULT_PUBLIC_KEY_TAKEN);
    assert_int_equal(ask_register(&kit, CAT, ANN, 10000), RESULT_EMAIL_TAKEN);
    assert_int_equal(ask_register(&kit, CAT, CAT, 10000), RESULT_OK);
    assert_int_equal(world.wallets_by_key.count, 3);
}

/* Of many registrations at once exactly one succeeds. */
static void of_one_batch_of_the_same_one_registers(void **state)
{
    int registered = 0;
    (void)state;
    for (int i = 0; i < 50; i++)
        registered += ask_register(&kit, ANN, i % 2, 10000) == RESULT_OK;
    assert_int_equal(registered, 1);
    assert_int_equal(balance_of(&kit, ANN), 10000);
}

/* An account with a password has its own names, but addresses are everybody's. */
static void an_address_belongs_to_one_account_of_either_face(void **state)
{
    struct account_request request = {.username = SLICE("ann"),
        .username_key = SLICE("ann"),
        .email = SLICE("mail-0@example.com"),
        .email_key = SLICE("mail-0@example.com"),
        .password_hash = SLICE("$argon2id$v=19$")};
    struct command command = {.kind = COMMAND_ACCOUNT_REGISTER, .account = &request};
    (void)state;
    assert_true(rules_decide(&kit.rules, &world, &command, 1000));
    assert_int_equal(command.outcome.result, RESULT_OK);
    assert_int_equal(world.wallets_by_key.count, 0);
    assert_int_equal(ask_register(&kit, ANN, ANN, 10000), RESULT_EMAIL_TAKEN);
    assert_true(rules_decide(&kit.rules, &world, &command, 1000));
    assert_int_equal(command.outcome.result, RESULT_USERNAME_TAKEN);
}

static void a_wallet_may_begin_with_nothing(void **state)
{
    (void)state;
    assert_int_equal(ask_register(&kit, ANN, ANN, 0), RESULT_OK);
    assert_int_equal(balance_of(&kit, ANN), 0);
    assert_int_equal(wallet_of(&kit, ANN)->values.last_transfer_id, 0);
    assert_int_equal(world.next_transfer_id, 1); /* no coins were issued, so there is nothing to tell */
    assert_int_equal(ask_credit(&kit, ANN, 1, "first"), RESULT_OK);
    assert_int_equal(kit.request.transfer.to_previous_id, 0);
    assert_int_equal(wallet_of(&kit, ANN)->values.last_transfer_id, 1);
}

/* --- credits --- */

static void a_credit_is_named_by_its_reference(void **state)
{
    (void)state;
    put_people();
    assert_int_equal(ask_credit(&kit, NOBODY, 500, "gift"), RESULT_WALLET_NOT_FOUND);
    assert_int_equal(ask_credit(&kit, ANN, 500, "gift"), RESULT_OK);
    struct transfer_row first = kit.request.transfer;
    assert_int_equal(first.kind, TRANSFER_CREDIT);
    assert_int_equal(first.from_account, 0);
    assert_int_equal(first.to_account, wallet_of(&kit, ANN)->account_id);
    assert_int_equal(first.to_balance_minor, 10500);
    assert_int_equal(kit.request.balance_minor, 10500);
    assert_int_equal(kit.outcome.number, first.id);
    assert_false(kit.outcome.is_replay);
    next_batch();
    assert_false(world.repeats_answers);
    kit.now_ms = 5000;
    assert_int_equal(ask_credit(&kit, ANN, 7, "another"), RESULT_OK);
    assert_int_equal(ask_credit(&kit, ANN, 500, "gift"), RESULT_OK);
    assert_true(kit.outcome.is_replay && world.repeats_answers);
    assert_int_equal(kit.request.transfer.id, first.id);
    assert_int_equal(kit.request.balance_minor, 10500); /* as it was answered then */
    assert_int_equal(kit.outcome.time_ms, 1000);
    assert_int_equal(balance_of(&kit, ANN), 10507);
}

static void a_reference_stands_for_one_credit(void **state)
{
    (void)state;
    put_people();
    assert_int_equal(ask_credit(&kit, ANN, 500, "gift"), RESULT_OK);
    assert_int_equal(ask_credit(&kit, ANN, 501, "gift"), RESULT_NONCE_REUSED);
    assert_int_equal(ask_credit(&kit, BEN, 500, "gift"), RESULT_NONCE_REUSED);
    assert_int_equal(ask_credit(&kit, BEN, WALLET_AMOUNT_MAX, "gift"), RESULT_NONCE_REUSED);
    assert_int_equal(ask_credit(&kit, NOBODY, 500, "gift"), RESULT_WALLET_NOT_FOUND);
    assert_int_equal(balance_of(&kit, BEN), 10000);
}

static void no_balance_has_more_than_fifteen_digits(void **state)
{
    (void)state;
    assert_int_equal(WALLET_AMOUNT_MAX, INT64_C(999999999999999));
    assert_int_equal(ask_register(&kit, ANN, ANN, WALLET_AMOUNT_MAX), RESULT_OK);
    assert_int_equal(ask_register(&kit, BEN, BEN, 1), RESULT_OK);
    assert_int_equal(ask_credit(&kit, ANN, 1, "a"), RESULT_BALANCE_TOO_LARGE);
    assert_int_equal(ask_credit(&kit, ANN, WALLET_AMOUNT_MAX, "a"), RESULT_BALANCE_TOO_LARGE);
    assert_int_equal(ask_credit(&kit, BEN, WALLET_AMOUNT_MAX, "a"), RESULT_BALANCE_TOO_LARGE);
    assert_int_equal(ask_credit(&kit, BEN, WALLET_AMOUNT_MAX - 1, "a"), RESULT_OK); /* it was still free */
    assert_int_equal(balance_of(&kit, BEN), WALLET_AMOUNT_MAX);
    assert_int_equal(ask_transfer(&kit, ANN, BEN, 1, "n"), RESULT_BALANCE_TOO_LARGE);
    put_sale(&kit, "HOUSE", 2, WALLET_AMOUNT_MAX);
    assert_int_equal(ask_spend(&kit, ANN, "HOUSE", WALLET_AMOUNT_MAX, "n"), RESULT_OK);
    assert_int_equal(balance_of(&kit, ANN), 0);
    assert_int_equal(ask_transfer(&kit, BEN, ANN, WALLET_AMOUNT_MAX, "n"), RESULT_OK);
    assert_int_equal(balance_of(&kit, ANN), WALLET_AMOUNT_MAX);
}

/* --- spending --- */

static void a_spend_is_a_purchase_and_a_receipt(void **state)
{
    char user[WALLET_USER_LEN_MAX];
    (void)state;
    put_people();
    put_sale(&kit, "TEA", 5, 250);
    const struct product *product = world_product(&world, SLICE("TEA"));
    const struct wallet *ann = wallet_of(&kit, ANN);
    assert_int_equal(ask_spend(&kit, ANN, "TEA", 250, "n-1"), RESULT_OK);
    const struct transfer_row *row = &kit.request.transfer;
    assert_int_equal(row->kind, TRANSFER_SPEND);
    assert_int_equal(row->from_account, ann->account_id);
    assert_int_equal(row->to_account, 0);
    assert_int_equal(row->amount_minor, 250);
    assert_int_equal(row->from_balance_minor, 9750);
    assert_int_equal(row->to_balance_minor, 0);
    assert_int_equal(row->from_previous_id, 1); /* the opening */
    assert_int_equal(row->to_previous_id, 0);
    assert_int_equal(row->product_id, product->id);
    assert_int_equal(row->created_ms, kit.now_ms);
    assert_int_equal(row->nonce.len, 0);
    assert_int_equal(row->purchase_id, product->purchase_id_last);
    assert_int_equal(kit.request.balance_minor, 9750);
    assert_int_equal(kit.outcome.number, row->id);
    assert_int_equal(kit.outcome.time_ms, kit.now_ms);
    assert_int_equal(product->values.stock, 4);
    const struct buyer *buyer = world_buyer(&world, product, wallet_user(ann->key, user));
    assert_non_null(buyer);
    assert_int_equal(buyer->count, 1);
}

/* All refusals apply at first; each step takes the one away that comes first. */
static void a_spend_is_refused_for_the_first_reason(void **state)
{
    (void)state;
    put_sale(&kit, "TEA", 0, 20000);
    put_sale(&kit, "CUP", 5, 1);
    int64_t id = world_product(&world, SLICE("TEA"))->id;
    next_batch();
    assert_int_equal(ask_spend(&kit, ANN, "NONE", 1, "n"), RESULT_WALLET_NOT_FOUND);
    put_people();
    assert_int_equal(ask_spend(&kit, ANN, "CUP", 1, "n"), RESULT_OK);
    assert_int_equal(ask_spend(&kit, ANN, "NONE", 1, "n"), RESULT_NONCE_REUSED);
    assert_int_equal(ask_spend(&kit, ANN, "NONE", 1, "m"), RESULT_PRODUCT_NOT_FOUND);
    assert_int_equal(ask_spend(&kit, ANN, "", 1, "m"), RESULT_PRODUCT_NOT_FOUND);
    assert_int_equal(ask_spend_on(&kit, ANN, "TEA", id + 1, 19999, "m"), RESULT_PRODUCT_NOT_FOUND);
    assert_int_equal(ask_spend_on(&kit, ANN, "TEA", id, 19999, "m"), RESULT_PRICE_DIFFERS);
    assert_int_equal(ask_spend(&kit, ANN, "TEA", 20001, "m"), RESULT_PRICE_DIFFERS);
    assert_int_equal(ask_spend(&kit, ANN, "TEA", 20000, "m"), RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(ask_credit(&kit, ANN, 10001, "c"), RESULT_OK);
    assert_int_equal(ask_spend(&kit, ANN, "TEA", 20000, "m"), RESULT_SOLD_OUT);
    put_sale(&kit, "TEA", 1, 20000);
    assert_int_equal(ask_spend_on(&kit, ANN, "TEA", id, 20000, "m"), RESULT_OK);
    assert_int_equal(balance_of(&kit, ANN), 0);
}

static void a_sale_that_is_not_open_sells_nothing(void **state)
{
    (void)state;
    put_people();
    struct command create = make_create("TEA", 5, 2000, 3000);
    create.product.present |= FIELD_PRICE;
    create.product.price_minor = 100;
    assert_true(rules_decide(&kit.rules, &world, &create, 1000));
    static const int64_t times_ms[] = {1000, 1999, 2000, 2999, 3000, 9000};
    for (int i = 0; i < 6; i++) {
        bool is_open = times_ms[i] >= 2000 && times_ms[i] < 3000;
        char nonce[16];
        (void)snprintf(nonce, sizeof nonce, "n-%d", i);
        kit.now_ms = times_ms[i];
        assert_true(rules_tick(&kit.rules, &world, kit.now_ms));
        assert_int_equal(ask_spend(&kit, ANN, "TEA", 100, nonce), is_open ? RESULT_OK : RESULT_SOLD_OUT);
    }
    assert_int_equal(balance_of(&kit, ANN), 9800);
}

/* Something that costs nothing cannot be bought with coins: an amount is at least one hundredth. */
static void what_is_free_has_no_amount(void **state)
{
    (void)state;
    put_people();
    put_sale(&kit, "AIR", 5, 0);
    assert_int_equal(ask_spend(&kit, ANN, "AIR", 1, "n"), RESULT_PRICE_DIFFERS);
}

static void who_pays_may_buy_as_often_as_coins_and_stock_last(void **state)
{
    char nonce[16];
    (void)state;
    put_people();
    put_sale(&kit, "TEA", 4, 3000);
    assert_int_equal(world_product(&world, SLICE("TEA"))->values.per_user_limit, 1);
    for (int i = 0; i < 3; i++) {
        (void)snprintf(nonce, sizeof nonce, "n-%d", i);
        assert_int_equal(ask_spend(&kit, ANN, "TEA", 3000, nonce), RESULT_OK);
        assert_int_equal(kit.request.balance_minor, 7000 - 3000 * i);
    }
    assert_int_equal(ask_spend(&kit, ANN, "TEA", 3000, "n-3"), RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(ask_spend(&kit, BEN, "TEA", 3000, "n-3"), RESULT_OK);
    const struct product_values *values = &world_product(&world, SLICE("TEA"))->values;
    assert_true(values->state == SALE_ENDED && values->end_reason == END_SOLD_OUT);
    assert_int_equal(ask_spend(&kit, BEN, "TEA", 3000, "n-4"), RESULT_SOLD_OUT);
}

static void the_last_coin_is_spent_once(void **state)
{
    (void)state;
    put_people();
    put_sale(&kit, "TEA", 100, 10000);
    assert_int_equal(ask_spend(&kit, ANN, "TEA", 10000, "n-0"), RESULT_OK);
    assert_int_equal(kit.request.balance_minor, 0);
    assert_int_equal(ask_spend(&kit, ANN, "TEA", 10000, "n-1"), RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(ask_transfer(&kit, ANN, BEN, 1, "n-2"), RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(ask_transfer(&kit, BEN, ANN, 10000, "n-3"), RESULT_OK);
    assert_int_equal(ask_spend(&kit, ANN, "TEA", 10000, "n-1"), RESULT_OK); /* a refusal keeps no nonce */
    assert_false(kit.outcome.is_replay);
    assert_int_equal(balance_of(&kit, ANN) + balance_of(&kit, BEN), 0);
}

/* --- the same again --- */

static void assert_same_transfer(const struct transfer_row *row, const struct transfer_row *expected)
{
    assert_int_equal(row->id, expected->id);
    assert_int_equal(row->kind, expected->kind);
    assert_int_equal(row->from_account, expected->from_account);
    assert_int_equal(row->to_account, expected->to_account);
    assert_int_equal(row->from_previous_id, expected->from_previous_id);
    assert_int_equal(row->to_previous_id, expected->to_previous_id);
    assert_int_equal(row->amount_minor, expected->amount_minor);
    assert_int_equal(row->from_balance_minor, expected->from_balance_minor);
    assert_int_equal(row->to_balance_minor, expected->to_balance_minor);
    assert_int_equal(row->product_id, expected->product_id);
    assert_int_equal(row->purchase_id, expected->purchase_id);
    assert_int_equal(row->created_ms, expected->created_ms);
    assert_memory_equal(row->fingerprint, expected->fingerprint, FINGERPRINT_BYTES);
}

/* Whatever has happened since: the product is gone, the coins are spent. */
static void a_spend_is_answered_again_as_it_was(void **state)
{
    (void)state;
    put_people();
    put_sale(&kit, "TEA", 1, 250);
    assert_int_equal(ask_spend(&kit, ANN, "TEA", 250, "n"), RESULT_OK);
    struct transfer_row first = kit.request.transfer;
    for (int i = 0; i < 3; i++) {
        kit.now_ms += 1000;
        assert_int_equal(ask_spend(&kit, ANN, "TEA", 250, "n"), RESULT_OK);
        assert_true(kit.outcome.is_replay && world.repeats_answers);
        assert_same_transfer(&kit.request.transfer, &first);
        assert_int_equal(kit.request.balance_minor, 9750);
        assert_int_equal(kit.outcome.number, first.id);
        assert_int_equal(kit.outcome.time_ms, 1000);
        assert_int_equal(ask_spend(&kit, ANN, "TEA", 251, "n"), RESULT_NONCE_REUSED);
        if (i == 0)
            delete_sale(&kit, "TEA");
        if (i == 1)
            assert_int_equal(ask_transfer(&kit, ANN, BEN, 9750, "all"), RESULT_OK);
        next_batch();
    }
    assert_int_equal(balance_of(&kit, ANN), 0);
}

static void a_transfer_is_answered_again_as_it_was(void **state)
{
    (void)state;
    put_people();
    assert_int_equal(ask_transfer(&kit, ANN, BEN, 10000, "n"), RESULT_OK);
    struct transfer_row first = kit.request.transfer;
    assert_int_equal(ask_transfer(&kit, BEN, ANN, 20000, "n"), RESULT_OK);
    next_batch();
    assert_int_equal(ask_transfer(&kit, ANN, BEN, 10000, "n"), RESULT_OK);
    assert_true(kit.outcome.is_replay);
    assert_same_transfer(&kit.request.transfer, &first);
    assert_int_equal(kit.request.balance_minor, 0);
    assert_int_equal(ask_transfer(&kit, ANN, BEN, 9999, "n"), RESULT_NONCE_REUSED);
    assert_int_equal(ask_transfer(&kit, ANN, NOBODY, 10000, "n"), RESULT_NONCE_REUSED);
    assert_int_equal(ask_spend(&kit, ANN, "NONE", 10000, "n"), RESULT_NONCE_REUSED);
    assert_int_equal(balance_of(&kit, ANN), 20000);
}

/* A nonce is the payer's, a reference the admin's: the same text is three names. */
static void a_nonce_is_its_payers_own(void **state)
{
    (void)state;
    put_people();
    assert_int_equal(ask_transfer(&kit, ANN, BEN, 100, "n"), RESULT_OK);
    assert_int_equal(ask_transfer(&kit, BEN, ANN, 100, "n"), RESULT_OK);
    assert_false(kit.outcome.is_replay);
    assert_int_equal(ask_credit(&kit, ANN, 100, "n"), RESULT_OK);
    assert_false(kit.outcome.is_replay);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask_transfer(&kit, ANN, BEN, 100, "n"), RESULT_OK);
        assert_int_equal(kit.outcome.number, 3);
        assert_int_equal(ask_transfer(&kit, BEN, ANN, 100, "n"), RESULT_OK);
        assert_int_equal(kit.outcome.number, 4);
        assert_int_equal(ask_credit(&kit, ANN, 100, "n"), RESULT_OK);
        assert_int_equal(kit.outcome.number, 5);
        next_batch();
    }
    assert_int_equal(ask_transfer(&kit, ANN, BEN, 100, "N"), RESULT_OK); /* letters are told apart */
    assert_false(kit.outcome.is_replay);
}

/* Many clients count their nonces from 1. Found by those alone, the first transfers of all wallets would
 * stand in one row, through which every look-up had to go. */
static void payers_who_count_alike_are_looked_up_apart(void **state)
{
    (void)state;
    put_people();
    assert_int_equal(ask_transfer(&kit, ANN, BEN, 1, "1"), RESULT_OK);
    assert_int_equal(ask_transfer(&kit, BEN, ANN, 1, "1"), RESULT_OK);
    assert_int_equal(ask_credit(&kit, ANN, 1, "1"), RESULT_OK);
    const int64_t payers[] = {wallet_of(&kit, ANN)->account_id, wallet_of(&kit, BEN)->account_id, 0};
    uint64_t hashes[3];
    for (int i = 0; i < 3; i++)
        hashes[i] = world_transfer(&world, payers[i], SLICE("1"))->hash;
    assert_true(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[2] != hashes[0]);
}

/* A nonce may be as long as it likes up to the bound, and holds any bytes. */
static void any_bytes_make_a_nonce(void **state)
{
    char longest[NONCE_LEN_MAX + 1];
    (void)state;
    put_people();
    memset(longest, 'x', sizeof longest);
    longest[NONCE_LEN_MAX] = '\0';
    const char *const nonces[] = {" ", "'; DROP", "\xF0\x9F\xA5\xA4", longest, longest + 1};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ask_transfer(&kit, ANN, BEN, 1, nonces[i]), RESULT_OK);
        assert_false(kit.outcome.is_replay);
        assert_int_equal(ask_transfer(&kit, ANN, BEN, 1, nonces[i]), RESULT_OK);
        assert_true(kit.outcome.is_replay);
    }
}

/* --- transfers --- */

static void a_transfer_is_refused_for_the_first_reason(void **state)
{
    (void)state;
    assert_int_equal(ask_transfer(&kit, ANN, NOBODY, 20000, "n"), RESULT_WALLET_NOT_FOUND);
    put_people();
    assert_int_equal(ask_register(&kit, CAT, CAT, WALLET_AMOUNT_MAX), RESULT_OK);
    assert_int_equal(ask_transfer(&kit, ANN, BEN, 1, "n"), RESULT_OK);
    assert_int_equal(ask_transfer(&kit, ANN, NOBODY, 20000, "n"), RESULT_NONCE_REUSED);
    assert_int_equal(ask_transfer(&kit, ANN, NOBODY, 20000, "m"), RESULT_PAYEE_NOT_FOUND);
    assert_int_equal(ask_transfer(&kit, ANN, CAT, 20000, "m"), RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(ask_transfer(&kit, ANN, CAT, 1, "m"), RESULT_BALANCE_TOO_LARGE);
    assert_int_equal(ask_transfer(&kit, CAT, BEN, 1, "m"), RESULT_OK);
    assert_int_equal(ask_transfer(&kit, ANN, CAT, 1, "m"), RESULT_OK);
    assert_int_equal(balance_of(&kit, ANN), 9998);
    assert_int_equal(balance_of(&kit, BEN), 10002);
}

/* From the last transfer of a wallet back to its first one, each adds up with the one before. */
static void assert_chain(int person, const int64_t *ids, int count)
{
    const struct wallet *wallet = wallet_of(&kit, person);
    int64_t id = wallet->values.last_transfer_id;
    int64_t balance = wallet->values.balance_minor;
    for (int i = count; i-- > 0;) {
        char nonce[16];
        const struct transfer *transfer = NULL;
        assert_int_equal(id, ids[i]);
        (void)snprintf(nonce, sizeof nonce, "n-%lld", (long long)id);
        for (int payer = 0; payer < 3 && transfer == NULL; payer++)
            transfer = world_transfer(&world, wallet_of(&kit, payer)->account_id, slice_cstr(nonce));
        assert_non_null(transfer);
        const struct transfer_row *row = &transfer->row;
        bool is_payer = row->from_account == wallet->account_id;
        assert_int_equal(row->id, id);
        assert_int_equal(is_payer ? row->from_balance_minor : row->to_balance_minor, balance);
        balance += is_payer ? row->amount_minor : -row->amount_minor;
        id = is_payer ? row->from_previous_id : row->to_previous_id;
    }
    assert_int_equal(balance, 10000);
    assert_in_range(id, 1, 3); /* the opening, which nobody asks for again */
}

static void a_ring_hands_the_same_coins_round(void **state)
{
    enum { ROUNDS = 4 };
    int64_t ids[3][2 * ROUNDS];
    (void)state;
    put_people();
    assert_int_equal(ask_register(&kit, CAT, CAT, 10000), RESULT_OK);
    for (int i = 0; i < 3 * ROUNDS; i++) {
        char nonce[16];
        int payer = i % 3;
        int payee = (i + 1) % 3;
        (void)snprintf(nonce, sizeof nonce, "n-%d", 4 + i);
        assert_int_equal(ask_transfer(&kit, payer, payee, 1000 + i, nonce), RESULT_OK);
        assert_int_equal(kit.request.transfer.id, 4 + i);
        assert_int_equal(balance_of(&kit, ANN) + balance_of(&kit, BEN) + balance_of(&kit, CAT), 30000);
        /* Ann pays first in each round and is paid last; the others are paid, then pay. */
        ids[payer][2 * (i / 3) + (payer != ANN)] = 4 + i;
        ids[payee][2 * (i / 3) + (payee == ANN)] = 4 + i;
    }
    for (int person = 0; person < 3; person++)
        assert_chain(person, ids[person], 2 * ROUNDS);
}

/* --- names --- */

static void kinds_of_transfers_have_names(void **state)
{
    (void)state;
    static const char *const names[] = {"opening", "credit", "transfer", "spend"};
    enum transfer_kind kind = TRANSFER_OPENING;
    for (int i = TRANSFER_OPENING; i <= TRANSFER_SPEND; i++) {
        assert_true(slice_eq(transfer_kind_name((enum transfer_kind)i), slice_cstr(names[i])));
        assert_true(transfer_kind_from_name(slice_cstr(names[i]), &kind));
        assert_int_equal(kind, i);
    }
    assert_false(transfer_kind_from_name(SLICE(""), &kind));
    assert_false(transfer_kind_from_name(SLICE("Spend"), &kind));
}

static void a_key_is_a_user_whom_no_client_can_name(void **state)
{
    unsigned char key[WALLET_KEY_BYTES];
    char memory[WALLET_USER_LEN_MAX];
    (void)state;
    for (int i = 0; i < WALLET_KEY_BYTES; i++)
        key[i] = (unsigned char)(i * 8 + 7);
    assert_true(slice_eq(wallet_user(key, memory),
        SLICE(" key 070f171f272f373f474f575f676f777f878f979fa7afb7bfc7cfd7dfe7eff7ff")));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, drop_world)
    const struct CMUnitTest tests[] = {
        TEST(a_key_comes_with_one_account_and_one_wallet),
        TEST(the_key_is_looked_at_before_the_address),
        TEST(of_one_batch_of_the_same_one_registers),
        TEST(an_address_belongs_to_one_account_of_either_face),
        TEST(a_wallet_may_begin_with_nothing),
        TEST(a_credit_is_named_by_its_reference),
        TEST(a_reference_stands_for_one_credit),
        TEST(no_balance_has_more_than_fifteen_digits),
        TEST(a_spend_is_a_purchase_and_a_receipt),
        TEST(a_spend_is_refused_for_the_first_reason),
        TEST(a_sale_that_is_not_open_sells_nothing),
        TEST(what_is_free_has_no_amount),
        TEST(who_pays_may_buy_as_often_as_coins_and_stock_last),
        TEST(the_last_coin_is_spent_once),
        TEST(a_spend_is_answered_again_as_it_was),
        TEST(a_transfer_is_answered_again_as_it_was),
        TEST(a_nonce_is_its_payers_own),
        TEST(payers_who_count_alike_are_looked_up_apart),
        TEST(any_bytes_make_a_nonce),
        TEST(a_transfer_is_refused_for_the_first_reason),
        TEST(a_ring_hands_the_same_coins_round),
        cmocka_unit_test(kinds_of_transfers_have_names),
        cmocka_unit_test(a_key_is_a_user_whom_no_client_can_name),
    };
    return cmocka_run_group_tests_name("core wallet", tests, NULL, NULL);
}
