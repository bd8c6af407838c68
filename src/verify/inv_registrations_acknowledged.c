/* SPDX-License-Identifier: Apache-2.0 */
/* Of many registrations of one key at once exactly one succeeds. */
#include "verify/invariant.h"

#define LINE "'journal ' || j.file || ', line ' || j.line || ': the key ' || j.key"

#define FAULTS                                                                                               \
    "SELECT j.id, " LINE " || CASE WHEN a.id IS NULL THEN ' has no account in the store' "                   \
    "ELSE ' has the address \"' || a.email || '\" in the store and not \"' || j.email || '\"' END AS fault " \
    "FROM temp.audit_market_journal AS j LEFT JOIN temp.audit_keys AS k ON k.key = j.key "                   \
    "LEFT JOIN temp.audit_accounts AS a ON a.id = k.account_id "                                             \
    "WHERE j.request = 'register' AND j.outcome = 'acknowledged' AND a.email_key IS NOT lower(j.email) "     \
    "UNION ALL "                                                                                             \
    "SELECT max(j.id), 'journal ' || j.file || ', line ' || j.line || ': the key ' || j.key || "             \
    "' was registered ' || count(*) || ' times' "                                                            \
    "FROM temp.audit_market_journal AS j WHERE j.request = 'register' AND j.outcome = 'acknowledged' "       \
    "GROUP BY j.key HAVING count(*) > 1"

const struct invariant inv_registrations_acknowledged = {
    .name = "registrations-acknowledged",
    .statement =
        "Every acknowledged registration is an account with that key and address, and no key has two.",
    .source = "marketplace contract (one success per duplicated registration)",
    .scope = INVARIANT_OF_MARKET,
    .claim = "SELECT faults = 0, told || ' acknowledged, ' || faults || ' not as told' "
             "FROM (SELECT count(*) AS told FROM temp.audit_market_journal "
             "WHERE request = 'register' AND outcome = 'acknowledged') "
             "CROSS JOIN (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
