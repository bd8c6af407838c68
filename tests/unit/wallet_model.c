/* SPDX-License-Identifier: Apache-2.0 */
#include "wallet_model.h"

/* Numbers of result.def, as the contract gives them. */
enum {
    OK = 0,
    NO_PRODUCT = 21,
    SOLD_OUT = 32,
    EMAIL_TAKEN = 61,
    NO_WALLET = 100,
    NONCE_REUSED = 101,
    NO_PAYEE = 102,
    PRICE_DIFFERS = 103,
    TOO_POOR = 104,
    TOO_RICH = 105,
    KEY_TAKEN = 106,
};

static const int64_t balance_max = INT64_C(999999999999999);

static bool is_address_taken(const struct wallet_model *model, unsigned address)
{
    for (int i = 0; i < WALLET_PEOPLE; i++) {
        if (model->wallets[i].has_address[address])
            return true;
    }
    return false;
}

static int do_register(struct wallet_model *model, const struct random_wallet *lot)
{
    struct model_wallet *wallet = &model->wallets[lot->person];
    if (wallet->exists)
        return KEY_TAKEN;
    if (is_address_taken(model, lot->address))
        return EMAIL_TAKEN;
    wallet->exists = true;
    wallet->has_address[lot->address] = true;
    wallet->balance = lot->account.opening_minor;
    model->issued += wallet->balance;
    return OK;
}

static const struct model_deed *find_deed(const struct wallet_model *model, int payer, unsigned nonce)
{
    for (size_t i = 0; i < model->deed_count; i++) {
        if (model->deeds[i].payer == payer && model->deeds[i].nonce == nonce)
            return &model->deeds[i];
    }
    return NULL;
}

static int do_credit(struct wallet_model *model, struct model_deed *deed)
{
    struct model_wallet *to = &model->wallets[deed->person];
    if (deed->amount > balance_max - to->balance)
        return TOO_RICH;
    to->balance += deed->amount;
    model->issued += deed->amount;
    deed->balance = to->balance;
    return OK;
}

static int do_transfer(struct wallet_model *model, struct model_deed *deed)
{
    struct model_wallet *from = &model->wallets[deed->person];
    struct model_wallet *to = &model->wallets[deed->payee];
    if (!to->exists)
        return NO_PAYEE;
    if (from->balance < deed->amount)
        return TOO_POOR;
    if (deed->amount > balance_max - to->balance)
        return TOO_RICH;
    from->balance -= deed->amount;
    to->balance += deed->amount;
    deed->balance = from->balance;
    return OK;
}

static int do_spend(struct wallet_model *model, struct model_deed *deed, int64_t now_ms)
{
    struct model_wallet *from = &model->wallets[deed->person];
    if (deed->sku == WALLET_SKUS || !model->goods[deed->sku].exists)
        return NO_PRODUCT;
    struct model_good *good = &model->goods[deed->sku];
    if (good->price != deed->amount)
        return PRICE_DIFFERS;
    if (from->balance < deed->amount)
        return TOO_POOR;
    if (good->stock == 0 || now_ms >= good->end_ms)
        return SOLD_OUT;
    good->stock--;
    from->balance -= deed->amount;
    model->spent += deed->amount;
    model->spend_count++;
    deed->balance = from->balance;
    return OK;
}

static bool is_same(const struct model_deed *a, const struct model_deed *b)
{
    return a->kind == b->kind && a->person == b->person && a->payee == b->payee && a->sku == b->sku &&
           a->amount == b->amount;
}

static struct model_deed read_deed(
    const struct random_wallet *lot, const struct command *command, int64_t now_ms)
{
    return (struct model_deed){
        .payer = command->kind == COMMAND_WALLET_CREDIT ? -1 : (int)lot->person,
        .nonce = lot->nonce,
        .kind = (int)command->kind,
        .person = lot->person,
        .payee = lot->payee,
        .sku = lot->sku,
        .amount = lot->request.amount_minor,
        .time_ms = now_ms,
    };
}

struct wallet_expected model_decide(struct wallet_model *model, const struct random_wallet *lot,
    const struct command *command, int64_t now_ms)
{
    if (command->kind == COMMAND_ACCOUNT_REGISTER)
        return (struct wallet_expected){.result = do_register(model, lot), .time_ms = now_ms};
    if (!model->wallets[lot->person].exists)
        return (struct wallet_expected){.result = NO_WALLET};
    struct model_deed deed = read_deed(lot, command, now_ms);
    const struct model_deed *before = find_deed(model, deed.payer, deed.nonce);
    if (before != NULL && !is_same(before, &deed))
        return (struct wallet_expected){.result = NONCE_REUSED};
    if (before != NULL)
        return (struct wallet_expected){
            .is_replay = true, .balance = before->balance, .id = before->id, .time_ms = before->time_ms};
    int result = command->kind == COMMAND_WALLET_CREDIT     ? do_credit(model, &deed)
                 : command->kind == COMMAND_WALLET_TRANSFER ? do_transfer(model, &deed)
                                                            : do_spend(model, &deed, now_ms);
    if (result == OK)
        model->deeds[model->deed_count++] = deed;
    return (struct wallet_expected){.result = result, .balance = deed.balance, .time_ms = now_ms};
}

void model_note_number(
    struct wallet_model *model, const struct random_wallet *lot, const struct command *command)
{
    int64_t number = command->outcome.number;
    if (command->kind == COMMAND_ACCOUNT_REGISTER) {
        model->wallets[lot->person].account_id = number;
        return;
    }
    model->deeds[model->deed_count - 1].id = number;
    model->wallets[lot->person].last_id = number;
    if (command->kind == COMMAND_WALLET_TRANSFER)
        model->wallets[lot->payee].last_id = number;
}
