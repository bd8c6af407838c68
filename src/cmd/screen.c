/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/screen.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/ensure.h"

enum { OUT_SIZE = 8192 };

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && *value != '\0';
}

/* Whether frames fit; wrapped lines could not be drawn over. */
static bool has_room(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= SCREEN_WIDTH_MIN &&
           size.ws_row >= SCREEN_HEIGHT_MIN;
}

void screen_open(struct screen *screen)
{
    const char *terminal = getenv("TERM");
    bool is_capable = terminal != NULL && *terminal != '\0' && strcmp(terminal, "dumb") != 0;
    *screen = (struct screen){
        .is_live = is_capable && isatty(STDOUT_FILENO) == 1 && has_room(), .has_color = !is_set("NO_COLOR")};
}

const char *screen_style(const struct screen *screen, enum screen_style style)
{
    static const char *const codes[] = {[SCREEN_PLAIN] = "\033[0m",
        [SCREEN_FAINT] = "\033[2m",
        [SCREEN_GREEN] = "\033[32m",
        [SCREEN_YELLOW] = "\033[33m",
        [SCREEN_BOLD] = "\033[1m"};
    return screen->has_color ? codes[style] : "";
}

/* A terminal that does not take it all at once is waited for; one that has gone is not. */
static void write_out(struct slice text)
{
    while (text.len > 0) {
        ssize_t written = write(STDOUT_FILENO, text.base, text.len);
        if (written < 0 && errno == EAGAIN)
            (void)poll(&(struct pollfd){STDOUT_FILENO, POLLOUT, 0}, 1, -1);
        if (written < 0 && errno != EAGAIN && errno != EINTR)
            return;
        if (written > 0)
            text = slice_make(text.base + written, text.len - (size_t)written);
    }
}

void screen_show(struct screen *screen, struct slice frame)
{
    char memory[OUT_SIZE];
    struct strbuf out;
    int lines = 0;
    screen->is_live = screen->is_live && has_room();
    if (!screen->is_live)
        return;
    strbuf_init(&out, memory, sizeof memory);
    if (screen->shown > 0)
        strbuf_printf(&out, "\r\033[%dA", screen->shown);
    while (frame.len > 0) {
        strbuf_put(&out, slice_split(frame, '\n', &frame));
        strbuf_lit(&out, "\033[K\n");
        lines++;
    }
    if (lines < screen->shown)
        strbuf_lit(&out, "\033[J");
    ENSURE(!out.has_overflowed && lines < SCREEN_HEIGHT_MIN);
    (void)fflush(stdout); /* what was printed before comes before */
    write_out(strbuf_slice(&out));
    screen->shown = lines;
}

void screen_leave(struct screen *screen)
{
    screen->shown = 0;
}
