/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const names[ERR_COUNT] = {
    [ERR_NONE] = "no error",
    [ERR_USAGE] = "wrong usage",
    [ERR_MEMORY] = "no memory",
    [ERR_IO] = "input/output error",
    [ERR_FULL] = "disk full",
    [ERR_COMMIT_UNKNOWN] = "commit outcome unknown",
    [ERR_CORRUPT] = "store damaged",
    [ERR_NEWER] = "store too new",
    [ERR_LOCKED] = "store in use",
    [ERR_ADDRESS] = "address unusable",
    [ERR_REFUSED] = "refused",
    [ERR_TIMEOUT] = "timed out",
    [ERR_OLDER] = "store too old",
    [ERR_UNAVAILABLE] = "server unavailable",
    [ERR_CONFLICT] = "conflict",
};

enum err error_set(struct error *error, enum err code, const char *format, ...)
{
    if (error == NULL)
        return code;
    error->code = code;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    return code;
}

const char *err_name(enum err code)
{
    return code >= 0 && code < ERR_COUNT ? names[code] : "unknown error";
}
