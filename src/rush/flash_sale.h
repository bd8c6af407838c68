/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the flash-sale scenarios share (flash-sale contract, section 11): setting the sale up, the requests of
 * buyers and pollers, their outcomes, and what must add up afterwards.
 */
#ifndef DOORBUSTER_RUSH_FLASH_SALE_H
#define DOORBUSTER_RUSH_FLASH_SALE_H

#include "rush/answer.h"
#include "rush/scenario.h"

/* One table of outcomes serves all scenarios of the face. */
enum flash_outcome {
    FLASH_SUCCESS = OUTCOME_COMMON_COUNT, /* the first eleven in the order of enum answer */
    FLASH_NOT_ACTIVE,
    FLASH_SOLD_OUT,
    FLASH_ALREADY_PURCHASED,
    FLASH_RATE_LIMITED,
    FLASH_RATE_LIMITED_ODD,
    FLASH_UNKNOWN_CODE,
    FLASH_NONSENSE,
    FLASH_OTHER_STATUS,
    FLASH_UNAVAILABLE,
    FLASH_SERVER_ERROR,
    FLASH_POLL_GOOD, /* in the order of enum poll_answer */
    FLASH_POLL_NOT_200,
    FLASH_POLL_NOT_SUCCESS,
    FLASH_POLL_ODD,
    FLASH_FIXED_GOOD, /* any 200 from a server whose answer is fixed */
    FLASH_OUTCOME_END
};

enum flash_endpoint { FLASH_PURCHASE, FLASH_STATUS };

extern const struct outcome flash_outcomes[];
extern const char *const flash_endpoints[];

#define FLASH_RATE_LIMITS (OUTCOME_BIT(FLASH_RATE_LIMITED) | OUTCOME_BIT(FLASH_RATE_LIMITED_ODD))
#define FLASH_PURCHASE_ERRORS \
    (OUTCOME_BIT(FLASH_UNKNOWN_CODE) | OUTCOME_BIT(FLASH_NONSENSE) | OUTCOME_BIT(FLASH_OTHER_STATUS))
#define FLASH_HTTP_ERRORS \
    (OUTCOMES_UNANSWERED | OUTCOME_BIT(FLASH_UNAVAILABLE) | OUTCOME_BIT(FLASH_SERVER_ERROR))
#define FLASH_POLLS                                                                                         \
    (OUTCOME_BIT(FLASH_POLL_GOOD) | OUTCOME_BIT(FLASH_POLL_NOT_200) | OUTCOME_BIT(FLASH_POLL_NOT_SUCCESS) | \
        OUTCOME_BIT(FLASH_POLL_ODD))
#define FLASH_POLL_ERRORS (OUTCOME_BIT(FLASH_POLL_NOT_200) | OUTCOME_BIT(FLASH_POLL_NOT_SUCCESS))
#define FLASH_PURCHASES                                                                         \
    (OUTCOME_BIT(FLASH_SUCCESS) | OUTCOME_BIT(FLASH_NOT_ACTIVE) | OUTCOME_BIT(FLASH_SOLD_OUT) | \
        OUTCOME_BIT(FLASH_ALREADY_PURCHASED) | FLASH_RATE_LIMITS | FLASH_PURCHASE_ERRORS |      \
        OUTCOME_BIT(FLASH_UNAVAILABLE) | OUTCOME_BIT(FLASH_SERVER_ERROR))

/* How the buyers are called: prefix and number, the number with at least so many digits. */
struct flash_names {
    const char *prefix; /* unless the options give one */
    int digits;
    uint64_t count; /* so many different ones, used in turn; 0: each buyer a new one */
};

/* To be called by prepare: makes rush->state. options.sku and options.stock must be there. */
MUST_CHECK enum err flash_prepare(struct rush *rush, struct flash_names names, struct error *error);
void flash_release(struct rush *rush);

/* Deletes what is left of an earlier sale, makes the sale, waits until it is active (at most 30 s). */
MUST_CHECK enum err flash_set_up(struct rush *rush, struct error *error);

/* Reads the product and checks that units, buyers and answers add up; knows when a limiter kept the crowd
 * out. */
void flash_tear_down(struct rush *rush, const struct tally *crowd);

/* Deletes the sale. */
void flash_delete(struct rush *rush);

/* Buys one unit for `user` outside the crowd; ERR_REFUSED when it is not sold. */
MUST_CHECK enum err flash_buy_one(struct rush *rush, struct slice user, struct error *error);

/* ERR_REFUSED when the sale's present state is not ACTIVE (or, if so asked, not ENDED). */
MUST_CHECK enum err flash_expect_state(struct rush *rush, bool is_ended_expected, struct error *error);

/* Crowds: buyers who POST a purchase each, and pollers who GET the sale. */
struct crowd flash_buyers(struct plan plan, bool is_fresh);
struct crowd flash_pollers(struct plan plan);

/* Thresholds that several scenarios share: percentiles in ms (0: none) and http_req_failed. */
void flash_add_latency_thresholds(struct rush *rush, double p50_ms, double p95_ms, double p99_ms);
void flash_add_failed_threshold(struct rush *rush);
void flash_add_count_threshold(struct rush *rush, const char *name, uint32_t outcomes, int64_t count);
void flash_add_share_threshold(struct rush *rush, const char *name, uint32_t outcomes, uint32_t of_outcomes,
    enum compare compare, double share);

#endif
