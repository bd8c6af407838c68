/* SPDX-License-Identifier: Apache-2.0 */
/*
 * throughput: one kind of request as fast as the answers come, for a benchmark. The first second is not
 * measured.
 *
 *   purchase  each by a new buyer, of a sale that cannot sell out
 *   refused   the same of a sale that is over; each by a new buyer, so that the limiter has no say
 *   status    GET of the sale's state
 *   fixed     the bytes of `purchase` for a server that answers always the same: no set-up, any 200 is right.
 *             What such a server reaches is the floor that real ones are compared with
 */
#include "rush/flash_sale.h"
#include "rush/scenarios.h"

enum { CONNECTIONS = 64, SECONDS = 10, NAME_DIGITS = 10 };

static const int64_t NS_PER_S = 1000000000;
static const int64_t STOCK_ENDLESS =
    100 * 1000 * 1000; /* at a million a second it lasts longer than any run */

enum op { OP_PURCHASE, OP_REFUSED, OP_STATUS, OP_FIXED, OP_COUNT };

static const char *const op_names[OP_COUNT] = {"purchase", "refused", "status", "fixed"};

static bool find_op(const char *name, enum op *op)
{
    for (*op = 0; *op < OP_COUNT; (*op)++)
        if (strcmp(name, op_names[*op]) == 0)
            return true;
    return false;
}

static enum op get_op(const struct rush *rush)
{
    enum op op = OP_PURCHASE;
    (void)find_op(rush->options.op, &op); /* prepare has checked it */
    return op;
}

static void judge_fixed(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    (void)rush;
    (void)session;
    judgement->outcome = reply->status == 200 ? FLASH_FIXED_GOOD : FLASH_OTHER_STATUS;
    judgement->truth = TRUTH_UNKNOWN;
}

static struct crowd make_crowd(enum op op, struct plan plan)
{
    struct crowd crowd = op == OP_STATUS ? flash_pollers(plan) : flash_buyers(plan, false);
    if (op == OP_FIXED) {
        crowd.judge = judge_fixed;
        crowd.name_user = NULL;
    }
    return crowd;
}

static void add_threshold(struct rush *rush, enum op op)
{
    static const uint32_t right[OP_COUNT] = {
        [OP_PURCHASE] = OUTCOME_BIT(FLASH_SUCCESS),
        [OP_REFUSED] = OUTCOME_BIT(FLASH_NOT_ACTIVE) | OUTCOME_BIT(FLASH_SOLD_OUT),
        [OP_STATUS] = OUTCOME_BIT(FLASH_POLL_GOOD),
        [OP_FIXED] = OUTCOME_BIT(FLASH_FIXED_GOOD),
    };
    flash_add_count_threshold(rush, "errors", ~right[op], 0);
}

static enum err prepare(struct rush *rush, struct error *error)
{
    struct rush_options *options = &rush->options;
    enum op op;
    if (options->op == NULL)
        options->op = op_names[OP_PURCHASE];
    if (!find_op(options->op, &op))
        return error_set(error, ERR_USAGE,
            "'%.40s' is no --op of throughput: expected purchase, refused, status or "
            "fixed",
            options->op);
    options->connections = options->connections > 0 ? options->connections : CONNECTIONS;
    options->seconds = options->seconds > 0 ? options->seconds : SECONDS;
    if (op == OP_REFUSED)
        options->stock = 1;
    options->stock = options->stock > 0 ? options->stock : STOCK_ENDLESS;

    uint64_t connections = (uint64_t)options->connections;
    rush->measure_from_ns = NS_PER_S;
    rush->measure_until_ns = (1 + options->seconds) * NS_PER_S;
    struct plan plan = plan_closed(0, rush->measure_until_ns, connections, 0);
    if (options->rate > 0)
        plan = plan_open(
            0, options->rate, connections, (uint64_t)(options->rate * (double)(1 + options->seconds)));
    rush_add_crowd(rush, make_crowd(op, plan));
    add_threshold(rush, op);
    return flash_prepare(rush, (struct flash_names){"bench-user-", NAME_DIGITS, 0}, error);
}

static enum err set_up(struct rush *rush, struct error *error)
{
    enum op op = get_op(rush);
    if (op == OP_FIXED)
        return ERR_NONE;
    if (op == OP_REFUSED && rush->options.is_sale_kept)
        return flash_expect_state(rush, true, error);
    enum err err = flash_set_up(rush, error);
    if (err != ERR_NONE || op != OP_REFUSED)
        return err;
    err = flash_buy_one(rush, SLICE("bench-first"), error);
    return err != ERR_NONE ? err : flash_expect_state(rush, true, error);
}

static void tear_down(struct rush *rush, const struct tally *crowd)
{
    if (get_op(rush) == OP_PURCHASE)
        flash_tear_down(rush, crowd);
}

const struct scenario scenario_throughput = {
    .name = "throughput",
    .summary = "one kind of request as fast as answers come (--op purchase, refused, status, fixed)",
    .sku = "BENCH-TEST",
    .endpoints = flash_endpoints,
    .outcomes = flash_outcomes,
    .is_saturating = true,
    .prepare = prepare,
    .set_up = set_up,
    .tear_down = tear_down,
    .release = flash_release,
};
