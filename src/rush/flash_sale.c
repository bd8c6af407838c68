/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/flash_sale.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/ensure.h"

enum {
    REQUEST_MAX = 4096,
    NAME_MAX_BYTES = 255,
    ACTIVE_WAIT_MS = 30000,
    ACTIVE_POLL_MS = 50,
    SETTLE_WAIT_MS = 2000,
    BEGAN_BEFORE_MS = 60 * 1000,
    ENDS_AFTER_MS = 30 * 60 * 1000,
    SKU_LEN_MAX = 64
};

struct flash_sale {
    struct flash_names names;
    struct slice prefix;
    /* The purchase request without the buyer's name: what stands before it and behind it. */
    char before[REQUEST_MAX];
    size_t before_len;
    char behind[REQUEST_MAX];
    size_t behind_len;
    char status[REQUEST_MAX];
    size_t status_len;
    _Atomic uint64_t unsure_count; /* answers that do not say what became of the purchase */
    _Atomic uint32_t
        *bought; /* acknowledged purchases by name; NULL when there are too many names to count */
};

const struct outcome flash_outcomes[] = {
    {"purchase_success", "bought"},
    {"purchase_rejected_not_active", "refused: the sale is not active"},
    {"purchase_rejected_sold_out", "refused: sold out"},
    {"purchase_rejected_already_purchased", "refused: this buyer has one already"},
    {"purchase_rate_limited", "429: this buyer asks too often"},
    {"purchase_rate_limited_odd", "429 without the body that belongs to it"},
    {"purchase_unknown_code", "refused with a code that the contract does not know"},
    {"purchase_nonsense", "200 with a body that is no answer"},
    {"purchase_other_status", "a status that does not belong here"},
    {"purchase_unavailable", "503"},
    {"purchase_server_error", "500 or above"},
    {"poll_good", "the sale's state"},
    {"poll_not_200", "a status other than 200"},
    {"poll_not_success", "200, but success is not true"},
    {"poll_odd", "a state or stock that cannot be"},
    {"fixed_good", "200"},
    {NULL, NULL},
};

_Static_assert(
    sizeof flash_outcomes / sizeof flash_outcomes[0] == FLASH_OUTCOME_END - OUTCOME_COMMON_COUNT + 1,
    "one row per outcome");
_Static_assert((int)FLASH_OUTCOME_END <= (int)OUTCOMES_MAX, "a set of outcomes is 32 bits");

const char *const flash_endpoints[] = {[FLASH_PURCHASE] = "purchase", [FLASH_STATUS] = "status", NULL};

/* --- names and requests --- */

static void put_name(const struct flash_sale *sale, uint64_t serial, struct strbuf *out)
{
    char digits[20];
    char *end = digits + sizeof digits;
    char *at = end;
    uint64_t number = (sale->names.count > 0 ? serial % sale->names.count : serial) + 1;
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (end - at < sale->names.digits)
        *--at = '0';
    strbuf_put(out, sale->prefix);
    strbuf_put(out, slice_make(at, (size_t)(end - at)));
}

static void write_purchase(const struct rush *rush, struct session *session, struct strbuf *request)
{
    const struct flash_sale *sale = rush->state;
    strbuf_put(request, slice_make(sale->before, sale->before_len));
    put_name(sale, session->serial, request);
    strbuf_put(request, slice_make(sale->behind, sale->behind_len));
}

static void write_status(const struct rush *rush, struct session *session, struct strbuf *request)
{
    const struct flash_sale *sale = rush->state;
    (void)session;
    strbuf_put(request, slice_make(sale->status, sale->status_len));
}

static void name_user(const struct rush *rush, const struct session *session, struct strbuf *name)
{
    put_name(rush->state, session->serial, name);
}

static void judge_purchase(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    struct flash_sale *sale = rush->state;
    enum answer answer = answer_read_purchase(reply, judgement);
    judgement->outcome = (unsigned)FLASH_SUCCESS + (unsigned)answer;
    if (judgement->truth == TRUTH_UNKNOWN)
        atomic_fetch_add_explicit(&sale->unsure_count, 1, memory_order_relaxed);
    if (answer == ANSWER_SUCCESS && sale->bought != NULL)
        atomic_fetch_add_explicit(
            &sale->bought[session->serial % sale->names.count], 1, memory_order_relaxed);
}

static void judge_status(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    struct sale_status status;
    (void)rush;
    (void)session;
    judgement->outcome = (unsigned)FLASH_POLL_GOOD + (unsigned)answer_read_status(reply, &status);
}

struct crowd flash_buyers(struct plan plan, bool is_fresh)
{
    return (struct crowd){.name = "buyers",
        .plan = plan,
        .endpoint = FLASH_PURCHASE,
        .is_fresh = is_fresh,
        .write = write_purchase,
        .judge = judge_purchase,
        .name_user = name_user};
}

struct crowd flash_pollers(struct plan plan)
{
    return (struct crowd){.name = "pollers",
        .plan = plan,
        .endpoint = FLASH_STATUS,
        .write = write_status,
        .judge = judge_status};
}

/* --- prepare --- */

static bool is_sku(struct slice sku)
{
    for (size_t i = 0; i < sku.len; i++) {
        char c = sku.base[i];
        bool is_letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (!is_letter && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    return sku.len >= 1 && sku.len <= SKU_LEN_MAX;
}

/* A header's value: nothing that would end the line, nothing at the ends that the server would strip. */
static bool is_name_prefix(struct slice prefix)
{
    for (size_t i = 0; i < prefix.len; i++)
        if ((unsigned char)prefix.base[i] <= 0x20 || prefix.base[i] == 0x7f)
            return false;
    return prefix.len >= 1 && prefix.len + 20 <= NAME_MAX_BYTES;
}

static void make_templates(const struct rush *rush, struct flash_sale *sale)
{
    struct strbuf text;
    const char *sku = rush->options.sku;
    const char *authority = rush->target.authority;
    size_t body_len = strlen("{\"sku\":\"\"}") + strlen(sku);
    strbuf_init(&text, sale->before, sizeof sale->before);
    strbuf_printf(&text,
        "POST /api/v1/purchases HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: "
        "%zu\r\n"
        "X-User-Id: ",
        authority, body_len);
    ENSURE(!text.has_overflowed);
    sale->before_len = text.len;
    strbuf_init(&text, sale->behind, sizeof sale->behind);
    strbuf_printf(&text, "\r\n\r\n{\"sku\":\"%s\"}", sku);
    ENSURE(!text.has_overflowed);
    sale->behind_len = text.len;
    strbuf_init(&text, sale->status, sizeof sale->status);
    strbuf_printf(&text, "GET /api/v1/sales?sku=%s HTTP/1.1\r\nHost: %s\r\n\r\n", sku, authority);
    ENSURE(!text.has_overflowed);
    sale->status_len = text.len;
}

enum err flash_prepare(struct rush *rush, struct flash_names names, struct error *error)
{
    const char *prefix = rush->options.user_prefix != NULL ? rush->options.user_prefix : names.prefix;
    if (!is_sku(slice_cstr(rush->options.sku)))
        return error_set(error, ERR_USAGE, "'%.80s' is no SKU: expected 1 to 64 letters, digits or hyphens",
            rush->options.sku);
    if (!is_name_prefix(slice_cstr(prefix)))
        return error_set(error, ERR_USAGE,
            "'%.80s' cannot begin a buyer's name: expected 1 to 235 printable bytes "
            "without blanks",
            prefix);
    struct flash_sale *sale = calloc(1, sizeof *sale);
    if (sale == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the scenario");
    rush->state = sale;
    rush->user_count = names.count;
    sale->names = names;
    sale->prefix = slice_cstr(prefix);
    make_templates(rush, sale);
    if (names.count == 0)
        return ERR_NONE;
    sale->bought = calloc(names.count, sizeof *sale->bought);
    return sale->bought != NULL
               ? ERR_NONE
               : error_set(error, ERR_MEMORY, "no memory for %llu buyers", (unsigned long long)names.count);
}

void flash_release(struct rush *rush)
{
    struct flash_sale *sale = rush->state;
    if (sale == NULL)
        return;
    free((void *)sale->bought);
    free(sale);
    rush->state = NULL;
}

/* --- set-up and tear-down --- */

/* METHOD /api/v1/products{path}, with the admin key. */
static enum err ask_admin(struct rush *rush, const char *method, bool has_sku_in_path, struct slice body,
    struct exchange_reply *reply, struct error *error)
{
    char memory[REQUEST_MAX];
    struct strbuf request;
    strbuf_init(&request, memory, sizeof memory);
    strbuf_printf(&request, "%s /api/v1/products%s%s HTTP/1.1\r\nHost: %s\r\nX-Admin-Key: %s\r\n", method,
        has_sku_in_path ? "/" : "", has_sku_in_path ? rush->options.sku : "", rush->target.authority,
        rush->options.admin_key);
    if (body.len > 0)
        strbuf_printf(&request, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.len);
    strbuf_lit(&request, "\r\n");
    strbuf_put(&request, body);
    if (request.has_overflowed)
        return error_set(error, ERR_USAGE, "the admin key is too long");
    return exchange_do(rush->exchange, strbuf_slice(&request), reply, error);
}

/* The body that makes the sale; it has begun a minute ago and lasts half an hour. */
static void put_product(const struct rush *rush, struct strbuf *body)
{
    char start[CLOCK_ISO_LEN];
    char end[CLOCK_ISO_LEN];
    int64_t now_ms = clock_wall_ms();
    clock_format_iso(now_ms - BEGAN_BEFORE_MS, start);
    clock_format_iso(now_ms + ENDS_AFTER_MS, end);
    strbuf_printf(body,
        "{\"sku\":\"%s\",\"productName\":\"Rush %s\",\"initialStock\":%lld,\"startTime\":\"%.*s\","
        "\"endTime\":\"%.*s\"}",
        rush->options.sku, rush->scenario->name, (long long)rush->options.stock, CLOCK_ISO_LEN, start,
        CLOCK_ISO_LEN, end);
}

/* Refused or not understood: says what the server said. */
static enum err not_made(const struct rush *rush, const struct exchange_reply *reply, struct error *error)
{
    static const char hint[] = "; is --admin-key the server's?";
    size_t shown = reply->body.len < 200 ? reply->body.len : 200;
    return error_set(error, ERR_REFUSED, "the sale %s could not be made: expected status 201, got %d %.*s%s",
        rush->options.sku, reply->status, (int)shown, reply->body.base, reply->status == 401 ? hint : "");
}

static enum err make_sale(struct rush *rush, struct error *error)
{
    char memory[1024];
    struct strbuf body;
    struct exchange_reply reply;
    enum err err = ERR_NONE;
    for (int attempt = 0; attempt < 2; attempt++) {
        err = ask_admin(rush, "DELETE", true, SLICE(""), &reply, error); /* its status does not matter */
        if (err != ERR_NONE)
            return err;
        strbuf_init(&body, memory, sizeof memory);
        put_product(rush, &body);
        ENSURE(!body.has_overflowed);
        err = ask_admin(rush, "POST", false, strbuf_slice(&body), &reply, error);
        if (err != ERR_NONE || reply.status != 409)
            break;
    }
    if (err == ERR_NONE && reply.status != 201)
        return not_made(rush, &reply, error);
    return err;
}

static enum err ask_status(
    struct rush *rush, enum poll_answer *answer, struct sale_status *status, struct error *error)
{
    const struct flash_sale *sale = rush->state;
    struct exchange_reply got;
    enum err err = exchange_do(rush->exchange, slice_make(sale->status, sale->status_len), &got, error);
    if (err != ERR_NONE)
        return err;
    struct reply reply = {.status = got.status, .content_type = got.content_type, .body = got.body};
    *answer = answer_read_status(&reply, status);
    return ERR_NONE;
}

static bool is_stopped(const struct rush *rush)
{
    return rush->options.stop != NULL && atomic_load(rush->options.stop);
}

static enum err wait_until_active(struct rush *rush, struct error *error)
{
    int64_t deadline_ns = clock_mono_ns() + (int64_t)ACTIVE_WAIT_MS * 1000000;
    const struct timespec pause = {.tv_nsec = ACTIVE_POLL_MS * 1000000L};
    for (;;) {
        enum poll_answer answer;
        struct sale_status status;
        enum err err = ask_status(rush, &answer, &status, error);
        if (err != ERR_NONE || (answer == POLL_GOOD && status.is_active))
            return err;
        if (is_stopped(rush))
            return error_set(
                error, ERR_TIMEOUT, "stopped while the sale %s was being set up", rush->options.sku);
        if (clock_mono_ns() > deadline_ns)
            return error_set(error, ERR_REFUSED, "the sale %s did not become ACTIVE within %d s",
                rush->options.sku, ACTIVE_WAIT_MS / 1000);
        (void)nanosleep(&pause, NULL); /* woken early: asks early */
    }
}

enum err flash_set_up(struct rush *rush, struct error *error)
{
    if (rush->options.is_sale_kept)
        return flash_expect_state(rush, false, error);
    enum err err = make_sale(rush, error);
    return err != ERR_NONE ? err : wait_until_active(rush, error);
}

enum err flash_expect_state(struct rush *rush, bool is_ended_expected, struct error *error)
{
    enum poll_answer answer;
    struct sale_status status;
    enum err err = ask_status(rush, &answer, &status, error);
    if (err != ERR_NONE)
        return err;
    if (answer == POLL_GOOD && (is_ended_expected ? status.is_ended : status.is_active))
        return ERR_NONE;
    return error_set(error, ERR_REFUSED, "the sale %s is not %s", rush->options.sku,
        is_ended_expected ? "ENDED" : "ACTIVE");
}

enum err flash_buy_one(struct rush *rush, struct slice user, struct error *error)
{
    const struct flash_sale *sale = rush->state;
    char memory[REQUEST_MAX * 2];
    struct strbuf request;
    strbuf_init(&request, memory, sizeof memory);
    strbuf_put(&request, slice_make(sale->before, sale->before_len));
    strbuf_put(&request, user);
    strbuf_put(&request, slice_make(sale->behind, sale->behind_len));
    ENSURE(!request.has_overflowed);
    struct exchange_reply got;
    enum err err = exchange_do(rush->exchange, strbuf_slice(&request), &got, error);
    if (err != ERR_NONE)
        return err;
    struct reply reply = {.status = got.status, .content_type = got.content_type, .body = got.body};
    struct judgement judgement = {0};
    if (answer_read_purchase(&reply, &judgement) == ANSWER_SUCCESS)
        return ERR_NONE;
    return error_set(error, ERR_REFUSED, "the unit that had to be sold first was not: status %d, %.*s",
        got.status, (int)judgement.detail_len, judgement.detail);
}

void flash_delete(struct rush *rush)
{
    struct exchange_reply reply;
    if (!rush->options.is_sale_kept && ask_admin(rush, "DELETE", true, SLICE(""), &reply, NULL) != ERR_NONE)
        rush_add_invariant(rush, false, "the sale could be deleted afterwards");
}

/* What the crowd was told. */
static int64_t count_told(const struct tally *crowd)
{
    return (int64_t)tally_count_all(crowd, OUTCOME_BIT(FLASH_SUCCESS));
}

/* Of how many the crowd does not know whether they bought. */
static int64_t count_open(const struct rush *rush, const struct tally *crowd)
{
    const struct flash_sale *sale = rush->state;
    return (int64_t)tally_count_all(crowd, OUTCOMES_UNANSWERED) + (int64_t)atomic_load(&sale->unsure_count);
}

static void check_sums(struct rush *rush, const struct tally *crowd, int64_t current, int64_t total)
{
    const struct flash_sale *sale = rush->state;
    int64_t stock = rush->options.stock;
    int64_t told = count_told(crowd);
    int64_t open = count_open(rush, crowd);
    rush_add_invariant(rush, total <= stock, "no oversell: %lld purchases of %lld units", (long long)total,
        (long long)stock);
    rush_add_invariant(rush, current >= 0, "stock is never below zero: %lld", (long long)current);
    rush_add_invariant(rush, total + current == stock,
        "purchases + stock = initial stock: %lld + %lld = %lld", (long long)total, (long long)current,
        (long long)stock);
    rush_add_invariant(rush, told <= total && total <= told + open,
        "purchases = those acknowledged%s: %lld = %lld%s", open > 0 ? " and some of the unanswered" : "",
        (long long)total, (long long)told, open > 0 ? " + some" : "");
    if (sale->names.count > 0)
        rush_add_invariant(rush, total <= (int64_t)sale->names.count, "purchases <= buyers: %lld of %llu",
            (long long)total, (unsigned long long)sale->names.count);
}

/* Nobody may have been told twice that he bought, whatever the server's own sums say. */
static void check_buyers(struct rush *rush)
{
    const struct flash_sale *sale = rush->state;
    uint64_t twice = 0;
    if (sale->bought == NULL)
        return;
    for (uint64_t i = 0; i < sale->names.count; i++)
        twice += atomic_load(&sale->bought[i]) > 1;
    rush_add_invariant(rush, twice == 0, "nobody was sold twice: %llu buyers with more than one success",
        (unsigned long long)twice);
}

/*
 * Most purchases were answered 429, and not even one of each name was let through: then the limiter remembers
 * the names from before this run. A name that this run uses many times is refused all but once in any case.
 */
static bool is_kept_out(const struct rush *rush, const struct tally *crowd)
{
    uint64_t limited = tally_count_all(crowd, FLASH_RATE_LIMITS);
    uint64_t others = tally_count_all(crowd, (FLASH_PURCHASES & ~FLASH_RATE_LIMITS) | OUTCOMES_UNANSWERED);
    return limited > others && (rush->user_count == 0 || others < rush->user_count);
}

/* The product as the server tells it. */
struct told_product {
    struct exchange_reply reply;
    bool is_good;
    int64_t current;
    int64_t total;
};

static enum err ask_product(struct rush *rush, struct told_product *product, struct error *error)
{
    enum err err = ask_admin(rush, "GET", true, SLICE(""), &product->reply, error);
    product->is_good = err == ERR_NONE && answer_read_product(product->reply.status, product->reply.body,
                                              &product->current, &product->total);
    return err;
}

/*
 * Behind a balancer another server may answer than those that sold, and hears of their last sales a moment
 * later. So one that tells fewer than were acknowledged is asked again, for a limited time.
 */
static enum err ask_settled_product(
    struct rush *rush, const struct tally *crowd, struct told_product *product, struct error *error)
{
    int64_t deadline_ns = clock_mono_ns() + (int64_t)SETTLE_WAIT_MS * 1000000;
    const struct timespec pause = {.tv_nsec = ACTIVE_POLL_MS * 1000000L};
    for (;;) {
        enum err err = ask_product(rush, product, error);
        if (!product->is_good || product->total >= count_told(crowd) || clock_mono_ns() > deadline_ns)
            return err;
        (void)nanosleep(&pause, NULL); /* woken early: asks early */
    }
}

void flash_tear_down(struct rush *rush, const struct tally *crowd)
{
    struct told_product product;
    struct error error;
    if (is_kept_out(rush, crowd))
        rush->hint =
            "a limiter refuses these buyers (429): under the same names somebody asked within its window, "
            "usually the last second; wait (between runs: --cooldown), or give them other names with "
            "--user-prefix";
    check_buyers(rush);
    if (rush->options.is_sale_kept)
        return;
    if (ask_settled_product(rush, crowd, &product, &error) != ERR_NONE)
        rush_add_invariant(rush, false, "the product can be read afterwards: %.200s", error.message);
    else if (!product.is_good)
        rush_add_invariant(rush, false,
            "the product can be read afterwards: status %d, or currentStock and "
            "totalPurchases are no numbers",
            product.reply.status);
    else
        check_sums(rush, crowd, product.current, product.total);
}

/* --- thresholds --- */

static void add_percentile(struct rush *rush, double percent, double limit_ms)
{
    if (limit_ms > 0)
        rush_add_threshold(rush, (struct threshold){.name = "http_req_duration",
                                     .metric = METRIC_LATENCY,
                                     .percent = percent,
                                     .compare = COMPARE_BELOW,
                                     .limit = limit_ms});
}

void flash_add_latency_thresholds(struct rush *rush, double p50_ms, double p95_ms, double p99_ms)
{
    add_percentile(rush, 50, p50_ms);
    add_percentile(rush, 95, p95_ms);
    add_percentile(rush, 99, p99_ms);
}

void flash_add_failed_threshold(struct rush *rush)
{
    rush_add_threshold(rush, (struct threshold){.name = "http_req_failed",
                                 .metric = METRIC_FAILED_SHARE,
                                 .compare = COMPARE_BELOW,
                                 .limit = 0.001});
}

void flash_add_count_threshold(struct rush *rush, const char *name, uint32_t outcomes, int64_t count)
{
    rush_add_threshold(rush, (struct threshold){.name = name,
                                 .metric = METRIC_COUNT,
                                 .outcomes = outcomes,
                                 .compare = COMPARE_EQUAL,
                                 .limit = (double)count});
}

void flash_add_share_threshold(struct rush *rush, const char *name, uint32_t outcomes, uint32_t of_outcomes,
    enum compare compare, double share)
{
    rush_add_threshold(rush, (struct threshold){.name = name,
                                 .metric = METRIC_SHARE,
                                 .outcomes = outcomes,
                                 .of_outcomes = of_outcomes,
                                 .compare = compare,
                                 .limit = share});
}
