/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hands one request or mail to a courier and prints what became of it, "STATUS CODE TEXT": for tests whose
 * other side is written in Python (courier_probe_checks.py).
 *
 * usage: courier_probe CA_FILE|- post URL BODY
 *        courier_probe CA_FILE|- mail URL FROM NAME TO SUBJECT TEXT
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "service/courier.h"
#include "service/mail.h"

enum { TIMEOUT_MS = 60000, MESSAGE_MAX = 1 << 20 };

static const char *const statuses[] = {"answered", "not-reached", "timed-out", "broken"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t done = PTHREAD_COND_INITIALIZER;
static bool is_done;

static void tell(const struct courier_result *result)
{
    printf("%s %d %s\n", statuses[result->status], result->code, result->text);
    pthread_mutex_lock(&lock);
    is_done = true;
    pthread_cond_signal(&done);
    pthread_mutex_unlock(&lock);
}

static void wait_until_done(void)
{
    pthread_mutex_lock(&lock);
    while (!is_done)
        pthread_cond_wait(&done, &lock);
    pthread_mutex_unlock(&lock);
}

static void on_request_done(struct courier_request *request)
{
    tell(&request->result);
}

static void on_mail_done(struct courier_mail *mail)
{
    tell(&mail->result);
}

static void post(struct courier *courier, char **words)
{
    struct courier_request request = {
        .url = words[0],
        .body = slice_cstr(words[1]),
        .connect_timeout_ms = TIMEOUT_MS,
        .timeout_ms = TIMEOUT_MS,
        .may_be_private = true,
        .on_done = on_request_done,
    };
    courier_post(courier, &request);
    wait_until_done();
}

static void send_mail(struct courier *courier, char **words)
{
    const struct mail content = {
        .from = slice_cstr(words[1]),
        .from_name = slice_cstr(words[2]),
        .to = slice_cstr(words[3]),
        .id = SLICE("probe-1"),
        .date_ms = 1795218481620, /* 2026-11-20T23:48:01.620Z */
        .subject = slice_cstr(words[4]),
        .text = slice_cstr(words[5]),
    };
    struct strbuf message;
    struct error error;
    strbuf_init_heap(&message, MESSAGE_MAX);
    if (mail_put(&message, &content, &error) != ERR_NONE) {
        printf("no-mail 0 %s\n", error.message);
        strbuf_fini(&message);
        return;
    }
    struct courier_mail mail = {
        .url = words[0],
        .from = words[1],
        .to = words[3],
        .message = strbuf_slice(&message),
        .connect_timeout_ms = TIMEOUT_MS,
        .timeout_ms = TIMEOUT_MS,
        .may_be_private = true,
        .on_done = on_mail_done,
    };
    courier_mail(courier, &mail);
    wait_until_done();
    strbuf_fini(&message);
}

int main(int argc, char **argv)
{
    struct courier *courier;
    struct error error;
    bool is_post = argc == 5 && strcmp(argv[2], "post") == 0;
    bool is_mail = argc == 9 && strcmp(argv[2], "mail") == 0;
    if (!is_post && !is_mail) {
        fprintf(
            stderr, "usage: courier_probe CA_FILE|- post URL BODY | mail URL FROM NAME TO SUBJECT TEXT\n");
        return 2;
    }
    const struct courier_config config = {
        .connections_max = 10, .ca_file = strcmp(argv[1], "-") == 0 ? NULL : argv[1]};
    if (courier_create(&config, &courier, &error) != ERR_NONE) {
        fprintf(stderr, "%s\n", error.message);
        return 3;
    }
    if (is_post)
        post(courier, argv + 3);
    else
        send_mail(courier, argv + 3);
    courier_stop(courier, 0);
    courier_destroy(courier);
    return 0;
}
