/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only when the journals hold every request there was (--journal-complete). A lease gets its number from the
 * server, so one whose answer was lost has none in the journal: such leases can be counted only. Choices are
 * held against the lines by machine, product and units; see choices-acknowledged.
 */
#include "verify/invariant.h"

#define UNTOLD                                                                                \
    "l.id NOT IN (SELECT lease FROM temp.audit_vending_journal WHERE request = 'start-work' " \
    "AND outcome = 'acknowledged')"

#define ANSWERS_LOST \
    "(SELECT count(*) FROM temp.audit_vending_journal WHERE request = 'start-work' AND outcome = 'unknown')"

#define UNEXPLAINED                                                                                     \
    "SELECT s.machine_id, s.product_id, s.units, s.sold, ifnull(t.told, 0) AS told "                    \
    "FROM (SELECT machine_id, product_id, units, count(*) AS sold FROM temp.audit_choices "             \
    "GROUP BY machine_id, product_id, units) AS s "                                                     \
    "LEFT JOIN (SELECT machine, product, units, count(*) AS told FROM temp.audit_vending_journal "      \
    "WHERE request = 'choose-product' AND outcome <> 'refused' GROUP BY machine, product, units) AS t " \
    "ON t.machine = s.machine_id AND t.product = s.product_id AND t.units = s.units "                   \
    "WHERE s.sold > ifnull(t.told, 0)"

const struct invariant inv_vending_complete = {
    .name = "vending-complete",
    .statement =
        "No machine was given out and nothing was sold by one that nobody was told of, or may have been.",
    .source = "vending contract (a refusal changes nothing)",
    .scope = INVARIANT_OF_VENDING_COMPLETE,
    .claim = "SELECT untold <= lost AND unexplained = 0, audit_count(untold, 'lease that nobody was told "
             "of', 'leases that nobody was told of') || ', ' || audit_count(lost, "
             "'answer unknown', 'answers unknown') || '; ' || audit_count(unexplained, 'choice that the "
             "journals cannot explain', 'choices that the journals cannot explain') "
             "FROM (SELECT count(*) AS untold FROM temp.audit_all_leases AS l WHERE " UNTOLD ") "
             "CROSS JOIN (SELECT " ANSWERS_LOST " AS lost) "
             "CROSS JOIN (SELECT ifnull(sum(sold - told), 0) AS unexplained FROM (" UNEXPLAINED "))",
    .witness = "SELECT l.id, 'lease ' || l.id || ' of machine ' || l.machine_id || ' was never acknowledged' "
               "FROM temp.audit_all_leases AS l "
               "WHERE " UNTOLD " AND (SELECT count(*) FROM temp.audit_all_leases AS l WHERE " UNTOLD
               ") > " ANSWERS_LOST " "
               "UNION ALL "
               "SELECT machine_id, 'machine ' || machine_id || ' has sold ' || units || ' of product ' || "
               "product_id || ' in ' || sold || ' leases, but the journals know of ' || told "
               "FROM (" UNEXPLAINED ") "
               "ORDER BY 1",
};
