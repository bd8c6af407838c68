/* SPDX-License-Identifier: Apache-2.0 */
/* The log: one line a message, in the chosen form, whatever the message holds. Standard error becomes a file
 * or a pipe here. */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/utf8.h"

enum { OUTPUT_MAX = 1 << 20 };

static char output[OUTPUT_MAX + 1];
static int saved_stderr = -1;
static FILE *capture;

static void begin_capture(void)
{
    capture = tmpfile();
    assert_non_null(capture);
    saved_stderr = dup(STDERR_FILENO);
    assert_true(saved_stderr >= 0);
    assert_true(dup2(fileno(capture), STDERR_FILENO) >= 0);
}

/* Everything that was written since, with a NUL at the end. */
static size_t end_capture(void)
{
    assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
    close(saved_stderr);
    rewind(capture);
    size_t len = fread(output, 1, OUTPUT_MAX, capture);
    output[len] = '\0';
    (void)fclose(capture);
    return len;
}

/* The rest of a JSON string after its opening quote, or NULL: a strict reader of what strings may hold. */
static const char *skip_string(const char *at)
{
    for (; *at != '"'; at++) {
        if ((unsigned char)*at < 0x20)
            return NULL;
        if (*at == '\\' && strchr("\"\\/bfnrtu", *++at) == NULL)
            return NULL;
    }
    return at + 1;
}

/* An object of four members with string values in this order, and the end of the line. Returns what follows.
 */
static const char *read_line(const char *at)
{
    static const char *const names[] = {
        "{\"timestamp\":\"", ",\"level\":\"", ",\"context\":\"", ",\"message\":\""};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(strncmp(at, names[i], strlen(names[i])), 0);
        at = skip_string(at + strlen(names[i]));
        assert_non_null(at);
    }
    assert_int_equal(strncmp(at, "}\n", 2), 0);
    return at + 2;
}

static void json_lines_parse_and_tell_the_time(void **state)
{
    (void)state;
    log_init(LOG_INFO, LOG_JSON);
    begin_capture();
    int64_t before_ms = clock_wall_ms();
    log_info("engine", "%d of %s", 3, "four");
    int64_t after_ms = clock_wall_ms();
    (void)end_capture();
    assert_int_equal(*read_line(output), '\0');
    assert_non_null(strstr(output, "\"level\":\"info\",\"context\":\"engine\",\"message\":\"3 of four\"}"));
    int64_t told_ms;
    assert_true(clock_parse_iso(slice_make(output + strlen("{\"timestamp\":\""), CLOCK_ISO_LEN), &told_ms));
    assert_true(told_ms >= before_ms && told_ms <= after_ms);
}

static void a_message_cannot_break_its_line(void **state)
{
    (void)state;
    log_init(LOG_INFO, LOG_JSON);
    begin_capture();
    log_warn("store", "%s", "a\"b\\c\nd\te\x01\xFF\xC3\xA4");
    (void)end_capture();
    assert_int_equal(*read_line(output), '\0');
    assert_non_null(strstr(output, "\"message\":\"a\\\"b\\\\c\\nd\\te\\u0001\xC3\xBF\xC3\xA4\""));
    assert_true(utf8_is_valid(slice_cstr(output)));
}

static void long_messages_are_cut_not_broken(void **state)
{
    char message[5000];
    (void)state;
    log_init(LOG_INFO, LOG_JSON);
    for (int c = 1; c < 256; c += 50) {
        memset(message, c, sizeof message);
        message[sizeof message - 1] = '\0';
        begin_capture();
        log_error("engine", "%s", message);
        size_t len = end_capture();
        assert_int_equal(*read_line(output), '\0');
        assert_true(len > 1000 && len < 7000);
    }
}

static void levels_below_the_chosen_one_are_silent(void **state)
{
    (void)state;
    for (int level = LOG_DEBUG; level <= LOG_ERROR; level++) {
        log_init((enum log_level)level, LOG_JSON);
        begin_capture();
        log_debug("x", "m");
        log_info("x", "m");
        log_warn("x", "m");
        log_error("x", "m");
        (void)end_capture();
        const char *at = output;
        for (int written = level; written <= LOG_ERROR; written++) {
            assert_true(log_is_on((enum log_level)written));
            at = read_line(at);
        }
        assert_int_equal(*at, '\0');
        assert_false(level > LOG_DEBUG && log_is_on((enum log_level)(level - 1)));
    }
}

static void text_for_people_is_one_line(void **state)
{
    (void)state;
    log_init(LOG_INFO, LOG_TEXT);
    begin_capture();
    log_warn("serve", "port %d is taken", 3000);
    (void)end_capture();
    assert_string_equal(output + 8, " warn  serve: port 3000 is taken\n");
    assert_true(output[2] == ':' && output[5] == ':');
    /* Where nobody sits, the automatic choice is JSON. */
    log_init(LOG_INFO, LOG_AUTO);
    begin_capture();
    log_info("serve", "hello");
    (void)end_capture();
    assert_int_equal(*read_line(output), '\0');
}

enum { WRITERS = 4, LINES_EACH = 200, WAIT_MS = 20000 };

static void *write_lines(void *argument)
{
    const char *name = argument;
    for (int i = 0; i < LINES_EACH; i++)
        log_info("engine", "%s%s%s %d", name, name, name, i);
    return NULL;
}

/* Reads from the pipe until so many lines have come. */
static void read_lines(int fd, int line_count)
{
    size_t len = 0;
    while (line_count > 0) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
        ssize_t count = read(fd, output + len, OUTPUT_MAX - len);
        assert_true(count > 0);
        for (ssize_t i = 0; i < count; i++)
            line_count -= output[len + (size_t)i] == '\n';
        len += (size_t)count;
    }
    output[len] = '\0';
}

static void lines_of_several_threads_never_mix(void **state)
{
    static char names[WRITERS][100];
    pthread_t threads[WRITERS];
    int pipe_fds[2];
    (void)state;
    log_init(LOG_INFO, LOG_JSON);
    assert_int_equal(pipe(pipe_fds), 0);
    saved_stderr = dup(STDERR_FILENO);
    assert_true(dup2(pipe_fds[1], STDERR_FILENO) >= 0);
    for (int i = 0; i < WRITERS; i++) {
        memset(names[i], 'a' + i, sizeof names[i] - 1);
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, names[i]), 0);
    }
    read_lines(pipe_fds[0], WRITERS * LINES_EACH);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
    close(saved_stderr);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    for (const char *at = output; *at != '\0';) {
        const char *message = strstr(at, "\"message\":\"") + strlen("\"message\":\"");
        assert_int_equal(strspn(message, (char[]){*message, '\0'}), 3 * (sizeof names[0] - 1));
        at = read_line(at);
    }
}

static void errors_carry_a_code_and_a_sentence(void **state)
{
    struct error error;
    char long_text[2000];
    (void)state;
    assert_int_equal(error_set(&error, ERR_FULL, "no room for %d bytes", 7), ERR_FULL);
    assert_int_equal(error.code, ERR_FULL);
    assert_string_equal(error.message, "no room for 7 bytes");
    assert_int_equal(error_set(NULL, ERR_IO, "nobody wants it"), ERR_IO);
    memset(long_text, 'x', sizeof long_text);
    long_text[sizeof long_text - 1] = '\0';
    assert_int_equal(error_set(&error, ERR_IO, "%s", long_text), ERR_IO);
    assert_int_equal(strlen(error.message), ERROR_MESSAGE_MAX - 1);
    for (int code = 0; code < ERR_COUNT; code++)
        assert_true(strlen(err_name((enum err)code)) > 0);
    assert_string_equal(err_name(ERR_COUNT), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_lines_parse_and_tell_the_time),
        cmocka_unit_test(a_message_cannot_break_its_line),
        cmocka_unit_test(long_messages_are_cut_not_broken),
        cmocka_unit_test(levels_below_the_chosen_one_are_silent),
        cmocka_unit_test(text_for_people_is_one_line),
        cmocka_unit_test(lines_of_several_threads_never_mix),
        cmocka_unit_test(errors_carry_a_code_and_a_sentence),
    };
    return cmocka_run_group_tests_name("base log", tests, NULL, NULL);
}
