/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What users do: start to work with a machine, and choose (vending contract, endpoints).
 *
 * A choice whose members are all good goes straight to the line, which knows what exists and decides. When
 * some are not, the machine and the product are looked up nevertheless, so that all that is wrong is told at
 * once.
 */
#include <stdlib.h>

#include "api/prefer.h"
#include "api/vending_form.h"
#include "api/vending_priv.h"

enum { MS_PER_S = 1000, RETRY_AFTER_S_MAX = 3600, RETRY_AFTER_S_OTHERWISE = 60 };

/* --- answers --- */

void vending_reply_assigned(struct http_request *request, struct vending *vending,
    const struct machine_row *machine, struct slice extra)
{
    char memory[MACHINE_BODY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_lit(&body, "{\"message\":\"Machine selected and moved to choose_product state.\",\"machine\":");
    put_machine(&body, machine);
    strbuf_lit(&body, ",\"lease\":");
    strbuf_put_i64(&body, machine->lease_id);
    strbuf_put_char(&body, '}');
    vending_count(vending, COUNT_MACHINE_TAKEN);
    vending_reply(request, 200, extra, &body);
}

static int64_t seconds_of(int64_t wait_ms)
{
    if (wait_ms == INT64_MAX) /* there is no machine; one may be added */
        return RETRY_AFTER_S_OTHERWISE;
    if (wait_ms <= MS_PER_S)
        return 1;
    return wait_ms > (int64_t)RETRY_AFTER_S_MAX * MS_PER_S ? RETRY_AFTER_S_MAX
                                                           : (wait_ms + MS_PER_S - 1) / MS_PER_S;
}

int64_t vending_retry_after_s(const struct vending *vending)
{
    const struct line_view *line = engine_port_line(vending->thread->port);
    return seconds_of(line_view_wait_ms(line, line->count + 1));
}

void vending_reply_no_machine(struct http_request *request, struct vending *vending, struct slice extra)
{
    char memory[128];
    struct strbuf lines;
    strbuf_init(&lines, memory, sizeof memory);
    strbuf_printf(&lines, "Retry-After: %lld\r\n", (long long)vending_retry_after_s(vending));
    strbuf_put(&lines, extra);
    vending_count(vending, COUNT_MACHINE_REFUSED);
    vending_reply_error(
        request, 409, slice_cstr(result_info(RESULT_NO_IDLE_MACHINE)->text), strbuf_slice(&lines));
}

void vending_reply_line_full(struct http_request *request, struct vending *vending)
{
    const struct line_view *line = engine_port_line(vending->thread->port);
    vending_count(vending, COUNT_LINE_FULL);
    vending_reply_later(request, slice_cstr(result_info(RESULT_LINE_FULL)->text),
        seconds_of(line_view_wait_ms(line, 1)) * MS_PER_S);
}

void vending_reply_not_done(struct http_request *request, const struct engine_call *call)
{
    struct slice text = call->command.outcome.result == RESULT_OUTCOME_UNKNOWN
                            ? SLICE("It is not known whether this was done. Ask for the machine to learn it.")
                            : slice_cstr(result_info(RESULT_UNAVAILABLE)->text);
    vending_reply_later(request, text, (int64_t)call->retry_after_s * MS_PER_S);
}

/* --- start-work --- */

static void on_taken(struct engine_call *engine_call)
{
    struct vending_call *call = CONTAINER_OF(engine_call, struct vending_call, call);
    enum result result = engine_call->command.outcome.result;
    struct slice none = slice_make("", 0);
    if (result == RESULT_OK)
        vending_reply_assigned(call->request, call->vending, &call->pool.machine, none);
    else if (result == RESULT_NO_IDLE_MACHINE)
        vending_reply_no_machine(call->request, call->vending, none);
    else
        vending_reply_not_done(call->request, engine_call);
}

void start_work_post(struct http_request *request, void *context)
{
    struct vending *vending = vending_of(context);
    int64_t wait_max_s = vending->thread->app->config.wait_max_ms / MS_PER_S;
    int64_t wait_s = prefer_wait_s(request, 0);
    if (wait_s > wait_max_s)
        wait_s = wait_max_s;
    if (wait_s > 0 && !vending->is_draining) {
        line_waits_join(vending->waits, request, wait_s);
        return;
    }
    struct vending_call *call = vending_call_create(request, vending, COMMAND_MACHINE_TAKE, on_taken);
    if (call != NULL)
        vending_call_push(call);
}

/* --- choose-product --- */

/* What was chosen; on the heap while the store is asked. */
struct choice {
    struct engine_lookup lookup;
    struct http_request *request;
    struct vending *vending;
    int64_t machine_id;
    int64_t product_id;
    int64_t units;
    int64_t coins;
    int64_t lease_id; /* 0: whichever */
    bool has_machine_id;
    bool has_product_id;
    bool is_machine_unknown;
    bool is_product_unknown;
    struct vending_complaints complaints; /* about the members themselves */
};

/* All that is wrong, in the order of the members. */
static void reply_complaints(const struct choice *choice)
{
    static const char *const fields[] = {"machine_id", "product_id", "count", "coins", "lease"};
    const bool is_unknown[] = {choice->is_machine_unknown, choice->is_product_unknown, false, false, false};
    struct vending_complaints all = {0};
    for (size_t f = 0; f < sizeof fields / sizeof fields[0]; f++) {
        if (is_unknown[f])
            vending_complain_unknown(&all, fields[f]);
        for (size_t i = 0; i < choice->complaints.count; i++) {
            if (strcmp(choice->complaints.items[i].field, fields[f]) == 0)
                all.items[all.count++] = choice->complaints.items[i]; /* one for each field: there is room */
        }
    }
    vending_count(choice->vending, COUNT_CHOICE_REFUSED);
    vending_reply_complaints(choice->request, 422, &all);
}

static void reply_chosen(const struct vending_call *call)
{
    char memory[MACHINE_BODY_MAX + PRODUCT_BODY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_lit(&body, "{\"message\":\"Product selected. Machine is now processing.\",\"machine\":");
    put_machine(&body, &call->pool.machine);
    strbuf_lit(&body, ",\"product\":");
    put_product(&body, &call->pool.product);
    strbuf_put_char(&body, '}');
    vending_count(call->vending, COUNT_CHOSEN);
    vending_reply(call->request, 200, slice_make("", 0), &body);
}

static void reply_not_chosen(const struct vending_call *call)
{
    const struct outcome *outcome = &call->call.command.outcome;
    char memory[128];
    struct strbuf text;
    strbuf_init(&text, memory, sizeof memory);
    strbuf_put(&text, slice_cstr(result_info(outcome->result)->text));
    if (outcome->result == RESULT_STOCK_INSUFFICIENT)
        strbuf_printf(&text, " Available count: %lld", (long long)outcome->number);
    vending_count(call->vending, COUNT_CHOICE_REFUSED);
    vending_reply_error(call->request, 422, strbuf_slice(&text), slice_make("", 0));
}

static void reply_unknown(const struct vending_call *call)
{
    const struct choice choice = {.request = call->request,
        .vending = call->vending,
        .is_machine_unknown = call->pool.is_machine_unknown,
        .is_product_unknown = call->pool.is_product_unknown};
    reply_complaints(&choice);
}

static void on_chosen(struct engine_call *engine_call)
{
    struct vending_call *call = CONTAINER_OF(engine_call, struct vending_call, call);
    switch (engine_call->command.outcome.result) {
    case RESULT_OK:
        reply_chosen(call);
        break;
    case RESULT_CHOICE_UNKNOWN:
        reply_unknown(call);
        break;
    case RESULT_COINS_NOT_COUNT:
    case RESULT_NOT_CHOOSING:
    case RESULT_STOCK_INSUFFICIENT:
        reply_not_chosen(call);
        break;
    default:
        vending_reply_not_done(call->request, engine_call);
    }
}

/* The members are good: the line decides. An empty sku stands for a product that is not there. */
static void push_choice(const struct choice *choice, struct slice sku)
{
    struct vending_call *call =
        vending_call_create(choice->request, choice->vending, COMMAND_MACHINE_CHOOSE, on_chosen);
    if (call == NULL)
        return;
    struct arena *arena = &choice->request->arena;
    char user[MACHINE_USER_LEN_MAX];
    struct command *command = &call->call.command;
    command->sku = sku.len == 0 ? sku : arena_copy(arena, sku);
    command->user = arena_copy(arena, machine_user(choice->machine_id, user));
    command->product_id = choice->product_id;
    call->pool.machine_id = choice->machine_id;
    call->pool.lease_id = choice->lease_id;
    call->pool.units = choice->units;
    call->pool.coins = choice->coins;
    if (arena->has_overflowed) /* a product without its sku would be one that is not there */
        vending_reply_no_memory(choice->request);
    else
        vending_call_push(call);
}

/* --- choose-product: what has to be looked up --- */

static void reply_no_store(struct choice *choice)
{
    vending_reply_later(choice->request, SLICE("The store does not answer now. Try again."), 0);
    free(choice);
}

/* Asks for one thing; the choice is the answer's from now on. */
static void look_up(
    struct choice *choice, enum question_kind kind, int64_t id, void (*on_done)(struct engine_lookup *lookup))
{
    choice->lookup = (struct engine_lookup){.question = {.kind = kind, .id = id}, .on_done = on_done};
    if (!engine_port_look_up(choice->vending->thread->port, &choice->lookup))
        reply_no_store(choice);
}

static void on_product_found(struct engine_lookup *lookup)
{
    struct choice *choice = CONTAINER_OF(lookup, struct choice, lookup);
    struct question question = lookup->question;
    if (lookup->status != ERR_NONE) {
        reply_no_store(choice);
    } else if (choice->complaints.count == 0 && !choice->is_machine_unknown) {
        push_choice(choice, question.is_found ? question.product.sku : slice_make("", 0));
        free(choice);
    } else {
        choice->is_product_unknown = !question.is_found;
        reply_complaints(choice);
        free(choice);
    }
    question_fini(&question);
}

/* The machine's existence is known, or of no interest. */
static void look_for_product(struct choice *choice)
{
    const struct vending *vending = choice->vending;
    bool is_in_view =
        choice->has_product_id && engine_port_view_by_id(vending->thread->port, choice->product_id) != NULL;
    if (choice->has_product_id && !is_in_view && vending->thread->app->store->is_shared) {
        look_up(choice, QUESTION_PRODUCT, choice->product_id, on_product_found);
        return;
    }
    choice->is_product_unknown = choice->has_product_id && !is_in_view;
    reply_complaints(choice);
    free(choice);
}

static void on_machine_found(struct engine_lookup *lookup)
{
    struct choice *choice = CONTAINER_OF(lookup, struct choice, lookup);
    bool is_answered = lookup->status == ERR_NONE;
    choice->is_machine_unknown = !lookup->question.is_found;
    question_fini(&lookup->question);
    if (is_answered)
        look_for_product(choice);
    else
        reply_no_store(choice);
}

/* It takes questions to the store to tell what is wrong, or whether the product is there. */
static void look_into(const struct choice *choice)
{
    struct choice *kept = malloc(sizeof *kept);
    if (kept == NULL) {
        vending_reply_no_memory(choice->request);
        return;
    }
    *kept = *choice;
    if (choice->complaints.count == 0)
        look_up(kept, QUESTION_PRODUCT, kept->product_id, on_product_found);
    else if (choice->has_machine_id)
        look_up(kept, QUESTION_MACHINE, kept->machine_id, on_machine_found);
    else
        look_for_product(kept);
}

static void read_choice(struct choice *choice, struct vending_form *form)
{
    choice->has_machine_id =
        vending_form_integer(form, "machine_id", VENDING_REQUIRED, INT64_MIN, INT64_MAX, &choice->machine_id);
    choice->has_product_id =
        vending_form_integer(form, "product_id", VENDING_REQUIRED, INT64_MIN, INT64_MAX, &choice->product_id);
    (void)vending_form_integer(form, "count", VENDING_REQUIRED, 1, MACHINE_UNITS_MAX, &choice->units);
    (void)vending_form_integer(form, "coins", VENDING_REQUIRED, 1, INT64_MAX, &choice->coins);
    if (!vending_form_integer(form, "lease", VENDING_OPTIONAL, 1, INT64_MAX, &choice->lease_id))
        choice->lease_id = 0;
    choice->complaints = form->complaints;
}

void choose_product_post(struct http_request *request, void *context)
{
    struct vending *vending = vending_of(context);
    struct choice choice = {.request = request, .vending = vending};
    struct vending_form form;
    if (!vending_form_open(&form, request))
        return;
    read_choice(&choice, &form);
    vending_form_fini(&form);
    const struct sale_view *view =
        choice.complaints.count > 0 ? NULL : engine_port_view_by_id(vending->thread->port, choice.product_id);
    bool is_shared = vending->thread->app->store->is_shared;
    if (choice.complaints.count > 0 || (view == NULL && is_shared))
        look_into(&choice);
    else
        push_choice(&choice, view == NULL ? slice_make("", 0) : view->sku);
}
