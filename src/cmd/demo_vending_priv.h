/* SPDX-License-Identifier: Apache-2.0 */
/* What the acts of `doorbuster demo vending` share (demo_vending.c, demo_vending_kill.c). Main thread. */
#ifndef DOORBUSTER_CMD_DEMO_VENDING_PRIV_H
#define DOORBUSTER_CMD_DEMO_VENDING_PRIV_H

#include "cmd/board.h"
#include "cmd/params.h"

enum { VENDING_PATH_MAX = 128, VENDING_BODY_MAX = 160, VENDING_FLAG_SIZE = 24 };

struct vending_crowd {
    char journal_path[STAGE_PATH_SIZE];
    char report_path[STAGE_PATH_SIZE];
    char output_path[STAGE_PATH_SIZE];
};

struct vending_story {
    struct stage *stage;
    const struct params *params;
    struct error *error;
    struct board board;
    char url[64];
    struct vending_crowd ladder;
    struct vending_crowd line;
    char kill_journal_path[STAGE_PATH_SIZE];
    bool has_kill_journal;
};

/* A server whose machines dispense for so long. False: the error is set, or a signal came. */
bool vending_start(struct vending_story *story, int64_t dispense_ms);

/*
 * SIGKILL while machines dispense and people with tickets stand in line; then the rest of the line is served.
 * The demo is all of the users, and writes the journal that a crowd would. False: there is nothing left to
 * play on.
 */
bool vending_play_kill(struct vending_story *story);

#endif
