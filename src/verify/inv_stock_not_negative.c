/* SPDX-License-Identifier: Apache-2.0 */
/* Implied by no-oversell and stock-adds-up together; the guide asks for it by itself, and so do we. */
#include "verify/invariant.h"

const struct invariant inv_stock_not_negative = {
    .name = "stock-not-negative",
    .statement = "Stock never falls below 0.",
    .source = "stress-testing guide 3.4, 6; IM-3",
    .scope = INVARIANT_OF_PRODUCT,
    .claim = "SELECT stock >= 0, 'stock (' || stock || ') >= 0' FROM temp.audit WHERE product_id = :product",
    .witness = "SELECT product_id, 'product ' || product_id || ' ' || sku || ' has stock ' || stock "
               "FROM temp.audit "
               "WHERE product_id = :product",
};
