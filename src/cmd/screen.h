/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few lines at the end of standard output that are drawn anew in place. A frame is written in one piece
 * over the last one, line by line, and nothing is cleared before, so that nothing flickers; what other parts
 * print comes below once the frame has been left.
 *
 * Only on a terminal that is wide and high enough and not "dumb". Elsewhere a screen shows nothing: its user
 * prints plain lines instead. NO_COLOR (not empty) leaves out the colours. Main thread.
 */
#ifndef DOORBUSTER_CMD_SCREEN_H
#define DOORBUSTER_CMD_SCREEN_H

#include "base/strbuf.h"

enum { SCREEN_WIDTH_MIN = 80, SCREEN_HEIGHT_MIN = 16 }; /* frames are narrower and lower */

enum screen_style { SCREEN_PLAIN, SCREEN_FAINT, SCREEN_GREEN, SCREEN_YELLOW, SCREEN_BOLD };

struct screen {
    bool is_live;
    bool has_color;
    int shown; /* lines of the last frame, which the next one overwrites */
};

void screen_open(struct screen *screen);

/* What switches to the style; empty without colours. */
const char *screen_style(const struct screen *screen, enum screen_style style);

/* Shows a frame, lines that end with LF. Does nothing unless the screen is live; when the terminal has become
 * too small, it is so no longer. */
void screen_show(struct screen *screen, struct slice frame);

/* The last frame stays as it is; what follows comes below. */
void screen_leave(struct screen *screen);

#endif
