/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's log on standard error: one JSON object a line ("timestamp", "level", "context", "message",
 * more members as given), or plain lines for a person at a terminal. Any thread; a line is one write, so
 * lines of several threads never mix. Secrets and request bodies are never logged.
 */
#ifndef DOORBUSTER_BASE_LOG_H
#define DOORBUSTER_BASE_LOG_H

#include "base/slice.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_format {
    LOG_AUTO, /* text when standard error is a terminal, else JSON */
    LOG_TEXT,
    LOG_JSON
};

/* Once, before other threads start. Until then: LOG_INFO, LOG_AUTO. */
void log_init(enum log_level level_min, enum log_format format);

bool log_is_on(enum log_level level);

/* `context` names the part of the house ("engine", "store"); the message is printf-like, one line, cut at 1
 * KiB. */
void log_write(enum log_level level, const char *context, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(context, ...) log_write(LOG_DEBUG, context, __VA_ARGS__)
#define log_info(context, ...) log_write(LOG_INFO, context, __VA_ARGS__)
#define log_warn(context, ...) log_write(LOG_WARN, context, __VA_ARGS__)
#define log_error(context, ...) log_write(LOG_ERROR, context, __VA_ARGS__)

#endif
