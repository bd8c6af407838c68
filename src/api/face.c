/* SPDX-License-Identifier: Apache-2.0 */
#include "api/face.h"

const struct face *const faces[] = {
    &flash_sale_face,
    &orders_face,
    &intake_face,
    &market_face, /* before the vending face, whose /api/products/:id would take its lists */
    &vending_face,
    &ops_face,
};

const size_t face_count = sizeof faces / sizeof faces[0];
