/* SPDX-License-Identifier: Apache-2.0 */
#include "wallet_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

void wallet_kit_init(struct wallet_kit *kit, struct world *world)
{
    *kit = (struct wallet_kit){
        .world = world,
        .now_ms = 1000,
        .rules = {.idempotency_ttl_ms = 1000, .idempotency_count_max = SIZE_MAX},
    };
}

void wallet_kit_key(int person, unsigned char key[WALLET_KEY_BYTES])
{
    for (int i = 0; i < WALLET_KEY_BYTES; i++)
        key[i] = (unsigned char)(person * 7 + i);
    key[0] = (unsigned char)person;
}

void wallet_kit_fingerprint(
    struct slice subject, int64_t amount_minor, unsigned char fingerprint[FINGERPRINT_BYTES])
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < subject.len; i++)
        hash = (hash ^ (unsigned char)subject.base[i]) * UINT64_C(1099511628211);
    memcpy(fingerprint, &hash, sizeof hash);
    memcpy(fingerprint + sizeof hash, &amount_minor, sizeof amount_minor);
}

/* A refusal and a repetition leave the world as it is. */
static enum result decide(struct wallet_kit *kit, struct command *command)
{
    size_t changes = kit->world->change_count;
    assert_true(rules_decide(&kit->rules, kit->world, command, kit->now_ms));
    kit->outcome = command->outcome;
    if (kit->outcome.result != RESULT_OK || kit->outcome.is_replay)
        assert_int_equal(kit->world->change_count, changes);
    else
        assert_true(kit->world->change_count > changes);
    return kit->outcome.result;
}

enum result ask_register(struct wallet_kit *kit, int key, int address, int64_t opening_minor)
{
    static unsigned char bytes[WALLET_KEY_BYTES];
    wallet_kit_key(key, bytes);
    (void)snprintf(kit->email, sizeof kit->email, "mail-%d@example.com", address);
    kit->account = (struct account_request){
        .username = wallet_user(bytes, kit->username),
        .email = slice_cstr(kit->email),
        .full_name = SLICE("Ann"),
        .public_key = bytes,
        .opening_minor = opening_minor,
    };
    kit->account.username_key = kit->account.username;
    kit->account.email_key = kit->account.email;
    struct command command = {.kind = COMMAND_ACCOUNT_REGISTER, .account = &kit->account};
    return decide(kit, &command);
}

static enum result ask(
    struct wallet_kit *kit, struct command *command, int person, int64_t amount_minor, const char *nonce)
{
    kit->request.amount_minor = amount_minor;
    kit->request.nonce = slice_cstr(nonce);
    kit->request.transfer = (struct transfer_row){.id = -1};
    kit->request.balance_minor = -1;
    wallet_kit_key(person, kit->request.key);
    command->wallet = &kit->request;
    return decide(kit, command);
}

enum result ask_credit(struct wallet_kit *kit, int person, int64_t amount_minor, const char *reference)
{
    struct command command = {.kind = COMMAND_WALLET_CREDIT};
    char subject = (char)person;
    wallet_kit_fingerprint(slice_make(&subject, 1), amount_minor, kit->request.fingerprint);
    return ask(kit, &command, person, amount_minor, reference);
}

enum result ask_spend_on(struct wallet_kit *kit, int person, const char *sku, int64_t product_id,
    int64_t amount_minor, const char *nonce)
{
    unsigned char key[WALLET_KEY_BYTES];
    char user[WALLET_USER_LEN_MAX];
    wallet_kit_key(person, key);
    struct command command = {.kind = COMMAND_WALLET_SPEND,
        .sku = slice_cstr(sku),
        .user = wallet_user(key, user),
        .product_id = product_id};
    wallet_kit_fingerprint(slice_cstr(sku), amount_minor, kit->request.fingerprint);
    return ask(kit, &command, person, amount_minor, nonce);
}

enum result ask_spend(
    struct wallet_kit *kit, int person, const char *sku, int64_t amount_minor, const char *nonce)
{
    return ask_spend_on(kit, person, sku, 0, amount_minor, nonce);
}

enum result ask_transfer(
    struct wallet_kit *kit, int person, int payee, int64_t amount_minor, const char *nonce)
{
    struct command command = {.kind = COMMAND_WALLET_TRANSFER};
    wallet_kit_key(payee, kit->request.to);
    wallet_kit_fingerprint(
        slice_make(kit->request.to, WALLET_KEY_BYTES), amount_minor, kit->request.fingerprint);
    return ask(kit, &command, person, amount_minor, nonce);
}

void put_sale(struct wallet_kit *kit, const char *sku, int64_t stock, int64_t price_minor)
{
    struct command command = make_create(sku, stock, kit->now_ms, INT64_C(253402300799999));
    command.product.present |= FIELD_PRICE;
    command.product.price_minor = price_minor;
    assert_int_equal(decide(kit, &command), RESULT_OK);
    assert_true(rules_tick(&kit->rules, kit->world, kit->now_ms));
}

void delete_sale(struct wallet_kit *kit, const char *sku)
{
    struct command command = make_delete(sku);
    assert_int_equal(decide(kit, &command), RESULT_OK);
}

const struct wallet *wallet_of(const struct wallet_kit *kit, int person)
{
    unsigned char key[WALLET_KEY_BYTES];
    wallet_kit_key(person, key);
    const struct wallet *wallet = world_wallet(kit->world, key);
    assert_non_null(wallet);
    return wallet;
}

int64_t balance_of(const struct wallet_kit *kit, int person)
{
    return wallet_of(kit, person)->values.balance_minor;
}
