/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tens of thousands of answers a second are read, so the usual spelling (no blanks, members in the contract's
 * order) is recognised byte by byte; every other one is read by the JSON parser, with the same result.
 */
#include "rush/vending.h"

#include <stdio.h>
#include <stdlib.h>

#include "net/json.h"

const struct outcome vending_outcomes[] = {
    {"machine_given", "200: a machine waits for the user's choice"},
    {"no_machine", "409: every machine is busy"},
    {"sold", "200: the machine dispenses"},
    {"choice_refused", "422: no stock left, or the machine is no longer this user's"},
    {"reset", "200: the machine was busy and is idle now"},
    {"was_idle", "409: the machine was idle already"},
    {"full", "503 with Retry-After: the line, or the server, has no room"},
    {"nonsense", "a right status with a body that does not belong to it"},
    {"other_status", "a status that does not belong here"},
    {"server_error", "500 or above"},
    {NULL, NULL},
};

_Static_assert(
    sizeof vending_outcomes / sizeof vending_outcomes[0] == VENDING_OUTCOME_END - OUTCOME_COMMON_COUNT + 1,
    "one row per outcome");

const char *const vending_endpoints[] = {"start-work", "choose-product", "reset", NULL};

/* --- answers to the crowd --- */

static bool is_id(const struct json *value, int64_t *id)
{
    return json_int64(value, id) && *id > 0;
}

static bool is_text(const struct json *value, struct slice expected)
{
    struct slice text;
    return json_text(value, &text) && slice_eq(text, expected);
}

/* Everything but the answer that was hoped for. */
static void judge_others(
    const struct reply *reply, unsigned on_409, unsigned on_422, struct judgement *judgement)
{
    static const struct slice unknown = SLICE_INIT("OUTCOME_UNKNOWN"); /* a server may not know itself */
    int status = reply->status;
    bool is_unsure = memmem(reply->body.base, reply->body.len, unknown.base, unknown.len) != NULL;
    bool is_refusal = (status >= 400 && status < 500) || (status == 503 && !is_unsure);
    char code[DETAIL_MAX];
    int len = snprintf(code, sizeof code, "HTTP_%d", status);
    judgement->outcome = status == 200                                 ? VENDING_NONSENSE
                         : status == 409                               ? on_409
                         : status == 422                               ? on_422
                         : status == 503 && reply->retry_after.len > 0 ? VENDING_LINE_FULL
                         : status >= 500                               ? VENDING_SERVER_ERROR
                                                                       : VENDING_OTHER_STATUS;
    judgement->truth = is_refusal ? TRUTH_REFUSED : TRUTH_UNKNOWN;
    judgement_set_detail(judgement, slice_make(code, (size_t)len));
}

static void acknowledge(struct judgement *judgement, unsigned outcome)
{
    judgement->outcome = outcome;
    judgement->truth = TRUTH_ACKNOWLEDGED;
}

/* --- the usual spelling --- */

/* Takes `head` and a number above 0 off the front. */
static bool take_number(struct slice *text, struct slice head, int64_t *number)
{
    size_t digits = 0;
    if (!slice_starts_with(*text, head))
        return false;
    struct slice rest = slice_make(text->base + head.len, text->len - head.len);
    while (digits < rest.len && rest.base[digits] >= '0' && rest.base[digits] <= '9')
        digits++;
    *text = slice_make(rest.base + digits, rest.len - digits);
    return slice_to_i64(slice_make(rest.base, digits), number) && *number > 0;
}

/* The text from `part` on; false when it is not there. */
static bool skip_to(struct slice *text, struct slice part)
{
    const char *found = memmem(text->base, text->len, part.base, part.len);
    if (found == NULL)
        return false;
    *text = slice_make(found, text->len - (size_t)(found - text->base));
    return true;
}

/* Without a backslash what looks like a member is one: no quotation mark can stand in a text. */
static bool is_plain(struct slice text)
{
    return text.len > 0 && memchr(text.base, '\\', text.len) == NULL;
}

static bool is_usual_start(struct slice text, struct vending_lease *lease)
{
    return is_plain(text) &&
           take_number(&text,
               SLICE("{\"message\":\"Machine selected and moved to choose_product "
                     "state.\",\"machine\":{\"id\":"),
               &lease->machine) &&
           skip_to(&text, SLICE(",\"status\":\"choose_product\",")) &&
           skip_to(&text, SLICE("},\"lease\":")) &&
           take_number(&text, SLICE("},\"lease\":"), &lease->lease) && slice_eq(text, SLICE("}"));
}

static bool is_usual_sale(struct slice text, int64_t *machine, int64_t *product)
{
    return is_plain(text) && text.base[text.len - 1] == '}' &&
           take_number(&text,
               SLICE("{\"message\":\"Product selected. Machine is now processing.\",\"machine\":{\"id\":"),
               machine) &&
           skip_to(&text, SLICE("},\"product\":{\"id\":")) &&
           take_number(&text, SLICE("},\"product\":{\"id\":"), product);
}

/* --- --- */

static bool read_start(struct slice body, struct vending_lease *lease)
{
    struct json *value = NULL;
    if (is_usual_start(body, lease))
        return true;
    bool is_json = json_parse(body, &value) == JSON_OK;
    const struct json *machine = is_json ? json_member(value, "machine") : NULL;
    bool is_given = is_id(json_member(machine, "id"), &lease->machine) &&
                    is_text(json_member(machine, "status"), SLICE("choose_product"));
    if (is_given && !is_id(json_member(value, "lease"), &lease->lease))
        lease->lease = 0;
    json_free(value);
    return is_given;
}

static bool read_sale(struct slice body, int64_t *machine, int64_t *product)
{
    struct json *value = NULL;
    if (is_usual_sale(body, machine, product))
        return true;
    bool is_sold = json_parse(body, &value) == JSON_OK &&
                   is_id(json_member(json_member(value, "machine"), "id"), machine) &&
                   is_id(json_member(json_member(value, "product"), "id"), product);
    json_free(value);
    return is_sold;
}

void vending_judge_start(const struct reply *reply, struct judgement *judgement, struct vending_lease *lease)
{
    *lease = (struct vending_lease){0, 0};
    if (reply->status == 200 && read_start(reply->body, lease))
        acknowledge(judgement, VENDING_STARTED);
    else
        judge_others(reply, VENDING_BUSY, VENDING_OTHER_STATUS, judgement);
}

void vending_judge_choice(
    const struct reply *reply, int64_t machine, int64_t product, struct judgement *judgement)
{
    int64_t told_machine;
    int64_t told_product;
    if (reply->status == 200 && read_sale(reply->body, &told_machine, &told_product) &&
        told_machine == machine && told_product == product)
        acknowledge(judgement, VENDING_SOLD);
    else
        judge_others(reply, VENDING_OTHER_STATUS, VENDING_REFUSED, judgement);
}

void vending_judge_reset(const struct reply *reply, struct judgement *judgement)
{
    if (reply->status == 200)
        acknowledge(judgement, VENDING_RESET);
    else
        judge_others(reply, VENDING_IDLE, VENDING_OTHER_STATUS, judgement);
}

/* --- lists --- */

static int compare_items(const void *a, const void *b)
{
    int64_t x = ((const struct vending_item *)a)->id;
    int64_t y = ((const struct vending_item *)b)->id;
    return (x > y) - (x < y);
}

static bool is_ours(const struct json *name, struct slice kind)
{
    struct slice text;
    struct slice number;
    int64_t value;
    return json_text(name, &text) && slice_eq(slice_split(text, ' ', &number), kind) &&
           slice_to_i64(number, &value);
}

static bool read_list(const struct json *list, bool has_stock, struct vending_items *items)
{
    size_t count = json_item_count(list);
    items->items = calloc(count > 0 ? count : 1, sizeof *items->items);
    if (items->items == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct vending_item *item = &items->items[i];
        const struct json *told = json_item(list, i);
        if (!is_id(json_member(told, "id"), &item->id) ||
            (has_stock && !json_int64(json_member(told, "stock"), &item->stock)))
            return false;
        item->is_ours = is_ours(json_member(told, "name"), has_stock ? SLICE("Product") : SLICE("Machine"));
    }
    items->count = count;
    qsort(items->items, count, sizeof *items->items, compare_items);
    return true;
}

bool vending_read_items(int status, struct slice body, bool has_stock, struct vending_items *items)
{
    struct json *list = NULL;
    *items = (struct vending_items){NULL, 0};
    bool is_read = status == 200 && json_parse(body, &list) == JSON_OK &&
                   json_kind(list) == JSON_KIND_ARRAY && read_list(list, has_stock, items);
    json_free(list);
    if (!is_read)
        vending_items_fini(items);
    return is_read;
}

void vending_items_fini(struct vending_items *items)
{
    free(items->items);
    *items = (struct vending_items){NULL, 0};
}

struct vending_item *vending_find(const struct vending_items *items, int64_t id)
{
    struct vending_item key = {.id = id};
    return items->count == 0 ? NULL
                             : bsearch(&key, items->items, items->count, sizeof *items->items, compare_items);
}

bool vending_read_made(int status, struct slice body, int64_t *id)
{
    struct json *value = NULL;
    bool is_made =
        status == 201 && json_parse(body, &value) == JSON_OK && is_id(json_member(value, "id"), id);
    json_free(value);
    return is_made;
}
