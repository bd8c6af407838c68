/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an e-mail looks like on the wire, which addresses are taken, and that nothing a customer writes
 * becomes a header. That others can read it is tested with the parser of Python, in tests/api.
 */
#include "service/mail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct mail simple_mail(void)
{
    return (struct mail){
        .from = SLICE("shop@example.com"),
        .to = SLICE("ann@example.org"),
        .id = SLICE("order-17_done"),
        .date_ms = 1795218481620, /* 2026-11-20T23:48:01.620Z */
        .subject = SLICE("Your order"),
        .text = SLICE("Paid.\nThank you.\n"),
    };
}

static char memory[64 * 1024];

/* The message as a C string. */
static const char *written(const struct mail *mail)
{
    struct strbuf message;
    struct error error;
    strbuf_init(&message, memory, sizeof memory - 1);
    if (mail_put(&message, mail, &error) != ERR_NONE)
        fail_msg("%s", error.message);
    memory[message.len] = '\0';
    return memory;
}

static const char *body_of(const char *message)
{
    const char *body = strstr(message, "\r\n\r\n");
    assert_non_null(body);
    return body + 4;
}

/* RFC 5322, section 2.1.1, and RFC 2045, section 6.7: no bare CR or LF, no line over `len_max`, only ASCII.
 */
static void assert_lines(const char *text, size_t len_max)
{
    size_t len = 0;
    for (size_t i = 0; text[i] != '\0'; i++) {
        if (text[i] == '\r') {
            assert_true(text[i + 1] == '\n');
            assert_true(len <= len_max);
            len = 0;
            i++;
            continue;
        }
        assert_true(text[i] == '\t' || (text[i] >= ' ' && text[i] < 0x7f));
        len++;
    }
    assert_true(len == 0);
}

static void a_plain_mail_is_plain(void **state)
{
    const struct mail mail = simple_mail();
    assert_string_equal(written(&mail), "From: <shop@example.com>\r\n"
                                        "To: <ann@example.org>\r\n"
                                        "Date: Fri, 20 Nov 2026 23:48:01 +0000\r\n"
                                        "Message-ID: <order-17_done@example.com>\r\n"
                                        "Subject: Your order\r\n"
                                        "MIME-Version: 1.0\r\n"
                                        "Content-Type: text/plain; charset=utf-8\r\n"
                                        "Content-Transfer-Encoding: quoted-printable\r\n"
                                        "Auto-Submitted: auto-generated\r\n"
                                        "\r\n"
                                        "Paid.\r\n"
                                        "Thank you.\r\n");
}

static void a_name_is_quoted(void **state)
{
    struct mail mail = simple_mail();
    mail.from_name = SLICE("The \"Shop\" \\ Inc., Ltd.");
    assert_non_null(
        strstr(written(&mail), "From: \"The \\\"Shop\\\" \\\\ Inc., Ltd.\" <shop@example.com>\r\n"));
}

static void words_beyond_ascii_are_encoded(void **state)
{
    struct mail mail = simple_mail();
    mail.subject = SLICE("Gr\xc3\xbc\xc3\x9f"
                         "e");
    mail.from_name = SLICE("L\xc3\xa4"
                           "den");
    const char *message = written(&mail);
    assert_non_null(strstr(message, "\r\nSubject: =?UTF-8?B?R3LDvMOfZQ==?=\r\n"));
    assert_non_null(strstr(message, "From: =?UTF-8?B?TMOkZGVu?=\r\n <shop@example.com>\r\n"));
    mail.subject = SLICE("What =?UTF-8?B?eA==?= means");
    assert_non_null(
        strstr(written(&mail), "\r\nSubject: =?UTF-8?B?V2hhdCA9P1VURi04P0I/ZUE9PT89IG1lYW5z?=\r\n"));
}

/* Encoded words end between characters, so each can be read alone (RFC 2047, section 5). */
static void long_words_are_cut_between_characters(void **state)
{
    char subject[MAIL_SUBJECT_MAX];
    struct mail mail = simple_mail();
    for (size_t i = 0; i + 4 <= sizeof subject; i += 4)
        memcpy(subject + i, "\xf0\x9f\x8e\x89", 4);
    mail.subject = slice_make(subject, sizeof subject);
    const char *message = written(&mail);
    assert_lines(message, 76);
    /* 9 characters, 36 bytes, a word */
    assert_non_null(
        strstr(message, "Subject: =?UTF-8?B?8J+OifCfjonwn46J8J+OifCfjonwn46J8J+OifCfjonwn46J?=\r\n "));
    assert_int_equal(strstr(message, "\r\nMIME-Version") - strstr(message, "Subject: ") > 500, 1);
}

static void the_text_is_quoted_printable(void **state)
{
    static const struct {
        struct slice text;
        const char *body;
    } texts[] = {
        {SLICE_INIT(""), ""}, {SLICE_INIT("a"), "a\r\n"}, {SLICE_INIT("a\r\nb\n\nc"), "a\r\nb\r\n\r\nc\r\n"},
        {SLICE_INIT("1=1"), "1=3D1\r\n"},
        {SLICE_INIT("blank at the end \ntab\t\nin the middle"),
            "blank at the end=20\r\ntab=09\r\nin the middle\r\n"},
        {SLICE_INIT("\xe2\x82\xac 5"), "=E2=82=AC 5\r\n"}, {SLICE_INIT("a\rb\0c\x7f"), "a=0Db=00c=7F\r\n"},
        {SLICE_INIT(".\n..\n"), ".\r\n..\r\n"}, /* doubling of dots is the courier's */
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct mail mail = simple_mail();
        mail.text = texts[i].text;
        const char *message = written(&mail);
        assert_string_equal(body_of(message), texts[i].body);
        assert_lines(message, 76);
    }
}

static void long_lines_are_folded_and_unfold_to_the_same(void **state)
{
    char text[5000];
    struct mail mail = simple_mail();
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 7 == 3 ? ' ' : i % 11 == 5 ? '=' : (char)('a' + i % 26);
    mail.text = slice_make(text, sizeof text);
    const char *body = body_of(written(&mail));
    assert_lines(body, 76);
    size_t at = 0;
    while (strcmp(body, "\r\n") != 0) {
        if (strncmp(body, "=\r\n", 3) == 0) {
            body += 3;
            continue;
        }
        bool is_escape = body[0] == '=';
        if (is_escape)
            assert_memory_equal(body, "=3D", 3);
        assert_int_equal(is_escape ? '=' : body[0], text[at++]);
        body += is_escape ? 3 : 1;
    }
    assert_int_equal(at, sizeof text);
}

static void assert_refused(const struct mail *mail, const char *reason)
{
    struct strbuf message;
    struct error error;
    strbuf_init(&message, memory, sizeof memory);
    assert_int_equal(mail_put(&message, mail, &error), ERR_USAGE);
    if (strstr(error.message, reason) == NULL)
        fail_msg("refused with: %s", error.message);
    assert_int_equal(message.len, 0);
}

static void nothing_becomes_a_header(void **state)
{
    static const struct slice lines[] = {SLICE_INIT("a\r\nBcc: x@example.com"), SLICE_INIT("a\nb"),
        SLICE_INIT("a\rb"), SLICE_INIT("a\0b"), SLICE_INIT("a\tb"), SLICE_INIT("a\xff")};
    char much[MAIL_SUBJECT_MAX + 1];
    struct mail mail;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        mail = simple_mail();
        mail.subject = lines[i];
        assert_refused(&mail, "subject");
        mail = simple_mail();
        mail.from_name = lines[i];
        assert_refused(&mail, "name of the sender");
        mail = simple_mail();
        mail.id = lines[i];
        assert_refused(&mail, "id");
        mail = simple_mail();
        mail.to = lines[i];
        assert_refused(&mail, "no e-mail address");
    }
    memset(much, 'a', sizeof much);
    mail = simple_mail();
    mail.subject = slice_make(much, sizeof much);
    assert_refused(&mail, "longer than 500");
    mail = simple_mail();
    mail.text = SLICE("\xc3");
    assert_refused(&mail, "no UTF-8");
    mail = simple_mail();
    mail.id = SLICE("");
    assert_refused(&mail, "id");
}

static void a_buffer_that_is_too_small_is_said(void **state)
{
    const struct mail mail = simple_mail();
    struct strbuf message;
    struct error error;
    strbuf_init(&message, memory, 100);
    assert_int_equal(mail_put(&message, &mail, &error), ERR_MEMORY);
}

static void addresses_are_told_from_what_is_none(void **state)
{
    static const char *const good[] = {
        "a@b", "ann@example.com", "ann.lee+shop@mail.example.co.uk", "x_{}~!#@1-2.net", "1@123.example"};
    static const char *const bad[] = {"", "@", "a", "a@", "@b", "a b@c", "a@b c", "a@b@c", ".a@b", "a.@b",
        "a..b@c", "a@b.", "a@.b", "a@b..c", "a@-b", "a@b-", "a@b_c", "\"a b\"@c", "<a@b>", "Ann <a@b>",
        "a@[127.0.0.1]", "a@b\r\nRCPT TO:<x@y>", "a\n@b", "a,b@c", "a:b@c", "a;b@c", "a(c)@b",
        "gr\xc3\xbc\xc3\x9f@example.com", "a@m\xc3\xbcller.example"};
    struct error error;
    char address[MAIL_ADDRESS_MAX + 2];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (mail_check_address(slice_cstr(good[i]), &error) != ERR_NONE)
            fail_msg("%s is refused: %s", good[i], error.message);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (mail_check_address(slice_cstr(bad[i]), &error) != ERR_USAGE)
            fail_msg("\"%s\" is taken for an address", bad[i]);
    memset(address, 'a', sizeof address);
    for (size_t i = 64; i < sizeof address; i += 60)
        address[i] = i == 64 ? '@' : '.';
    assert_int_equal(mail_check_address(slice_make(address, MAIL_ADDRESS_MAX), &error), ERR_NONE);
    assert_int_equal(mail_check_address(slice_make(address, MAIL_ADDRESS_MAX + 1), &error), ERR_USAGE);
    memmove(address + 65, address + 64, 100);
    address[64] = 'a';
    assert_int_equal(mail_check_address(slice_make(address, 120), &error), ERR_USAGE); /* 65 before the @ */
}

#define X63 "abcdefghijklmnopqrstuvwxyz0123456789-abcdefghijklmnopqrstuvwxyz"

/* Whatever a form takes has to be what mail can be sent to: there is one check. */
static void addresses_at_the_limits_are_told_apart(void **state)
{
    static const char *const good[] = {
        "anna@example.com", "a@b", "A.b+c'd#1{}|~@1-2.EXAMPLE", X63 "a@" X63 "." X63};
    static const char *const bad[] = {"", "@", "anna", "@example.com", "anna@", "anna@.com", "anna@example.",
        "a b@c", "anna@exa mple.com", "anna@@example.com", "anna@b@c", "anna@-a.com", "anna@a-.com",
        "anna@a_b.com", "anna@a..b", "\"anna\"@a.com", "<anna@a.com>", "anna@a.com\r\nBcc: b@c",
        "\xc3\xa4@a.com", "anna@\xc3\xa4.com", X63 "ab@c", "a@" X63 "x", "a@" X63 "." X63 "." X63 "." X63,
        "anna@[127.0.0.1]", "anna@a.com, b@c", ".a..b.@c", ".a@c", "a.@c", "a..b@c"};
    struct error error;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (mail_check_address(slice_cstr(good[i]), &error) != ERR_NONE)
            fail_msg("%s is refused", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (mail_check_address(slice_cstr(bad[i]), &error) == ERR_NONE)
            fail_msg("%s is taken", bad[i]);
    }
    assert_int_equal(mail_check_address(slice_make("a\0@b", 4), &error), ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_mail_is_plain),
        cmocka_unit_test(a_name_is_quoted),
        cmocka_unit_test(words_beyond_ascii_are_encoded),
        cmocka_unit_test(long_words_are_cut_between_characters),
        cmocka_unit_test(the_text_is_quoted_printable),
        cmocka_unit_test(long_lines_are_folded_and_unfold_to_the_same),
        cmocka_unit_test(nothing_becomes_a_header),
        cmocka_unit_test(a_buffer_that_is_too_small_is_said),
        cmocka_unit_test(addresses_are_told_from_what_is_none),
        cmocka_unit_test(addresses_at_the_limits_are_told_apart),
    };
    return cmocka_run_group_tests_name("mail", tests, NULL, NULL);
}
