/* SPDX-License-Identifier: Apache-2.0 */
#include "random_wallet.h"

#include <stdio.h>

enum { STRAY_PERCENT = 6 /* intents that differ from what their nonce stands for */ };

void draw_wallet_crowd(struct id_source *random, struct wallet_crowd *crowd)
{
    *crowd = (struct wallet_crowd){
        .people = 2 + draw(random, WALLET_PEOPLE - 1),
        .nonces = 20 + draw(random, 1000),
        .register_percent = 2 + draw(random, 6),
        .credit_percent = 3 + draw(random, 20),
        .spend_percent = draw(random, 70),
        .opening_minor = draw(random, 3) == 0 ? 0 : draw(random, 1000),
        .amount_max = 1 + draw(random, 600),
        .is_rich = draw(random, 3) == 0,
    };
}

int64_t wallet_price(unsigned sku)
{
    return sku == 0 ? 1 : 40 * (int64_t)sku;
}

void wallet_sku(unsigned sku, char text[16])
{
    (void)snprintf(text, 16, "GOOD-%u", sku);
}

void wallet_person_key(unsigned person, unsigned char key[WALLET_KEY_BYTES])
{
    for (unsigned i = 0; i < WALLET_KEY_BYTES; i++)
        key[i] = (unsigned char)(person * 31 + i * 5);
}

static void draw_registration(
    struct id_source *random, const struct wallet_crowd *crowd, struct random_wallet *out)
{
    out->person = draw(random, crowd->people);
    out->address = draw(random, 8) == 0 ? draw(random, crowd->people) : out->person;
    wallet_person_key(out->person, out->key);
    (void)snprintf(out->email_text, sizeof out->email_text, "wallet-%u@example.com", out->address);
    struct slice username = wallet_user(out->key, out->user_text);
    out->account = (struct account_request){.username = username,
        .username_key = username,
        .email = slice_cstr(out->email_text),
        .email_key = slice_cstr(out->email_text),
        .full_name = SLICE("Ann \xc3\x84"),
        .public_key = out->key,
        .opening_minor = crowd->opening_minor};
}

static int64_t draw_amount(struct id_source *lot, const struct wallet_crowd *crowd, enum command_kind kind)
{
    if (kind == COMMAND_WALLET_CREDIT && crowd->is_rich && draw(lot, 4) == 0)
        return draw(lot, 2) == 0 ? WALLET_AMOUNT_MAX : WALLET_AMOUNT_MAX / 2;
    return 1 + draw(lot, (uint64_t)crowd->amount_max);
}

/* All that an intent says, from the lot of its nonce. */
static void draw_intent(struct id_source *lot, const struct wallet_crowd *crowd, struct random_wallet *out,
    struct command *command)
{
    unsigned percent = draw(lot, 100);
    command->kind = percent < crowd->credit_percent                          ? COMMAND_WALLET_CREDIT
                    : percent < crowd->credit_percent + crowd->spend_percent ? COMMAND_WALLET_SPEND
                                                                             : COMMAND_WALLET_TRANSFER;
    out->person = draw(lot, crowd->people);
    out->request.amount_minor = draw_amount(lot, crowd, command->kind);
    if (command->kind == COMMAND_WALLET_TRANSFER) {
        out->payee =
            (out->person + 1 + (draw(lot, 3) == 0 ? draw(lot, crowd->people - 1) : 0)) % crowd->people;
        wallet_person_key(out->payee, out->request.to);
    }
    if (command->kind == COMMAND_WALLET_SPEND) {
        out->sku = draw(lot, 20) == 0 ? WALLET_SKUS : draw(lot, WALLET_SKUS);
        out->request.amount_minor = wallet_price(out->sku) + (draw(lot, 12) == 0);
    }
}

/* The nonce of one payer comes from another, or from the admin. */
static void draw_stray_name(struct id_source *random, const struct wallet_crowd *crowd,
    struct random_wallet *out, struct command *command)
{
    unsigned person = draw(random, crowd->people);
    if (command->kind == COMMAND_WALLET_TRANSFER && draw(random, 2) == 0) {
        command->kind = COMMAND_WALLET_CREDIT;
        out->payee = 0;
    }
    if (command->kind != COMMAND_WALLET_TRANSFER || person != out->payee) /* nobody pays oneself */
        out->person = person;
}

static void fill_texts(struct random_wallet *out, struct command *command)
{
    struct wallet_request *request = &out->request;
    wallet_person_key(out->person, request->key);
    (void)snprintf(out->nonce_text, sizeof out->nonce_text, "n'%u", out->nonce);
    request->nonce = slice_cstr(out->nonce_text);
    unsigned char *fingerprint = request->fingerprint;
    fingerprint[0] = (unsigned char)command->kind;
    fingerprint[1] = (unsigned char)(command->kind == COMMAND_WALLET_CREDIT ? out->person : out->payee);
    fingerprint[2] = (unsigned char)out->sku;
    memcpy(fingerprint + 8, &request->amount_minor, sizeof request->amount_minor);
    command->wallet = request;
    if (command->kind != COMMAND_WALLET_SPEND)
        return;
    if (out->sku < WALLET_SKUS)
        wallet_sku(out->sku, out->sku_text);
    command->sku = slice_cstr(out->sku_text);
    command->user = wallet_user(request->key, out->user_text);
}

void draw_wallet_command(struct id_source *random, const struct wallet_crowd *crowd,
    struct random_wallet *out, struct command *command)
{
    struct id_source lot;
    *out = (struct random_wallet){0};
    *command = (struct command){0};
    if (draw(random, 100) < crowd->register_percent) {
        draw_registration(random, crowd, out);
        command->kind = COMMAND_ACCOUNT_REGISTER;
        command->account = &out->account;
        return;
    }
    out->nonce = draw(random, crowd->nonces);
    id_source_init_seed(&lot, out->nonce);
    draw_intent(&lot, crowd, out, command);
    if (draw(random, 100) < STRAY_PERCENT && command->kind != COMMAND_WALLET_SPEND)
        out->request.amount_minor++;
    if (draw(random, 100) < STRAY_PERCENT && command->kind == COMMAND_WALLET_SPEND)
        out->sku = draw(random, WALLET_SKUS);
    if (draw(random, 100) < STRAY_PERCENT)
        draw_stray_name(random, crowd, out, command);
    fill_texts(out, command);
}
