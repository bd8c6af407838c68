/* SPDX-License-Identifier: Apache-2.0 */
/* What an order's items come to: exact, however they are written, and nothing that is not an item. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "verify/order_items.h"

#define ITEM(quantity, price) "{\"product_id\":\"P\",\"quantity\":" quantity ",\"price\":" price "}"

static void expect(const char *items, int64_t amount_minor, const char *wanted)
{
    char text[256];
    struct strbuf fault;
    strbuf_init(&fault, text, sizeof text);
    bool fits = order_items_fit(slice_cstr(items), amount_minor, &fault);
    strbuf_put_char(&fault, '\0');
    if (fits != (wanted == NULL) ||
        (wanted != NULL && slice_compare(slice_cstr(text), slice_cstr(wanted)) != 0))
        fail_msg("%s: expected %s, got %s", items, wanted == NULL ? "to fit" : wanted, fits ? "a fit" : text);
}

/* Wrong if this fails: a sound order is called wrong, or a sum is reckoned in floats. */
static void sums_are_exact(void **state)
{
    (void)state;
    static const struct {
        const char *items;
        int64_t amount_minor;
    } rows[] = {
        {"[" ITEM("1", "0") "]", 0},
        {"[" ITEM("1", "-0.00") "]", 0},
        {"[" ITEM("2", "9.99") "]", 1998},
        {"[" ITEM("3", "0.335") "]", 101},
        {"[" ITEM("1", "0.005") "]", 1},
        {"[" ITEM("1", "0.0049999999999999999999999999999999999999999999") "]", 0},
        {"[" ITEM("1", "0.001") "," ITEM("1", "0.002") "," ITEM("1", "0.002") "]", 1},
        {"[" ITEM("10", "0.1") "," ITEM("10", "0.2") "]", 300},
        {"[" ITEM("1", "1e3") "]", 100000},
        {"[" ITEM("1", "1.5E+2") "]", 15000},
        {"[" ITEM("100", "1e-2") "]", 100},
        {"[" ITEM("1", "92233720368547758.07") "]", INT64_MAX},
        {"[" ITEM("9223372036854775807", "0.01") "]", INT64_MAX},
        {"[" ITEM("9223372036854775807", "0.0000000001") "]", 92233720369},
        {" [ { \"price\" : 1.00 , \"product_id\" : \"\\\"]},{\" , \"quantity\" : 1 } ] ", 100},
        {"[{\"quantity\":1,\"price\":1,\"product_id\":\"\"}]", 100},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect(rows[i].items, rows[i].amount_minor, NULL);
}

/* Wrong if this fails: items that no client may have sent pass. */
static void what_cannot_be_is_named(void **state)
{
    static const char no_array[] = "has items that are no JSON array";
    static const char odd_item[] = "has an item 1 that is not {product_id, quantity, price}";
    static const char odd_quantity[] = "has an item 1 whose quantity is no whole number above 0";
    static const char odd_price[] = "has an item 1 whose price cannot be";
    static const char too_much[] = "has items that come to more than any amount";
    (void)state;
    static const struct {
        const char *items;
        const char *fault;
    } rows[] = {
        {"", no_array},
        {"{}", no_array},
        {"null", no_array},
        {"[" ITEM("1", "1"), no_array},
        {"[" ITEM("1", "1") " " ITEM("1", "1") "]", no_array},
        {"[]", "has no items"},
        {"[" ITEM("1", "1") "]]", "has items that go on after their end"},
        {"[" ITEM("1", "1") ",]", "has an item 2 that is not {product_id, quantity, price}"},
        {"[1]", odd_item},
        {"[{}]", odd_item},
        {"[{\"quantity\":1,\"price\":1}]", odd_item},
        {"[{\"product_id\":\"P\",\"price\":1}]", odd_item},
        {"[{\"product_id\":\"P\",\"quantity\":1}]", odd_item},
        {"[{\"product_id\":7,\"quantity\":1,\"price\":1}]", odd_item},
        {"[{\"product_id\":\"P\",\"quantity\":\"1\",\"price\":1}]", odd_item},
        {"[{\"product_id\":\"P\",\"quantity\":1,\"price\":1,\"price\":2}]", odd_item},
        {"[{\"product_id\":\"P\",\"quantity\":1,\"price\":1,\"name\":2}]", odd_item},
        {"[{\"product_id\":\"P\n\",\"quantity\":1,\"price\":1}]", odd_item},
        {"[{\"product_id\":\"P", odd_item},
        {"[{\"product_id\":\"P\\", odd_item},
        {"[" ITEM("01", "1") "]", odd_item},
        {"[" ITEM("1", "1.") "]", odd_item},
        {"[" ITEM("1", ".5") "]", odd_item},
        {"[" ITEM("1", "1e") "]", odd_item},
        {"[" ITEM("1", "NaN") "]", odd_item},
        {"[" ITEM("0", "1") "]", odd_quantity},
        {"[" ITEM("-1", "1") "]", odd_quantity},
        {"[" ITEM("1.0", "1") "]", odd_quantity},
        {"[" ITEM("1e1", "1") "]", odd_quantity},
        {"[" ITEM("9223372036854775808", "1") "]", odd_quantity},
        {"[" ITEM("1", "-0.01") "]", odd_price},
        {"[" ITEM("1", "1e400") "]", odd_price},
        {"[" ITEM("1", "1e-400") "]", odd_price},
        {"[" ITEM("1", "92233720368547758.08") "]", too_much},
        {"[" ITEM("9223372036854775807", "1e20") "]", too_much},
        {"[" ITEM("1", "92233720368547758.075") "]", too_much},
        {"[" ITEM("1", "1.01") "]", "has the amount 1.00, but its items come to 1.01"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect(rows[i].items, 100, rows[i].fault);
    expect("[" ITEM("1", "0") "]", -5, "has the amount -0.05, but its items come to 0.00");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_exact),
        cmocka_unit_test(what_cannot_be_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
