/* SPDX-License-Identifier: Apache-2.0 */
#include "random_order.h"

#include <stdio.h>

enum { ORDER_NAMES = 400, ACCOUNT_NAMES = 30, WAIT_MS_MAX = 400 };

static void draw_name(struct id_source *random, struct random_order *out, unsigned names)
{
    (void)snprintf(out->name_text, sizeof out->name_text, "name'\"%u", draw(random, names));
    (void)snprintf(out->email_text, sizeof out->email_text, "mail-%u@example.com", draw(random, names));
}

static void draw_order(struct id_source *random, int64_t now_ms, struct random_order *out)
{
    struct order_request *order = &out->order;
    draw_name(random, out, ORDER_NAMES);
    *order = (struct order_request){
        .order_id = slice_cstr(out->name_text),
        .customer_id = (int64_t)draw(random, 10) - 5,
        .email = draw(random, 2) == 0 ? slice_cstr(out->email_text) : SLICE(""),
        .items = SLICE("[{\"product_id\":\"x\",\"quantity\":1,\"price\":1}]"),
        .amount_minor = draw(random, 100000),
        .priority = (int)draw(random, ORDER_PRIORITY_MAX + 1),
        .is_sync = draw(random, 3) == 0,
        .payment_body = SLICE("{\"amount\":1}"),
    };
    if (order->is_sync)
        order->deadline_ms = now_ms + draw(random, WAIT_MS_MAX);
    memset(order->fingerprint, (int)draw(random, 3), FINGERPRINT_BYTES);
}

static void draw_account(struct id_source *random, struct random_order *out)
{
    draw_name(random, out, ACCOUNT_NAMES);
    out->account = (struct account_request){
        .username = slice_cstr(out->name_text),
        .username_key = slice_cstr(out->name_text),
        .email = slice_cstr(out->email_text),
        .email_key = slice_cstr(out->email_text),
        .full_name = draw(random, 2) == 0 ? SLICE("Ann \xc3\x84") : SLICE(""),
        .password_hash = SLICE("$argon2id$v=19$"),
    };
}

static struct optional_decimal draw_decimal(struct id_source *random)
{
    bool is_set = draw(random, 2) == 0;
    return (struct optional_decimal){.is_set = is_set, .value = is_set ? 1 + draw(random, 1000) : 0};
}

static void draw_intake(struct id_source *random, struct random_order *out)
{
    out->intake = (struct intake_request){
        .account_id = 1 + draw(random, 5),
        .symbol = SLICE("AAPL"),
        .side = (enum intake_side)draw(random, 2),
        .type = (enum intake_type)draw(random, 5),
        .quantity = 1 + draw(random, 100),
        .price = draw_decimal(random),
        .stop_price = draw_decimal(random),
        .trailing_stop_pct = draw_decimal(random),
        .iceberg_qty = draw_decimal(random),
        .time_in_force = SLICE("GTC"),
    };
}

void draw_order_command(struct id_source *random, int64_t now_ms, const struct intake_values *intake,
    struct random_order *out, struct command *command)
{
    unsigned lot = draw(random, 100);
    *out = (struct random_order){0};
    *command = (struct command){0};
    if (lot < 55) {
        command->kind = lot < 45 ? COMMAND_ORDER_PLACE : COMMAND_ORDER_CANCEL;
        draw_order(random, now_ms, out);
        command->order = &out->order;
        return;
    }
    if (lot < 62) {
        command->kind = COMMAND_ACCOUNT_REGISTER;
        draw_account(random, out);
        command->account = &out->account;
        return;
    }
    command->kind = lot < 80   ? COMMAND_INTAKE_PLACE
                    : lot < 88 ? COMMAND_INTAKE_CANCEL
                    : lot < 94 ? COMMAND_INTAKE_SEND
                               : COMMAND_INTAKE_EXECUTED;
    draw_intake(random, out);
    out->intake.count_max = 1 + draw(random, 20);
    out->intake.id = command->kind == COMMAND_INTAKE_CANCEL
                         ? (int64_t)draw(random, (uint64_t)intake->next_id + 2)
                         : intake->sent_id + (draw(random, 4) == 0);
    command->intake = &out->intake;
}
