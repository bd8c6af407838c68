/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole lists: a bare array of everything there is, by id (vending contract). The store is asked for a page
 * at a time. A list of less than a page is a usual answer. A longer one is a stream that asks for the next
 * page when the client has taken the last, so that a list costs the memory of one page, however long it is
 * and however slowly it is read. What comes or goes meanwhile is in it or not; everything else is in it once.
 *
 * When the store fails in the middle, the answer ends before the end of the array, so that no client takes it
 * for the whole.
 */
#include <stdlib.h>

#include "api/vending_priv.h"

enum { PAGE_ROWS = QUESTION_ROWS_MAX, PAGE_BODY_MAX = PAGE_ROWS * MACHINE_BODY_MAX };

_Static_assert(MACHINE_BODY_MAX >= PRODUCT_BODY_MAX, "a page must have room for either");

static const struct slice headers = SLICE_INIT("Cache-Control: no-store\r\n");

/* A list on its way. Lives until its stream is closed and no question is under way. */
struct listing {
    struct engine_lookup lookup;
    struct engine_port *port;
    struct http_stream *stream; /* NULL: closed */
    enum question_kind kind;
    int64_t last_id; /* shown so far */
    bool is_asking;
    bool is_complete; /* nothing more is to be sent */
    bool is_going_on; /* go_on runs */
};

static int64_t put_row(struct strbuf *body, const struct question *question, size_t i)
{
    if (question->kind == QUESTION_MACHINES) {
        put_machine(body, &question->machines[i]);
        return question->machines[i].id;
    }
    put_product(body, &question->products[i]);
    return question->products[i].id;
}

/* Writes the rows, each with a comma before it but for the very first; returns the last one's id. */
static int64_t put_page(struct strbuf *body, const struct question *question)
{
    int64_t last_id = question->id;
    for (size_t i = 0; i < question->count; i++) {
        if (i > 0 || question->id > 0)
            strbuf_put_char(body, ',');
        last_id = put_row(body, question, i);
    }
    return last_id;
}

static bool is_last_page(const struct question *question)
{
    return question->count < PAGE_ROWS;
}

/* --- more than a page --- */

static void end(struct listing *listing)
{
    listing->is_complete = true;
    http_stream_end(listing->stream);
}

/* The page that `question` has found. */
static void send_page(struct listing *listing, const struct question *question)
{
    struct strbuf body;
    strbuf_init_heap(&body, 1 + PAGE_BODY_MAX);
    if (question->id == 0)
        strbuf_put_char(&body, '[');
    listing->last_id = put_page(&body, question);
    if (is_last_page(question))
        strbuf_put_char(&body, ']');
    if (!body.has_overflowed)
        http_stream_write(listing->stream, strbuf_slice(&body));
    if (body.has_overflowed || is_last_page(question))
        end(listing);
    strbuf_fini(&body);
}

static void ask(struct listing *listing);

/* Asks as long as the client takes it. An embedded store has answered when ask returns. */
static void go_on(struct listing *listing)
{
    if (listing->is_going_on)
        return;
    listing->is_going_on = true;
    while (listing->stream != NULL && !listing->is_asking && !listing->is_complete &&
           http_stream_is_ready(listing->stream))
        ask(listing);
    listing->is_going_on = false;
}

static void on_page(struct engine_lookup *lookup)
{
    struct listing *listing = CONTAINER_OF(lookup, struct listing, lookup);
    listing->is_asking = false;
    if (listing->stream != NULL && lookup->status == ERR_NONE)
        send_page(listing, &lookup->question);
    else if (listing->stream != NULL)
        end(listing);
    question_fini(&lookup->question);
    if (listing->stream == NULL)
        free(listing); /* its client has gone meanwhile */
    else
        go_on(listing);
}

static void ask(struct listing *listing)
{
    listing->is_asking = true;
    listing->lookup.question =
        (struct question){.kind = listing->kind, .id = listing->last_id, .limit = PAGE_ROWS};
    if (!engine_port_look_up(listing->port, &listing->lookup)) {
        listing->is_asking = false;
        end(listing);
    }
}

static void on_ready(struct http_stream *stream, void *context)
{
    (void)stream;
    go_on(context);
}

static void on_closed(struct http_stream *stream, void *context)
{
    (void)stream;
    struct listing *listing = context;
    listing->stream = NULL;
    if (!listing->is_asking)
        free(listing);
}

/* Begins with this first page, which is full. */
static void open_stream(struct http_request *request, struct vending *vending, struct question *first)
{
    struct listing *listing = calloc(1, sizeof *listing);
    if (listing == NULL) {
        vending_reply_later(request, SLICE("There is no memory for the list now."), 0);
        return;
    }
    listing->lookup.on_done = on_page;
    listing->port = vending->thread->port;
    listing->kind = first->kind;
    struct http_stream_events events = {.on_ready = on_ready, .on_closed = on_closed, .context = listing};
    listing->stream = http_stream_open(request, SLICE("application/json"), headers, events);
    if (listing->stream == NULL) {
        free(listing);
        return;
    }
    if (http_stream_is_ready(listing->stream))
        send_page(listing, first);
    go_on(listing);
}

/* --- the first page --- */

static void reply_page(struct http_request *request, const struct question *question)
{
    struct strbuf body;
    strbuf_init_heap(&body, 2 + PAGE_BODY_MAX);
    strbuf_put_char(&body, '[');
    (void)put_page(&body, question);
    strbuf_put_char(&body, ']');
    vending_reply(request, 200, headers, &body);
    strbuf_fini(&body);
}

static void on_first_page(struct vending_lookup *lookup)
{
    struct question question = lookup->lookup.question; /* the request's memory goes with the reply */
    if (is_last_page(&question))
        reply_page(lookup->request, &question);
    else
        open_stream(lookup->request, lookup->vending, &question);
    question_fini(&question);
}

void vending_list(struct http_request *request, struct vending *vending, enum question_kind kind)
{
    struct vending_lookup *lookup = vending_lookup_create(request, vending, kind, on_first_page);
    if (lookup == NULL)
        return;
    lookup->lookup.question.limit = PAGE_ROWS;
    vending_look_up(lookup);
}
