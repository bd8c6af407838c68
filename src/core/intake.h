/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trading orders at full speed: taking one is appending a row. They have ids without gaps in order of
 * acceptance and are handed to the sink in that order, in ranges; so what has become of an order follows from
 * two numbers that stand for all of them:
 *
 *     id <= executed_id: the sink has acknowledged it, unless it was cancelled before
 *     id <= sent_id:     it may have reached the sink and can not be cancelled any more
 *     else:              queued
 *
 * A range that was sent and not acknowledged is sent again, the same one; cancelled orders are left out. Only
 * whether an order was cancelled is written to its row. The rules look at the two numbers alone, so no order
 * is kept in memory. With a shared store their row is locked for the batch, which puts the orders of all
 * nodes in one order. Engine thread.
 */
#ifndef DOORBUSTER_CORE_INTAKE_H
#define DOORBUSTER_CORE_INTAKE_H

#include "core/world.h"

enum intake_side { SIDE_BUY, SIDE_SELL };
enum intake_type { TYPE_MARKET, TYPE_LIMIT, TYPE_STOP, TYPE_TRAILING_STOP, TYPE_ICEBERG };
enum { INTAKE_SYMBOL_LEN_MAX = 64, INTAKE_TIME_IN_FORCE_LEN_MAX = 16, INTAKE_SCALE = 1000000 };

/* "BUY", ...; "MARKET", ...: on the wire and in the store. */
struct slice intake_side_name(enum intake_side side);
struct slice intake_type_name(enum intake_type type);
bool intake_side_from_name(struct slice name, enum intake_side *side);
bool intake_type_from_name(struct slice name, enum intake_type *type);

/* A number that may be left out, in units of 1/INTAKE_SCALE. */
struct optional_decimal {
    bool is_set;
    int64_t value;
};

/* What the INTAKE_ commands ask for, and for SEND the answer. */
struct intake_request {
    /* PLACE */
    int64_t account_id;
    struct slice symbol;
    enum intake_side side;
    enum intake_type type;
    int64_t quantity; /* 1/INTAKE_SCALE, > 0 */
    struct optional_decimal price;
    struct optional_decimal stop_price;
    struct optional_decimal trailing_stop_pct;
    struct optional_decimal iceberg_qty;
    struct slice time_in_force;
    /* CANCEL: an order that the caller has seen queued; EXECUTED: all up to it */
    int64_t id;
    /* SEND: at most so many; written: the range, empty (first_id > last_id) when nothing waits */
    int64_t count_max;
    int64_t first_id;
    int64_t last_id;
};

/* PLACE: OK, number is its id. CANCEL: OK, INTAKE_NOT_FOUND, INTAKE_SENT. SEND: OK. EXECUTED: OK, or
 * WORK_NOT_YOURS when another range is under way by now. False when memory is out. */
bool intake_place(struct world *world, struct command *command, int64_t now_ms);
bool intake_cancel(struct world *world, struct command *command, int64_t now_ms);
bool intake_send(struct world *world, struct command *command);
bool intake_executed(struct world *world, struct command *command, int64_t now_ms);

#endif
