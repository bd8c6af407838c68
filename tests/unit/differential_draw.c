/* SPDX-License-Identifier: Apache-2.0 */
/* Commands for both stores of the differential test. */
#include "differential.h"

static void forget_items(struct work_item items[WORK_DUE_MAX])
{
    for (size_t i = 0; i < WORK_DUE_MAX; i++)
        work_item_fini(&items[i]);
}

void forget_claims(struct run *run)
{
    forget_items(run->our_items);
    forget_items(run->their_items);
}

/* What a worker may say of such work. */
static enum work_report draw_report(struct id_source *random, enum work_kind kind, enum command_kind command)
{
    static const enum work_report outcomes[] = {REPORT_PAID, REPORT_DECLINED, REPORT_ABANDONED};
    unsigned lot = draw(random, 3);
    if (kind == WORK_PAYMENT)
        return command == COMMAND_WORK_FINISH ? outcomes[lot] : lot == 0 ? REPORT_NOT_BEGUN : REPORT_NONE;
    bool is_dead = command == COMMAND_WORK_POSTPONE && kind != WORK_SALE_CLOSEOUT && lot > 0;
    return is_dead ? REPORT_DEAD : REPORT_NONE;
}

static enum command_kind draw_work_kind(struct id_source *random, bool *has_claim)
{
    unsigned lot = draw(random, 100);
    if (lot < 30 && !*has_claim) {
        *has_claim = true;
        return COMMAND_WORK_CLAIM;
    }
    return lot < 60 ? COMMAND_WORK_FINISH : lot < 90 ? COMMAND_WORK_POSTPONE : COMMAND_WORK_REVIVE;
}

/* Turns a command into one about work; both stores are asked for the same. */
static void draw_work(struct run *run, bool is_ours, unsigned i, bool *has_claim)
{
    static const enum work_kind kinds[] = {
        WORK_SALE_CLOSEOUT, WORK_PAYMENT, WORK_PAYMENT, WORK_WEBHOOK, WORK_EMAIL};
    struct id_source *random = &run->random;
    const struct claimed *claimed = &run->claimed[draw(random, CLAIMS_KEPT)];
    struct work_order *order = is_ours ? &run->our_orders[i] : &run->their_orders[i];
    enum command_kind kind = draw_work_kind(random, has_claim);
    enum work_kind claim_kind = kinds[draw(random, 5)];
    *order = (struct work_order){.kind = kind == COMMAND_WORK_CLAIM ? claim_kind : claimed->kind,
        .count_max = WORK_DUE_MAX,
        .lease_ms = 1 + draw(random, LEASE_MS_MAX),
        .payment_ms = PAYMENT_MS,
        .id = is_ours ? claimed->our_id : claimed->their_id,
        .token = claimed->token,
        .due_ms = run->now_ms + draw(random, LEASE_MS_MAX),
        .report = draw_report(random, claimed->kind, kind),
        .items = is_ours ? run->our_items : run->their_items};
    struct command *command = is_ours ? &run->ours[i].command : &run->theirs[i].command;
    *command = (struct command){.kind = kind, .work = order};
}

/* Wallets, and now and then what they buy: it comes, goes, or is there anew. */
static void draw_at_wallets(struct run *run, bool is_ours, struct random_command *lot, unsigned i)
{
    struct id_source *random = &run->random;
    struct command *command = &lot->command;
    if (draw(random, 8) > 0) {
        draw_wallet_command(
            random, &run->wallet_crowd, is_ours ? &run->our_wallets[i] : &run->their_wallets[i], command);
        return;
    }
    unsigned sku = draw(random, WALLET_SKUS);
    wallet_sku(sku, lot->sku_text);
    *command = (struct command){.kind = COMMAND_PRODUCT_DELETE, .sku = slice_cstr(lot->sku_text)};
    if (draw(random, 6) == 0)
        return;
    command->kind = COMMAND_PRODUCT_CREATE;
    command->product = (struct product_fields){.present = FIELDS_ALL_REQUIRED | FIELD_PRICE,
        .name = slice_cstr(lot->sku_text),
        .initial_stock = draw(random, 40),
        .start_ms = run->now_ms,
        .end_ms = run->now_ms + 1 + draw(random, 500),
        .price_minor = wallet_price(sku)};
}

static void draw_batch(struct run *run, bool is_ours, unsigned count)
{
    struct random_command *lots = is_ours ? run->ours : run->theirs;
    bool has_claim = false;
    for (unsigned i = 0; i < count; i++) {
        draw_command(&run->random, &run->crowd, run->now_ms, &lots[i]);
        unsigned lot = draw(&run->random, 100);
        if (lot < WORK_PERCENT)
            draw_work(run, is_ours, i, &has_claim);
        else if (lot < WORK_PERCENT + ORDER_PERCENT)
            draw_order_command(&run->random, run->now_ms, &run->embedded.world.intake,
                is_ours ? &run->our_lots[i] : &run->their_lots[i], &lots[i].command);
        else if (lot < WORK_PERCENT + ORDER_PERCENT + POOL_PERCENT)
            draw_pool_command(&run->random, &run->pool_crowd, is_ours ? &run->our_seen : &run->their_seen,
                run->now_ms, is_ours ? &run->our_pools[i] : &run->their_pools[i], &lots[i].command);
        else if (lot < WORK_PERCENT + ORDER_PERCENT + POOL_PERCENT + WALLET_PERCENT)
            draw_at_wallets(run, is_ours, &lots[i], i);
    }
}

void draw_batches(struct run *run, unsigned count)
{
    struct id_source before = run->random;
    forget_claims(run);
    draw_batch(run, true, count);
    run->random = before;
    draw_batch(run, false, count);
}
