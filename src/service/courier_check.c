/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether something can be sent as it is: URLs, header lines, addresses. What is refused here never gets near
 * a socket, so a text that a customer gave cannot become a header line or an SMTP command.
 */
#include "service/courier_priv.h"

#include "service/mail.h"

/* --- URLs --- */

/* The part's text, to be given back with curl_free; NULL when the URL has none. */
static char *url_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    return curl_url_get(url, part, &text, 0) == CURLUE_OK ? text : NULL;
}

static bool is_scheme(CURLU *url, const char *scheme_1, const char *scheme_2)
{
    char *scheme = url_part(url, CURLUPART_SCHEME);
    bool is_one = scheme != NULL && (strcmp(scheme, scheme_1) == 0 || strcmp(scheme, scheme_2) == 0);
    curl_free(scheme);
    return is_one;
}

/* The texts do not repeat the URL: there may be a password in it. */
static enum err check_url(const char *text, const char *scheme_1, const char *scheme_2, struct error *error)
{
    if (strlen(text) > COURIER_URL_LEN_MAX)
        return error_set(error, ERR_USAGE, "the URL is longer than %d bytes", COURIER_URL_LEN_MAX);
    CURLU *url = curl_url();
    if (url == NULL)
        return error_set(error, ERR_MEMORY, "no memory for a URL");
    enum err status = ERR_NONE;
    CURLUcode code = curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME);
    if (code != CURLUE_OK)
        status = error_set(
            error, ERR_USAGE, "this is no URL like %s://host/: %s", scheme_1, curl_url_strerror(code));
    else if (!is_scheme(url, scheme_1, scheme_2))
        status = error_set(error, ERR_USAGE, "the URL has to begin with %s:// or %s://", scheme_1, scheme_2);
    curl_url_cleanup(url);
    return status;
}

enum err courier_check_url(const char *url, struct error *error)
{
    return check_url(url, "https", "http", error);
}

enum err courier_check_mail_url(const char *url, struct error *error)
{
    return check_url(url, "smtp", "smtps", error);
}

static bool is_this_machine(const char *host)
{
    struct slice text = slice_cstr(host);
    return slice_eq_nocase(text, SLICE("localhost")) || slice_eq(text, SLICE("[::1]")) ||
           slice_starts_with(text, SLICE("127."));
}

bool courier_read_mail_url(const char *text, bool *has_user, bool *is_here)
{
    CURLU *url = curl_url();
    bool is_read = url != NULL && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK;
    if (is_read) {
        char *user = url_part(url, CURLUPART_USER);
        char *host = url_part(url, CURLUPART_HOST);
        *has_user = user != NULL;
        *is_here = host != NULL && is_this_machine(host);
        curl_free(user);
        curl_free(host);
    }
    curl_url_cleanup(url);
    return is_read;
}

/* --- header lines --- */

/* RFC 9110, section 5.6.2. */
static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* "Name: value", the value neither empty nor with control characters. */
static bool is_header_line(const char *line)
{
    const char *c = line;
    bool has_value = false;
    while (is_token_char(*c))
        c++;
    if (c == line || *c != ':')
        return false;
    for (c++; *c != '\0'; c++) {
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
            return false;
        has_value = has_value || (*c != ' ' && *c != '\t');
    }
    return has_value;
}

enum err courier_check_request(const struct courier_request *request, struct error *error)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (!is_header_line(request->headers[i]))
            return error_set(error, ERR_USAGE,
                "not sent: header line %zu is not of the form Name: value, or has control characters", i + 1);
    return courier_check_url(request->url, error);
}

enum err courier_check_mail(const struct courier_mail *mail, struct error *error)
{
    enum err status = mail_check_address(slice_cstr(mail->from), error);
    if (status == ERR_NONE)
        status = mail_check_address(slice_cstr(mail->to), error);
    if (status == ERR_NONE)
        status = courier_check_mail_url(mail->url, error);
    return status;
}
