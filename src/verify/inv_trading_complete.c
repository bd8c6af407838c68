/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only when the journals hold every attempt there was (--journal-complete). A trading order gets its name
 * from the server, so one whose answer was lost has none in the journal: they can be counted only.
 */
#include "verify/invariant.h"

#define UNTOLD                                                                        \
    "o.id NOT IN (SELECT number FROM temp.audit_order_journal WHERE face = 'intake' " \
    "AND outcome = 'acknowledged' AND number IS NOT NULL)"

const struct invariant inv_trading_complete = {
    .name = "trading-orders-complete",
    .statement = "No more trading orders are in the store than clients were told of, or may have been.",
    .source = "order intake contract (acknowledged = stored)",
    .scope = INVARIANT_OF_TRADING_COMPLETE,
    .claim = "SELECT untold <= unknown, audit_count(untold, 'trading order that nobody was told of', "
             "'trading orders that nobody was told of') || ', ' || audit_count(unknown, "
             "'answer unknown', 'answers unknown') "
             "FROM (SELECT count(*) AS untold FROM temp.audit_intake_orders AS o WHERE " UNTOLD ") "
             "CROSS JOIN (SELECT count(*) AS unknown FROM temp.audit_order_journal "
             "WHERE face = 'intake' AND outcome = 'unknown')",
    .witness = "SELECT o.id, 'trading order ' || o.id || ' was never acknowledged' "
               "FROM temp.audit_intake_orders AS o "
               "WHERE " UNTOLD " "
               "ORDER BY o.id",
};
