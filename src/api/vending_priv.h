/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the vending face share: vending.c (routes, life, figures), vending_call.c (to the line
 * and back, to the store and back, answers), vending_form.c (bodies and what is wrong with them),
 * vending_list.c (whole lists), vending_machines.c, vending_products.c, vending_users.c (start-work,
 * choose-product), vending_wait.c (requests that wait in the line), vending_tickets.c (commands about
 * tickets, and their names outside), vending_queue.c (tickets of their own), vending_events.c (their events).
 */
#ifndef DOORBUSTER_API_VENDING_PRIV_H
#define DOORBUSTER_API_VENDING_PRIV_H

#include "api/vending.h"
#include "core/machine.h"

struct line_waits;
struct ticket_streams;

/* What is counted; the names in metrics are in vending.c. */
enum vending_count {
    COUNT_MACHINE_TAKEN,   /* start-work answered with a machine, at once or after waiting */
    COUNT_MACHINE_REFUSED, /* 409: none was idle, or the time was up */
    COUNT_CHOSEN,
    COUNT_CHOICE_REFUSED,
    COUNT_WAITED, /* requests and tickets that joined the line */
    COUNT_LINE_FULL,
    COUNT_WAIT_GONE,  /* requests whose client went away before their turn */
    COUNT_GIVEN_BACK, /* machines that came to somebody who had gone */
    VENDING_COUNT_COUNT
};

enum { TICKET_KEY_BYTES = 16 };

struct vending {
    struct net_thread *thread;
    struct line_waits *waits;
    struct ticket_streams *streams;
    struct list give_backs;                           /* machines that could not be given back yet */
    uv_timer_t give_back_timer;                       /* runs while there are any */
    unsigned char ticket_key[TICKET_KEY_BYTES];       /* makes names of tickets, the same on all nodes */
    bool is_draining;                                 /* nobody begins to wait any more */
    atomic_uint_fast64_t counts[VENDING_COUNT_COUNT]; /* this thread writes these four */
    atomic_size_t waiting;                            /* requests that wait in the line */
    atomic_size_t listening;                          /* event streams of tickets */
    atomic_int_fast64_t line_count;                   /* of the latest picture: users who wait on all nodes */
    atomic_int_fast64_t machine_count;                /* and machines that take users */
};

static inline struct vending *vending_of(void *context)
{
    return ((struct net_thread *)context)->vending;
}

void vending_count(struct vending *vending, enum vending_count count);

/* --- vending_call.c --- */

/* A command on its way, with the request that waits for it. Lives in the request's arena. */
struct vending_call {
    struct engine_call call;
    struct pool_request pool; /* call.command.pool */
    struct vending *vending;
    struct http_request *request;
};

/* NULL: there is no room for it, and the request has been answered. */
struct vending_call *vending_call_create(struct http_request *request, struct vending *vending,
    enum command_kind kind, void (*on_done)(struct engine_call *call));

/* Sends the command to the line; when it is refused at the door the request is answered at once. */
void vending_call_push(struct vending_call *call);

/* A question for the store, with the request that waits for the answer. Lives in the request's arena. */
struct vending_lookup {
    struct engine_lookup lookup;
    struct vending *vending;
    struct http_request *request;
    void (*on_answer)(struct vending_lookup *lookup);
};

/* NULL as above. */
struct vending_lookup *vending_lookup_create(struct http_request *request, struct vending *vending,
    enum question_kind kind, void (*on_answer)(struct vending_lookup *lookup));

/*
 * Asks. When there is an answer, on_answer is called, perhaps before this returns; it answers the request and
 * ends the question with question_fini. Else the request is answered with 503.
 */
void vending_look_up(struct vending_lookup *lookup);

/* {"id":..,"name":..,"status":..,"usage_count":..,"created_at":..,"updated_at":..}, and "draining":true while
 * it is so. */
void put_machine(struct strbuf *body, const struct machine_row *machine);

/* {"id":..,"name":..,"stock":..,"created_at":..,"updated_at":..} */
void put_product(struct strbuf *body, const struct product_row *product);

enum {
    MACHINE_BODY_MAX = 6 * MACHINE_NAME_LEN_MAX + 512, /* bytes: each of a name's may become six */
    PRODUCT_BODY_MAX = 6 * PRODUCT_NAME_LEN_MAX + 512,
};

/* application/json; 503 when the body has overflowed. */
void vending_reply(struct http_request *request, int status, struct slice extra, const struct strbuf *body);

/* {"error":TEXT} and {"message":TEXT}. */
void vending_reply_error(struct http_request *request, int status, struct slice text, struct slice extra);
void vending_reply_message(struct http_request *request, int status, struct slice text, struct slice extra);

/* 404 {"message":"No query results for model [App\\Models\\VendingMachine] 99"}; `model` as it is there. */
void vending_reply_no_model(struct http_request *request, struct slice model, struct slice id);

/* 405 {"message":TEXT} with Allow: "GET, HEAD, POST". */
void vending_reply_method(struct http_request *request, const char *allow);

/* 503 {"error":TEXT} with Retry-After: whole seconds, at least one. */
void vending_reply_later(struct http_request *request, struct slice text, int64_t retry_after_ms);

/* The same when there is no memory for the request; nothing has been changed by it. */
void vending_reply_no_memory(struct http_request *request);

/* 503 for a command that the line has not decided (UNAVAILABLE, OUTCOME_UNKNOWN); `advice` is added to an
 * unknown outcome. */
void vending_reply_undecided(struct vending_call *call, const char *advice);

/* The id that the path names, at least 1; false: it is none that any machine or product has. */
MUST_CHECK bool vending_path_id(const struct http_request *request, int64_t *id);

/* The request may change machines and products (admin.h). False: it has been answered with 401 {"message"}.
 */
MUST_CHECK bool vending_check_admin(struct http_request *request, const struct vending *vending);

/* --- vending_list.c --- */

/* Answers with all there are, by id: QUESTION_MACHINES or QUESTION_PRODUCTS. */
void vending_list(struct http_request *request, struct vending *vending, enum question_kind kind);

/* --- vending_machines.c --- */

http_handler machines_get;
http_handler machines_post;
http_handler machines_other;
http_handler one_machine_get;
http_handler one_machine_put;
http_handler one_machine_delete;
http_handler one_machine_other;
http_handler reset_post;
http_handler reset_other;

/* --- vending_products.c --- */

http_handler vending_products_get;
http_handler vending_products_post;
http_handler vending_products_other;
http_handler one_product_delete;
http_handler one_product_other;
http_handler stock_patch;
http_handler stock_other;

/* --- vending_users.c --- */

http_handler start_work_post;
http_handler choose_product_post;

/* 200 {"message":..,"machine":{..},"lease":..}; `extra` as for http_reply. */
void vending_reply_assigned(struct http_request *request, struct vending *vending,
    const struct machine_row *machine, struct slice extra);

/* 409 with Retry-After. */
void vending_reply_no_machine(struct http_request *request, struct vending *vending, struct slice extra);

/* 503: the line is full, with Retry-After. */
void vending_reply_line_full(struct http_request *request, struct vending *vending);

/* 503 for what a user wanted and the line has not decided, or not for certain. */
void vending_reply_not_done(struct http_request *request, const struct engine_call *call);

/* Whole seconds after which somebody who comes anew may find a machine, 1 to 3600. */
int64_t vending_retry_after_s(const struct vending *vending);

/* --- vending_wait.c --- */

/* NULL when memory is out. */
struct line_waits *line_waits_create(struct vending *vending);

/* The HTTP server is gone, the engine does not run. Run the loop until it has no handles, then destroy. */
void line_waits_close(struct line_waits *waits);
void line_waits_destroy(struct line_waits *waits);

/* Answers all who wait with 503, and takes them out of the line. */
void line_waits_drain(struct line_waits *waits);

/* A machine at once, or as soon as one is free within so many seconds, at least 1. */
void line_waits_join(struct line_waits *waits, struct http_request *request, int64_t wait_s);

void line_waits_on_ticket(struct line_waits *waits, const struct ticket_view *now);

/* --- vending_tickets.c --- */

enum { TICKETS_PER_COMMAND_MAX = 4096, TICKET_NAME_LEN_MAX = 40 };

/* A command about some tickets, on the heap. */
struct ticket_command {
    struct engine_call call;
    struct pool_request pool; /* call.command.pool */
    struct vending *vending;
    void (*on_done)(struct ticket_command *command, void *context); /* frees nothing */
    void *context;
    size_t count;
    int64_t ids[];
};

/* For up to `size` tickets, none yet; NULL when memory is out. */
struct ticket_command *ticket_command_create(struct vending *vending, enum command_kind kind, size_t size);

/* Sends it off now. The command is gone after on_done, which may be NULL; false: it was refused and is gone
 * already. */
bool ticket_command_push(struct ticket_command *command);

/* Tells the line that the user of this ticket is still there, until then. Whether it is heard is not told. */
void ticket_keep_one(struct vending *vending, int64_t ticket_id, int64_t until_ms);

/* Frees a machine that came to somebody who had gone: as often as it takes, while the server runs. */
void machine_give_back(struct vending *vending, int64_t machine_id, int64_t lease_id);
void give_backs_open(struct vending *vending);
void give_backs_close(struct vending *vending);

/*
 * A ticket as clients know it: its number, and 16 hex digits that only the servers of this store can make, so
 * that nobody asks for, or leaves with, a ticket that was not given to him.
 */
void ticket_names_init(struct vending *vending);
struct slice ticket_name(const struct vending *vending, int64_t id, char text[TICKET_NAME_LEN_MAX]);
bool ticket_from_name(const struct vending *vending, struct slice name, int64_t *id);

/* --- vending_queue.c --- */

http_handler queue_post;
http_handler ticket_get;
http_handler ticket_delete;

/* Where a ticket stands, as far as this node knows. */
struct ticket_place {
    int64_t id;
    enum ticket_state state;
    int64_t position;                  /* waiting: 1 is the first; else 0 */
    const struct machine_row *machine; /* served, and its lease has not ended; else NULL */
};

/* Its place by the latest picture of the line; 0: it is not in there. */
int64_t ticket_position(const struct vending *vending, int64_t id);

/* {"ticket":..,"status":..,"position":..,"estimated_wait_seconds":..} and, served, "machine" and "lease". */
void put_ticket(struct strbuf *body, const struct vending *vending, const struct ticket_place *place);

/* The number of the ticket that the path names; false: there is none, and the request has been answered. */
MUST_CHECK bool ticket_of_path(struct http_request *request, const struct vending *vending, int64_t *id);

/* Keeps it when more than a third of the time for which it may be left alone is over. */
void ticket_keep_if_due(struct vending *vending, const struct ticket_row *row);

/* --- vending_events.c --- */

http_handler ticket_events_get;

/* NULL when memory is out. Only an open one needs to be closed. */
struct ticket_streams *ticket_streams_create(struct vending *vending);
void ticket_streams_open(struct ticket_streams *streams);
void ticket_streams_close(struct ticket_streams *streams); /* the HTTP server is gone */
void ticket_streams_destroy(struct ticket_streams *streams);
void ticket_streams_on_ticket(struct ticket_streams *streams, const struct ticket_view *now);
void ticket_streams_on_line(struct ticket_streams *streams);

#endif
