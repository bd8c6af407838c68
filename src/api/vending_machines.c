/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines: the list, one, and their changes (vending contract, endpoints). What is wrong is told in this
 * order: the key, a machine that is not there, the members.
 *
 * A new name is handed to the line in the memory of the answer, where the rules write the name that the
 * machine has then: the same.
 */
#include "api/vending_form.h"
#include "api/vending_priv.h"

static const struct slice nothing = SLICE_INIT("");
static const struct slice model = SLICE_INIT("VendingMachine");
static const struct slice no_store = SLICE_INIT("Cache-Control: no-store\r\n");

static void reply_not_found(struct http_request *request)
{
    vending_reply_no_model(request, model, request->params[0]);
}

static void reply_machine(
    struct http_request *request, int status, struct slice extra, const struct machine_row *machine)
{
    char memory[MACHINE_BODY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    put_machine(&body, machine);
    vending_reply(request, status, extra, &body);
}

static void keep_name(struct pool_request *pool, struct slice name)
{
    memcpy(pool->machine_name, name.base, name.len);
    pool->name = slice_make(pool->machine_name, name.len);
}

static bool read_name(struct vending_form *form, enum vending_need need, struct slice *name)
{
    return vending_form_text(form, "name", need, MACHINE_NAME_CHARS_MAX, name);
}

/* --- all --- */

void machines_get(struct http_request *request, void *context)
{
    vending_list(request, vending_of(context), QUESTION_MACHINES);
}

static void on_created(struct engine_call *engine_call)
{
    struct vending_call *call = CONTAINER_OF(engine_call, struct vending_call, call);
    enum result result = engine_call->command.outcome.result;
    if (result == RESULT_OK)
        reply_machine(call->request, 201, nothing, &call->pool.machine);
    else if (result == RESULT_MACHINES_FULL)
        vending_reply_message(call->request, 422, slice_cstr(result_info(result)->text), nothing);
    else
        vending_reply_undecided(call, "Look for the machine in the list before you make it again.");
}

void machines_post(struct http_request *request, void *context)
{
    struct vending *vending = vending_of(context);
    struct vending_form form;
    struct slice name;
    if (!vending_check_admin(request, vending) || !vending_form_open(&form, request))
        return;
    (void)read_name(&form, VENDING_REQUIRED, &name);
    if (vending_form_reply_complaints(&form, request))
        return;
    struct vending_call *call = vending_call_create(request, vending, COMMAND_MACHINE_CREATE, on_created);
    if (call != NULL) {
        keep_name(&call->pool, name);
        vending_call_push(call);
    }
    vending_form_fini(&form);
}

void machines_other(struct http_request *request, void *context)
{
    (void)context;
    vending_reply_method(request, "GET, HEAD, POST");
}

/* --- one --- */

/* Asks for the machine that the path names. */
static void find_machine(
    struct http_request *request, struct vending *vending, void (*on_answer)(struct vending_lookup *lookup))
{
    int64_t id;
    if (!vending_path_id(request, &id)) {
        reply_not_found(request);
        return;
    }
    struct vending_lookup *lookup = vending_lookup_create(request, vending, QUESTION_MACHINE, on_answer);
    if (lookup == NULL)
        return;
    lookup->lookup.question.id = id;
    vending_look_up(lookup);
}

static void on_machine(struct vending_lookup *lookup)
{
    struct question question = lookup->lookup.question; /* the request's memory goes with the reply */
    if (question.is_found)
        reply_machine(lookup->request, 200, no_store, &question.machine);
    else
        reply_not_found(lookup->request);
    question_fini(&question);
}

void one_machine_get(struct http_request *request, void *context)
{
    find_machine(request, vending_of(context), on_machine);
}

/* Answers what a change of one machine came to, unless it has changed: true. */
static bool has_changed(struct vending_call *call)
{
    enum result result = call->call.command.outcome.result;
    if (result == RESULT_OK)
        return true;
    if (result == RESULT_MACHINE_NOT_FOUND)
        reply_not_found(call->request);
    else if (result == RESULT_MACHINE_IS_IDLE)
        vending_reply_error(call->request, 409, slice_cstr(result_info(result)->text), nothing);
    else
        vending_reply_undecided(call, "Look at the machine before you try again.");
    return false;
}

static void on_updated(struct engine_call *engine_call)
{
    struct vending_call *call = CONTAINER_OF(engine_call, struct vending_call, call);
    if (has_changed(call))
        reply_machine(call->request, 200, nothing, &call->pool.machine);
}

static void update(struct http_request *request, struct vending *vending, int64_t id)
{
    struct vending_form form;
    struct slice name;
    bool is_draining;
    if (!vending_form_open(&form, request))
        return;
    bool has_name = read_name(&form, VENDING_IF_SENT, &name);
    bool has_draining = vending_form_flag(&form, "draining", &is_draining);
    if (vending_form_reply_complaints(&form, request))
        return;
    struct vending_call *call = vending_call_create(request, vending, COMMAND_MACHINE_UPDATE, on_updated);
    if (call != NULL) {
        call->pool.machine_id = id;
        call->pool.has_name = has_name;
        call->pool.has_draining = has_draining;
        call->pool.is_draining = has_draining && is_draining;
        if (has_name)
            keep_name(&call->pool, name);
        vending_call_push(call);
    }
    vending_form_fini(&form);
}

static void on_machine_to_update(struct vending_lookup *lookup)
{
    struct question *question = &lookup->lookup.question;
    question_fini(question);
    if (question->is_found)
        update(lookup->request, lookup->vending, question->id);
    else
        reply_not_found(lookup->request);
}

void one_machine_put(struct http_request *request, void *context)
{
    struct vending *vending = vending_of(context);
    if (vending_check_admin(request, vending))
        find_machine(request, vending, on_machine_to_update);
}

static void on_deleted(struct engine_call *engine_call)
{
    struct vending_call *call = CONTAINER_OF(engine_call, struct vending_call, call);
    if (has_changed(call))
        http_reply(call->request, 204, nothing, nothing, nothing);
}

void one_machine_delete(struct http_request *request, void *context)
{
    struct vending *vending = vending_of(context);
    int64_t id;
    if (!vending_check_admin(request, vending))
        return;
    if (!vending_path_id(request, &id)) {
        reply_not_found(request);
        return;
    }
    struct vending_call *call = vending_call_create(request, vending, COMMAND_MACHINE_DELETE, on_deleted);
    if (call == NULL)
        return;
    call->pool.machine_id = id;
    vending_call_push(call);
}

void one_machine_other(struct http_request *request, void *context)
{
    (void)context;
    vending_reply_method(request, "GET, HEAD, PUT, PATCH, DELETE");
}

/* --- reset --- */

static void on_reset(struct engine_call *engine_call)
{
    struct vending_call *call = CONTAINER_OF(engine_call, struct vending_call, call);
    char memory[MACHINE_BODY_MAX];
    struct strbuf body;
    if (!has_changed(call))
        return;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_lit(&body, "{\"message\":\"Machine has been reset to idle state.\",\"machine\":");
    put_machine(&body, &call->pool.machine);
    strbuf_put_char(&body, '}');
    vending_reply(call->request, 200, nothing, &body);
}

/* ?lease=N; 0: whichever lease it has. False: there is something else, and a complaint. */
static bool read_lease(
    const struct http_request *request, int64_t *lease_id, struct vending_complaints *complaints)
{
    static const struct slice form_type = SLICE_INIT("application/x-www-form-urlencoded");
    struct vending_form form;
    size_t position;
    *lease_id = 0;
    *complaints = (struct vending_complaints){0};
    if (vending_form_read(&form, request->query, form_type, &position) != VENDING_FORM_OK) {
        vending_complain(complaints, "lease", "must be an integer.");
        return false;
    }
    bool is_named = memmem(request->query.base, request->query.len, "lease", 5) != NULL; /* empty: a slip */
    (void)vending_form_integer(
        &form, "lease", is_named ? VENDING_REQUIRED : VENDING_OPTIONAL, 1, INT64_MAX, lease_id);
    *complaints = form.complaints;
    vending_form_fini(&form);
    return complaints->count == 0;
}

static void on_machine_with_bad_lease(struct vending_lookup *lookup)
{
    struct question *question = &lookup->lookup.question;
    struct vending_complaints complaints;
    int64_t lease_id;
    question_fini(question);
    if (!question->is_found)
        reply_not_found(lookup->request);
    else if (!read_lease(lookup->request, &lease_id, &complaints))
        vending_reply_complaints(lookup->request, 422, &complaints);
}

void reset_post(struct http_request *request, void *context)
{
    struct vending *vending = vending_of(context);
    int64_t id;
    int64_t lease_id;
    struct vending_complaints complaints;
    if (!vending_check_admin(request, vending))
        return;
    if (!vending_path_id(request, &id) || !read_lease(request, &lease_id, &complaints)) {
        find_machine(request, vending, on_machine_with_bad_lease);
        return;
    }
    struct vending_call *call = vending_call_create(request, vending, COMMAND_MACHINE_RESET, on_reset);
    if (call == NULL)
        return;
    call->pool.machine_id = id;
    call->pool.lease_id = lease_id;
    vending_call_push(call);
}

void reset_other(struct http_request *request, void *context)
{
    (void)context;
    vending_reply_method(request, "POST");
}
