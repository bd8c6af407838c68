/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products as machines know them (vending contract, endpoints): the same ones that the flash sale sells. One
 * that is made here is on sale at once and for good. What is wrong is told in this order: the key, a product
 * that is not there, the members.
 *
 * A client of this face knows no sku, so one is made from the name: the name itself where it is one and free,
 * else its letters and digits with the hash of the whole.
 */
#include <sodium.h>

#include "api/flash_sale_priv.h"
#include "api/vending_form.h"
#include "api/vending_priv.h"

/* The largest integer that every client's JSON keeps (2^53 - 1): of units, and of hundredths of a coin. */
static const int64_t INTEGER_MAX = 9007199254740991;

enum { CATEGORY_CHARS_MAX = 64, HASH_BYTES = 16, HASH_DIGITS = 8 };

static const struct slice nothing = SLICE_INIT("");
static const struct slice model = SLICE_INIT("Product");

static void reply_not_found(struct http_request *request)
{
    vending_reply_no_model(request, model, request->params[0]);
}

static void reply_product(struct http_request *request, int status, const struct product_row *product)
{
    char memory[PRODUCT_BODY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    put_product(&body, product);
    vending_reply(request, status, nothing, &body);
}

static void reply_complaint(struct http_request *request, int status, const char *field, enum result result)
{
    struct vending_complaints complaints = {0};
    vending_complain_text(&complaints, field, result_info(result)->text);
    vending_reply_complaints(request, status, &complaints);
}

/* --- all --- */

void vending_products_get(struct http_request *request, void *context)
{
    vending_list(request, vending_of(context), QUESTION_PRODUCTS);
}

void vending_products_other(struct http_request *request, void *context)
{
    (void)context;
    vending_reply_method(request, "GET, HEAD, POST");
}

/* --- a new one --- */

static bool is_letter_or_digit(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* The letters and digits, with one '-' for whatever is between them; cut to leave room for the hash. */
static void put_letters(struct strbuf *sku, struct slice name)
{
    for (size_t i = 0; i < name.len && sku->len < SKU_LEN_MAX - 1 - HASH_DIGITS; i++) {
        bool is_kept = is_letter_or_digit(name.base[i]);
        if (is_kept || (sku->len > 0 && sku->base[sku->len - 1] != '-'))
            strbuf_put_char(sku, is_kept ? name.base[i] : '-');
    }
    while (sku->len > 0 && sku->base[sku->len - 1] == '-')
        sku->len--;
}

/* "Diet-Cola-1f6a02c3" for "Diet Cola". */
static struct slice make_sku(struct arena *arena, struct slice name)
{
    char memory[SKU_LEN_MAX + 1]; /* strbuf_printf ends with NUL */
    unsigned char hash[HASH_BYTES];
    struct strbuf sku;
    strbuf_init(&sku, memory, sizeof memory);
    put_letters(&sku, name);
    crypto_generichash(hash, sizeof hash, (const unsigned char *)name.base, name.len, NULL, 0);
    if (sku.len > 0)
        strbuf_put_char(&sku, '-');
    for (size_t i = 0; i < HASH_DIGITS / 2; i++)
        strbuf_printf(&sku, "%02x", hash[i]);
    return arena_copy(arena, strbuf_slice(&sku));
}

static void on_added(struct engine_call *engine_call)
{
    struct vending_call *call = CONTAINER_OF(engine_call, struct vending_call, call);
    enum result result = engine_call->command.outcome.result;
    if (result == RESULT_OK)
        reply_product(call->request, 201, &call->pool.product);
    else if (result == RESULT_PRODUCT_NAME_TAKEN)
        reply_complaint(call->request, 400, "name", result);
    else if (result == RESULT_SKU_TAKEN)
        reply_complaint(call->request, 422, "sku", result);
    else
        vending_reply_undecided(call, "Send it again: a name is given only once.");
}

static void push_addition(struct vending_call *call)
{
    if (call->request->arena.has_overflowed)
        vending_reply_later(
            call->request, SLICE("There is no memory for the product now. Nothing was changed."), 0);
    else
        vending_call_push(call);
}

/* With the name as its sku, which a product with another name may have: one with a hash then. */
static void on_added_by_name(struct engine_call *engine_call)
{
    struct vending_call *call = CONTAINER_OF(engine_call, struct vending_call, call);
    struct command *command = &engine_call->command;
    engine_call->on_done = on_added;
    if (command->outcome.result != RESULT_SKU_TAKEN) {
        on_added(engine_call);
        return;
    }
    command->sku = make_sku(&call->request->arena, command->product.name);
    command->outcome = (struct outcome){0};
    push_addition(call);
}

/* What POST /api/products was sent; lies in the form. */
struct product_form {
    struct slice name;
    struct slice sku; /* empty: one is to be made */
    struct slice category;
    int64_t stock;
    int64_t price_minor;
    bool is_featured;
};

static void read_product(struct vending_form *form, struct product_form *product)
{
    *product = (struct product_form){0};
    (void)vending_form_text(form, "name", VENDING_REQUIRED, PRODUCT_NAME_CHARS_MAX, &product->name);
    (void)vending_form_integer(form, "stock", VENDING_REQUIRED, 0, INTEGER_MAX, &product->stock);
    if (vending_form_text(form, "sku", VENDING_OPTIONAL, SKU_LEN_MAX, &product->sku) && !is_sku(product->sku))
        vending_complain(&form->complaints, "sku", "format is invalid.");
    (void)vending_form_amount(form, "price", INTEGER_MAX, &product->price_minor);
    (void)vending_form_text(form, "category", VENDING_OPTIONAL, CATEGORY_CHARS_MAX, &product->category);
    (void)vending_form_flag(form, "featured", &product->is_featured);
}

/* The name is handed to the line in the memory of the answer, where the rules write it again. */
static void add_product(struct vending_call *call, const struct product_form *product)
{
    struct command *command = &call->call.command;
    struct arena *arena = &call->request->arena;
    memcpy(call->pool.product_name, product->name.base, product->name.len);
    command->product = (struct product_fields){
        .present = FIELD_NAME | FIELD_INITIAL_STOCK | FIELD_PRICE,
        .name = slice_make(call->pool.product_name, product->name.len),
        .initial_stock = product->stock,
        .price_minor = product->price_minor,
    };
    command->labels.category = arena_copy(arena, product->category);
    command->labels.is_featured = product->is_featured;
    if (product->sku.len > 0) {
        command->sku = arena_copy(arena, product->sku);
    } else if (is_sku(product->name)) {
        command->sku = command->product.name;
        call->call.on_done = on_added_by_name;
    } else {
        command->sku = make_sku(arena, product->name);
    }
    push_addition(call);
}

void vending_products_post(struct http_request *request, void *context)
{
    struct vending *vending = vending_of(context);
    struct vending_form form;
    struct product_form product;
    if (!vending_check_admin(request, vending) || !vending_form_open(&form, request))
        return;
    read_product(&form, &product);
    if (vending_form_reply_complaints(&form, request))
        return;
    struct vending_call *call = vending_call_create(request, vending, COMMAND_PRODUCT_ADD, on_added);
    if (call != NULL)
        add_product(call, &product);
    vending_form_fini(&form);
}

/* --- one --- */

/* Goes on with a change of the product; its sku is borrowed. */
typedef void change_product(
    struct http_request *request, struct vending *vending, int64_t id, struct slice sku);

/* A change whose product had to be asked for. */
static void on_product(struct vending_lookup *lookup, change_product *change)
{
    struct question question = lookup->lookup.question; /* the request's memory goes with the reply */
    if (question.is_found)
        change(lookup->request, lookup->vending, question.id, question.product.sku);
    else
        reply_not_found(lookup->request);
    question_fini(&question);
}

/*
 * A command names its product by sku, the path by id: a picture tells. With a shared store it may be too new
 * for one, and the store is asked; there is no harm in asking an embedded one, too.
 */
static void find_product(struct http_request *request, struct vending *vending, change_product *change,
    void (*on_answer)(struct vending_lookup *lookup))
{
    int64_t id;
    if (!vending_check_admin(request, vending))
        return;
    if (!vending_path_id(request, &id)) {
        reply_not_found(request);
        return;
    }
    const struct sale_view *view = engine_port_view_by_id(vending->thread->port, id);
    if (view != NULL) {
        change(request, vending, id, view->sku);
        return;
    }
    struct vending_lookup *lookup = vending_lookup_create(request, vending, QUESTION_PRODUCT, on_answer);
    if (lookup == NULL)
        return;
    lookup->lookup.question.id = id;
    vending_look_up(lookup);
}

/* NULL: the request has been answered. */
static struct vending_call *change_create(struct http_request *request, struct vending *vending,
    enum command_kind kind, int64_t id, struct slice sku)
{
    struct slice own_sku = arena_copy(&request->arena, sku);
    if (request->arena.has_overflowed) {
        vending_reply_no_memory(request);
        return NULL;
    }
    struct vending_call *call = vending_call_create(request, vending, kind, NULL);
    if (call != NULL) {
        call->call.command.product_id = id;
        call->call.command.sku = own_sku;
    }
    return call;
}

static void on_stock_set(struct engine_call *engine_call)
{
    struct vending_call *call = CONTAINER_OF(engine_call, struct vending_call, call);
    enum result result = engine_call->command.outcome.result;
    if (result == RESULT_OK)
        reply_product(call->request, 200, &call->pool.product);
    else if (result == RESULT_PRODUCT_NOT_FOUND)
        reply_not_found(call->request);
    else if (result == RESULT_STOCK_TOO_LARGE)
        reply_complaint(call->request, 422, "stock", result);
    else
        vending_reply_undecided(call, "Send it again, or look at the list of products.");
}

static void set_stock(struct http_request *request, struct vending *vending, int64_t id, struct slice sku)
{
    struct vending_form form;
    int64_t stock;
    if (!vending_form_open(&form, request))
        return;
    (void)vending_form_integer(&form, "stock", VENDING_REQUIRED, 0, INTEGER_MAX, &stock);
    if (vending_form_reply_complaints(&form, request))
        return;
    vending_form_fini(&form);
    struct vending_call *call = change_create(request, vending, COMMAND_PRODUCT_SET_STOCK, id, sku);
    if (call == NULL)
        return;
    call->call.on_done = on_stock_set;
    call->call.command.product =
        (struct product_fields){.present = FIELD_INITIAL_STOCK, .initial_stock = stock};
    vending_call_push(call);
}

static void on_product_for_stock(struct vending_lookup *lookup)
{
    on_product(lookup, set_stock);
}

void stock_patch(struct http_request *request, void *context)
{
    find_product(request, vending_of(context), set_stock, on_product_for_stock);
}

void stock_other(struct http_request *request, void *context)
{
    (void)context;
    vending_reply_method(request, "PATCH");
}

static void on_deleted(struct engine_call *engine_call)
{
    struct vending_call *call = CONTAINER_OF(engine_call, struct vending_call, call);
    enum result result = engine_call->command.outcome.result;
    if (result == RESULT_OK)
        http_reply(call->request, 204, nothing, nothing, nothing);
    else if (result == RESULT_PRODUCT_NOT_FOUND)
        reply_not_found(call->request);
    else
        vending_reply_undecided(call, "Send it again: a product is removed only once.");
}

static void delete_product(
    struct http_request *request, struct vending *vending, int64_t id, struct slice sku)
{
    struct vending_call *call = change_create(request, vending, COMMAND_PRODUCT_DELETE, id, sku);
    if (call == NULL)
        return;
    call->call.on_done = on_deleted;
    vending_call_push(call);
}

static void on_product_to_delete(struct vending_lookup *lookup)
{
    on_product(lookup, delete_product);
}

void one_product_delete(struct http_request *request, void *context)
{
    find_product(request, vending_of(context), delete_product, on_product_to_delete);
}

void one_product_other(struct http_request *request, void *context)
{
    (void)context;
    vending_reply_method(request, "DELETE");
}
