/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"

extern char **environ;

enum { ARGS_MAX = 32 };

static bool is_ours(const char *entry)
{
    return strncmp(entry, "DOORBUSTER_", 11) == 0 || strncmp(entry, "NOTIFY_SOCKET=", 14) == 0;
}

/* The caller's environment without our variables, and then the child's own; NULL when memory is out. */
static char **make_environment(const struct process_spec *spec)
{
    size_t count = 0, kept = 0;
    while (environ[count] != NULL)
        count++;
    char **result = calloc(count + PROCESS_ENV_MAX + 1, sizeof *result);
    if (result == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (!is_ours(environ[i]))
            result[kept++] = environ[i];
    for (size_t i = 0; spec->environment[i] != NULL; i++)
        result[kept++] = (char *)(uintptr_t)spec->environment[i];
    return result;
}

/* In the child; only calls that are safe between fork and exec. */
_Noreturn static void become(const struct process_spec *spec, char **argv, char **environment, pid_t parent)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent)
        _exit(3);
    if (spec->has_own_group)
        (void)setpgid(0, 0);
    if (spec->output_fd >= 0 &&
        (dup2(spec->output_fd, STDOUT_FILENO) < 0 || dup2(spec->output_fd, STDERR_FILENO) < 0))
        _exit(3);
    (void)execve("/proc/self/exe", argv, environment);
    _exit(3);
}

enum err process_start(struct process *process, const struct process_spec *spec, struct error *error)
{
    char name[] = "doorbuster";
    char *argv[ARGS_MAX + 2] = {name};
    for (int i = 0; spec->argv[i] != NULL; i++) {
        ENSURE(i < ARGS_MAX);
        argv[i + 1] = (char *)(uintptr_t)spec->argv[i];
    }
    char **environment = make_environment(spec);
    if (environment == NULL)
        return error_set(error, ERR_MEMORY, "no memory to start doorbuster %s", argv[1]);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become(spec, argv, environment, parent);
    free(environment);
    if (pid < 0)
        return error_set(error, ERR_MEMORY, "cannot start doorbuster %s: %s", argv[1], strerror(errno));
    process->pid = pid;
    process->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (process->pidfd >= 0)
        return ERR_NONE;
    enum err err = error_set(error, ERR_IO, "cannot watch doorbuster %s: %s (Linux 5.3 or later is needed)",
        argv[1], strerror(errno));
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    return err;
}

static int reap(struct process *process)
{
    int status = 0;
    pid_t pid = waitpid(process->pid, &status, 0);
    ENSURE(pid == process->pid);
    (void)close(process->pidfd);
    process->pidfd = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

enum process_event process_wait(
    struct process *process, int other_fd, int signal_fd, int timeout_ms, int *exit_status)
{
    struct pollfd fds[3] = {{signal_fd, POLLIN, 0}, {other_fd, POLLIN, 0}, {process->pidfd, POLLIN, 0}};
    int64_t end_ns = clock_mono_ns() + (int64_t)timeout_ms * 1000000;
    for (;;) {
        int64_t left_ms = timeout_ms < 0 ? -1 : (end_ns - clock_mono_ns() + 999999) / 1000000;
        if (timeout_ms >= 0 && left_ms < 0)
            left_ms = 0;
        int count = poll(fds, 3, (int)left_ms);
        if (count < 0) {
            ENSURE(errno == EINTR);
            continue;
        }
        if (count == 0)
            return PROCESS_TIMED_OUT;
        if (fds[0].revents != 0)
            return PROCESS_SIGNALLED;
        if (fds[1].revents != 0)
            return PROCESS_READABLE;
        *exit_status = reap(process);
        return PROCESS_ENDED;
    }
}

int process_stop(struct process *process, int timeout_ms)
{
    int exit_status = 0;
    if (process->pidfd < 0)
        return 0;
    (void)kill(process->pid, SIGTERM);
    if (process_wait(process, -1, -1, timeout_ms, &exit_status) != PROCESS_ENDED) {
        (void)kill(process->pid, SIGKILL);
        exit_status = reap(process);
    }
    return exit_status;
}

int process_kill(struct process *process)
{
    if (process->pidfd < 0)
        return 0;
    (void)kill(process->pid, SIGKILL);
    return reap(process);
}
