/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the answers of the flash-sale face (flash-sale contract, sections 2.1, 2.2 and 2.6). The usual bodies
 * are recognised byte by byte, because a load generator reads hundreds of thousands a second; every other
 * spelling of the same JSON is read by the JSON parser, with the same result. Any thread.
 */
#ifndef DOORBUSTER_RUSH_ANSWER_H
#define DOORBUSTER_RUSH_ANSWER_H

#include "base/slice.h"
#include "rush/scenario.h"

enum answer {
    ANSWER_SUCCESS,
    ANSWER_NOT_ACTIVE,
    ANSWER_SOLD_OUT,
    ANSWER_ALREADY_PURCHASED,
    ANSWER_RATE_LIMITED,
    ANSWER_RATE_LIMITED_ODD, /* 429, but no JSON with error.code RATE_LIMIT_EXCEEDED */
    ANSWER_UNKNOWN_CODE,     /* 200 and success:false with another code */
    ANSWER_NONSENSE,         /* 200, but none of the bodies that belong to it */
    ANSWER_OTHER_STATUS,     /* not 200, 429, 503 nor 500 and above */
    ANSWER_UNAVAILABLE,      /* 503 */
    ANSWER_SERVER_ERROR      /* 500 and above but 503 */
};

/* Classifies the answer to POST /api/v1/purchases; fills the truth and its detail, not the outcome. */
enum answer answer_read_purchase(const struct reply *reply, struct judgement *judgement);

enum poll_answer {
    POLL_GOOD,
    POLL_NOT_200,
    POLL_NOT_SUCCESS, /* 200, but success is not true */
    POLL_ODD          /* success, but the state is none, or not 0 <= stock <= initialStock */
};

/* The sale's state as an answer to GET /api/v1/sales has it. */
struct sale_status {
    bool is_active;
    bool is_ended;
    int64_t stock;
    int64_t initial_stock;
};

/* *status is filled when the result is POLL_GOOD. */
enum poll_answer answer_read_status(const struct reply *reply, struct sale_status *status);

/* The answer to GET /api/v1/products/{sku}; false when it is not 200 with numeric members. */
bool answer_read_product(
    int http_status, struct slice body, int64_t *current_stock, int64_t *total_purchases);

/* error.code of a failure's body, into `code` (cut at DETAIL_MAX); false when there is none. */
bool answer_read_code(struct slice body, char code[DETAIL_MAX], size_t *len);

#endif
