/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes an e-mail message: RFC 5322, plain text in UTF-8 (RFC 2045 quoted-printable), words in headers
 * encoded where they are not ASCII (RFC 2047). Nothing that a customer gives can become a header line. Any
 * thread; nothing blocks.
 */
#ifndef DOORBUSTER_SERVICE_MAIL_H
#define DOORBUSTER_SERVICE_MAIL_H

#include "base/err.h"
#include "base/slice.h"
#include "base/strbuf.h"

enum {
    MAIL_ADDRESS_MAX = 254, /* bytes: RFC 5321, section 4.5.3.1.3 */
    MAIL_SUBJECT_MAX = 500, /* bytes */
    MAIL_NAME_MAX = 100     /* bytes */
};

/*
 * An address alone, "local@domain": ASCII, no blanks, no quotes, no comment, no address literal, at most 64
 * bytes before the @ and MAIL_ADDRESS_MAX in all, a domain of at least one label. ERR_USAGE with a text.
 */
MUST_CHECK enum err mail_check_address(struct slice address, struct error *error);

struct mail {
    struct slice from;      /* addresses as above */
    struct slice from_name; /* who that is; empty: the address alone */
    struct slice to;
    struct slice
        id; /* left half of Message-ID: 1 to 64 of A-Z a-z 0-9 _ -; the same for every try of one message */
    int64_t date_ms;      /* since 1970 */
    struct slice subject; /* UTF-8, one line */
    struct slice text;    /* UTF-8; lines end with LF or CRLF */
};

/*
 * Appends the message, with CRLF. ERR_USAGE: an address, the name or the subject is not as above, has control
 * characters or is too long, or something is no UTF-8; ERR_MEMORY: the buffer has overflowed.
 */
MUST_CHECK enum err mail_put(struct strbuf *message, const struct mail *mail, struct error *error);

#endif
