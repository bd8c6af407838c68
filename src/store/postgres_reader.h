/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a reader share: postgres_reader.c (the way; purchases), postgres_questions.c (the
 * questions of question.h), postgres_questions_pool.c (those about machines, tickets and products),
 * postgres_questions_wallets.c (those about wallets). One thread a reader.
 */
#ifndef DOORBUSTER_STORE_POSTGRES_READER_H
#define DOORBUSTER_STORE_POSTGRES_READER_H

#include "store/postgres_priv.h"

enum postgres_read {
    READ_PURCHASES,
    READ_SALE_TOTALS,
    READ_ORDER,
    READ_ORDER_STATES,
    READ_ORDER_TOTALS,
    READ_OPEN_ORDER_TOTALS,
    READ_DEAD_LETTERS,
    READ_ACCOUNT_BY_EMAIL,
    READ_ACCOUNT_BY_ID,
    READ_INTAKE_ORDER,
    READ_INTAKE_ORDERS,
    READ_INTAKE_CANCELLED,
    READ_INTAKE_RANGE,
    READ_MACHINE,
    READ_MACHINES,
    READ_PRODUCT,
    READ_PRODUCTS,
    READ_TICKET,
    READ_WALLET_BY_KEY,
    READ_WALLET_BY_ACCOUNT,
    READ_TRANSFERS,
    /* around one that takes long */
    READ_BEGIN,
    READ_ALLOW_LONG,
    READ_COMMIT,
    READ_COUNT
};

enum { READ_COLUMNS_MAX = 2, READ_NUMBERS_MAX = 4 };

extern const struct link_statement postgres_reads[READ_COUNT];

struct postgres_reader {
    struct store_reader base;
    char application_name[64];
    struct link link;
    struct column columns[READ_COLUMNS_MAX]; /* parameters that are arrays */
    char numbers[READ_NUMBERS_MAX][8];       /* parameters that are single numbers */
    int number_count;
};

/* One question on its way. */
struct inquiry {
    enum postgres_read read;
    bool is_long; /* it may take longer than a node usually waits */
    /* Its parameters, by the functions below and by link_param. */
    enum err (*put)(struct postgres_reader *reader, const void *asked, struct error *error);
    /* Its rows; called again when it is asked a second time. */
    enum err (*take)(
        struct postgres_reader *reader, const PGresult *result, void *asked, struct error *error);
    void *asked;
};

/*
 * Asks in one round trip. A connection that was cut while nobody used it is made again: a question may be
 * asked twice, when the first time was quick.
 */
MUST_CHECK enum err postgres_inquire(
    struct postgres_reader *reader, const struct inquiry *inquiry, struct error *error);

/* The next parameter. */
void postgres_put_number(struct postgres_reader *reader, int64_t value);
void postgres_put_ms(struct postgres_reader *reader, int64_t time_ms);

/* The columns 0..count - 1 as parameters. */
MUST_CHECK enum err postgres_put_columns(struct postgres_reader *reader, int count, struct error *error);

/* --- postgres_questions.c --- */

enum err postgres_question_no_memory(struct error *error);
enum err postgres_question_damaged(
    const struct postgres_reader *reader, const char *what, int64_t id, struct error *error);

/* Room for the rows that have come; NULL when memory is out. */
void *postgres_make_list(struct question *question, const PGresult *result, size_t row_size);
void postgres_put_limit(struct postgres_reader *reader, const struct question *question);

/* --- postgres_questions_pool.c --- */

/* False: it is about something else. */
MUST_CHECK bool postgres_pool_inquiry(struct question *question, struct inquiry *inquiry);

/* --- postgres_questions_wallets.c --- */

/* False: it is about something else. */
MUST_CHECK bool postgres_wallet_inquiry(struct question *question, struct inquiry *inquiry);

#endif
