/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a database is named on the command line, postgres://USER:PASSWORD@HOST:PORT/DATABASE?..., and how it
 * may be shown: whatever was typed, the password is in no message. Text only; any thread.
 */
#ifndef DOORBUSTER_BASE_DATABASE_URL_H
#define DOORBUSTER_BASE_DATABASE_URL_H

#include <stdbool.h>

#include "base/err.h"

enum { DATABASE_NAME_LEN_MAX = 256 };

/* postgres://... or postgresql://... rather than the path of a file. */
bool database_url_is(const char *text);

/*
 * Is the text the path of a file or the URL of a database, as --store takes it? ERR_USAGE when it is neither
 * but looks like a database that was named otherwise: another scheme, a URL mistyped, libpq's own "host=h
 * dbname=d". It must not become a new file of that name. What begins with /, ./ or ../ is a path whatever
 * follows. `name` is who says so, "--store"; the message does not repeat the text.
 */
MUST_CHECK enum err database_store_check(const char *text, const char *name, struct error *error);

/* Something like a URL or a password: not to be repeated in a message, wherever it was typed by mistake. */
bool database_may_be_secret(const char *text);

/* The text, or "(not shown)" when it may be a secret. */
const char *database_shown(const char *text);

/* The URL without its password and without parameters, cut to fit, with a NUL. */
void database_url_name(const char *url, char name[DATABASE_NAME_LEN_MAX]);

/* ERR_USAGE when it cannot be told for certain where the password ends: then it must not get as far as a
 * library that quotes what it does not understand. */
MUST_CHECK enum err database_url_check(const char *url, struct error *error);

#endif
