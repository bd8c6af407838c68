/* SPDX-License-Identifier: Apache-2.0 */
/* Nothing is created and nothing lost on the way from one wallet to another. */
#include "verify/invariant.h"

const struct invariant inv_coins_issued = {
    .name = "coins-issued",
    .statement = "All coins that were issued are in a wallet or were spent.",
    .source = "marketplace contract (the sum over all accounts equals what was issued)",
    .scope = INVARIANT_OF_STORE,
    .claim =
        "SELECT adds_up, 'issued (' || audit_coins(issued) || ') = in wallets (' || audit_coins(held) || "
        "') + spent (' || audit_coins(spent) || ')' "
        "FROM temp.audit_coins",
    .witness =
        "SELECT 0, audit_coins(issued) || ' were issued, but ' || audit_coins(held) || ' are in wallets "
        "and ' || audit_coins(spent) || ' were spent' "
        "FROM temp.audit_coins WHERE NOT adds_up",
};
