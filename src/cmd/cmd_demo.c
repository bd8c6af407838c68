/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `doorbuster demo`: the whole program shown on itself. Starts a server on a throw-away store, lets a crowd
 * rush it, audits the store while the server runs, stops the server, audits again. Every part is this binary
 * started once more under its own verb, as an operator would start it, so nothing is shown that a user cannot
 * have.
 *
 * The server tells when it is ready as it would tell systemd. It has a process group of its own: a Ctrl-C at
 * the terminal reaches the demo, which then stops the server once and in order. Whatever happens, the
 * directory goes; only after a failure it stays, because it is the evidence.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "cmd/cmd.h"
#include "cmd/process.h"

enum {
    READY_TIMEOUT_MS = 10000,
    PART_TIMEOUT_MS = 120000, /* a rush or an audit that takes longer hangs */
    STOP_TIMEOUT_MS = 15000,  /* more than the server's own drain time-out */
    ADMIN_KEY_BYTES = 16,
    PORT_TRIES = 3,
    DIRECTORY_SIZE = 1024,
    PATH_SIZE = DIRECTORY_SIZE + 16, /* the longest file name in it is rush.journal */
    KEEP_STOCK = 1000
};

#define RUSH_SKU "DEMO-RUSH"
#define KEEP_SKU "DEMO"

struct demo {
    struct params params;
    char directory[DIRECTORY_SIZE];
    char store_path[PATH_SIZE];
    char journal_path[PATH_SIZE];
    char log_path[PATH_SIZE];
    char notify_env[64];
    char admin_key[2 * ADMIN_KEY_BYTES + 1];
    char admin_key_env[64];
    char address[32]; /* HOST:PORT of the server */
    int port;
    int notify_fd;
    int signal_fd;
    struct process server;
    bool is_audited; /* once, in full words */
    int failures;
    int signal_number; /* that ended the demo early; 0: none */
};

/* --- the report --- */

/* A line of ours between those of the parts; flushed, so that they come in order. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    (void)putchar('\n');
    (void)fflush(stdout);
}

static void judge(struct demo *demo, bool is_good, const char *what)
{
    if (!is_good)
        demo->failures++;
    say("%s  %s", is_good ? "PASS" : "FAIL", what);
}

/* The end of the server's log, where it says why it does not run. */
static void show_log(const struct demo *demo)
{
    char text[4096];
    int fd = open(demo->log_path, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    off_t start = size > (off_t)sizeof text ? size - (off_t)sizeof text : 0;
    ssize_t len = fd < 0 ? 0 : pread(fd, text, sizeof text, start);
    if (fd >= 0)
        (void)close(fd);
    if (len > 0)
        say("what the server said:\n%.*s", (int)len, text);
}

/* --- the stage --- */

/* On a real disk where there is one: /tmp may be memory, which would flatter a durable store. */
static const char *stage_parent(void)
{
    const char *chosen = getenv("TMPDIR");
    if (chosen != NULL && *chosen != '\0')
        return chosen;
    return access("/var/tmp", W_OK) == 0 ? "/var/tmp" : "/tmp";
}

static enum err make_directory(struct demo *demo, struct error *error)
{
    const char *parent = stage_parent();
    int len = snprintf(demo->directory, sizeof demo->directory, "%s/doorbuster-demo-XXXXXX", parent);
    if (len >= (int)sizeof demo->directory)
        errno = ENAMETOOLONG;
    if (len >= (int)sizeof demo->directory || mkdtemp(demo->directory) == NULL) {
        demo->directory[0] = '\0';
        return error_set(error, ERR_IO,
            "cannot make a directory under %.200s: %s; set TMPDIR to one that is writable", parent,
            strerror(errno));
    }
    (void)snprintf(demo->store_path, sizeof demo->store_path, "%s/demo.db", demo->directory);
    (void)snprintf(demo->journal_path, sizeof demo->journal_path, "%s/rush.journal", demo->directory);
    (void)snprintf(demo->log_path, sizeof demo->log_path, "%s/server.log", demo->directory);
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
static enum err open_notify(struct demo *demo, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t size = sizeof address;
    demo->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (demo->notify_fd < 0 ||
        bind(demo->notify_fd, (struct sockaddr *)&address, sizeof address.sun_family) != 0 ||
        getsockname(demo->notify_fd, (struct sockaddr *)&address, &size) != 0)
        return error_set(error, ERR_IO, "cannot make a local socket: %s", strerror(errno));
    int name_len = (int)(size - offsetof(struct sockaddr_un, sun_path)) - 1;
    (void)snprintf(
        demo->notify_env, sizeof demo->notify_env, "NOTIFY_SOCKET=@%.*s", name_len, address.sun_path + 1);
    return ERR_NONE;
}

/* From here on SIGINT and SIGTERM are read, not suffered. */
static enum err open_signals(struct demo *demo, struct error *error)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    demo->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    return demo->signal_fd >= 0 ? ERR_NONE : error_set(error, ERR_IO, "signalfd: %s", strerror(errno));
}

static void take_signal(struct demo *demo)
{
    struct signalfd_siginfo info;
    if (read(demo->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        demo->signal_number = (int)info.ssi_signo;
}

static void make_key(struct demo *demo)
{
    unsigned char bytes[ADMIN_KEY_BYTES];
    int status = sodium_init();
    ENSURE(status >= 0);
    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2hex(demo->admin_key, sizeof demo->admin_key, bytes, sizeof bytes);
    (void)snprintf(
        demo->admin_key_env, sizeof demo->admin_key_env, "DOORBUSTER_ADMIN_KEY=%s", demo->admin_key);
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

static enum err spawn_server(struct demo *demo, struct error *error)
{
    demo->port = free_port();
    (void)snprintf(demo->address, sizeof demo->address, "127.0.0.1:%d", demo->port);
    int log_fd = open(demo->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        return error_set(error, ERR_IO, "cannot write %s: %s", demo->log_path, strerror(errno));
    const char *const argv[] = {
        "serve", "--listen", demo->address, "--store", demo->store_path, "--log-format", "text", NULL};
    struct process_spec spec = {.argv = argv,
        .environment = {demo->admin_key_env, demo->notify_env},
        .output_fd = log_fd,
        .has_own_group = true};
    enum err err = process_start(&demo->server, &spec, error);
    (void)close(log_fd);
    return err;
}

static bool is_ready_message(struct demo *demo)
{
    char text[256];
    ssize_t len = recv(demo->notify_fd, text, sizeof text - 1, 0);
    text[len > 0 ? len : 0] = '\0';
    return strncmp(text, "READY=1", 7) == 0;
}

/* True when the server serves; false when it ended before or says nothing. */
static bool await_ready(struct demo *demo)
{
    int exit_status;
    for (;;) {
        switch (
            process_wait(&demo->server, demo->notify_fd, demo->signal_fd, READY_TIMEOUT_MS, &exit_status)) {
        case PROCESS_READABLE:
            if (is_ready_message(demo))
                return true;
            break;
        case PROCESS_SIGNALLED:
            take_signal(demo);
            return false;
        case PROCESS_ENDED:
        case PROCESS_TIMED_OUT:
            return false;
        }
    }
}

static enum err start_server(struct demo *demo, struct error *error)
{
    int64_t began_ns = clock_mono_ns();
    for (int i = 0; i < PORT_TRIES && demo->signal_number == 0; i++) {
        enum err err = spawn_server(demo, error);
        if (err != ERR_NONE)
            return err;
        if (await_ready(demo)) {
            say("server: ready on http://%s after %lld ms, store %s", demo->address,
                (long long)(clock_mono_ns() - began_ns) / 1000000, demo->store_path);
            return ERR_NONE;
        }
        (void)process_stop(&demo->server, STOP_TIMEOUT_MS);
    }
    if (demo->signal_number == 0)
        show_log(demo);
    return error_set(error, ERR_ADDRESS, "the server did not become ready on %s", demo->address);
}

/* --- the parts --- */

/* Runs one verb to its end with our output; its exit status, or -1 when a signal or the clock ended it. */
static int run_part(struct demo *demo, const char *const *argv, struct error *error)
{
    struct process part;
    struct process_spec spec = {.argv = argv, .environment = {demo->admin_key_env}, .output_fd = -1};
    int exit_status = -1;
    if (process_start(&part, &spec, error) != ERR_NONE) {
        say("%s", error->message);
        return -1;
    }
    switch (process_wait(&part, -1, demo->signal_fd, PART_TIMEOUT_MS, &exit_status)) {
    case PROCESS_ENDED:
        return exit_status;
    case PROCESS_SIGNALLED:
        take_signal(demo);
        break;
    default:
        say("%s was not finished after %d s", argv[0], PART_TIMEOUT_MS / 1000);
        break;
    }
    (void)process_stop(&part, STOP_TIMEOUT_MS);
    return -1;
}

static void run_rush(struct demo *demo, struct error *error)
{
    char url[64], users[24], stock[24];
    (void)snprintf(url, sizeof url, "http://%s", demo->address);
    (void)snprintf(users, sizeof users, "%lld", (long long)demo->params.demo_users);
    (void)snprintf(stock, sizeof stock, "%lld", (long long)demo->params.demo_stock);
    const char *const argv[] = {"rush", "purchase-load", "--url", url, "--sku", RUSH_SKU, "--users", users,
        "--stock", stock, "--journal", demo->journal_path, NULL};
    say("\n-- rush: %s buyers at once for %s units", users, stock);
    judge(demo, run_part(demo, argv, error) == EXIT_WELL, "the crowd was served as promised");
}

/* `is_only_rush`: nobody but the rush has bought, so that the journal tells everything. */
static void run_verify(struct demo *demo, const char *when, bool is_only_rush, struct error *error)
{
    const char *argv[] = {
        "verify", "--store", demo->store_path, "--journal", demo->journal_path, NULL, NULL, NULL};
    int count = 5;
    char what[96];
    if (is_only_rush)
        argv[count++] = "--journal-complete";
    if (demo->is_audited)
        argv[count++] = "--quiet"; /* the invariants have been shown; now only what fails is news */
    demo->is_audited = true;
    (void)snprintf(what, sizeof what, "every invariant holds in the store %s", when);
    say("\n-- verify: the store %s", when);
    judge(demo, run_part(demo, argv, error) == EXIT_WELL, what);
}

static void stop_server(struct demo *demo)
{
    if (demo->server.pidfd < 0)
        return; /* it has ended by itself, which has been judged */
    int64_t began_ns = clock_mono_ns();
    int exit_status = process_stop(&demo->server, STOP_TIMEOUT_MS);
    char what[96];
    (void)snprintf(what, sizeof what, "the server stopped in order after SIGTERM (%lld ms, exit status %d)",
        (long long)(clock_mono_ns() - began_ns) / 1000000, exit_status);
    say("%s", "");
    judge(demo, exit_status == EXIT_WELL, what);
    if (exit_status != EXIT_WELL)
        show_log(demo);
}

/* --- --keep --- */

/* Sends one request and reads the beginning of its answer; the HTTP status, or -1. */
static int post(const struct demo *demo, const char *path, const char *body)
{
    char text[1024];
    struct sockaddr_in address = loopback(demo->port);
    struct timeval limit = {.tv_sec = 5};
    int status = -1;
    int len = snprintf(text, sizeof text,
        "POST %s HTTP/1.1\r\nHost: %s\r\nX-Admin-Key: %s\r\nContent-Type: application/json\r\n"
        "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
        path, demo->address, demo->admin_key, strlen(body), body);
    ENSURE(len > 0 && (size_t)len < sizeof text);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, text, (size_t)len, MSG_NOSIGNAL) == len) {
        ssize_t got = recv(fd, text, sizeof text - 1, MSG_WAITALL);
        int64_t number;
        if (got > 12 && slice_to_i64(slice_make(text + 9, 3), &number))
            status = (int)number;
    }
    (void)close(fd);
    return status;
}

/* A sale that runs for a day and has stock left, for whoever wants to try. */
static bool open_sale(const struct demo *demo)
{
    char body[256], start[CLOCK_ISO_LEN], end[CLOCK_ISO_LEN];
    int64_t now_ms = clock_wall_ms();
    clock_format_iso(now_ms - 60000, start);
    clock_format_iso(now_ms + 86400000, end);
    (void)snprintf(body, sizeof body,
        "{\"sku\":\"" KEEP_SKU
        "\",\"productName\":\"Try me\",\"initialStock\":%d,\"startTime\":\"%.*s\",\"endTime\":"
        "\"%.*s\"}",
        KEEP_STOCK, CLOCK_ISO_LEN, start, CLOCK_ISO_LEN, end);
    return post(demo, "/api/v1/products", body) == 201;
}

static void keep_serving(struct demo *demo)
{
    int exit_status;
    if (!open_sale(demo)) {
        judge(demo, false, "a sale to try by hand was put up");
        return;
    }
    say("\n-- your turn: %d units of " KEEP_SKU " are on sale on http://%s\n\n"
        "  curl 'http://%s/api/v1/sales?sku=" KEEP_SKU "'\n"
        "  curl http://%s/api/v1/purchases -H 'X-User-Id: me' -H 'Content-Type: application/json' "
        "-d '{\"sku\":\"" KEEP_SKU "\"}'\n"
        "  curl 'http://%s/api/v1/purchases?sku=" KEEP_SKU "' -H 'X-User-Id: me'\n\n"
        "The admin key is %s, the store %s.\nCtrl-C stops the server, audits once more and removes "
        "everything.",
        KEEP_STOCK, demo->address, demo->address, demo->address, demo->address, demo->admin_key,
        demo->store_path);
    if (process_wait(&demo->server, -1, demo->signal_fd, -1, &exit_status) == PROCESS_SIGNALLED)
        take_signal(demo);
    else
        judge(demo, false, "the server kept running");
    demo->signal_number = 0; /* the Ctrl-C was the answer to the line above */
}

/* --- the play --- */

static void play(struct demo *demo, struct error *error)
{
    run_rush(demo, error);
    if (demo->signal_number == 0)
        run_verify(demo, "under a running server", true, error);
    if (demo->signal_number == 0 && demo->params.keep)
        keep_serving(demo);
    stop_server(demo);
    if (demo->signal_number == 0)
        run_verify(demo, "at rest", !demo->params.keep, error);
}

static enum err set_stage(struct demo *demo, int argc, char **argv, struct error *error)
{
    enum err err = params_parse(&demo->params, VERB_DEMO, argc, argv, error);
    if (err == ERR_NONE && demo->params.demo_stock > demo->params.demo_users)
        err = error_set(error, ERR_USAGE,
            "--stock is %lld, expected at most --users (%lld), so that the sale sells "
            "out, for example --stock 100",
            (long long)demo->params.demo_stock, (long long)demo->params.demo_users);
    if (err == ERR_NONE)
        err = make_directory(demo, error);
    if (err == ERR_NONE)
        err = open_notify(demo, error);
    if (err == ERR_NONE)
        err = open_signals(demo, error);
    if (err == ERR_NONE)
        make_key(demo);
    return err;
}

static void clear_stage(struct demo *demo, bool is_evidence)
{
    if (demo->notify_fd >= 0)
        (void)close(demo->notify_fd);
    if (demo->signal_fd >= 0)
        (void)close(demo->signal_fd);
    if (demo->directory[0] != '\0' && is_evidence)
        say("The store, the journal and the server's log are left in %s", demo->directory);
    else if (demo->directory[0] != '\0')
        (void)nftw(demo->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    params_fini(&demo->params);
}

/* Ends as the signal would have ended it, so that a calling shell knows. */
static void die_of(int signal_number)
{
    sigset_t set;
    (void)signal(signal_number, SIG_DFL);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, signal_number);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    (void)raise(signal_number);
}

int cmd_demo(int argc, char **argv)
{
    struct demo demo = {.notify_fd = -1, .signal_fd = -1, .server = {.pidfd = -1}};
    struct error error = {0};
    enum err err = set_stage(&demo, argc, argv, &error);
    if (err == ERR_NONE)
        err = start_server(&demo, &error);
    if (err == ERR_NONE)
        play(&demo, &error);
    if (err == ERR_NONE && demo.signal_number == 0)
        say("\nverdict: %s, %s", demo.failures == 0 ? "PASS" : "FAIL",
            demo.failures == 0 ? "every unit was sold once, nobody bought twice, nothing was lost"
                               : "see what failed above");
    clear_stage(&demo, demo.failures > 0 && demo.signal_number == 0);
    if (demo.signal_number != 0)
        die_of(demo.signal_number);
    if (err != ERR_NONE)
        return cmd_fail(VERB_DEMO, &error);
    return demo.failures == 0 ? EXIT_WELL : EXIT_FAILED;
}
