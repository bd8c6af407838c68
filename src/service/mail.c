/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header texts that are plain ASCII stand as they are; others become encoded words (RFC 2047) of at most 64
 * characters, cut between characters, each on a line of its own. The body is always quoted-printable: of
 * mostly ASCII text it stays readable, and no line is longer than 76, however long those of the text are.
 */
#include "service/mail.h"

#include <sodium.h>

#include "base/clock.h"
#include "base/utf8.h"

enum {
    LOCAL_MAX = 64, /* RFC 5321, section 4.5.3.1.1 */
    LABEL_MAX = 63,
    ID_MAX = 64,
    LINE_MAX_LEN = 76, /* of quoted-printable, without CRLF */
    WORD_BYTES = 39,   /* 52 characters of base64, 12 around them and "Subject: ": within 76 */
    PLAIN_MAX = 60     /* longer texts are encoded, so that no header line gets long */
};

static bool is_alnum(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* --- addresses --- */

/* RFC 5322 atext. */
static bool is_atom_char(char c)
{
    return is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* Atoms with single dots between them. */
static bool is_local_part(struct slice local)
{
    bool was_dot = true;
    for (size_t i = 0; i < local.len; i++) {
        bool is_dot = local.base[i] == '.';
        if (is_dot ? was_dot : !is_atom_char(local.base[i]))
            return false;
        was_dot = is_dot;
    }
    return !was_dot && local.len <= LOCAL_MAX;
}

static bool is_label(struct slice label)
{
    if (label.len < 1 || label.len > LABEL_MAX || label.base[0] == '-' || label.base[label.len - 1] == '-')
        return false;
    for (size_t i = 0; i < label.len; i++)
        if (!is_alnum(label.base[i]) && label.base[i] != '-')
            return false;
    return true;
}

/* slice_split cannot tell "a." from "a", so what the domain ends with is looked at first. */
static bool is_domain(struct slice domain)
{
    if (domain.len == 0 || domain.base[domain.len - 1] == '.')
        return false;
    while (domain.len > 0)
        if (!is_label(slice_split(domain, '.', &domain)))
            return false;
    return true;
}

enum err mail_check_address(struct slice address, struct error *error)
{
    struct slice domain;
    struct slice local = slice_split(address, '@', &domain);
    if (address.len > MAIL_ADDRESS_MAX)
        return error_set(
            error, ERR_USAGE, "an e-mail address has at most %d bytes; this one is longer", MAIL_ADDRESS_MAX);
    if (!is_local_part(local) || !is_domain(domain))
        return error_set(error, ERR_USAGE,
            "this is no e-mail address; expected name@example.com, in ASCII, without blanks, quotes or a "
            "comment");
    return ERR_NONE;
}

/* --- header lines --- */

/* UTF-8 in one line. */
static bool is_line(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.base[i] < ' ' || text.base[i] == 0x7f)
            return false;
    return utf8_is_valid(text);
}

/* "=?" would be taken for an encoded word. */
static bool is_plain(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        bool is_word = text.base[i] == '=' && i + 1 < text.len && text.base[i + 1] == '?';
        if ((unsigned char)text.base[i] >= 0x80 || is_word)
            return false;
    }
    return text.len <= PLAIN_MAX;
}

/* As many bytes of whole characters as one encoded word takes. */
static size_t word_len(struct slice text)
{
    size_t len = 0;
    while (len < text.len) {
        size_t char_len = utf8_char_len(slice_make(text.base + len, text.len - len));
        if (len + char_len > WORD_BYTES)
            break;
        len += char_len;
    }
    return len;
}

static void put_words(struct strbuf *message, struct slice text)
{
    char base64[sodium_base64_ENCODED_LEN(WORD_BYTES, sodium_base64_VARIANT_ORIGINAL)];
    for (bool is_first = true; text.len > 0; is_first = false) {
        size_t len = word_len(text);
        sodium_bin2base64(
            base64, sizeof base64, (const unsigned char *)text.base, len, sodium_base64_VARIANT_ORIGINAL);
        strbuf_printf(message, "%s=?UTF-8?B?%s?=", is_first ? "" : "\r\n ", base64);
        text = slice_make(text.base + len, text.len - len);
    }
}

static void put_words_or_plain(struct strbuf *message, struct slice text)
{
    if (is_plain(text))
        strbuf_put(message, text);
    else
        put_words(message, text);
}

/* A display name: quoted when it is ASCII. */
static void put_name(struct strbuf *message, struct slice name)
{
    if (!is_plain(name)) {
        put_words(message, name);
        strbuf_lit(message, "\r\n ");
        return;
    }
    strbuf_put_char(message, '"');
    for (size_t i = 0; i < name.len; i++) {
        if (name.base[i] == '"' || name.base[i] == '\\')
            strbuf_put_char(message, '\\');
        strbuf_put_char(message, name.base[i]);
    }
    strbuf_lit(message, "\" ");
}

static void put_head(struct strbuf *message, const struct mail *mail)
{
    char date[CLOCK_HTTP_LEN];
    struct slice domain;
    (void)slice_split(mail->from, '@', &domain);
    clock_format_http(mail->date_ms, date);
    strbuf_lit(message, "From: ");
    if (mail->from_name.len > 0)
        put_name(message, mail->from_name);
    strbuf_printf(message, "<%.*s>\r\nTo: <%.*s>\r\n", SLICE_ARGS(mail->from), SLICE_ARGS(mail->to));
    /* "GMT" is how HTTP writes the zone. */
    strbuf_printf(message, "Date: %.*s+0000\r\n", CLOCK_HTTP_LEN - 3, date);
    strbuf_printf(message, "Message-ID: <%.*s@%.*s>\r\nSubject: ", SLICE_ARGS(mail->id), SLICE_ARGS(domain));
    put_words_or_plain(message, mail->subject);
    strbuf_lit(message, "\r\nMIME-Version: 1.0\r\n"
                        "Content-Type: text/plain; charset=utf-8\r\n"
                        "Content-Transfer-Encoding: quoted-printable\r\n"
                        "Auto-Submitted: auto-generated\r\n"
                        "\r\n");
}

/* --- the text --- */

/* Encodes one byte; a soft line break goes before it when it and one more "=" would not fit. */
static void put_quoted(struct strbuf *message, unsigned char byte, bool is_last_of_line, size_t *column)
{
    static const char digits[] = "0123456789ABCDEF";
    bool is_blank = byte == ' ' || byte == '\t';
    bool is_literal = is_blank ? !is_last_of_line : byte > ' ' && byte < 0x7f && byte != '=';
    size_t width = is_literal ? 1 : 3;
    if (*column + width > LINE_MAX_LEN - 1) {
        strbuf_lit(message, "=\r\n");
        *column = 0;
    }
    if (is_literal) {
        strbuf_put_char(message, (char)byte);
    } else {
        strbuf_put_char(message, '=');
        strbuf_put_char(message, digits[byte >> 4]);
        strbuf_put_char(message, digits[byte & 0xf]);
    }
    *column += width;
}

static void put_line(struct strbuf *message, struct slice line)
{
    size_t column = 0;
    for (size_t i = 0; i < line.len; i++)
        put_quoted(message, (unsigned char)line.base[i], i + 1 == line.len, &column);
    strbuf_lit(message, "\r\n");
}

static void put_body(struct strbuf *message, struct slice text)
{
    while (text.len > 0) {
        struct slice line = slice_split(text, '\n', &text);
        if (line.len > 0 && line.base[line.len - 1] == '\r')
            line.len--;
        put_line(message, line);
    }
}

/* --- checks --- */

static bool is_id(struct slice id)
{
    for (size_t i = 0; i < id.len; i++)
        if (!is_alnum(id.base[i]) && id.base[i] != '_' && id.base[i] != '-')
            return false;
    return id.len >= 1 && id.len <= ID_MAX;
}

static enum err check_line(struct slice text, size_t len_max, const char *what, struct error *error)
{
    if (text.len > len_max)
        return error_set(error, ERR_USAGE, "the e-mail's %s is longer than %zu bytes", what, len_max);
    if (!is_line(text))
        return error_set(error, ERR_USAGE,
            "the e-mail's %s has control characters or is no UTF-8; expected one line", what);
    return ERR_NONE;
}

static enum err check(const struct mail *mail, struct error *error)
{
    enum err status = mail_check_address(mail->from, error);
    if (status == ERR_NONE)
        status = mail_check_address(mail->to, error);
    if (status == ERR_NONE)
        status = check_line(mail->from_name, MAIL_NAME_MAX, "name of the sender", error);
    if (status == ERR_NONE)
        status = check_line(mail->subject, MAIL_SUBJECT_MAX, "subject", error);
    if (status == ERR_NONE && !is_id(mail->id))
        status = error_set(error, ERR_USAGE, "the e-mail's id is not 1 to %d of A-Z a-z 0-9 _ -", ID_MAX);
    if (status == ERR_NONE && !utf8_is_valid(mail->text))
        status = error_set(error, ERR_USAGE, "the e-mail's text is no UTF-8");
    return status;
}

enum err mail_put(struct strbuf *message, const struct mail *mail, struct error *error)
{
    enum err status = check(mail, error);
    if (status != ERR_NONE)
        return status;
    put_head(message, mail);
    put_body(message, mail->text);
    if (message->has_overflowed)
        return error_set(error, ERR_MEMORY, "the e-mail is too long for its buffer, or memory is out");
    return ERR_NONE;
}
