/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What POST /orders/sync and /orders/async are sent, checked and turned into what the rules ask for
 * (core/order.h). The texts live in memory of the form's own, so an order that waits for its payment does not
 * need its request any more. Any thread.
 *
 * {"order_id": text, "customer_id": integer, "items": [{"product_id": text, "quantity": integer,
 * "price": number}, ...], "customer_email": text, "priority": integer}; the first and the last two may be
 * left out or null, order_id and customer_email may be empty, which is the same. "status" and "created_at"
 * may be sent as texts and are overwritten. Other members are ignored.
 *
 * Prices are kept to a millionth, exactly; what a client has reckoned in floating point and sends with more
 * digits than that is rounded, half away from zero. The total is rounded to cents once, half away from zero.
 */
#ifndef DOORBUSTER_API_ORDER_FORM_H
#define DOORBUSTER_API_ORDER_FORM_H

#include "base/err.h"
#include "base/id.h"
#include "base/strbuf.h"
#include "core/order.h"

enum { ORDER_ITEM_COUNT_MAX = 1000, ORDER_PRODUCT_ID_LEN_MAX = 255 /* bytes */ };

struct order_form {
    struct order_request request; /* is_sync and deadline_ms are the caller's to fill in */
    bool has_own_id;              /* the client has named it; else it is a new UUID */
    struct strbuf text;           /* holds the texts of `request` */
};

enum order_form_status {
    ORDER_FORM_OK,
    ORDER_FORM_MALFORMED, /* not JSON, or a member is missing or of the wrong type */
    ORDER_FORM_REFUSED,   /* `why` says what is wrong */
    ORDER_FORM_MEMORY,
};

/*
 * Reads a request's body. `ids` makes the id of an order without one, `currency` is what the provider is
 * told. `why` is for REFUSED, a sentence. order_form_fini afterwards, whatever the status.
 */
MUST_CHECK enum order_form_status order_form_read(struct order_form *form, struct slice body,
    struct id_source *ids, struct slice currency, struct strbuf *why);

/* Harmless on one of zeros. */
void order_form_fini(struct order_form *form);

#endif
