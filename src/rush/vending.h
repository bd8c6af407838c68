/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the answers of the vending face (vending contract, "Endpoints"). Pure; any thread. */
#ifndef DOORBUSTER_RUSH_VENDING_H
#define DOORBUSTER_RUSH_VENDING_H

#include "rush/scenario.h"

enum vending_outcome {
    VENDING_STARTED = OUTCOME_COMMON_COUNT,
    VENDING_BUSY,
    VENDING_SOLD,
    VENDING_REFUSED,
    VENDING_RESET,
    VENDING_IDLE,
    VENDING_LINE_FULL,
    VENDING_NONSENSE,
    VENDING_OTHER_STATUS,
    VENDING_SERVER_ERROR,
    VENDING_OUTCOME_END
};

enum vending_endpoint { VENDING_START_WORK, VENDING_CHOOSE_PRODUCT, VENDING_RESET_MACHINE };

extern const struct outcome vending_outcomes[];
extern const char *const vending_endpoints[];

/* A machine as it was given to a user; lease 0: the server told none. */
struct vending_lease {
    int64_t machine;
    int64_t lease;
};

/* These three read one answer; *judgement comes zeroed. *lease is set when it is VENDING_STARTED. */
void vending_judge_start(const struct reply *reply, struct judgement *judgement, struct vending_lease *lease);
void vending_judge_choice(
    const struct reply *reply, int64_t machine, int64_t product, struct judgement *judgement);
void vending_judge_reset(const struct reply *reply, struct judgement *judgement);

struct vending_item {
    int64_t id;
    int64_t stock; /* machines: 0 */
    bool is_ours;  /* named as a run names what it makes: "Machine 1", "Product 1" */
};

struct vending_items {
    struct vending_item *items; /* in order of id */
    size_t count;
};

/* The answer to GET /api/vending-machines or, has_stock, /api/products; to be given back with
 * vending_items_fini. False when it is not 200 with the list, or memory is out. */
bool vending_read_items(int status, struct slice body, bool has_stock, struct vending_items *items);
void vending_items_fini(struct vending_items *items);

/* The item, or NULL. */
struct vending_item *vending_find(const struct vending_items *items, int64_t id);

/* The id in an answer to POST /api/vending-machines or /api/products; false when it is not 201 with one. */
bool vending_read_made(int status, struct slice body, int64_t *id);

#endif
