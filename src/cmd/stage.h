/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a demo plays on: a throw-away directory with a store, a server on a port of the kernel's choice, and
 * other verbs that are run beside it. Every part is this binary started once more under its own verb, as an
 * operator would start it, so nothing is shown that a user cannot have.
 *
 * The server tells when it is ready as it would tell systemd. It has a process group of its own: a Ctrl-C at
 * the terminal reaches the demo, which then stops the server once and in order. Whatever happens, the
 * directory goes; only after a failure it stays, because it is the evidence. Main thread.
 */
#ifndef DOORBUSTER_CMD_STAGE_H
#define DOORBUSTER_CMD_STAGE_H

#include <stddef.h>

#include "base/err.h"
#include "cmd/process.h"

enum {
    STAGE_DIRECTORY_SIZE = 1024,
    STAGE_PATH_SIZE = STAGE_DIRECTORY_SIZE + 24, /* with the longest name of a file in it */
    STAGE_KEY_BYTES = 16,
    STAGE_JOURNALS_MAX = 4,
    STAGE_FLAGS_MAX = 16,    /* words beside those that every server gets */
    STAGE_REPLY_SIZE = 65536 /* all metrics fit */
};

struct stage {
    char directory[STAGE_DIRECTORY_SIZE];
    char store_path[STAGE_PATH_SIZE];
    char log_path[STAGE_PATH_SIZE];
    char notify_env[64];
    char admin_key[2 * STAGE_KEY_BYTES + 1];
    char admin_key_env[64];
    char address[32]; /* HOST:PORT of the server, the same after a restart */
    int port;
    int notify_fd;
    int signal_fd;
    struct process server;
    bool has_served;
    int failures;
    int signal_number; /* that ended the demo early; 0: none */
};

/* A line of ours between those of the parts; flushed, so that they come in order. */
__attribute__((format(printf, 1, 2))) void stage_say(const char *format, ...);

/* A line that says whether something held, and counts what did not. */
__attribute__((format(printf, 3, 4))) void stage_judge(
    struct stage *stage, bool is_good, const char *format, ...);

/* Makes the directory, and takes SIGINT and SIGTERM. stage_close after a failure too. */
MUST_CHECK enum err stage_open(struct stage *stage, struct error *error);

/* Removes the directory, unless something failed that was not judged because of a signal. The server must be
 * stopped. */
void stage_close(struct stage *stage);

/* The path of a file in the directory. */
void stage_path(const struct stage *stage, const char *name, char path[STAGE_PATH_SIZE]);

/* --- the server --- */

/* Starts it with the flags (NULL at the end) beside its address and store; returns when it serves. */
MUST_CHECK enum err stage_start_server(struct stage *stage, const char *const *flags, struct error *error);

/* Asks it to end and judges whether it did so in order; only a failure is told when it `is_silent`. */
void stage_stop_server(struct stage *stage, bool is_silent);

/* SIGKILL; the store and the port stay. */
void stage_kill_server(struct stage *stage);

/* Waits until the server ends or a signal comes; true for the signal, which is then forgotten. */
bool stage_await_signal(struct stage *stage);

/*
 * Sends one request as the admin, with a body unless it is NULL, and reads the whole answer into `reply`, cut
 * to its size. The HTTP status, or -1; *body becomes what follows the head.
 */
int stage_ask(struct stage *stage, const char *method, const char *path, const char *body,
    char reply[STAGE_REPLY_SIZE], struct slice *reply_body);

/* --- other verbs --- */

/*
 * Starts one verb (argv without the program's name, NULL at the end), with our output or into a file. False,
 * with a line that says why: it could not be started.
 */
bool stage_begin(struct stage *stage, struct process *part, const char *const *argv, const char *output_path);

/* Waits so long for its end. True: it has ended, with this exit status, or -1 when a signal ended it. */
bool stage_await(struct stage *stage, struct process *part, int timeout_ms, int *exit_status);

/* Waits for its end; its exit status, or -1 when a signal or the clock ended it. */
int stage_end(struct stage *stage, struct process *part, const char *name);

/* Both; -1 also when it could not be started. */
int stage_run(struct stage *stage, const char *const *argv, const char *output_path);

/* What the auditor is to look at, and how it is told. */
struct stage_audit {
    const char *journals[STAGE_JOURNALS_MAX + 1]; /* ended by NULL */
    const char *when;                             /* in words: "at rest" */
    const char *promise;                          /* in words: what that means; for stage_judge_audit */
    bool is_complete;                             /* nobody but the journals' crowds has come */
    bool is_quiet;
};

/* Runs the auditor over the store, with our output or into a file; its exit status as stage_run has it. */
int stage_run_audit(struct stage *stage, const struct stage_audit *audit, const char *output_path);

/* Judges this exit status, unless a signal has come, which is false then. */
bool stage_judge_audit(struct stage *stage, const struct stage_audit *audit, int exit_status);

/* Prints a file, the last 16 KiB of it. */
void stage_show(const char *path, const char *what);

/* Looks again after a moment; false when a signal has come meanwhile. */
bool stage_pause(struct stage *stage);

#endif
