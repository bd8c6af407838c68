/* SPDX-License-Identifier: Apache-2.0 */
/* E-mail addresses, as far as a program can tell them from other texts. Any thread. */
#ifndef DOORBUSTER_BASE_EMAIL_H
#define DOORBUSTER_BASE_EMAIL_H

#include "base/slice.h"

enum { EMAIL_LEN_MAX = 254 }; /* bytes: RFC 5321, 4.5.3.1.3, less the angle brackets */

/*
 * One address as a form of HTML takes it (HTML, "valid e-mail address"): ASCII letters, digits and the signs of
 * an atom, dots too, then @ and a name of hosts. No quotes, comments, blanks or line ends, so it can stand in a
 * header and on a command line of SMTP as it is.
 */
bool email_is_valid(struct slice text);

#endif
