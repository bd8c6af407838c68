/* SPDX-License-Identifier: Apache-2.0 */
/* How claims speak of numbers. Any thread. */
#ifndef DOORBUSTER_VERIFY_WORDS_H
#define DOORBUSTER_VERIFY_WORDS_H

#include <sqlite3.h>

#include "base/err.h"

/*
 * SQL gets
 *
 *   audit_count(number, one, many)   "1 thing to do", "2 things to do"; NULL when the number is
 *   audit_coins(amount)              hundredths, a number or its decimal digits, as coins: "12.50", "-0.07";
 *                                    what is neither stays as it is
 */
MUST_CHECK enum err words_register(sqlite3 *db, struct error *error);

#endif
