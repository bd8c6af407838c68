/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the five-character codes of SQL (ISO 9075, PostgreSQL appendix A) mean to us: which kind of failure,
 * in which words, and what is to be done. Text only; any thread.
 */
#ifndef DOORBUSTER_BASE_SQLSTATE_H
#define DOORBUSTER_BASE_SQLSTATE_H

#include "base/err.h"
#include "base/strbuf.h"

enum { SQLSTATE_LEN = 5 };

struct sqlstate {
    struct slice code; /* all five characters, or the two of a class */
    enum err err;
    const char *what;   /* completes "cannot ...: " */
    const char *advice; /* what to do */
};

/* The nearest row; there is one for every code. */
const struct sqlstate *sqlstate_find(struct slice code);

/*
 * A server that refuses a connection leaves its code only in the text of the message, and there only when the
 * connection was set to be verbose: "FATAL:  28P01: password ...". *code becomes the last such code, *said
 * what follows it on its line. False: there is none.
 */
bool sqlstate_in(struct slice message, struct slice *code, struct slice *said);

/* What to do about a message of libpq that has no code: no server answered, or it was not even asked. */
const char *sqlstate_advice_without(const char *message);

/* The message as one line: blanks and line ends in a row become one blank, hints and places are left out. */
void sqlstate_put_line(struct strbuf *line, struct slice message);

#endif
