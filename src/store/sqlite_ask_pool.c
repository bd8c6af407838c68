/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about machines, tickets and the list of products; see sqlite_ask.c. */
#include "base/ensure.h"
#include "store/sqlite_priv.h"

/* --- machines --- */

static enum err read_machine(struct ask *ask, sqlite3_stmt *row, struct machine_row *machine)
{
    *machine = (struct machine_row){
        .id = sqlite3_column_int64(row, 0),
        .is_draining = sqlite3_column_int(row, 3) != 0,
        .usage_count = sqlite3_column_int64(row, 4),
        .lease_id = sqlite3_column_int64(row, 5),
        .created_ms = sqlite3_column_int64(row, 6),
        .updated_ms = sqlite3_column_int64(row, 7),
    };
    if (!machine_status_from_name(row_text(row, 2), &machine->status))
        return ask_damaged(ask, "machines", machine->id);
    return ask_copy(ask, row, 1, &machine->name) ? ERR_NONE : ask_no_memory(ask);
}

static enum err take_machine(struct ask *ask, sqlite3_stmt *row)
{
    ask->question->is_found = true;
    return read_machine(ask, row, &ask->question->machine);
}

static enum err take_listed_machine(struct ask *ask, sqlite3_stmt *row)
{
    return read_machine(ask, row, &ask->question->machines[ask->question->count++]);
}

/* --- products --- */

static enum err read_product(struct ask *ask, sqlite3_stmt *row, struct product_row *product)
{
    *product = (struct product_row){
        .id = sqlite3_column_int64(row, 0),
        .stock = sqlite3_column_int64(row, 3),
        .created_ms = sqlite3_column_int64(row, 4),
        .updated_ms = sqlite3_column_int64(row, 5),
    };
    bool is_copied = ask_copy(ask, row, 1, &product->sku) && ask_copy(ask, row, 2, &product->name);
    return is_copied ? ERR_NONE : ask_no_memory(ask);
}

static enum err take_product(struct ask *ask, sqlite3_stmt *row)
{
    ask->question->is_found = true;
    return read_product(ask, row, &ask->question->product);
}

static enum err take_listed_product(struct ask *ask, sqlite3_stmt *row)
{
    return read_product(ask, row, &ask->question->products[ask->question->count++]);
}

/* --- tickets --- */

static enum err take_ticket(struct ask *ask, sqlite3_stmt *row)
{
    struct ticket_row *ticket = &ask->question->ticket;
    *ticket = (struct ticket_row){
        .id = sqlite3_column_int64(row, 0),
        .is_attached = sqlite3_column_int(row, 2) != 0,
        .until_ms = sqlite3_column_int64(row, 3),
        .created_ms = sqlite3_column_int64(row, 4),
        .ended_ms = sqlite3_column_int64(row, 5),
    };
    ask->question->is_found = true;
    if (!ticket_state_from_name(row_text(row, 1), &ticket->state))
        return ask_damaged(ask, "tickets", ticket->id);
    if (ticket->state == TICKET_SERVED) {
        ticket->lease_id = sqlite3_column_int64(row, 6);
        ticket->machine_id = sqlite3_column_int64(row, 7);
    }
    return ERR_NONE;
}

static enum err take_own_machine(struct ask *ask, sqlite3_stmt *row)
{
    struct question *question = ask->question;
    enum err err = read_machine(ask, row, &question->machine);
    question->has_machine = err == ERR_NONE && question->machine.lease_id == question->ticket.lease_id;
    return err;
}

static enum err ask_ticket(struct ask *ask)
{
    const struct question *question = ask->question;
    bind_i64(ask->reader->asks[ASK_TICKET], 1, question->id);
    enum err err = ask_run(ask, ASK_TICKET, take_ticket);
    if (err != ERR_NONE || !question->is_found || question->ticket.state != TICKET_SERVED)
        return err;
    bind_i64(ask->reader->asks[ASK_MACHINE], 1, question->ticket.machine_id);
    return ask_run(ask, ASK_MACHINE, take_own_machine);
}

/* --- --- */

static enum err ask_one(struct ask *ask, enum ask_statement which, take_row *take)
{
    bind_i64(ask->reader->asks[which], 1, ask->question->id);
    return ask_run(ask, which, take);
}

static enum err ask_list(struct ask *ask, enum ask_statement which, take_row *take)
{
    bind_i64(ask->reader->asks[which], 2, (int64_t)ask->question->limit);
    return ask_one(ask, which, take);
}

enum err ask_pool(struct ask *ask)
{
    struct question *question = ask->question;
    question->has_machine = false;
    switch (question->kind) {
    case QUESTION_MACHINE:
        return ask_one(ask, ASK_MACHINE, take_machine);
    case QUESTION_MACHINES:
        question->machines = ask_make_list(ask, sizeof *question->machines);
        return question->machines == NULL ? ask_no_memory(ask)
                                          : ask_list(ask, ASK_MACHINES, take_listed_machine);
    case QUESTION_PRODUCT:
        return ask_one(ask, ASK_PRODUCT, take_product);
    case QUESTION_PRODUCTS:
        question->products = ask_make_list(ask, sizeof *question->products);
        return question->products == NULL ? ask_no_memory(ask)
                                          : ask_list(ask, ASK_PRODUCTS, take_listed_product);
    default:
        ENSURE(question->kind == QUESTION_TICKET);
        return ask_ticket(ask);
    }
}
