/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about machines, tickets and the list of products; see postgres_questions.c. */
#include "store/postgres_reader.h"

/* --- machines --- */

/* The columns of a machine begin at `at`. */
static enum err take_machine_row(struct postgres_reader *reader, const PGresult *result, int row, int at,
    struct question *question, struct machine_row *machine, struct error *error)
{
    *machine = (struct machine_row){
        .id = result_i64(result, row, at),
        .is_draining = result_i64(result, row, at + 3) != 0,
        .usage_count = result_i64(result, row, at + 4),
        .lease_id = result_i64(result, row, at + 5),
        .created_ms = result_ms(result, row, at + 6),
        .updated_ms = result_ms(result, row, at + 7),
    };
    if (!machine_status_from_name(result_text(result, row, at + 2), &machine->status))
        return postgres_question_damaged(reader, "machine", machine->id, error);
    return question_copy(question, result_text(result, row, at + 1), &machine->name)
               ? ERR_NONE
               : postgres_question_no_memory(error);
}

static enum err take_machine(
    struct postgres_reader *reader, const PGresult *result, void *asked, struct error *error)
{
    struct question *question = asked;
    question->is_found = PQntuples(result) == 1;
    return question->is_found ? take_machine_row(reader, result, 0, 0, question, &question->machine, error)
                              : ERR_NONE;
}

static enum err take_machines(
    struct postgres_reader *reader, const PGresult *result, void *asked, struct error *error)
{
    struct question *question = asked;
    enum err err = ERR_NONE;
    question->machines = postgres_make_list(question, result, sizeof *question->machines);
    if (question->machines == NULL)
        return postgres_question_no_memory(error);
    for (int row = 0; row < PQntuples(result) && err == ERR_NONE; row++)
        err =
            take_machine_row(reader, result, row, 0, question, &question->machines[question->count++], error);
    return err;
}

/* --- products --- */

static enum err take_product_row(const PGresult *result, int row, struct question *question,
    struct product_row *product, struct error *error)
{
    *product = (struct product_row){
        .id = result_i64(result, row, 0),
        .stock = result_i64(result, row, 3),
        .created_ms = result_ms(result, row, 4),
        .updated_ms = result_ms(result, row, 5),
    };
    bool is_copied = question_copy(question, result_text(result, row, 1), &product->sku) &&
                     question_copy(question, result_text(result, row, 2), &product->name);
    return is_copied ? ERR_NONE : postgres_question_no_memory(error);
}

static enum err take_product(
    struct postgres_reader *reader, const PGresult *result, void *asked, struct error *error)
{
    struct question *question = asked;
    question->is_found = PQntuples(result) == 1;
    return question->is_found ? take_product_row(result, 0, question, &question->product, error) : ERR_NONE;
}

static enum err take_products(
    struct postgres_reader *reader, const PGresult *result, void *asked, struct error *error)
{
    struct question *question = asked;
    enum err err = ERR_NONE;
    question->products = postgres_make_list(question, result, sizeof *question->products);
    if (question->products == NULL)
        return postgres_question_no_memory(error);
    for (int row = 0; row < PQntuples(result) && err == ERR_NONE; row++)
        err = take_product_row(result, row, question, &question->products[question->count++], error);
    return err;
}

/* --- tickets --- */

enum { TICKET_COLUMN_COUNT = 8 }; /* those of its machine follow */

static enum err take_ticket(
    struct postgres_reader *reader, const PGresult *result, void *asked, struct error *error)
{
    struct question *question = asked;
    struct ticket_row *ticket = &question->ticket;
    question->is_found = PQntuples(result) == 1;
    if (!question->is_found)
        return ERR_NONE;
    *ticket = (struct ticket_row){
        .id = result_i64(result, 0, 0),
        .is_attached = result_i64(result, 0, 2) != 0,
        .until_ms = result_ms(result, 0, 3),
        .created_ms = result_ms(result, 0, 4),
        .ended_ms = result_ms(result, 0, 5),
    };
    if (!ticket_state_from_name(result_text(result, 0, 1), &ticket->state))
        return postgres_question_damaged(reader, "ticket", ticket->id, error);
    if (ticket->state != TICKET_SERVED)
        return ERR_NONE;
    ticket->lease_id = result_i64(result, 0, 6);
    ticket->machine_id = result_i64(result, 0, 7);
    question->has_machine = PQgetisnull(result, 0, TICKET_COLUMN_COUNT) == 0;
    return question->has_machine
               ? take_machine_row(reader, result, 0, TICKET_COLUMN_COUNT, question, &question->machine, error)
               : ERR_NONE;
}

/* --- --- */

static enum err put_id(struct postgres_reader *reader, const void *asked, struct error *error)
{
    postgres_put_number(reader, ((const struct question *)asked)->id);
    return ERR_NONE;
}

static enum err put_list(struct postgres_reader *reader, const void *asked, struct error *error)
{
    const struct question *question = asked;
    postgres_put_number(reader, question->id);
    postgres_put_limit(reader, question);
    return ERR_NONE;
}

bool postgres_pool_inquiry(struct question *question, struct inquiry *inquiry)
{
    question->has_machine = false;
    switch (question->kind) {
    case QUESTION_MACHINE:
        *inquiry = (struct inquiry){.read = READ_MACHINE, .put = put_id, .take = take_machine};
        return true;
    case QUESTION_MACHINES:
        *inquiry = (struct inquiry){.read = READ_MACHINES, .put = put_list, .take = take_machines};
        return true;
    case QUESTION_PRODUCT:
        *inquiry = (struct inquiry){.read = READ_PRODUCT, .put = put_id, .take = take_product};
        return true;
    case QUESTION_PRODUCTS:
        *inquiry = (struct inquiry){.read = READ_PRODUCTS, .put = put_list, .take = take_products};
        return true;
    case QUESTION_TICKET:
        *inquiry = (struct inquiry){.read = READ_TICKET, .put = put_id, .take = take_ticket};
        return true;
    default:
        return false;
    }
}
