/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request or mail on its way, and the judgement of what became of it.
 *
 * Whether the other side may have acted is judged by what left this machine: of a request, any byte of it; of
 * a mail, any byte of the message after the server's go-ahead, for without the message nothing is delivered.
 * A refusal by the mail server is about this mail from MAIL FROM on; what it says before (busy, login
 * refused) is about the server, and the mail was not sent.
 *
 * Two things of libcurl are kept from holding up the thread. A look-up that is given up is left behind
 * (QUICK_EXIT) instead of waited for. And a mail connection that is closed after a refusal says QUIT and then
 * waits for the answer: once QUIT is sent, reading from that socket is shut, so that the answer is an end.
 */
#include "service/courier_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ensure.h"
#include "service/targets.h"

enum {
    IDLE_MAX = 256,               /* easy handles kept, about 6 KiB each */
    ANSWER_SEEN_MAX = 256 * 1024, /* bytes of an answer's body that are read at most */
    HEAD_SEEN_MAX = 64 * 1024,
    READ_BUFFER = 4 * 1024, /* bytes a transfer: ten thousand take 40 MiB */
    MS_PER_S = 1000,
};

/* --- the item behind it --- */

static struct courier_request *request_of(const struct courier_item *item)
{
    return CONTAINER_OF(item, struct courier_request, item);
}

static struct courier_mail *mail_of(const struct courier_item *item)
{
    return CONTAINER_OF(item, struct courier_mail, item);
}

static bool is_mail(const struct courier_transfer *transfer)
{
    return transfer->item->kind == COURIER_KIND_MAIL;
}

static struct courier_result *result_of(struct courier_item *item)
{
    return item->kind == COURIER_KIND_MAIL ? &mail_of(item)->result : &request_of(item)->result;
}

static bool may_be_private(const struct courier_item *item)
{
    return item->kind == COURIER_KIND_MAIL ? mail_of(item)->may_be_private : request_of(item)->may_be_private;
}

/* One line of printable ASCII; what the other side has said goes through here too. */
static void put_text(struct courier_result *result, const char *text)
{
    size_t len = 0;
    for (; text[len] != '\0' && len < sizeof result->text - 1; len++)
        result->text[len] = text[len] >= ' ' && text[len] < 0x7f ? text[len] : '?';
    while (len > 0 && (result->text[len - 1] == '.' || result->text[len - 1] == ' '))
        len--;
    result->text[len] = '\0';
}

void transfer_refuse(struct courier *courier, struct courier_item *item, const char *reason)
{
    struct courier_result *result = result_of(item);
    result->status = COURIER_NOT_REACHED;
    put_text(result, reason);
    courier_complete(courier, item);
}

/* --- libcurl's callbacks --- */

/* The first bytes are kept; beyond the bound the transfer is cut. */
static size_t on_answer(char *data, size_t size, size_t count, void *context)
{
    struct courier_transfer *transfer = context;
    struct courier_request *request = request_of(transfer->item);
    size_t len = size * count;
    transfer->answer_seen += len;
    if (request->answer != NULL) {
        size_t room = request->answer_size - request->result.answer_len;
        size_t kept = len < room ? len : room;
        memcpy(request->answer + request->result.answer_len, data, kept);
        request->result.answer_len += kept;
    }
    transfer->is_cut = transfer->answer_seen > ANSWER_SEEN_MAX;
    return transfer->is_cut ? 0 : len;
}

/* The mail server's last line, up to its answer to QUIT: that one is about nothing. */
static void keep_reply(struct courier_transfer *transfer, const char *data, size_t len)
{
    size_t kept = len < sizeof transfer->reply - 1 ? len : sizeof transfer->reply - 1;
    int64_t code;
    if (transfer->is_mail_over)
        return;
    while (kept > 0 && (data[kept - 1] == '\n' || data[kept - 1] == '\r'))
        kept--;
    memcpy(transfer->reply, data, kept);
    transfer->reply[kept] = '\0';
    transfer->reply_code = kept >= 3 && slice_to_i64(slice_make(data, 3), &code) ? (int)code : 0;
}

/* Header lines of an answer are counted. */
static size_t on_head(char *data, size_t size, size_t count, void *context)
{
    struct courier_transfer *transfer = context;
    size_t len = size * count;
    if (is_mail(transfer))
        keep_reply(transfer, data, len);
    transfer->head_seen += len;
    return transfer->head_seen > HEAD_SEEN_MAX ? 0 : len;
}

static size_t on_read(char *data, size_t size, size_t count, void *context)
{
    struct courier_transfer *transfer = context;
    struct slice message = mail_of(transfer->item)->message;
    size_t left = message.len - transfer->message_taken;
    size_t len = size * count < left ? size * count : left;
    if (len > 0)
        memcpy(data, message.base + transfer->message_taken, len);
    transfer->message_taken += len;
    return len;
}

/* Asked for of mail only: what is said to the server. */
static int on_debug(CURL *easy, curl_infotype type, char *data, size_t size, void *context)
{
    struct courier_transfer *transfer = context;
    struct slice text = slice_make(data, size);
    if (type != CURLINFO_HEADER_OUT)
        return 0;
    if (slice_starts_with(text, SLICE("MAIL ")))
        transfer->is_mail_begun = true;
    if (slice_starts_with(text, SLICE("QUIT")))
        transfer->is_mail_over = true;
    if (transfer->is_mail_over && transfer->socket != CURL_SOCKET_BAD)
        (void)shutdown(transfer->socket, SHUT_RD);
    return 0;
}

/* The address is the one that will be connected to: what the name said before does not matter. */
static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct courier_transfer *transfer = context;
    if (!may_be_private(transfer->item) && targets_is_private(&address->addr)) {
        transfer->is_target_refused = true;
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd >= 0 && is_mail(transfer))
        lane_keep_socket(transfer->lane, fd);
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* Of mail only; the connection may outlive the transfer that opened it. */
static int on_close(void *context, curl_socket_t socket)
{
    lane_drop_socket(context, socket);
    return close(socket);
}

/* --- options --- */

/* Sets one and remembers whether any has failed, which is for want of memory only. */
#define SET(transfer, option, value) \
    ((transfer)->has_failed |= curl_easy_setopt((transfer)->easy, option, value) != CURLE_OK)

static void add_line(struct courier_transfer *transfer, const char *line)
{
    struct curl_slist *lines = curl_slist_append(transfer->lines, line);
    transfer->has_failed |= lines == NULL;
    if (lines != NULL)
        transfer->lines = lines;
}

static void set_common(
    struct courier_transfer *transfer, const char *url, int connect_timeout_ms, int timeout_ms)
{
    SET(transfer, CURLOPT_PRIVATE, transfer);
    SET(transfer, CURLOPT_ERRORBUFFER, transfer->error);
    SET(transfer, CURLOPT_URL, url);
    SET(transfer, CURLOPT_NOSIGNAL, 1L);
    SET(transfer, CURLOPT_PROXY, "");
    SET(transfer, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_timeout_ms);
    SET(transfer, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    SET(transfer, CURLOPT_BUFFERSIZE, (long)READ_BUFFER);
    SET(transfer, CURLOPT_MAXAGE_CONN, (long)(transfer->courier->keep_idle_ms + MS_PER_S - 1) / MS_PER_S);
    SET(transfer, CURLOPT_SHARE, transfer->courier->names);
    SET(transfer, CURLOPT_OPENSOCKETFUNCTION, on_open);
    SET(transfer, CURLOPT_OPENSOCKETDATA, transfer);
    SET(transfer, CURLOPT_HEADERFUNCTION, on_head);
    SET(transfer, CURLOPT_HEADERDATA, transfer);
#if LIBCURL_VERSION_NUM >= 0x075700
    SET(transfer, CURLOPT_QUICK_EXIT, 1L);
#endif
    if (transfer->courier->ca_file != NULL)
        SET(transfer, CURLOPT_CAINFO, transfer->courier->ca_file);
}

static bool is_content_type(const char *line)
{
    struct slice rest;
    struct slice name = slice_split(slice_cstr(line), ':', &rest);
    return slice_eq_nocase(name, SLICE("content-type"));
}

static void set_request(struct courier_transfer *transfer, const struct courier_request *request)
{
    bool has_type = false;
    for (size_t i = 0; i < request->header_count; i++) {
        has_type = has_type || is_content_type(request->headers[i]);
        add_line(transfer, request->headers[i]);
    }
    if (!has_type)
        add_line(transfer, "Content-Type:"); /* none, rather than that of a form */
    add_line(transfer, "Expect:");           /* no asking for permission to send the body */
    set_common(transfer, request->url, request->connect_timeout_ms, request->timeout_ms);
    SET(transfer, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(transfer, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(transfer, CURLOPT_USERAGENT, "doorbuster/" DOORBUSTER_VERSION);
    SET(transfer, CURLOPT_HTTPHEADER, transfer->lines);
    SET(transfer, CURLOPT_POST, 1L);
    SET(transfer, CURLOPT_POSTFIELDS, request->body.len == 0 ? "" : request->body.base);
    SET(transfer, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
    SET(transfer, CURLOPT_WRITEFUNCTION, on_answer);
    SET(transfer, CURLOPT_WRITEDATA, transfer);
}

/*
 * TLS where the server offers it. A password is not sent without TLS, but to this machine, where there is
 * nobody in between, and where a certificate would be for another name.
 */
static void set_mail_tls(struct courier_transfer *transfer, const char *url)
{
    bool has_user = false;
    bool is_here = false;
    transfer->has_failed |= !courier_read_mail_url(url, &has_user, &is_here);
    SET(transfer, CURLOPT_USE_SSL, (long)(has_user && !is_here ? CURLUSESSL_ALL : CURLUSESSL_TRY));
    if (is_here) {
        SET(transfer, CURLOPT_SSL_VERIFYPEER, 0L);
        SET(transfer, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

static void set_mail(struct courier_transfer *transfer, const struct courier_mail *mail)
{
    add_line(transfer, mail->to);
    set_common(transfer, mail->url, mail->connect_timeout_ms, mail->timeout_ms);
    set_mail_tls(transfer, mail->url);
    SET(transfer, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    SET(transfer, CURLOPT_MAIL_FROM, mail->from);
    SET(transfer, CURLOPT_MAIL_RCPT, transfer->lines);
    SET(transfer, CURLOPT_UPLOAD, 1L);
    SET(transfer, CURLOPT_INFILESIZE_LARGE, (curl_off_t)mail->message.len);
    SET(transfer, CURLOPT_READFUNCTION, on_read);
    SET(transfer, CURLOPT_READDATA, transfer);
    SET(transfer, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    SET(transfer, CURLOPT_CLOSESOCKETDATA, transfer->lane);
    SET(transfer, CURLOPT_DEBUGFUNCTION, on_debug);
    SET(transfer, CURLOPT_DEBUGDATA, transfer);
    SET(transfer, CURLOPT_VERBOSE, 1L);
}

/* --- begin --- */

static struct courier_transfer *take_transfer(struct courier *courier)
{
    struct list *node = list_first(&courier->idle);
    if (node != NULL) {
        list_remove(node);
        courier->idle_count--;
        return CONTAINER_OF(node, struct courier_transfer, link);
    }
    struct courier_transfer *transfer = calloc(1, sizeof *transfer);
    if (transfer == NULL)
        return NULL;
    list_init(&transfer->link);
    transfer->courier = courier;
    transfer->easy = curl_easy_init();
    if (transfer->easy == NULL) {
        free(transfer);
        return NULL;
    }
    return transfer;
}

void transfer_destroy(struct courier_transfer *transfer)
{
    list_remove(&transfer->link);
    curl_easy_cleanup(transfer->easy);
    free(transfer);
}

static void put_transfer(struct courier_transfer *transfer)
{
    struct courier *courier = transfer->courier;
    CURL *easy = transfer->easy;
    curl_easy_reset(easy);
    curl_slist_free_all(transfer->lines);
    list_remove(&transfer->link);
    *transfer = (struct courier_transfer){.courier = courier, .easy = easy};
    list_init(&transfer->link);
    if (courier->idle_count == IDLE_MAX) {
        transfer_destroy(transfer);
        return;
    }
    list_prepend(&courier->idle, &transfer->link);
    courier->idle_count++;
}

/* False: no memory. */
static bool join_lane(struct courier_transfer *transfer)
{
    struct courier_item *item = transfer->item;
    size_t group = (is_mail(transfer) ? LANE_GROUP_MAIL : 0) + (may_be_private(item) ? 1 : 0);
    transfer->lane = lane_choose(transfer->courier, group);
    if (transfer->lane == NULL)
        return false;
    transfer->socket = CURL_SOCKET_BAD;
    if (is_mail(transfer))
        set_mail(transfer, mail_of(item));
    else
        set_request(transfer, request_of(item));
    if (transfer->has_failed || curl_multi_add_handle(transfer->lane->multi, transfer->easy) != CURLM_OK)
        return false;
    transfer->lane->transfer_count++;
    transfer->lane->is_unused = false;
    return true;
}

static enum err check_item(const struct courier_item *item, struct error *error)
{
    if (item->kind == COURIER_KIND_MAIL)
        return courier_check_mail(mail_of(item), error);
    return courier_check_request(request_of(item), error);
}

void transfer_start(struct courier *courier, struct courier_item *item)
{
    struct error error;
    if (check_item(item, &error) != ERR_NONE) {
        transfer_refuse(courier, item, error.message);
        return;
    }
    struct courier_transfer *transfer = take_transfer(courier);
    if (transfer == NULL) {
        transfer_refuse(courier, item, "not sent: no memory");
        return;
    }
    transfer->item = item;
    if (!join_lane(transfer)) {
        put_transfer(transfer);
        transfer_refuse(courier, item, "not sent: no memory");
        return;
    }
    list_append(&courier->running, &transfer->link);
}

/* --- end --- */

static int code_of(const struct courier_transfer *transfer)
{
    long code = 0;
    if (is_mail(transfer))
        return transfer->reply_code;
    (void)curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &code);
    return (int)code;
}

static bool is_sent(const struct courier_transfer *transfer)
{
    long head_len = 0;
    curl_off_t body_len = 0;
    (void)curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &head_len);
    (void)curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &body_len);
    return body_len > 0 || (is_mail(transfer) ? transfer->message_taken > 0 : head_len > 0);
}

static bool is_answered(const struct courier_transfer *transfer, CURLcode result)
{
    if (result == CURLE_OK)
        return true;
    if (is_mail(transfer))
        return transfer->is_mail_begun && result != CURLE_OPERATION_TIMEDOUT && code_of(transfer) >= 400;
    return transfer->is_cut;
}

static enum courier_status judge(const struct courier_transfer *transfer, CURLcode result)
{
    if (is_answered(transfer, result))
        return COURIER_ANSWERED;
    if (!is_sent(transfer))
        return COURIER_NOT_REACHED;
    return result == CURLE_OPERATION_TIMEDOUT ? COURIER_TIMED_OUT : COURIER_BROKEN;
}

static void tell_answer(struct courier_transfer *transfer, struct courier_result *result)
{
    curl_off_t retry_after_s = 0;
    result->code = code_of(transfer);
    if (is_mail(transfer)) {
        put_text(result, transfer->reply);
        return;
    }
    (void)snprintf(result->text, sizeof result->text, "answered %d", result->code);
    (void)curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
    if (retry_after_s > COURIER_RETRY_AFTER_MAX_S)
        retry_after_s = COURIER_RETRY_AFTER_MAX_S;
    result->retry_after_s = retry_after_s > 0 ? retry_after_s : 0; /* below: a date that has passed */
}

static void tell_failure(struct courier_transfer *transfer, struct courier_result *result, CURLcode code)
{
    if (transfer->is_target_refused && result->status == COURIER_NOT_REACHED)
        put_text(result, "the target has a private address, which this URL must not lead to");
    else
        put_text(result, transfer->error[0] != '\0' ? transfer->error : curl_easy_strerror(code));
}

/* on_done comes last: it may free the item, or stop the process. */
void transfer_end(struct courier_transfer *transfer, CURLcode code)
{
    struct courier *courier = transfer->courier;
    struct courier_item *item = transfer->item;
    struct courier_result *result = result_of(item);
    result->status = judge(transfer, code);
    if (result->status == COURIER_ANSWERED)
        tell_answer(transfer, result);
    else
        tell_failure(transfer, result, code);
    (void)curl_multi_remove_handle(transfer->lane->multi, transfer->easy);
    transfer->lane->transfer_count--;
    put_transfer(transfer);
    courier_complete(courier, item);
}

void transfer_abort(struct courier_transfer *transfer)
{
    (void)snprintf(transfer->error, sizeof transfer->error, "given up: the server is shutting down");
    transfer_end(transfer, CURLE_ABORTED_BY_CALLBACK);
}
