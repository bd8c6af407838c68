/* SPDX-License-Identifier: Apache-2.0 */
/* Child processes: this program starts itself again, and the first argument says what the child does. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/process.h"

enum { LIMIT_MS = 20000 };

/* --- what a child does --- */

static int child(char **argv)
{
    if (strcmp(argv[1], "exit") == 0)
        return (int)strtol(argv[2], NULL, 10);
    if (strcmp(argv[1], "abort") == 0)
        return raise(SIGKILL);
    if (strcmp(argv[1], "print") == 0) {
        const char *value = getenv(argv[2]);
        (void)printf("%s=%s", argv[2], value == NULL ? "(none)" : value);
        return 0;
    }
    if (strcmp(argv[1], "stubborn") == 0)
        (void)signal(SIGTERM, SIG_IGN);
    (void)printf("here");
    (void)fflush(stdout);
    for (;;)
        (void)pause();
}

/* --- helpers --- */

static void start(struct process *process, const char *what, const char *argument, int output_fd)
{
    struct error error;
    const char *const argv[] = {what, argument, NULL};
    struct process_spec spec = {
        .argv = argv, .environment = {"DOORBUSTER_GIVEN=yes"}, .output_fd = output_fd};
    if (process_start(process, &spec, &error) != ERR_NONE)
        fail_msg("%s", error.message);
}

static int run(const char *what, const char *argument)
{
    struct process process;
    int exit_status = -1;
    start(&process, what, argument, -1);
    assert_int_equal(process_wait(&process, -1, -1, LIMIT_MS, &exit_status), PROCESS_ENDED);
    return exit_status;
}

static void assert_child_sees(const char *variable, const char *text)
{
    struct process process;
    char seen[128];
    int fds[2], exit_status = -1;
    assert_int_equal(pipe(fds), 0);
    start(&process, "print", variable, fds[1]);
    assert_int_equal(process_wait(&process, -1, -1, LIMIT_MS, &exit_status), PROCESS_ENDED);
    assert_int_equal(exit_status, 0);
    ssize_t len = read(fds[0], seen, sizeof seen - 1);
    assert_true(len > 0);
    seen[len] = '\0';
    assert_string_equal(seen, text);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* A child that waits for a signal, and has got so far that it does. */
static void start_waiting(struct process *process, const char *what)
{
    char text[4];
    int fds[2], exit_status;
    assert_int_equal(pipe(fds), 0);
    start(process, what, NULL, fds[1]);
    assert_int_equal(process_wait(process, fds[0], -1, LIMIT_MS, &exit_status), PROCESS_READABLE);
    assert_int_equal(read(fds[0], text, sizeof text), 4);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* --- tests --- */

static void the_exit_status_arrives(void **state)
{
    (void)state;
    assert_int_equal(run("exit", "0"), 0);
    assert_int_equal(run("exit", "3"), 3);
}

static void a_killed_child_is_no_success(void **state)
{
    (void)state;
    assert_int_equal(run("abort", NULL), 128 + SIGKILL);
}

static void a_child_sees_only_the_variables_it_is_given(void **state)
{
    (void)state;
    assert_int_equal(setenv("DOORBUSTER_STORE", "production.db", 1), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", "/run/notify", 1), 0);
    assert_int_equal(setenv("UNRELATED", "kept", 1), 0);
    assert_child_sees("DOORBUSTER_STORE", "DOORBUSTER_STORE=(none)");
    assert_child_sees("NOTIFY_SOCKET", "NOTIFY_SOCKET=(none)");
    assert_child_sees("DOORBUSTER_GIVEN", "DOORBUSTER_GIVEN=yes");
    assert_child_sees("UNRELATED", "UNRELATED=kept");
}

static void waiting_ends_with_its_time(void **state)
{
    struct process process;
    int exit_status;
    (void)state;
    start_waiting(&process, "wait");
    assert_int_equal(process_wait(&process, -1, -1, 20, &exit_status), PROCESS_TIMED_OUT);
    assert_int_equal(process_stop(&process, LIMIT_MS), 128 + SIGTERM);
}

static void a_child_that_will_not_end_is_killed(void **state)
{
    struct process process;
    (void)state;
    start_waiting(&process, "stubborn");
    assert_int_equal(process_stop(&process, 20), 128 + SIGKILL);
    assert_int_equal(process.pidfd, -1);
    assert_int_equal(process_stop(&process, 20), 0);
}

static void a_kill_does_not_ask(void **state)
{
    struct process process;
    (void)state;
    start_waiting(&process, "stubborn");
    assert_int_equal(process_kill(&process), 128 + SIGKILL);
    assert_int_equal(process.pidfd, -1);
    assert_int_equal(process_kill(&process), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_exit_status_arrives),
        cmocka_unit_test(a_killed_child_is_no_success),
        cmocka_unit_test(a_child_sees_only_the_variables_it_is_given),
        cmocka_unit_test(waiting_ends_with_its_time),
        cmocka_unit_test(a_child_that_will_not_end_is_killed),
        cmocka_unit_test(a_kill_does_not_ask),
    };
    return argc > 1 ? child(argv) : cmocka_run_group_tests(tests, NULL, NULL);
}
