/* SPDX-License-Identifier: Apache-2.0 */
/* See notifications.h. Jobs begin on the worker's thread and end on the courier's. */
#include "service/notifications.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "core/world_order.h"
#include "net/json.h"
#include "net/json_raw.h"
#include "service/mail.h"
#include "service/webhook.h"

enum {
    WEBHOOKS_IN_FLIGHT_MAX = 64,
    MAILS_IN_FLIGHT_MAX = 8,
    CONNECT_TIMEOUT_MS = 5000,
    TIMEOUT_MS = 10000,
    LEASE_MS = TIMEOUT_MS + 2000, /* after a crash nobody tries before it is over */
    MESSAGE_LEN_MAX = 16384,
    MS_PER_S = 1000,
    STATUS_GONE = 410,
};

static const int64_t delays_s[] = {5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400};
enum { DELAY_COUNT = sizeof delays_s / sizeof delays_s[0] };

struct notifications {
    struct notifications_config config;
    struct webhook_secret secret;
    struct courier *courier;
    atomic_uint_fast64_t delivered_total[2]; /* by enum channel */
    atomic_uint_fast64_t failed_total[2];    /* tries */
    atomic_uint_fast64_t dead_total[2];
};

/* One try. */
struct delivery {
    struct notifications *notifications;
    struct worker_job *job;
    enum channel channel;
    struct webhook_headers signature;
    const char *headers[WEBHOOK_HEADER_COUNT + 1];
    struct courier_request request;
    struct courier_mail mail;
    char *address; /* with a NUL */
    struct strbuf message;
};

enum err notifications_create(const struct notifications_config *config, struct courier *courier,
    struct notifications **out, struct error *error)
{
    struct notifications *notifications = calloc(1, sizeof *notifications);
    if (notifications == NULL)
        return error_set(error, ERR_MEMORY, "no memory for notifications");
    notifications->config = *config;
    notifications->courier = courier;
    enum err err = ERR_NONE;
    if (config->webhook_url != NULL)
        err = courier_check_url(config->webhook_url, error);
    if (err == ERR_NONE && config->webhook_url != NULL && config->webhook_secret == NULL)
        err = error_set(error, ERR_USAGE,
            "webhooks are signed, and there is no key: give --webhook-secret (whsec_ and 24 to 64 bytes in "
            "base64)");
    if (err == ERR_NONE && config->webhook_secret != NULL)
        err = webhook_secret_parse(slice_cstr(config->webhook_secret), &notifications->secret, error);
    if (err == ERR_NONE && config->smtp_url != NULL)
        err = courier_check_mail_url(config->smtp_url, error);
    if (err == ERR_NONE && config->smtp_url != NULL)
        err = mail_check_address(slice_cstr(config->mail_from), error);
    if (err != ERR_NONE) {
        free(notifications);
        return err;
    }
    *out = notifications;
    return ERR_NONE;
}

void notifications_destroy(struct notifications *notifications)
{
    free(notifications);
}

/* --- what came of a try --- */

static void delivery_free(struct delivery *delivery)
{
    if (delivery->channel == CHANNEL_EMAIL)
        strbuf_fini(&delivery->message);
    free(delivery->address);
    free(delivery);
}

static void count(atomic_uint_fast64_t *figure)
{
    atomic_fetch_add_explicit(figure, 1, memory_order_relaxed);
}

static void end_well(struct delivery *delivery)
{
    count(&delivery->notifications->delivered_total[delivery->channel]);
    worker_done(delivery->job, (struct worker_report){.verdict = WORKER_FINISHED});
    delivery_free(delivery);
}

static void give_up(
    struct notifications *notifications, enum channel channel, struct worker_job *job, const char *why)
{
    const struct work_item *item = &job->item;
    count(&notifications->dead_total[channel]);
    log_error("notifications", "%.*s %lld (%.*s) is a dead letter after %lld tries: %s",
        SLICE_ARGS(channel_name(channel)), (long long)item->id, SLICE_ARGS(item->subject),
        (long long)item->token, why);
    worker_done(job, (struct worker_report){.verdict = WORKER_DEAD});
}

/* The token counts the tries, this one too. */
static void end_badly(struct delivery *delivery, const struct courier_result *result, bool is_hopeless)
{
    struct notifications *notifications = delivery->notifications;
    const struct work_item *item = &delivery->job->item;
    if (is_hopeless || item->token > DELAY_COUNT) {
        give_up(notifications, delivery->channel, delivery->job, result->text);
    } else {
        int64_t delay_s = delays_s[item->token - 1];
        if (result->retry_after_s > delay_s)
            delay_s = result->retry_after_s;
        count(&notifications->failed_total[delivery->channel]);
        log_warn("notifications", "%.*s %lld (%.*s) was not delivered and is tried again in %lld s: %s",
            SLICE_ARGS(channel_name(delivery->channel)), (long long)item->id, SLICE_ARGS(item->subject),
            (long long)delay_s, result->text);
        worker_done(
            delivery->job, (struct worker_report){.verdict = WORKER_FAILED, .delay_ms = delay_s * MS_PER_S});
    }
    delivery_free(delivery);
}

static struct delivery *delivery_new(
    struct notifications *notifications, enum channel channel, struct worker_job *job)
{
    struct delivery *delivery = calloc(1, sizeof *delivery);
    if (delivery == NULL) {
        worker_done(job, (struct worker_report){.verdict = WORKER_FAILED});
        return NULL;
    }
    delivery->notifications = notifications;
    delivery->channel = channel;
    delivery->job = job;
    return delivery;
}

/* --- webhooks --- */

static void on_posted(struct courier_request *request)
{
    struct delivery *delivery = CONTAINER_OF(request, struct delivery, request);
    const struct courier_result *result = &request->result;
    if (result->status == COURIER_ANSWERED && result->code >= 200 && result->code < 300)
        end_well(delivery);
    else
        end_badly(delivery, result, result->code == STATUS_GONE);
}

static void run_webhook(struct worker_job *job, void *context)
{
    struct notifications *notifications = context;
    const struct work_item *item = &job->item;
    char id[32];
    struct delivery *delivery = delivery_new(notifications, CHANNEL_WEBHOOK, job);
    if (delivery == NULL)
        return;
    int len = snprintf(id, sizeof id, "ntf_%lld", (long long)item->id);
    webhook_sign(&notifications->secret, slice_make(id, (size_t)len), clock_wall_ms() / MS_PER_S, item->body,
        &delivery->signature);
    for (int i = 0; i < WEBHOOK_HEADER_COUNT; i++)
        delivery->headers[i] = delivery->signature.lines[i];
    delivery->headers[WEBHOOK_HEADER_COUNT] = "Content-Type: application/json";
    delivery->request = (struct courier_request){
        .url = notifications->config.webhook_url,
        .headers = delivery->headers,
        .header_count = WEBHOOK_HEADER_COUNT + 1,
        .body = item->body,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .timeout_ms = TIMEOUT_MS,
        .may_be_private = notifications->config.allows_private_targets,
        .on_done = on_posted,
    };
    courier_post(notifications->courier, &delivery->request);
}

/* --- e-mail --- */

static void on_mailed(struct courier_mail *mail)
{
    struct delivery *delivery = CONTAINER_OF(mail, struct delivery, mail);
    const struct courier_result *result = &mail->result;
    if (result->status == COURIER_ANSWERED && result->code >= 200 && result->code < 300)
        end_well(delivery);
    else
        end_badly(delivery, result, result->status == COURIER_ANSWERED && result->code >= 500);
}

static bool put_text(struct strbuf *subject, struct strbuf *text, struct slice order_id, struct slice status,
    struct slice amount)
{
    bool is_paid = slice_eq(status, order_status_name(ORDER_COMPLETED));
    strbuf_printf(
        subject, "Your order %.*s %s", SLICE_ARGS(order_id), is_paid ? "is paid" : "could not be paid");
    if (is_paid)
        strbuf_printf(text, "Thank you. Your payment of %.*s for order %.*s has arrived.\n",
            SLICE_ARGS(amount), SLICE_ARGS(order_id));
    else if (slice_eq(status, payment_outcome_name(PAYMENT_ABANDONED)))
        strbuf_printf(text,
            "The payment of %.*s for order %.*s was not confirmed to us, so the order is not valid and "
            "nothing will "
            "be sent. Please ask us whether you were charged before you order again.\n",
            SLICE_ARGS(amount), SLICE_ARGS(order_id));
    else
        strbuf_printf(text,
            "The payment of %.*s for order %.*s has failed, so the order is not valid and nothing will be "
            "sent. "
            "Please order again, perhaps with another means of payment.\n",
            SLICE_ARGS(amount), SLICE_ARGS(order_id));
    return !subject->has_overflowed && !text->has_overflowed;
}

/* An order id may hold what no header may: such a character is shown as a question mark. */
static struct slice make_printable(struct slice text, char *memory, size_t size)
{
    size_t len = text.len < size ? text.len : size;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text.base[i];
        memory[i] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    return slice_make(memory, len);
}

static enum err write_mail(struct delivery *delivery, struct slice order_id, struct slice status,
    struct slice amount, struct error *error)
{
    const struct work_item *item = &delivery->job->item;
    char subject_memory[MAIL_SUBJECT_MAX];
    char text_memory[1024];
    char name_memory[ORDER_ID_LEN_MAX];
    char id[32];
    struct strbuf subject;
    struct strbuf text;
    strbuf_init(&subject, subject_memory, sizeof subject_memory);
    strbuf_init(&text, text_memory, sizeof text_memory);
    struct slice name = make_printable(order_id, name_memory, sizeof name_memory);
    if (!put_text(&subject, &text, name, status, amount))
        return error_set(error, ERR_MEMORY, "the text of a mail is too long");
    int id_len = snprintf(id, sizeof id, "ntf-%lld", (long long)item->id);
    struct mail mail = {
        .from = slice_cstr(delivery->notifications->config.mail_from),
        .to = item->subject,
        .id = slice_make(id, (size_t)id_len),
        .date_ms = item->created_ms,
        .subject = strbuf_slice(&subject),
        .text = strbuf_slice(&text),
    };
    strbuf_init_heap(&delivery->message, MESSAGE_LEN_MAX);
    return mail_put(&delivery->message, &mail, error);
}

/* The event that a webhook would have carried (core/order.h). */
static enum err read_event_and_write(struct delivery *delivery, struct error *error)
{
    struct slice body = delivery->job->item.body;
    struct json *event = NULL;
    struct slice raw_data;
    struct slice order_id;
    struct slice status;
    struct slice amount;
    enum err err = ERR_NONE;
    if (json_parse(body, &event) != JSON_OK)
        return error_set(error, ERR_CORRUPT, "the event is no JSON");
    const struct json *data = json_member(event, "data");
    if (!json_text(json_member(data, "order_id"), &order_id) ||
        !json_text(json_member(data, "status"), &status) ||
        !json_raw_member(body, SLICE("data"), &raw_data) ||
        !json_raw_member(raw_data, SLICE("amount"), &amount) || !json_raw_is_number(amount))
        err = error_set(error, ERR_CORRUPT, "the event has no order_id, status or amount");
    struct slice reason; /* of a failure */
    if (json_text(json_member(data, "reason"), &reason))
        status = reason;
    if (err == ERR_NONE)
        err = write_mail(delivery, order_id, status, amount, error);
    json_free(event);
    return err;
}

static bool write_address(struct delivery *delivery)
{
    struct slice address = delivery->job->item.subject;
    delivery->address = malloc(address.len + 1);
    if (delivery->address == NULL)
        return false;
    memcpy(delivery->address, address.base, address.len);
    delivery->address[address.len] = '\0';
    return true;
}

static void run_mail(struct worker_job *job, void *context)
{
    struct notifications *notifications = context;
    struct error error;
    struct delivery *delivery = delivery_new(notifications, CHANNEL_EMAIL, job);
    if (delivery == NULL)
        return;
    enum err err = write_address(delivery) ? read_event_and_write(delivery, &error) : ERR_MEMORY;
    if (err != ERR_NONE) {
        if (err == ERR_MEMORY)
            worker_done(job, (struct worker_report){.verdict = WORKER_FAILED});
        else
            give_up(notifications, CHANNEL_EMAIL, job, error.message);
        delivery_free(delivery);
        return;
    }
    delivery->mail = (struct courier_mail){
        .url = notifications->config.smtp_url,
        .from = notifications->config.mail_from,
        .to = delivery->address,
        .message = strbuf_slice(&delivery->message),
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .timeout_ms = TIMEOUT_MS,
        .may_be_private = notifications->config.allows_private_targets,
        .on_done = on_mailed,
    };
    courier_mail(notifications->courier, &delivery->mail);
}

/* --- for the worker --- */

size_t notifications_handlers(
    struct notifications *notifications, struct worker_handler handlers[NOTIFICATIONS_HANDLERS_MAX])
{
    size_t count_used = 0;
    if (notifications->config.webhook_url != NULL)
        handlers[count_used++] = (struct worker_handler){.kind = WORK_WEBHOOK,
            .lease_ms = LEASE_MS,
            .in_flight_max = WEBHOOKS_IN_FLIGHT_MAX,
            .run = run_webhook,
            .context = notifications};
    if (notifications->config.smtp_url != NULL)
        handlers[count_used++] = (struct worker_handler){.kind = WORK_EMAIL,
            .lease_ms = LEASE_MS,
            .in_flight_max = MAILS_IN_FLIGHT_MAX,
            .run = run_mail,
            .context = notifications};
    return count_used;
}

static void put_totals(
    struct strbuf *text, const char *name, const char *help, const atomic_uint_fast64_t totals[2])
{
    strbuf_printf(text,
        "# HELP doorbuster_notifications_%s_total %s\n# TYPE doorbuster_notifications_%s_total counter\n",
        name, help, name);
    for (int i = CHANNEL_WEBHOOK; i <= CHANNEL_EMAIL; i++)
        strbuf_printf(text, "doorbuster_notifications_%s_total{channel=\"%.*s\"} %llu\n", name,
            SLICE_ARGS(channel_name((enum channel)i)),
            (unsigned long long)atomic_load_explicit(&totals[i], memory_order_relaxed));
}

void notifications_put_metrics(const struct notifications *notifications, struct strbuf *text)
{
    put_totals(text, "delivered", "Notifications that have arrived.", notifications->delivered_total);
    put_totals(text, "failed", "Tries to deliver a notification that failed and come again.",
        notifications->failed_total);
    put_totals(text, "dead", "Notifications that are not tried any more.", notifications->dead_total);
}
