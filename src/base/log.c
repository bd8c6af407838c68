/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strbuf.h"

enum { MESSAGE_MAX = 1024, LINE_MAX_BYTES = 8 * MESSAGE_MAX };

static enum log_level minimum = LOG_INFO;
static enum log_format chosen = LOG_AUTO;

static const char *const names[] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARN] = "warn",
    [LOG_ERROR] = "error",
};

void log_init(enum log_level level_min, enum log_format format)
{
    minimum = level_min;
    chosen = format;
}

bool log_is_on(enum log_level level)
{
    return level >= minimum;
}

static bool is_text(void)
{
    return chosen == LOG_TEXT || (chosen == LOG_AUTO && isatty(STDERR_FILENO));
}

void log_write(enum log_level level, const char *context, const char *format, ...)
{
    if (!log_is_on(level))
        return;
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);

    char time[CLOCK_ISO_LEN];
    clock_format_iso(clock_wall_ms(), time);
    char memory[LINE_MAX_BYTES]; /* six bytes for each of the message at the worst, plus the frame */
    struct strbuf line;
    strbuf_init(&line, memory, sizeof memory);
    if (is_text()) {
        strbuf_printf(&line, "%.8s %-5s %s: %s\n", time + 11, names[level], context, message);
    } else {
        strbuf_printf(&line,
            "{\"timestamp\":\"%.*s\",\"level\":\"%s\",\"context\":\"%s\",\"message\":", CLOCK_ISO_LEN, time,
            names[level], context);
        strbuf_put_json(&line, slice_cstr(message));
        strbuf_lit(&line, "}\n");
    }
    ssize_t written = write(STDERR_FILENO, line.base, line.len);
    (void)written; /* a log that cannot be written must not stop the sale */
}
