/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of products (marketplace contract), written from the latest pictures of the sales; neither the line
 * nor the store is asked. A crowd asks for the featured ones, so that answer is kept until a picture changes.
 */
#include "api/envelope.h"
#include "api/market_priv.h"

enum {
    FEATURED_MAX = 100,
    LOOKED_AT_MAX =
        1000, /* products, for those that are on sale: it is done anew with each batch that sells */
    CATALOGUE_DEFAULT = 100,
    ITEM_MAX = 6 * (PRODUCT_NAME_LEN_MAX + PRODUCT_CATEGORY_LEN_MAX) + SKU_LEN_MAX + 256, /* bytes */
};

static bool is_on_sale(const struct sale_view *sale)
{
    return sale->values.state == SALE_ACTIVE && sale->values.stock > 0;
}

/* What has no price cannot be spent for: no intent has an amount of 0. */
static bool is_for_coins(const struct sale_view *sale)
{
    return is_on_sale(sale) && sale->values.price_minor > 0;
}

static void put_item(struct strbuf *body, const struct sale_view *sale)
{
    const struct product_values *values = &sale->values;
    strbuf_lit(body, "{\"id\":\"");
    strbuf_put_i64(body, sale->id);
    strbuf_lit(body, "\",\"sku\":");
    strbuf_put_json(body, sale->sku);
    strbuf_lit(body, ",\"name\":");
    strbuf_put_json(body, values->name);
    strbuf_put_char(body, ',');
    put_coins_member(body, SLICE("price"), values->price_minor);
    strbuf_lit(body, ",\"currency\":\"MC\",\"category\":");
    strbuf_put_json(body, sale->labels.category);
    strbuf_lit(body, ",\"stock\":");
    strbuf_put_i64(body, is_on_sale(sale) ? values->stock : 0);
    strbuf_put(body, sale->labels.is_featured ? SLICE(",\"featured\":true}") : SLICE(",\"featured\":false}"));
}

/* --- featured --- */

static void write_items(struct strbuf *body, const struct sale_list *sales, bool is_any)
{
    size_t count = 0;
    for (size_t i = 0; i < sales->count && i < LOOKED_AT_MAX && count < FEATURED_MAX; i++) {
        if (!is_any && !is_for_coins(sales->views[i]))
            continue;
        if (count++ > 0)
            strbuf_put_char(body, ',');
        put_item(body, sales->views[i]);
    }
}

/* As long as nothing is marked, a shop shows what it has for coins. */
static void write_featured(struct market *market, const struct sale_list *sales, bool is_marked)
{
    struct strbuf *body = &market->featured;
    strbuf_reset(body);
    strbuf_lit(body, "{\"success\":true,\"data\":[");
    write_items(body, sales, is_marked);
    strbuf_lit(body, "]}");
    market->has_featured = !body->has_overflowed;
    market->featured_of = sales;
    market->featured_version = sales->version;
}

void featured_get(struct http_request *request, void *context)
{
    struct market *market = market_of(context);
    struct engine_port *port = market->thread->port;
    const struct sale_list *sales = engine_port_featured(port);
    bool is_marked = sales->count > 0;
    if (!is_marked)
        sales = engine_port_sales(port);
    if (!market->has_featured || market->featured_of != sales || market->featured_version != sales->version)
        write_featured(market, sales, is_marked);
    reply_json(request, 200, slice_make("", 0), &market->featured);
}

/* --- catalogue --- */

void catalogue_get(struct http_request *request, void *context)
{
    struct market *market = market_of(context);
    struct page page;
    struct strbuf body;
    if (!market_page(request, CATALOGUE_DEFAULT, &page))
        return;
    const struct sale_list *sales = engine_port_sales(market->thread->port);
    size_t from = sale_list_above(sales, page.cursor);
    size_t count = sales->count - from < (size_t)page.limit ? sales->count - from : (size_t)page.limit;
    strbuf_init_heap(&body, 64 + count * ITEM_MAX);
    strbuf_lit(&body, "{\"success\":true,\"data\":[");
    for (size_t i = from; i < from + count; i++) {
        if (i > from)
            strbuf_put_char(&body, ',');
        put_item(&body, sales->views[i]);
    }
    strbuf_lit(&body, "],\"next_cursor\":");
    if (from + count < sales->count)
        strbuf_printf(&body, "\"%lld\"}", (long long)sales->views[from + count - 1]->id);
    else
        strbuf_lit(&body, "null}");
    reply_json(request, 200, slice_make("", 0), &body);
    strbuf_fini(&body);
}
