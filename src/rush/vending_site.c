/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/vending_site.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"

static const int64_t MS_PER_S = 1000;

/* --- life --- */

static enum err check_options(const struct rush_options *options, struct error *error)
{
    if (options->machines > SITE_MACHINES_MAX)
        return error_set(error, ERR_USAGE, "%lld machines are too many: expected 1 to %d",
            (long long)options->machines, SITE_MACHINES_MAX);
    if (options->timeout_ms <= options->wait_s * MS_PER_S)
        return error_set(error, ERR_USAGE,
            "users who wait %lld s for a machine have given up after a time-out of %lld ms: expected a "
            "longer "
            "--timeout, or a shorter --wait",
            (long long)options->wait_s, (long long)options->timeout_ms);
    return ERR_NONE;
}

static void put_start_work(const struct rush *rush, struct vending_site *site)
{
    struct strbuf request;
    strbuf_init(&request, site->start_request, sizeof site->start_request);
    strbuf_printf(&request, "POST /api/orchestrator/start-work HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n",
        rush->target.authority);
    if (rush->options.wait_s > 0)
        strbuf_printf(&request, "Prefer: wait=%lld\r\n", (long long)rush->options.wait_s);
    strbuf_lit(&request, "Content-Length: 0\r\nContent-Type: application/octet-stream\r\n\r\n");
    ENSURE(!request.has_overflowed);
    site->start_request_len = request.len;
}

enum err site_init(struct vending_site *site, const struct rush *rush, struct error *error)
{
    *site = (struct vending_site){.shelves = NULL};
    enum err err = check_options(&rush->options, error);
    if (err == ERR_NONE)
        put_start_work(rush, site);
    return err;
}

void site_fini(struct vending_site *site)
{
    vending_items_fini(&site->machines);
    free(site->shelves);
    site->shelves = NULL;
}

/* --- users --- */

static void put_choice(const struct vending_site *site, const struct rush *rush, uint64_t series,
    struct session *session, struct strbuf *request)
{
    char memory[160];
    struct strbuf body;
    uint64_t draw = plan_draw(series, session->serial);
    session->memory[SITE_PRODUCT] = (uint64_t)site->shelves[draw % site->shelf_count].product;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_printf(&body, "{\"machine_id\": %llu, \"product_id\": %llu, \"count\": 1, \"coins\": 1}",
        (unsigned long long)session->memory[SITE_MACHINE], (unsigned long long)session->memory[SITE_PRODUCT]);
    ENSURE(!body.has_overflowed);
    strbuf_printf(request,
        "POST /api/orchestrator/choose-product HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n"
        "Content-Length: %zu\r\nContent-Type: application/json\r\n\r\n",
        rush->target.authority, body.len);
    strbuf_put(request, strbuf_slice(&body));
}

void site_write(const struct vending_site *site, const struct rush *rush, uint64_t series,
    struct session *session, struct strbuf *request)
{
    if (session->step == 0) {
        session->endpoint = VENDING_START_WORK;
        strbuf_put(request, slice_make(site->start_request, site->start_request_len));
    } else {
        session->endpoint = VENDING_CHOOSE_PRODUCT;
        put_choice(site, rush, series, session, request);
    }
    ENSURE(!request->has_overflowed);
}

static struct shelf *find_shelf(const struct vending_site *site, uint64_t product)
{
    for (size_t i = 0; i < site->shelf_count; i++)
        if (site->shelves[i].product == (int64_t)product)
            return &site->shelves[i];
    return NULL;
}

void site_judge(struct vending_site *site, struct session *session, const struct reply *reply,
    struct judgement *judgement)
{
    struct vending_lease lease;
    if (session->endpoint == VENDING_START_WORK) {
        vending_judge_start(reply, judgement, &lease);
        session->memory[SITE_MACHINE] = (uint64_t)lease.machine;
        session->memory[SITE_LEASE] = (uint64_t)lease.lease;
        session->goes_on = judgement->outcome == VENDING_STARTED;
        return;
    }
    vending_judge_choice(
        reply, (int64_t)session->memory[SITE_MACHINE], (int64_t)session->memory[SITE_PRODUCT], judgement);
    if (judgement->outcome == VENDING_SOLD)
        atomic_fetch_add(&find_shelf(site, session->memory[SITE_PRODUCT])->sold, 1);
}

void site_note(const struct rush *rush, const struct session *session, struct journal_vending *line)
{
    (void)rush;
    bool is_choice = session->endpoint == VENDING_CHOOSE_PRODUCT;
    line->request = vending_endpoints[session->endpoint];
    line->machine = (int64_t)session->memory[SITE_MACHINE];
    line->lease = (int64_t)session->memory[SITE_LEASE];
    line->product = is_choice ? (int64_t)session->memory[SITE_PRODUCT] : 0;
    line->count = is_choice ? 1 : 0;
}

/* --- the operator --- */

void site_put_admin(
    const struct rush *rush, struct strbuf *request, const char *method, const char *path, struct slice body)
{
    strbuf_printf(request, "%s %s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\nX-Admin-Key: %s\r\n", method, path,
        rush->target.authority, rush->options.admin_key);
    if (body.len > 0)
        strbuf_printf(request, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.len);
    else if (strcmp(method, "POST") == 0)
        strbuf_lit(request, "Content-Type: application/octet-stream\r\nContent-Length: 0\r\n");
    strbuf_lit(request, "\r\n");
    strbuf_put(request, body);
    ENSURE(!request->has_overflowed);
}

static enum err ask(struct rush *rush, const char *method, const char *path, struct slice body,
    struct exchange_reply *reply, struct error *error)
{
    char memory[SITE_REQUEST_MAX];
    struct strbuf request;
    strbuf_init(&request, memory, sizeof memory);
    site_put_admin(rush, &request, method, path, body);
    return exchange_do(rush->exchange, strbuf_slice(&request), reply, error);
}

static enum err not_expected(const char *method, const char *path, const char *expected,
    const struct exchange_reply *reply, struct error *error)
{
    int shown = reply->body.len < 200 ? (int)reply->body.len : 200;
    bool is_denied = reply->status == 401 || reply->status == 403;
    return error_set(error, ERR_REFUSED, "%s %s: expected %s, got %d %.*s; %s", method, path, expected,
        reply->status, shown, reply->body.base,
        is_denied ? "give the server's --admin-key, or serve with --trust-loopback"
                  : "does the server have vending machines?");
}

static enum err list_items(
    struct rush *rush, const char *path, bool has_stock, struct vending_items *items, struct error *error)
{
    struct exchange_reply reply;
    *items = (struct vending_items){NULL, 0};
    enum err err = ask(rush, "GET", path, SLICE(""), &reply, error);
    if (err == ERR_NONE && !vending_read_items(reply.status, reply.body, has_stock, items))
        err = not_expected("GET", path, "200 and a list", &reply, error);
    return err;
}

static const char MACHINES_PATH[] = "/api/vending-machines";
static const char PRODUCTS_PATH[] = "/api/products";

/* A shop's own machines and products are not deleted by accident. */
static enum err check_ours(
    const struct rush *rush, const char *path, const struct vending_items *items, struct error *error)
{
    for (size_t i = 0; i < items->count && !rush->options.clears_all; i++) {
        if (!items->items[i].is_ours)
            return error_set(error, ERR_USAGE,
                "%s has %s/%lld, which no run has made, and this scenario begins by deleting all machines "
                "and "
                "all products with their purchases: let it loose on another server, or give --clear (delete "
                "them), or --keep-sale (use what there is)",
                rush->target.authority, path, (long long)items->items[i].id);
    }
    return ERR_NONE;
}

/* Who deletes at the same moment does no harm: 404. */
static enum err delete_items(
    struct rush *rush, const char *path, const struct vending_items *items, struct error *error)
{
    enum err err = ERR_NONE;
    for (size_t i = 0; i < items->count && err == ERR_NONE; i++) {
        char one[96];
        struct exchange_reply reply;
        (void)snprintf(one, sizeof one, "%s/%lld", path, (long long)items->items[i].id);
        err = ask(rush, "DELETE", one, SLICE(""), &reply, error);
        if (err == ERR_NONE && reply.status != 204 && reply.status != 404)
            err = not_expected("DELETE", one, "204", &reply, error);
    }
    return err;
}

/* Nothing is deleted when something must not be. */
static enum err delete_all(struct rush *rush, struct error *error)
{
    struct vending_items machines;
    struct vending_items products = {NULL, 0};
    enum err err = list_items(rush, MACHINES_PATH, false, &machines, error);
    if (err == ERR_NONE)
        err = list_items(rush, PRODUCTS_PATH, true, &products, error);
    if (err == ERR_NONE)
        err = check_ours(rush, MACHINES_PATH, &machines, error);
    if (err == ERR_NONE)
        err = check_ours(rush, PRODUCTS_PATH, &products, error);
    if (err == ERR_NONE)
        err = delete_items(rush, MACHINES_PATH, &machines, error);
    if (err == ERR_NONE)
        err = delete_items(rush, PRODUCTS_PATH, &products, error);
    vending_items_fini(&machines);
    vending_items_fini(&products);
    return err;
}

static enum err make_one(struct rush *rush, const char *path, struct slice body, struct error *error)
{
    struct exchange_reply reply;
    int64_t id;
    enum err err = ask(rush, "POST", path, body, &reply, error);
    if (err == ERR_NONE && !vending_read_made(reply.status, reply.body, &id))
        err = not_expected("POST", path, "201 and an id", &reply, error);
    return err;
}

static enum err make_machines(struct rush *rush, struct error *error)
{
    enum err err = ERR_NONE;
    for (int64_t i = 1; i <= rush->options.machines && err == ERR_NONE; i++) {
        char body[64];
        int len = snprintf(body, sizeof body, "{\"name\": \"Machine %lld\"}", (long long)i);
        err = make_one(rush, MACHINES_PATH, slice_make(body, (size_t)len), error);
    }
    return err;
}

static enum err make_products(struct rush *rush, struct error *error)
{
    enum err err = ERR_NONE;
    for (int i = 1; i <= SITE_PRODUCTS && err == ERR_NONE; i++) {
        char body[96];
        int len = snprintf(body, sizeof body, "{\"name\": \"Product %d\", \"stock\": %lld}", i,
            (long long)rush->options.stock);
        err = make_one(rush, PRODUCTS_PATH, slice_make(body, (size_t)len), error);
    }
    return err;
}

/* What there is now is what the users find. */
static enum err take_stock(struct vending_site *site, struct rush *rush, struct error *error)
{
    struct vending_items products;
    enum err err = list_items(rush, MACHINES_PATH, false, &site->machines, error);
    if (err == ERR_NONE)
        err = list_items(rush, PRODUCTS_PATH, true, &products, error);
    if (err != ERR_NONE)
        return err;
    site->shelves = calloc(products.count > 0 ? products.count : 1, sizeof *site->shelves);
    ENSURE(site->shelves != NULL);
    site->shelf_count = products.count;
    for (size_t i = 0; i < products.count; i++) {
        site->shelves[i].product = products.items[i].id;
        site->shelves[i].supplied = products.items[i].stock;
        site->supplied += products.items[i].stock;
    }
    vending_items_fini(&products);
    if (site->machines.count == 0 || site->shelf_count == 0)
        return error_set(error, ERR_REFUSED,
            "%s has %zu machines and %zu products: expected one of each at least", rush->target.authority,
            site->machines.count, site->shelf_count);
    return ERR_NONE;
}

enum err site_set_up(struct vending_site *site, struct rush *rush, struct error *error)
{
    struct vending_items products;
    enum err err = list_items(rush, PRODUCTS_PATH, true, &products, error); /* is it up? */
    vending_items_fini(&products);
    if (err == ERR_NONE && !rush->options.is_sale_kept) {
        err = delete_all(rush, error);
        if (err == ERR_NONE)
            err = make_machines(rush, error);
        if (err == ERR_NONE)
            err = make_products(rush, error);
    }
    return err == ERR_NONE ? take_stock(site, rush, error) : err;
}

/* --- the stock --- */

int64_t site_expected_stock(const struct vending_site *site)
{
    int64_t expected = site->supplied;
    for (size_t i = 0; i < site->shelf_count; i++)
        expected -= atomic_load(&site->shelves[i].sold);
    return expected;
}

int64_t site_ask_stock(struct vending_site *site, struct rush *rush, uint64_t *off_count)
{
    struct vending_items products;
    struct error error;
    int64_t sum = 0;
    *off_count = 0;
    if (list_items(rush, PRODUCTS_PATH, true, &products, &error) != ERR_NONE)
        return -1;
    for (size_t i = 0; i < site->shelf_count; i++) {
        const struct shelf *shelf = &site->shelves[i];
        const struct vending_item *product = vending_find(&products, shelf->product);
        sum += product != NULL ? product->stock : 0;
        *off_count += product == NULL || product->stock != shelf->supplied - atomic_load(&shelf->sold);
    }
    vending_items_fini(&products);
    return sum;
}

void site_judge_stock(struct vending_site *site, struct rush *rush)
{
    uint64_t off_count;
    int64_t left = site_ask_stock(site, rush, &off_count);
    int64_t expected = site_expected_stock(site);
    rush_add_invariant(rush, left == expected && off_count == 0,
        "stock left = supplied - purchases acknowledged: %lld = %lld - %lld (-1: not told); %llu products "
        "have "
        "another stock than they should",
        (long long)left, (long long)site->supplied, (long long)(site->supplied - expected),
        (unsigned long long)off_count);
}
