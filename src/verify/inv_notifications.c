/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A notification is either delivered or still to do, as the work with its id, which may be dead; so none is
 * ever forgotten. Which channels were configured when an order ended is not in the store: an order without
 * any notification breaks nothing that rows could prove.
 */
#include "verify/invariant.h"

#define AUDIT_NOTIFICATION                                                                               \
    "'notification ' || ifnull(n.id, 'without id') || ' (' || ifnull(n.channel, 'no channel') || ') of " \
    "order ' "                                                                                           \
    "|| ifnull(n.order_id, 'none')"

#define FAULT                                                                                              \
    "CASE "                                                                                                \
    "WHEN typeof(n.id) <> 'integer' OR n.id < 1 OR typeof(n.order_id) <> 'integer' "                       \
    "OR ifnull(n.channel, '') NOT IN ('webhook', 'email') "                                                \
    "OR ifnull(n.event, '') NOT IN ('order.completed', 'order.failed') OR typeof(n.created_at) <> "        \
    "'integer' OR typeof(n.delivered_at) NOT IN ('integer', 'null') THEN ' has a value that cannot be' "   \
    "WHEN o.id IS NULL THEN ', which does not exist' "                                                     \
    "WHEN n.event IS NOT 'order.' || o.status THEN ' tells ' || n.event || ', but the order is ' || "      \
    "o.status "                                                                                            \
    "WHEN n.channel = 'email' AND o.customer_email = '' THEN ' goes to nobody: the order has no address' " \
    "WHEN n.delivered_at < n.created_at - clock_doubt_ms THEN ' was delivered before it was made' "        \
    "WHEN n.delivered_at IS NULL AND w.id IS NULL THEN ' is neither delivered nor to do' "                 \
    "WHEN n.delivered_at IS NOT NULL AND w.id IS NOT NULL THEN ' is delivered and still to do' "           \
    "WHEN w.kind IS NOT n.channel AND w.id IS NOT NULL THEN ' is to do as ' || w.kind "                    \
    "WHEN w.id IS NOT NULL AND w.subject IS NOT CASE n.channel WHEN 'email' THEN o.customer_email "        \
    "ELSE o.order_id END THEN ' goes to \"' || w.subject || '\"' END"

#define FAULTS                                                                                             \
    "SELECT id, " AUDIT_NOTIFICATION " || fault AS fault "                                                 \
    "FROM (SELECT n.id, n.channel, n.order_id, " FAULT " AS fault "                                        \
    "FROM temp.audit_store CROSS JOIN temp.audit_notifications AS n "                                      \
    "LEFT JOIN temp.audit_orders AS o ON o.id = n.order_id "                                               \
    "LEFT JOIN temp.audit_work AS w ON w.id = n.id) AS n "                                                 \
    "WHERE fault IS NOT NULL "                                                                             \
    "UNION ALL "                                                                                           \
    "SELECT id, 'notification ' || id || ' is there ' || count(*) || ' times' "                            \
    "FROM temp.audit_notifications "                                                                       \
    "GROUP BY id HAVING count(*) > 1 "                                                                     \
    "UNION ALL "                                                                                           \
    "SELECT id_last, 'order ' || order_id || ' has ' || notifications || ' notifications by ' || channel " \
    "FROM temp.audit_notification_repeats "                                                                \
    "UNION ALL "                                                                                           \
    "SELECT n.id, " AUDIT_NOTIFICATION " || ' has the id of another order' "                               \
    "FROM temp.audit_notifications AS n JOIN temp.audit_orders AS o ON o.id = n.id "                       \
    "UNION ALL "                                                                                           \
    "SELECT w.id, 'work ' || w.id || ' of kind ' || w.kind || ' has no notification' "                     \
    "FROM temp.audit_work AS w LEFT JOIN temp.audit_notifications AS n ON n.id = w.id "                    \
    "WHERE w.kind IN ('webhook', 'email') AND n.id IS NULL"

const struct invariant inv_notifications = {
    .name = "notifications",
    .statement =
        "Every notification is of a completed or failed order, says so, is the only one by its channel, "
        "and is either delivered or still to do.",
    .source = "orders contract (Notifications)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT faults = 0, audit_count(notifications, 'notification', 'notifications') || ': ' || "
             "delivered || ' delivered, ' || "
             "(notifications - delivered) || ' to do or dead; ' || faults || ' not as they must be' "
             "FROM (SELECT count(*) AS notifications, count(delivered_at) AS delivered "
             "FROM temp.audit_notifications) "
             "CROSS JOIN (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
