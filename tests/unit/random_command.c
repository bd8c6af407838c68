/* SPDX-License-Identifier: Apache-2.0 */
#include "random_command.h"

#include <limits.h>
#include <stdio.h>

unsigned draw(struct id_source *random, uint64_t limit)
{
    return (unsigned)(id_next(random) % limit);
}

static void draw_times(
    struct id_source *random, const struct crowd *crowd, int64_t now_ms, struct product_fields *fields)
{
    int64_t half = crowd->sale_ms_max / 2;
    fields->start_ms = now_ms - half + draw(random, (uint64_t)crowd->sale_ms_max);
    fields->end_ms =
        fields->start_ms + draw(random, (uint64_t)crowd->sale_ms_max); /* now and then no later */
}

static void draw_fields(
    struct id_source *random, const struct crowd *crowd, int64_t now_ms, struct random_command *out)
{
    struct product_fields *fields = &out->command.product;
    (void)snprintf(out->name_text, sizeof out->name_text, "name %u", draw(random, 4));
    fields->name = slice_cstr(out->name_text);
    fields->initial_stock = draw(random, (uint64_t)crowd->stock_max + 1);
    draw_times(random, crowd, now_ms, fields);
    fields->price_minor = draw(random, 1000);
    fields->per_user_limit = 1 + draw(random, 4);
}

static void draw_change(struct id_source *random, struct random_command *out)
{
    struct command *command = &out->command;
    unsigned lot = draw(random, 100);
    if (lot < 35) {
        command->kind = COMMAND_PRODUCT_CREATE;
        command->product.present = FIELDS_ALL_REQUIRED;
    } else if (lot < 65) {
        command->kind = COMMAND_PRODUCT_UPDATE;
        command->product.present = lot < 45 ? FIELDS_ALL_REQUIRED : draw(random, FIELDS_ALL_REQUIRED + 1);
    } else if (lot < 90) {
        command->kind = COMMAND_PRODUCT_PATCH;
        command->product.present = draw(random, 4) * FIELD_PRICE; /* none, one, the other, both */
    } else {
        command->kind = COMMAND_PRODUCT_DELETE;
    }
}

static void draw_key(struct id_source *random, const struct crowd *crowd, struct random_command *out)
{
    struct idempotency *idempotency = &out->command.idempotency;
    out->key = UINT_MAX;
    if (crowd->key_count == 0 || draw(random, 100) >= crowd->key_percent)
        return;
    out->key = draw(random, crowd->key_count);
    (void)snprintf(out->key_text, sizeof out->key_text, "key-%u", out->key);
    idempotency->key = slice_cstr(out->key_text);
    idempotency->scope = slice_cstr(out->user_text);
    memset(idempotency->fingerprint, (int)draw(random, 3), FINGERPRINT_BYTES);
}

void draw_command(
    struct id_source *random, const struct crowd *crowd, int64_t now_ms, struct random_command *out)
{
    *out = (struct random_command){
        .sku = draw(random, crowd->sku_count), .user = draw(random, crowd->user_count)};
    (void)snprintf(out->sku_text, sizeof out->sku_text, "SKU-%u", out->sku);
    (void)snprintf(out->user_text, sizeof out->user_text, "user-%u", out->user);
    out->command.sku = slice_cstr(out->sku_text);
    out->command.user = slice_cstr(out->user_text);
    draw_fields(random, crowd, now_ms, out);
    if (draw(random, 100) >= crowd->purchase_percent)
        draw_change(random, out);
    draw_key(random, crowd, out);
}
