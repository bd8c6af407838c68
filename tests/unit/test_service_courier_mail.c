/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The courier and a mail server that plays every part: what is said between them, what each refusal and each
 * failure is called, and that a server which is slow to say goodbye holds nobody up.
 */
#include "service/courier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "courier_kit.h"
#include "scripted_peer.h"

/* What the server says; NULL: it says nothing any more. "": it closes. */
struct script {
    const char *greeting;
    const char *login;
    const char *sender;
    const char *recipient;
    const char *data;
    const char *end;
    const char *quit;
};

static const struct script polite = {
    .greeting = "220 mail.example ESMTP\r\n",
    .login = "235 welcome\r\n",
    .sender = "250 ok\r\n",
    .recipient = "250 ok\r\n",
    .data = "354 go ahead\r\n",
    .end = "250 queued as 17\r\n",
    .quit = "221 bye\r\n",
};

struct fixture {
    struct courier *courier;
    struct tally tally;
    struct peer peer;
    pthread_mutex_t lock; /* guards the rest: a goodbye may come when the next test has gone on */
    struct script script;
    char heard[16 * 1024];
};

static struct fixture fixture = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void set_script(struct script script)
{
    pthread_mutex_lock(&fixture.lock);
    fixture.script = script;
    pthread_mutex_unlock(&fixture.lock);
}

static struct script get_script(void)
{
    pthread_mutex_lock(&fixture.lock);
    struct script script = fixture.script;
    pthread_mutex_unlock(&fixture.lock);
    return script;
}

static bool has_heard(const char *text)
{
    pthread_mutex_lock(&fixture.lock);
    bool is_there = strstr(fixture.heard, text) != NULL;
    pthread_mutex_unlock(&fixture.lock);
    return is_there;
}

/* --- the server --- */

/* False: the conversation is over. */
static bool say(int fd, const char *text)
{
    if (text == NULL)
        peer_wait_end(fd);
    else if (text[0] != '\0')
        peer_send(fd, text);
    return text != NULL && text[0] != '\0';
}

static void note(const char *line)
{
    pthread_mutex_lock(&fixture.lock);
    size_t len = strlen(fixture.heard);
    ENSURE(len + strlen(line) < sizeof fixture.heard);
    memcpy(fixture.heard + len, line, strlen(line) + 1);
    pthread_mutex_unlock(&fixture.lock);
}

static const char *reply_to(const char *line)
{
    static const struct {
        const char *word;
        size_t offset;
    } replies[] = {
        {"AHVzZX", offsetof(struct script, login)}, /* "\0use" of "\0user..." */
        {"MAIL ", offsetof(struct script, sender)},
        {"RCPT ", offsetof(struct script, recipient)},
        {"DATA", offsetof(struct script, data)},
        {"QUIT", offsetof(struct script, quit)},
    };
    const struct script script = get_script();
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++)
        if (strncmp(line, replies[i].word, strlen(replies[i].word)) == 0)
            return *(const char *const *)(const void *)((const char *)&script + replies[i].offset);
    if (strncmp(line, "AUTH PLAIN", 10) == 0)
        return "334 \r\n";
    return strncmp(line, "EHLO", 4) == 0 ? "250-mail.example\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n"
                                         : "500 what?\r\n";
}

static void serve_mail(struct peer *peer, int fd, int nth)
{
    char line[4096];
    if (!say(fd, get_script().greeting))
        return;
    while (peer_read_until(fd, "\r\n", line, sizeof line)) {
        note(line);
        const char *reply = reply_to(line);
        if (!say(fd, reply))
            return;
        if (strncmp(reply, "354", 3) != 0)
            continue;
        if (!peer_read_until(fd, "\r\n.\r\n", line, sizeof line))
            return;
        note(line);
        if (!say(fd, get_script().end))
            return;
    }
}

/* Polite, but for this one line. */
static void set_line(size_t offset, const char *text)
{
    struct script script = polite;
    memcpy((char *)&script + offset, &text, sizeof text);
    set_script(script);
}

#define SAY(member, text) set_line(offsetof(struct script, member), (text))

/* --- the fixture --- */

static int begin(void **state)
{
    fixture.courier = make_courier();
    set_script(polite);
    fixture.heard[0] = '\0';
    tally_init(&fixture.tally);
    peer_start(&fixture.peer, serve_mail);
    return 0;
}

static int end(void **state)
{
    courier_stop(fixture.courier, 0);
    courier_destroy(fixture.courier);
    peer_stop(&fixture.peer);
    tally_fini(&fixture.tally);
    return 0;
}

static void on_mail_done(struct courier_mail *mail)
{
    tally_add(&fixture.tally);
}

static struct courier_mail make_mail(char *url, size_t url_size, const char *format)
{
    (void)snprintf(url, url_size, format, fixture.peer.port);
    return (struct courier_mail){
        .url = url,
        .from = "shop@example.com",
        .to = "ann@example.org",
        .message = SLICE("Subject: hello\r\n\r\nOne\r\n.\r\n..Three\r\n"),
        .connect_timeout_ms = CALL_TIMEOUT_MS,
        .timeout_ms = CALL_TIMEOUT_MS,
        .may_be_private = true,
        .on_done = on_mail_done,
    };
}

static struct courier_result run_mail(struct courier_mail *mail)
{
    int before = tally_count(&fixture.tally);
    courier_mail(fixture.courier, mail);
    tally_wait(&fixture.tally, before + 1);
    assert_true(mail->result.text[0] != '\0');
    return mail->result;
}

static struct courier_result send_to(const char *format, int timeout_ms)
{
    char url[256];
    struct courier_mail mail = make_mail(url, sizeof url, format);
    mail.timeout_ms = timeout_ms;
    return run_mail(&mail);
}

static struct courier_result send_one(void)
{
    return send_to("smtp://127.0.0.1:%d", CALL_TIMEOUT_MS);
}

/* --- what is said --- */

static void a_mail_is_handed_over(void **state)
{
    struct courier_result result = send_one();
    assert_int_equal(result.status, COURIER_ANSWERED);
    assert_int_equal(result.code, 250);
    assert_string_equal(result.text, "250 queued as 17");
    assert_true(result.duration_ns > 0);
    assert_true(has_heard("\r\nMAIL FROM:<shop@example.com>"));
    assert_true(has_heard("\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n"));
    assert_true(has_heard("\r\nSubject: hello\r\n\r\nOne\r\n..\r\n...Three\r\n.\r\n"));
}

static void a_connection_is_kept_for_the_next_mail(void **state)
{
    for (int i = 0; i < 3; i++)
        assert_int_equal(send_one().code, 250);
    assert_int_equal(atomic_load(&fixture.peer.connection_count), 1);
}

static void it_logs_in(void **state)
{
    assert_int_equal(send_to("smtp://user%%40x:pass%%2Fword@127.0.0.1:%d", CALL_TIMEOUT_MS).code, 250);
    assert_true(has_heard("\r\nAUTH PLAIN\r\nAHVzZXJAeABwYXNzL3dvcmQ=\r\n")); /* \0user@x\0pass/word */
}

/* The server offers no TLS; what it is called here is not known to be this machine. */
static void a_password_is_not_sent_without_tls(void **state)
{
    struct courier_result result = send_to("smtp://user:pass@[::ffff:127.0.0.1]:%d", CALL_TIMEOUT_MS);
    assert_int_equal(result.status, COURIER_NOT_REACHED);
    assert_false(has_heard("AUTH"));
    assert_false(has_heard("MAIL"));
}

/* --- refusals --- */

static void a_refusal_of_the_mail_is_an_answer(void **state)
{
    SAY(recipient, "550 5.1.1 nobody\x1b[31m here\r\n");
    struct courier_result result = send_one();
    assert_int_equal(result.status, COURIER_ANSWERED);
    assert_int_equal(result.code, 550);
    assert_string_equal(result.text, "550 5.1.1 nobody?[31m here");
    SAY(sender, "452-too much\r\n452 come back later\r\n");
    result = send_one();
    assert_int_equal(result.status, COURIER_ANSWERED);
    assert_int_equal(result.code, 452);
    assert_string_equal(result.text, "452 come back later");
    SAY(data, "451 not now\r\n");
    assert_int_equal(send_one().code, 451);
    SAY(end, "554 looks like spam\r\n");
    result = send_one();
    assert_int_equal(result.status, COURIER_ANSWERED);
    assert_int_equal(result.code, 554);
}

/* It says nothing about this mail, so it must not be taken for a refusal of it. */
static void a_server_that_takes_nobody_is_not_reached(void **state)
{
    SAY(greeting, "554 no service here\r\n");
    assert_int_equal(send_one().status, COURIER_NOT_REACHED);
    SAY(login, "535 wrong password\r\n");
    assert_int_equal(send_to("smtp://user:pass@127.0.0.1:%d", CALL_TIMEOUT_MS).status, COURIER_NOT_REACHED);
}

/* --- failures --- */

static void without_the_message_nothing_can_have_been_delivered(void **state)
{
    SAY(recipient, NULL);
    assert_int_equal(send_to("smtp://127.0.0.1:%d", 100).status, COURIER_NOT_REACHED);
    SAY(data, "");
    assert_int_equal(send_one().status, COURIER_NOT_REACHED);
}

static void silence_after_the_message_is_a_time_out(void **state)
{
    SAY(end, NULL);
    assert_int_equal(send_to("smtp://127.0.0.1:%d", 2000).status, COURIER_TIMED_OUT);
}

static void a_close_after_the_message_is_broken(void **state)
{
    SAY(end, "");
    assert_int_equal(send_one().status, COURIER_BROKEN);
}

/* --- a slow goodbye --- */

/* libcurl would wait two minutes for the answer to QUIT; the next mail is through long before. */
static void a_goodbye_that_is_not_answered_holds_up_nobody(void **state)
{
    struct script script = polite;
    script.quit = NULL;
    script.recipient = "550 nobody here\r\n";
    set_script(script);
    assert_int_equal(send_one().code, 550);
    assert_int_equal(send_one().code, 550);
    assert_int_equal(atomic_load(&fixture.peer.connection_count), 2);
    assert_true(has_heard("QUIT\r\n"));
}

static void nor_does_it_at_the_end(void **state)
{
    struct courier *courier = fixture.courier;
    SAY(quit, NULL);
    assert_int_equal(send_one().code, 250);
    int64_t from_ns = clock_mono_ns();
    courier_stop(courier, 0);
    courier_destroy(courier);
    const int64_t limit_ns = from_ns + 60LL * 1000000000;
    assert_true(clock_mono_ns() < limit_ns);
    while (!has_heard("QUIT\r\n")) /* it is said all the same */
        assert_true(clock_mono_ns() < limit_ns);
    fixture.courier = make_courier(); /* for the teardown */
}

/* --- what is not sent --- */

static void a_private_mail_server_has_to_be_allowed(void **state)
{
    char url[256];
    struct courier_mail mail = make_mail(url, sizeof url, "smtp://localhost:%d");
    mail.may_be_private = false;
    struct courier_result result = run_mail(&mail);
    assert_int_equal(result.status, COURIER_NOT_REACHED);
    assert_non_null(strstr(result.text, "private address"));
    assert_int_equal(atomic_load(&fixture.peer.connection_count), 0);
}

static void what_is_no_address_is_not_sent(void **state)
{
    char url[256];
    struct courier_mail mail = make_mail(url, sizeof url, "smtp://127.0.0.1:%d");
    mail.to = "ann@example.org>\r\nRCPT TO:<bob@example.org";
    assert_int_equal(run_mail(&mail).status, COURIER_NOT_REACHED);
    mail = make_mail(url, sizeof url, "smtp://127.0.0.1:%d");
    mail.from = "";
    assert_int_equal(run_mail(&mail).status, COURIER_NOT_REACHED);
    mail = make_mail(url, sizeof url, "http://127.0.0.1:%d");
    assert_int_equal(run_mail(&mail).status, COURIER_NOT_REACHED);
    assert_int_equal(atomic_load(&fixture.peer.connection_count), 0);
}

static void urls_of_mail_servers_are_told_from_others(void **state)
{
    struct error error;
    assert_int_equal(courier_check_mail_url("smtp://mail.example", &error), ERR_NONE);
    assert_int_equal(courier_check_mail_url("smtps://user:p%40ss@mail.example:4650/", &error), ERR_NONE);
    assert_int_equal(courier_check_mail_url("https://mail.example", &error), ERR_USAGE);
    assert_int_equal(courier_check_mail_url("mail.example:25", &error), ERR_USAGE);
    assert_non_null(strstr(error.message, "smtp://"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_mail_is_handed_over),
        TEST(a_connection_is_kept_for_the_next_mail),
        TEST(it_logs_in),
        TEST(a_password_is_not_sent_without_tls),
        TEST(a_refusal_of_the_mail_is_an_answer),
        TEST(a_server_that_takes_nobody_is_not_reached),
        TEST(without_the_message_nothing_can_have_been_delivered),
        TEST(silence_after_the_message_is_a_time_out),
        TEST(a_close_after_the_message_is_broken),
        TEST(a_goodbye_that_is_not_answered_holds_up_nobody),
        TEST(nor_does_it_at_the_end),
        TEST(a_private_mail_server_has_to_be_allowed),
        TEST(what_is_no_address_is_not_sent),
        TEST(urls_of_mail_servers_are_told_from_others),
    };
    return cmocka_run_group_tests_name("courier and mail", tests, NULL, NULL);
}
