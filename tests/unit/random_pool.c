/* SPDX-License-Identifier: Apache-2.0 */
#include "random_pool.h"

#include <inttypes.h>
#include <stdio.h>

enum { UNKNOWN_ID = 1000000000 };

void draw_pool_crowd(struct id_source *random, struct pool_crowd *crowd)
{
    static const unsigned usual[POOL_LOT_COUNT] = {
        [LOT_TAKE] = 10,
        [LOT_TAKE_OR_WAIT] = 12,
        [LOT_TICKET] = 12,
        [LOT_KEEP] = 6,
        [LOT_LEAVE] = 5,
        [LOT_CHOOSE] = 28,
        [LOT_RESET] = 8,
        [LOT_CREATE] = 5,
        [LOT_UPDATE] = 6,
        [LOT_DELETE] = 2,
        [LOT_ADD_PRODUCT] = 5,
        [LOT_SET_STOCK] = 4,
        [LOT_DELETE_PRODUCT] = 2,
        [LOT_PURCHASE] = 3,
    };
    *crowd = (struct pool_crowd){
        .machine_count = 1 + draw(random, POOL_MACHINES_MAX),
        .stock_max = 1 + draw(random, 40),
        .units_max = 1 + draw(random, 5),
        .wait_ms_max = 10 + draw(random, 600),
    };
    for (int i = 0; i < POOL_LOT_COUNT; i++) /* from half as often to twice as often */
        crowd->weights[i] = usual[i] * (2 + draw(random, 7));
}

static enum pool_lot draw_lot(struct id_source *random, const struct pool_crowd *crowd)
{
    unsigned sum = 0;
    for (int i = 0; i < POOL_LOT_COUNT; i++)
        sum += crowd->weights[i];
    unsigned left = draw(random, sum);
    int lot = 0;
    while (left >= crowd->weights[lot])
        left -= crowd->weights[lot++];
    return (enum pool_lot)lot;
}

/* --- machines --- */

static unsigned count_machines(const struct pool_seen *seen)
{
    unsigned count = 0;
    for (int i = 0; i < POOL_MACHINES_MAX; i++)
        count += seen->machine_ids[i] != 0;
    return count;
}

/* One that was seen, now and then one that is gone or never was; and a lease: most often whichever, else the
 * one last seen there, or some other, of the past or of the future. */
static void draw_machine(struct id_source *random, const struct pool_seen *seen, struct pool_request *request)
{
    unsigned count = count_machines(seen);
    unsigned nth = draw(random, count == 0 ? 1 : count);
    bool is_known = draw(random, 12) > 0;
    int64_t lease_id = 0;
    request->machine_id = 1 + draw(random, (uint64_t)seen->machine_last + 2);
    for (int i = 0; i < POOL_MACHINES_MAX && is_known; i++) {
        if (seen->machine_ids[i] == 0 || nth-- > 0)
            continue;
        request->machine_id = seen->machine_ids[i];
        lease_id = seen->lease_ids[i];
        break;
    }
    unsigned lot = draw(random, 20);
    int64_t guess = seen->lease_last + 2 - draw(random, 6);
    if (lot < 6)
        request->lease_id = lease_id;
    else if (lot < 9 && guess > 0)
        request->lease_id = guess;
}

static void draw_name(struct id_source *random, struct random_pool *out, const char *noun, unsigned names)
{
    out->name = draw(random, names);
    (void)snprintf(out->name_text, sizeof out->name_text, "%s'%u", noun, out->name);
}

static void draw_update(struct id_source *random, struct random_pool *out)
{
    struct pool_request *request = &out->request;
    unsigned what = draw(random, 5); /* nothing, a name, draining or not, or both */
    request->has_name = what & 1;
    request->has_draining = what >= 2;
    request->is_draining = draw(random, 3) == 0;
    draw_name(random, out, "machine", 20);
    request->name = slice_cstr(out->name_text);
}

static void draw_tickets(struct id_source *random, const struct pool_seen *seen, struct random_pool *out)
{
    out->request.ticket_ids = out->ticket_ids;
    out->request.ticket_count = 1 + draw(random, POOL_TICKETS_NAMED);
    for (size_t i = 0; i < POOL_TICKETS_NAMED; i++) {
        int64_t id = seen->ticket_last + 1 - draw(random, 14);
        out->ticket_ids[i] = id > 0 ? id : 1;
    }
}

/* --- products --- */

/* Most often the id that the product has, now and then another one. */
static void draw_product(
    struct id_source *random, const struct pool_seen *seen, struct random_pool *out, struct command *command)
{
    int64_t id = seen->product_ids[out->sku];
    bool is_other = draw(random, 16) == 0;
    command->sku = slice_cstr(out->sku_text);
    command->product_id = id == 0 || is_other ? UNKNOWN_ID + out->sku : id;
}

static void draw_choice(struct id_source *random, const struct pool_crowd *crowd, struct random_pool *out,
    struct command *command)
{
    struct pool_request *request = &out->request;
    request->units = 1 + draw(random, (uint64_t)crowd->units_max);
    request->coins = request->units + (draw(random, 12) == 0);
    if (draw(random, 24) == 0)
        command->sku = SLICE("");
    (void)snprintf(out->user_text, sizeof out->user_text, " machine %" PRId64, request->machine_id);
    command->user = slice_cstr(out->user_text);
}

static void draw_stock(struct id_source *random, const struct pool_crowd *crowd, struct random_pool *out,
    struct command *command)
{
    struct product_fields *fields = &command->product;
    bool is_huge = draw(random, 20) == 0;
    fields->initial_stock = draw(random, (uint64_t)crowd->stock_max + 1);
    if (is_huge)
        fields->initial_stock = INT64_MAX - draw(random, 3);
    fields->price_minor = draw(random, 500);
    fields->name = slice_cstr(out->name_text);
    command->labels.is_featured = draw(random, 4) == 0;
    command->labels.category = draw(random, 4) == 0 ? SLICE("tea") : SLICE("");
    if (command->kind == COMMAND_PRODUCT_SET_STOCK && draw(random, 8) == 0)
        command->product_id = 0;
}

static void draw_about_product(struct id_source *random, const struct pool_crowd *crowd,
    const struct pool_seen *seen, struct random_pool *out, struct command *command)
{
    out->sku = draw(random, POOL_SKUS);
    out->user = draw(random, POOL_USERS);
    (void)snprintf(out->sku_text, sizeof out->sku_text, "DRINK-%u", out->sku);
    draw_product(random, seen, out, command);
    if (command->kind == COMMAND_MACHINE_CHOOSE) {
        draw_choice(random, crowd, out, command);
        return;
    }
    (void)snprintf(out->user_text, sizeof out->user_text, "user-%u", out->user);
    command->user = slice_cstr(out->user_text);
    draw_name(random, out, "drink", POOL_SKUS);
    if (out->name % 2 == 0) /* else it may be another's */
        (void)snprintf(out->name_text, sizeof out->name_text, "drink'%u", out->name = out->sku);
    draw_stock(random, crowd, out, command);
}

void draw_pool_command(struct id_source *random, const struct pool_crowd *crowd, const struct pool_seen *seen,
    int64_t now_ms, struct random_pool *out, struct command *command)
{
    static const enum command_kind kinds[POOL_LOT_COUNT] = {
        [LOT_TAKE] = COMMAND_MACHINE_TAKE,
        [LOT_TAKE_OR_WAIT] = COMMAND_MACHINE_TAKE,
        [LOT_TICKET] = COMMAND_TICKET_TAKE,
        [LOT_KEEP] = COMMAND_TICKET_KEEP,
        [LOT_LEAVE] = COMMAND_TICKET_LEAVE,
        [LOT_CHOOSE] = COMMAND_MACHINE_CHOOSE,
        [LOT_RESET] = COMMAND_MACHINE_RESET,
        [LOT_CREATE] = COMMAND_MACHINE_CREATE,
        [LOT_UPDATE] = COMMAND_MACHINE_UPDATE,
        [LOT_DELETE] = COMMAND_MACHINE_DELETE,
        [LOT_ADD_PRODUCT] = COMMAND_PRODUCT_ADD,
        [LOT_SET_STOCK] = COMMAND_PRODUCT_SET_STOCK,
        [LOT_DELETE_PRODUCT] = COMMAND_PRODUCT_DELETE,
        [LOT_PURCHASE] = COMMAND_PURCHASE,
    };
    enum pool_lot lot = draw_lot(random, crowd);
    if (lot == LOT_CREATE && count_machines(seen) >= crowd->machine_count)
        lot = LOT_UPDATE;
    *out = (struct random_pool){0};
    *command = (struct command){.kind = kinds[lot], .pool = &out->request};
    draw_machine(random, seen, &out->request);
    draw_update(random, out);
    draw_tickets(random, seen, out);
    if (lot != LOT_TAKE)
        out->request.until_ms = now_ms + draw(random, (uint64_t)crowd->wait_ms_max);
    out->request.is_given_up = draw(random, 4) == 0;
    if (command_names_product(command->kind))
        draw_about_product(random, crowd, seen, out, command);
}

/* --- what answers tell --- */

static void note_machine(struct pool_seen *seen, int64_t id, int64_t lease_id)
{
    int place = -1;
    for (int i = 0; i < POOL_MACHINES_MAX; i++) {
        if (seen->machine_ids[i] == id || (seen->machine_ids[i] == 0 && place < 0))
            place = i;
        if (seen->machine_ids[i] == id)
            break;
    }
    if (place < 0)
        return;
    seen->machine_ids[place] = id;
    seen->lease_ids[place] = lease_id;
    if (id > seen->machine_last)
        seen->machine_last = id;
    if (lease_id > seen->lease_last)
        seen->lease_last = lease_id;
}

static void forget_machine(struct pool_seen *seen, int64_t id)
{
    for (int i = 0; i < POOL_MACHINES_MAX; i++) {
        if (seen->machine_ids[i] == id)
            seen->machine_ids[i] = 0;
    }
}

static void note_product(struct pool_seen *seen, const struct random_pool *lot, const struct command *command)
{
    enum result result = command->outcome.result;
    bool is_gone = result == RESULT_PRODUCT_NOT_FOUND && command->product_id < UNKNOWN_ID;
    if (is_gone || (command->kind == COMMAND_PRODUCT_DELETE && result == RESULT_OK))
        seen->product_ids[lot->sku] = 0;
    else if (result == RESULT_OK && command->kind != COMMAND_PURCHASE)
        seen->product_ids[lot->sku] = lot->request.product.id;
}

void pool_seen_note(struct pool_seen *seen, const struct random_pool *lot, const struct command *command)
{
    const struct pool_request *request = &lot->request;
    enum result result = command->outcome.result;
    if (command_names_product(command->kind))
        note_product(seen, lot, command);
    if (result == RESULT_TICKET_WAITS && request->ticket_id > seen->ticket_last)
        seen->ticket_last = request->ticket_id;
    if (result == RESULT_MACHINE_NOT_FOUND ||
        (result == RESULT_OK && command->kind == COMMAND_MACHINE_DELETE))
        forget_machine(seen, request->machine_id);
    else if (result == RESULT_OK && request->machine.id != 0)
        note_machine(seen, request->machine.id, request->machine.lease_id);
}
