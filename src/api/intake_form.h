/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What POST /api/orders is sent, checked and turned into what the rules ask for (intake contract). Net
 * threads.
 *
 * {"symbol": text, "side": "BUY"|"SELL", "order_type": "MARKET"|..., "quantity": number, "price": number,
 * "stop_price": number, "trailing_stop_pct": number, "iceberg_qty": number, "time_in_force": text}; the last
 * five may be left out or null. Numbers are above 0, have at most six decimal places and may be sent as
 * texts. Which of them go with which order_type is not looked at, as in the original. Other members are
 * ignored.
 */
#ifndef DOORBUSTER_API_INTAKE_FORM_H
#define DOORBUSTER_API_INTAKE_FORM_H

#include "core/intake.h"
#include "net/http_server.h"

/*
 * Fills in what PLACE asks for but for the account. The texts live as long as the request. False: the request
 * has been answered.
 */
MUST_CHECK bool intake_form_read(struct http_request *request, struct intake_request *order);

#endif
