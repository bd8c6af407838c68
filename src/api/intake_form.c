/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders come by the ten thousand in a second, and nearly all of them as one flat object of short plain texts
 * and numbers. That is read without a parser and without memory. Whatever is not so simple, or not good, is
 * left to the parser, which takes the same bodies for the same orders and knows how to complain.
 */
#include "api/intake_form.h"

#include "api/fields.h"
#include "core/decimal.h"

/* The order of members in complaints, too. */
enum member {
    MEMBER_SYMBOL,
    MEMBER_SIDE,
    MEMBER_ORDER_TYPE,
    MEMBER_QUANTITY,
    MEMBER_PRICE,
    MEMBER_STOP_PRICE,
    MEMBER_TRAILING_STOP_PCT,
    MEMBER_ICEBERG_QTY,
    MEMBER_TIME_IN_FORCE,
    MEMBER_COUNT
};

static const struct slice member_names[] = {SLICE_INIT("symbol"), SLICE_INIT("side"),
    SLICE_INIT("order_type"), SLICE_INIT("quantity"), SLICE_INIT("price"), SLICE_INIT("stop_price"),
    SLICE_INIT("trailing_stop_pct"), SLICE_INIT("iceberg_qty"), SLICE_INIT("time_in_force")};

static const struct slice time_in_force_default = SLICE_INIT("GTC");

static bool is_time_in_force(struct slice text)
{
    return text.len >= 1 && text.len <= INTAKE_TIME_IN_FORCE_LEN_MAX;
}

static struct optional_decimal *number_of(struct intake_request *order, enum member member)
{
    switch (member) {
    case MEMBER_PRICE:
        return &order->price;
    case MEMBER_STOP_PRICE:
        return &order->stop_price;
    case MEMBER_TRAILING_STOP_PCT:
        return &order->trailing_stop_pct;
    default:
        return &order->iceberg_qty;
    }
}

/* --- the usual body --- */

enum kind { KIND_NONE, KIND_TEXT, KIND_NUMBER, KIND_NULL };

struct value {
    enum kind kind;
    struct slice text; /* without quotes */
};

struct scan {
    const char *at;
    const char *end;
};

static bool skip_to(struct scan *scan, char c)
{
    while (scan->at < scan->end && *scan->at == ' ')
        scan->at++;
    if (scan->at == scan->end || *scan->at != c)
        return false;
    scan->at++;
    return true;
}

/* Behind the opening quote. ASCII without escapes and without control characters. */
static bool scan_text(struct scan *scan, struct slice *text)
{
    const char *from = scan->at;
    while (
        scan->at < scan->end && *scan->at >= ' ' && *scan->at < 0x7f && *scan->at != '"' && *scan->at != '\\')
        scan->at++;
    *text = slice_make(from, (size_t)(scan->at - from));
    return skip_to(scan, '"');
}

static bool is_in_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '.' || c == '-' || c == '+' || c == 'E';
}

static bool scan_value(struct scan *scan, struct value *value)
{
    if (skip_to(scan, '"')) {
        value->kind = KIND_TEXT;
        return scan_text(scan, &value->text);
    }
    const char *from = scan->at;
    while (scan->at < scan->end && is_in_word(*scan->at))
        scan->at++;
    value->text = slice_make(from, (size_t)(scan->at - from));
    value->kind = slice_eq(value->text, SLICE("null")) ? KIND_NULL : KIND_NUMBER;
    return value->text.len > 0;
}

/* MEMBER_COUNT: none of ours. */
static enum member member_of(struct slice name)
{
    for (enum member member = 0; member < MEMBER_COUNT; member++)
        if (slice_eq(name, member_names[member]))
            return member;
    return MEMBER_COUNT;
}

static bool scan_members(struct scan *scan, struct value values[MEMBER_COUNT])
{
    if (!skip_to(scan, '{'))
        return false;
    do {
        struct slice name;
        if (!skip_to(scan, '"') || !scan_text(scan, &name) || !skip_to(scan, ':'))
            return false;
        enum member member = member_of(name);
        if (member == MEMBER_COUNT || values[member].kind != KIND_NONE || !scan_value(scan, &values[member]))
            return false;
    } while (skip_to(scan, ','));
    return skip_to(scan, '}') && scan->at == scan->end;
}

static bool take_number(const struct value *value, int64_t *number)
{
    return value->kind == KIND_NUMBER &&
           decimal_parse(value->text, DECIMAL_SCALE_MICRO, number) == DECIMAL_OK && *number > 0;
}

static bool take_optional_numbers(const struct value values[MEMBER_COUNT], struct intake_request *order)
{
    for (enum member member = MEMBER_PRICE; member <= MEMBER_ICEBERG_QTY; member++) {
        struct optional_decimal *number = number_of(order, member);
        number->is_set = values[member].kind != KIND_NONE && values[member].kind != KIND_NULL;
        if (number->is_set && !take_number(&values[member], &number->value))
            return false;
    }
    return true;
}

static bool take_texts(const struct value values[MEMBER_COUNT], struct intake_request *order)
{
    const struct value *symbol = &values[MEMBER_SYMBOL];
    const struct value *force = &values[MEMBER_TIME_IN_FORCE];
    bool has_force = force->kind == KIND_TEXT;
    order->symbol = symbol->text;
    order->time_in_force = has_force ? force->text : time_in_force_default;
    return symbol->kind == KIND_TEXT && symbol->text.len >= 1 && symbol->text.len <= INTAKE_SYMBOL_LEN_MAX &&
           force->kind != KIND_NUMBER && is_time_in_force(order->time_in_force) &&
           values[MEMBER_SIDE].kind == KIND_TEXT && values[MEMBER_ORDER_TYPE].kind == KIND_TEXT &&
           intake_side_from_name(values[MEMBER_SIDE].text, &order->side) &&
           intake_type_from_name(values[MEMBER_ORDER_TYPE].text, &order->type);
}

static bool read_usual(const struct http_request *request, struct intake_request *order)
{
    struct value values[MEMBER_COUNT] = {0};
    struct scan scan = {request->body.base, request->body.base + request->body.len};
    struct slice type;
    return request->body.len > 0 && http_header(request, SLICE("content-type"), &type) &&
           slice_eq_nocase(type, SLICE("application/json")) && scan_members(&scan, values) &&
           take_texts(values, order) && take_number(&values[MEMBER_QUANTITY], &order->quantity) &&
           take_optional_numbers(values, order);
}

/* --- every body --- */

static void read_texts(struct fields *fields, struct http_request *request, struct intake_request *order)
{
    struct slice sides[SIDE_SELL + 1];
    struct slice types[TYPE_ICEBERG + 1];
    static const struct text_field symbol = {
        .name = "symbol", .need = FIELD_REQUIRED, .chars_min = 1, .bytes_max = INTAKE_SYMBOL_LEN_MAX};
    struct slice text;
    size_t index;
    for (int i = SIDE_BUY; i <= SIDE_SELL; i++)
        sides[i] = intake_side_name((enum intake_side)i);
    for (int i = TYPE_MARKET; i <= TYPE_ICEBERG; i++)
        types[i] = intake_type_name((enum intake_type)i);
    if (fields_text(fields, &symbol, &text))
        order->symbol = arena_copy(&request->arena, text);
    if (fields_choice(fields, "side", sides, SIDE_SELL + 1, &index))
        order->side = (enum intake_side)index;
    if (fields_choice(fields, "order_type", types, TYPE_ICEBERG + 1, &index))
        order->type = (enum intake_type)index;
}

static void read_numbers(struct fields *fields, struct intake_request *order)
{
    (void)fields_decimal(fields, "quantity", FIELD_REQUIRED, &order->quantity);
    for (enum member member = MEMBER_PRICE; member <= MEMBER_ICEBERG_QTY; member++) {
        struct optional_decimal *number = number_of(order, member);
        number->is_set = fields_decimal(fields, member_names[member].base, FIELD_OPTIONAL, &number->value);
    }
}

static void read_force(struct fields *fields, struct http_request *request, struct intake_request *order)
{
    static const struct text_field force = {.name = "time_in_force",
        .need = FIELD_OPTIONAL,
        .chars_min = 1,
        .bytes_max = INTAKE_TIME_IN_FORCE_LEN_MAX};
    struct slice text;
    bool is_set = fields_text(fields, &force, &text);
    order->time_in_force = is_set ? arena_copy(&request->arena, text) : time_in_force_default;
}

bool intake_form_read(struct http_request *request, struct intake_request *order)
{
    struct fields fields;
    *order = (struct intake_request){0};
    if (read_usual(request, order))
        return true;
    *order = (struct intake_request){0};
    if (!fields_open(&fields, request, false))
        return false;
    read_texts(&fields, request, order);
    read_numbers(&fields, order);
    read_force(&fields, request, order);
    if (fields_reply_complaints(&fields, request))
        return false;
    fields_fini(&fields);
    if (!request->arena.has_overflowed)
        return true;
    reply_detail_later(request, SLICE("There is no memory for the order now. It was not taken."), 0);
    return false;
}
