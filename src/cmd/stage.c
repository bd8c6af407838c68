/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "cmd/cmd.h"

enum {
    READY_TIMEOUT_MS = 10000,
    PART_TIMEOUT_MS = 180000, /* a rush or an audit that takes longer hangs */
    STOP_TIMEOUT_MS = 15000,  /* more than the server's own drain time-out */
    ASK_TIMEOUT_S = 5,
    PAUSE_MS = 20,
    PORT_TRIES = 3,
    SHOWN_MAX = 16384 /* bytes */
};

/* --- the report --- */

void stage_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    (void)putchar('\n');
    (void)fflush(stdout);
}

void stage_judge(struct stage *stage, bool is_good, const char *format, ...)
{
    va_list args;
    if (!is_good)
        stage->failures++;
    (void)fputs(is_good ? "PASS  " : "FAIL  ", stdout);
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    stage_say("%s", "");
}

void stage_show(const char *path, const char *what)
{
    char text[SHOWN_MAX];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    off_t start = size > (off_t)sizeof text ? size - (off_t)sizeof text : 0;
    ssize_t len = fd < 0 ? 0 : pread(fd, text, sizeof text, start);
    if (fd >= 0)
        (void)close(fd);
    if (len > 0)
        stage_say("%s:\n%.*s", what, (int)len, text);
}

/* The end of the server's log, where it says why it does not run. */
static void show_log(const struct stage *stage)
{
    stage_show(stage->log_path, "what the server said");
}

/* --- the stage itself --- */

/* On a real disk where there is one: /tmp may be memory, which would flatter a durable store. */
static const char *parent_directory(void)
{
    const char *chosen = getenv("TMPDIR");
    if (chosen != NULL && *chosen != '\0')
        return chosen;
    return access("/var/tmp", W_OK) == 0 ? "/var/tmp" : "/tmp";
}

void stage_path(const struct stage *stage, const char *name, char path[STAGE_PATH_SIZE])
{
    int len = snprintf(path, STAGE_PATH_SIZE, "%s/%s", stage->directory, name);
    ENSURE(len > 0 && len < STAGE_PATH_SIZE);
}

static enum err make_directory(struct stage *stage, struct error *error)
{
    const char *parent = parent_directory();
    int len = snprintf(stage->directory, sizeof stage->directory, "%s/doorbuster-demo-XXXXXX", parent);
    if (len >= (int)sizeof stage->directory)
        errno = ENAMETOOLONG;
    if (len >= (int)sizeof stage->directory || mkdtemp(stage->directory) == NULL) {
        stage->directory[0] = '\0';
        return error_set(error, ERR_IO,
            "cannot make a directory under %.200s: %s; set TMPDIR to one that is writable", parent,
            strerror(errno));
    }
    stage_path(stage, "demo.db", stage->store_path);
    stage_path(stage, "server.log", stage->log_path);
    return ERR_NONE;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

/* Where the server says that it is ready; the kernel chooses a name in the abstract name space, which is no
 * file. */
static enum err open_notify(struct stage *stage, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t size = sizeof address;
    stage->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (stage->notify_fd < 0 ||
        bind(stage->notify_fd, (struct sockaddr *)&address, sizeof address.sun_family) != 0 ||
        getsockname(stage->notify_fd, (struct sockaddr *)&address, &size) != 0)
        return error_set(error, ERR_IO, "cannot make a local socket: %s", strerror(errno));
    int name_len = (int)(size - offsetof(struct sockaddr_un, sun_path)) - 1;
    (void)snprintf(
        stage->notify_env, sizeof stage->notify_env, "NOTIFY_SOCKET=@%.*s", name_len, address.sun_path + 1);
    return ERR_NONE;
}

/* From here on SIGINT and SIGTERM are read, not suffered. */
static enum err open_signals(struct stage *stage, struct error *error)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    stage->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    return stage->signal_fd >= 0 ? ERR_NONE : error_set(error, ERR_IO, "signalfd: %s", strerror(errno));
}

static void take_signal(struct stage *stage)
{
    struct signalfd_siginfo info;
    if (read(stage->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        stage->signal_number = (int)info.ssi_signo;
}

static void make_key(struct stage *stage)
{
    unsigned char bytes[STAGE_KEY_BYTES];
    int status = sodium_init();
    ENSURE(status >= 0);
    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2hex(stage->admin_key, sizeof stage->admin_key, bytes, sizeof bytes);
    (void)snprintf(
        stage->admin_key_env, sizeof stage->admin_key_env, "DOORBUSTER_ADMIN_KEY=%s", stage->admin_key);
}

enum err stage_open(struct stage *stage, struct error *error)
{
    *stage = (struct stage){.notify_fd = -1, .signal_fd = -1, .server = {.pidfd = -1}};
    enum err err = make_directory(stage, error);
    if (err == ERR_NONE)
        err = open_notify(stage, error);
    if (err == ERR_NONE)
        err = open_signals(stage, error);
    if (err == ERR_NONE)
        make_key(stage);
    return err;
}

void stage_close(struct stage *stage)
{
    ENSURE(stage->server.pidfd < 0);
    if (stage->notify_fd >= 0)
        (void)close(stage->notify_fd);
    if (stage->signal_fd >= 0)
        (void)close(stage->signal_fd);
    if (stage->directory[0] == '\0')
        return;
    if (stage->failures > 0 && stage->signal_number == 0)
        stage_say("The store, the journals and the server's log are left in %s", stage->directory);
    else
        (void)nftw(stage->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

bool stage_pause(struct stage *stage)
{
    struct pollfd fd = {stage->signal_fd, POLLIN, 0};
    if (poll(&fd, 1, PAUSE_MS) > 0)
        take_signal(stage);
    return stage->signal_number == 0;
}

/* --- the server --- */

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A port that nobody listens on now; somebody may be quicker, therefore the caller tries again. 0: none. */
static int free_port(void)
{
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_bound = fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 &&
                    getsockname(fd, (struct sockaddr *)&address, &size) == 0;
    if (fd >= 0)
        (void)close(fd);
    return is_bound ? ntohs(address.sin_port) : 0;
}

static enum err spawn_server(struct stage *stage, const char *const *flags, struct error *error)
{
    const char *argv[STAGE_FLAGS_MAX + 8] = {
        "serve", "--listen", stage->address, "--store", stage->store_path, "--log-format", "text"};
    for (size_t i = 0; flags[i] != NULL; i++) {
        ENSURE(i < STAGE_FLAGS_MAX);
        argv[7 + i] = flags[i];
    }
    if (!stage->has_served)
        stage->port = free_port();
    (void)snprintf(stage->address, sizeof stage->address, "127.0.0.1:%d", stage->port);
    int log_fd = open(stage->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        return error_set(error, ERR_IO, "cannot write %s: %s", stage->log_path, strerror(errno));
    struct process_spec spec = {.argv = argv,
        .environment = {stage->admin_key_env, stage->notify_env},
        .output_fd = log_fd,
        .has_own_group = true};
    enum err err = process_start(&stage->server, &spec, error);
    (void)close(log_fd);
    return err;
}

/* False also for what a server that was stopped before has left. */
static bool is_ready_message(struct stage *stage)
{
    char text[256];
    ssize_t len = recv(stage->notify_fd, text, sizeof text - 1, 0);
    text[len > 0 ? len : 0] = '\0';
    return strncmp(text, "READY=1", 7) == 0;
}

/* True when the server serves; false when it ended before or says nothing. */
static bool await_ready(struct stage *stage)
{
    int exit_status;
    for (;;) {
        switch (process_wait(
            &stage->server, stage->notify_fd, stage->signal_fd, READY_TIMEOUT_MS, &exit_status)) {
        case PROCESS_READABLE:
            if (is_ready_message(stage))
                return true;
            break;
        case PROCESS_SIGNALLED:
            take_signal(stage);
            return false;
        case PROCESS_ENDED:
        case PROCESS_TIMED_OUT:
            return false;
        }
    }
}

static void tell_ready(struct stage *stage, const char *const *flags, int64_t began_ns)
{
    (void)printf("server: ready on http://%s after %lld ms, store %s%s", stage->address,
        (long long)(clock_mono_ns() - began_ns) / 1000000, stage->store_path,
        flags[0] == NULL ? "" : "\nserver: with");
    for (size_t i = 0; flags[i] != NULL; i++)
        (void)printf(" %s", flags[i]);
    stage_say("%s", "");
}

enum err stage_start_server(struct stage *stage, const char *const *flags, struct error *error)
{
    int64_t began_ns = clock_mono_ns();
    for (int i = 0; i < PORT_TRIES && stage->signal_number == 0; i++) {
        enum err err = spawn_server(stage, flags, error);
        if (err != ERR_NONE)
            return err;
        if (await_ready(stage)) {
            stage->has_served = true;
            tell_ready(stage, flags, began_ns);
            return ERR_NONE;
        }
        (void)process_stop(&stage->server, STOP_TIMEOUT_MS);
    }
    if (stage->signal_number == 0)
        show_log(stage);
    return error_set(error, ERR_ADDRESS, "the server did not become ready on %s", stage->address);
}

void stage_stop_server(struct stage *stage, bool is_silent)
{
    if (stage->server.pidfd < 0)
        return; /* it has ended by itself, which has been judged */
    int64_t began_ns = clock_mono_ns();
    int exit_status = process_stop(&stage->server, STOP_TIMEOUT_MS);
    bool is_good = exit_status == 0;
    if (is_silent && is_good)
        return;
    stage_say("%s", "");
    stage_judge(stage, is_good, "the server stopped in order after SIGTERM (%lld ms, exit status %d)",
        (long long)(clock_mono_ns() - began_ns) / 1000000, exit_status);
    if (!is_good)
        show_log(stage);
}

void stage_kill_server(struct stage *stage)
{
    (void)process_kill(&stage->server);
}

bool stage_await_signal(struct stage *stage)
{
    int exit_status;
    if (process_wait(&stage->server, -1, stage->signal_fd, -1, &exit_status) != PROCESS_SIGNALLED)
        return false;
    take_signal(stage);
    stage->signal_number = 0;
    return true;
}

/* --- a request --- */

static bool exchange(int port, const char *request, size_t len, char *reply, size_t size, size_t *reply_len)
{
    struct sockaddr_in address = loopback(port);
    struct timeval limit = {.tv_sec = ASK_TIMEOUT_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ssize_t got = -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, request, len, MSG_NOSIGNAL) == (ssize_t)len)
        got = recv(fd, reply, size, MSG_WAITALL);
    (void)close(fd);
    *reply_len = got > 0 ? (size_t)got : 0;
    return got > 0;
}

int stage_ask(struct stage *stage, const char *method, const char *path, const char *body,
    char reply[STAGE_REPLY_SIZE], struct slice *reply_body)
{
    char request[1024];
    size_t got = 0;
    int64_t status;
    const char *content = body == NULL ? "" : body;
    int len = snprintf(request, sizeof request,
        "%s %s HTTP/1.1\r\nHost: %s\r\nX-Admin-Key: %s\r\nContent-Type: application/json\r\n"
        "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
        method, path, stage->address, stage->admin_key, strlen(content), content);
    ENSURE(len > 0 && (size_t)len < sizeof request);
    *reply_body = slice_make(reply, 0);
    if (!exchange(stage->port, request, (size_t)len, reply, STAGE_REPLY_SIZE - 1, &got))
        return -1;
    reply[got] = '\0';
    char *end = strstr(reply, "\r\n\r\n");
    if (end == NULL || got < 12 || !slice_to_i64(slice_make(reply + 9, 3), &status))
        return -1;
    *reply_body = slice_make(end + 4, got - (size_t)(end + 4 - reply));
    return (int)status;
}

/* --- other verbs --- */

bool stage_begin(struct stage *stage, struct process *part, const char *const *argv, const char *output_path)
{
    struct error error;
    struct process_spec spec = {.argv = argv, .environment = {stage->admin_key_env}, .output_fd = -1};
    if (output_path != NULL)
        spec.output_fd = open(output_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (output_path != NULL && spec.output_fd < 0) {
        stage_say("cannot write %s: %s", output_path, strerror(errno));
        return false;
    }
    enum err err = process_start(part, &spec, &error);
    if (spec.output_fd >= 0)
        (void)close(spec.output_fd);
    if (err != ERR_NONE)
        stage_say("%s", error.message);
    return err == ERR_NONE;
}

bool stage_await(struct stage *stage, struct process *part, int timeout_ms, int *exit_status)
{
    switch (process_wait(part, -1, stage->signal_fd, timeout_ms, exit_status)) {
    case PROCESS_ENDED:
        return true;
    case PROCESS_SIGNALLED:
        take_signal(stage);
        (void)process_stop(part, STOP_TIMEOUT_MS);
        *exit_status = -1;
        return true;
    default:
        return false;
    }
}

int stage_end(struct stage *stage, struct process *part, const char *name)
{
    int exit_status;
    if (stage_await(stage, part, PART_TIMEOUT_MS, &exit_status))
        return exit_status;
    stage_say("%s was not finished after %d s", name, PART_TIMEOUT_MS / 1000);
    (void)process_stop(part, STOP_TIMEOUT_MS);
    return -1;
}

int stage_run(struct stage *stage, const char *const *argv, const char *output_path)
{
    struct process part;
    return stage_begin(stage, &part, argv, output_path) ? stage_end(stage, &part, argv[0]) : -1;
}

/* --- the auditor --- */

int stage_run_audit(struct stage *stage, const struct stage_audit *audit, const char *output_path)
{
    const char *argv[3 + 2 * STAGE_JOURNALS_MAX + 3] = {"verify", "--store", stage->store_path};
    size_t count = 3;
    for (size_t i = 0; audit->journals[i] != NULL; i++) {
        ENSURE(i < STAGE_JOURNALS_MAX);
        argv[count++] = "--journal";
        argv[count++] = audit->journals[i];
    }
    if (audit->is_complete)
        argv[count++] = "--journal-complete";
    if (audit->is_quiet)
        argv[count++] = "--quiet";
    stage_say("\n-- verify: the store %s", audit->when);
    return stage_run(stage, argv, output_path);
}

bool stage_judge_audit(struct stage *stage, const struct stage_audit *audit, int exit_status)
{
    if (stage->signal_number != 0)
        return false;
    stage_judge(stage, exit_status == EXIT_WELL, "every invariant holds %s: %s", audit->when, audit->promise);
    return true;
}
