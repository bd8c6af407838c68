/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a trading order is told outside, by the API and to the sink: one JSON object (intake contract). Rows
 * are known to clients by UUIDs made from their numbers (base/uuid.h). Any thread.
 */
#ifndef DOORBUSTER_SERVICE_INTAKE_TEXT_H
#define DOORBUSTER_SERVICE_INTAKE_TEXT_H

#include "base/strbuf.h"
#include "base/uuid.h"
#include "store/question.h"

struct intake_names {
    struct uuid_key orders;
    struct uuid_key accounts;
};

/* From the store's secret, STORE_SECRET_BYTES of it. */
void intake_names_init(struct intake_names *names, const unsigned char *secret);

/* "QUEUED", "EXECUTED", "CANCELLED". */
struct slice intake_status_name(enum intake_status status);
bool intake_status_from_name(struct slice name, enum intake_status *status);

void intake_put_uuid(struct strbuf *text, const struct uuid_key *key, int64_t number);

/* {"id":"...","user_id":"...","symbol":...,"updated_at":"..."} */
void intake_put_order(struct strbuf *text, const struct intake_names *names, const struct intake_row *order);

#endif
