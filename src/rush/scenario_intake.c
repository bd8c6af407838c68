/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intake (order-intake contract, "Clients"): how many orders a second does the server accept, durably, from
 * 1, 10 and 40 clients? Each keeps one connection and sends one request at a time, BUY and SELL in turn. The
 * levels follow each other with a second between them, each with users of its own, registered before the
 * clock starts.
 *
 * Every level is a crowd, and an endpoint of the tally. A client belongs to one squad, so its figures need no
 * lock.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/id.h"
#include "rush/intake.h"
#include "rush/scenarios.h"
#include "rush/tell.h"

enum {
    SECONDS = 60,
    GAP_S = 1,
    CLIENTS_MAX = 10000,
    NAME_SIZE = 24,
    TOKEN_MAX = 1024,
    REQUEST_MAX = 2048, /* as long as a squad sends */
    USAGE_EVERY = 64,   /* answers */
    NUMBERS_FIRST = 1024,
    NUMBERS_MAX = 1 << 24 /* of a client: 128 MiB; what comes after is not compared */
};

enum side { SIDE_BUY, SIDE_SELL, SIDE_COUNT };

static const char CLIENTS_USUAL[] = "1,10,40";
static const int64_t NS_PER_S = 1000000000;
static const double NS_PER_MS = 1e6;
static const struct slice side_names[SIDE_COUNT] = {SLICE_INIT("BUY"), SLICE_INIT("SELL")};

/* Of the thread that drives a client. */
struct usage {
    int64_t at_ns;
    int64_t cpu_ns;
};

struct client {
    char requests[SIDE_COUNT][REQUEST_MAX];
    size_t request_lens[SIDE_COUNT];
    uint64_t answer_count;
    double took_sum_ms;
    double took_square_sum;
    struct usage usage_first; /* looked at now and then */
    struct usage usage_last;
    uint64_t *numbers; /* of its accepted orders, each folded to 64 bits */
    size_t number_count;
    size_t number_size;
};

struct intake {
    size_t level_count;
    uint64_t level_clients[RUSH_LEVELS_MAX];
    struct client *level_first[RUSH_LEVELS_MAX]; /* in clients */
    struct client *clients;
    size_t client_count;
};

/* Reports point to the names and outlive a run; every run of a process has the same. */
static char level_names[RUSH_LEVELS_MAX][NAME_SIZE];
static const char *level_endpoints[RUSH_LEVELS_MAX + 1];

/* --- options --- */

static enum err bad_clients(const char *text, struct error *error)
{
    return error_set(error, ERR_USAGE,
        "'%.100s' does not say how many clients: expected up to %d numbers from 1 to %d, for example "
        "--clients %s",
        text, RUSH_LEVELS_MAX, CLIENTS_MAX, CLIENTS_USUAL);
}

static enum err read_clients(struct intake *intake, const char *text, struct error *error)
{
    struct slice rest = slice_cstr(text);
    do {
        int64_t count;
        if (!slice_to_i64(slice_trim(slice_split(rest, ',', &rest)), &count) || count < 1 ||
            count > CLIENTS_MAX || intake->level_count == RUSH_LEVELS_MAX)
            return bad_clients(text, error);
        intake->level_clients[intake->level_count++] = (uint64_t)count;
        intake->client_count += (size_t)count;
    } while (rest.len > 0);
    return ERR_NONE;
}

/* --- requests and answers --- */

static struct client *client_of(const struct rush *rush, const struct session *session)
{
    const struct intake *intake = rush->state;
    return &intake
                ->level_first[session->endpoint][session->serial % intake->level_clients[session->endpoint]];
}

static enum side side_of(const struct rush *rush, const struct session *session)
{
    const struct intake *intake = rush->state;
    return session->serial / intake->level_clients[session->endpoint] % SIDE_COUNT;
}

static void write_order(const struct rush *rush, struct session *session, struct strbuf *request)
{
    const struct client *client = client_of(rush, session);
    enum side side = side_of(rush, session);
    strbuf_put(request, slice_make(client->requests[side], client->request_lens[side]));
}

/* Two different numbers fold to the same one with a chance of one in 2^64: of ten million, one run in
 * 300,000. */
static void keep_number(struct client *client, struct uuid number)
{
    if (client->number_count == NUMBERS_MAX)
        return;
    if (client->number_count == client->number_size) {
        client->number_size = client->number_size > 0 ? 2 * client->number_size : NUMBERS_FIRST;
        client->numbers = realloc(client->numbers, client->number_size * sizeof *client->numbers);
        ENSURE(
            client->numbers != NULL); /* a generator without memory for its figures has nothing to report */
    }
    client->numbers[client->number_count++] = plan_draw(number.high, number.low);
}

static void note_usage(struct client *client)
{
    client->usage_last = (struct usage){clock_mono_ns(), clock_thread_cpu_ns()};
    if (client->answer_count == 0)
        client->usage_first = client->usage_last;
}

static void judge_order(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    struct client *client = client_of(rush, session);
    struct uuid number;
    double took_ms = (double)reply->took_ns / NS_PER_MS;
    if (client->answer_count % USAGE_EVERY == 0)
        note_usage(client);
    client->answer_count++;
    client->took_sum_ms += took_ms;
    client->took_square_sum += took_ms * took_ms;
    intake_judge(reply, side_names[side_of(rush, session)], judgement, &number);
    if (judgement->outcome != INTAKE_QUEUED)
        return;
    keep_number(client, number);
    session->memory[0] = number.high;
    session->memory[1] = number.low;
    session->memory[2] = true;
}

static void name_order(const struct rush *rush, const struct session *session, struct strbuf *name)
{
    (void)rush;
    if (session->memory[2])
        uuid_put(name, (struct uuid){session->memory[0], session->memory[1]});
}

/* --- before the run --- */

static void add_level(struct rush *rush, size_t level)
{
    const struct intake *intake = rush->state;
    uint64_t clients = intake->level_clients[level];
    int64_t begin_ns = (int64_t)level * (rush->options.seconds + GAP_S) * NS_PER_S;
    (void)snprintf(
        level_names[level], NAME_SIZE, "%llu client%s", (unsigned long long)clients, clients == 1 ? "" : "s");
    level_endpoints[level] = level_names[level];
    rush_add_crowd(rush, (struct crowd){.name = clients == 1 ? "client" : "clients",
                             .plan = plan_closed(begin_ns, rush->options.seconds * NS_PER_S, clients, 0),
                             .endpoint = (unsigned)level,
                             .write = write_order,
                             .judge = judge_order,
                             .name_user = name_order});
}

static void add_thresholds(struct rush *rush)
{
    uint32_t queued = OUTCOME_BIT(INTAKE_QUEUED);
    rush_add_threshold(rush,
        (struct threshold){
            .name = "order_queued", .metric = METRIC_COUNT, .outcomes = queued, .compare = COMPARE_ABOVE});
    rush_add_threshold(
        rush, (struct threshold){
                  .name = "errors", .metric = METRIC_COUNT, .outcomes = ~queued, .compare = COMPARE_EQUAL});
}

static enum err prepare(struct rush *rush, struct error *error)
{
    struct intake *intake = calloc(1, sizeof *intake);
    rush->state = intake;
    if (intake == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the scenario");
    if (rush->options.rate > 0)
        return error_set(error, ERR_USAGE, "intake has no --rate: each client sends when it is answered");
    rush->options.seconds = rush->options.seconds > 0 ? rush->options.seconds : SECONDS;
    enum err err =
        read_clients(intake, rush->options.clients != NULL ? rush->options.clients : CLIENTS_USUAL, error);
    if (err != ERR_NONE)
        return err;
    intake->clients = calloc(intake->client_count, sizeof *intake->clients);
    if (intake->clients == NULL)
        return error_set(error, ERR_MEMORY, "no memory for %zu clients", intake->client_count);
    struct client *first = intake->clients;
    for (size_t i = 0; i < intake->level_count; i++) {
        intake->level_first[i] = first;
        first += intake->level_clients[i];
        add_level(rush, i);
    }
    level_endpoints[intake->level_count] = NULL;
    rush->endpoints = level_endpoints;
    add_thresholds(rush);
    return ERR_NONE;
}

static void release(struct rush *rush)
{
    struct intake *intake = rush->state;
    if (intake == NULL)
        return;
    for (size_t i = 0; intake->clients != NULL && i < intake->client_count; i++)
        free(intake->clients[i].numbers);
    free(intake->clients);
    free(intake);
    rush->state = NULL;
}

/* --- users --- */

static void put_request(
    struct strbuf *request, const struct rush *rush, const char *path, struct slice token, struct slice body)
{
    strbuf_printf(request, "POST %s HTTP/1.1\r\nHost: %s\r\n", path, rush->target.authority);
    if (token.len > 0) {
        strbuf_lit(request, "Authorization: Bearer ");
        strbuf_put(request, token);
        strbuf_lit(request, "\r\n");
    }
    strbuf_printf(request, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", body.len);
    strbuf_put(request, body);
}

static enum err not_registered(
    const struct rush *rush, const struct exchange_reply *reply, struct error *error)
{
    size_t shown = reply->body.len < 200 ? reply->body.len : 200;
    return error_set(error, ERR_REFUSED,
        "POST /api/auth/register: expected status 201 and an access_token of at most %d bytes, got %d %.*s; "
        "does %s "
        "have the order intake?",
        TOKEN_MAX, reply->status, (int)shown, reply->body.base, rush->target.authority);
}

/* A user that no run before has had. */
static enum err register_user(
    struct rush *rush, uint64_t nonce, size_t number, char *token, size_t *token_len, struct error *error)
{
    char body_memory[512];
    char memory[1024];
    struct strbuf body;
    struct strbuf request;
    struct exchange_reply reply;
    strbuf_init(&body, body_memory, sizeof body_memory);
    strbuf_printf(&body,
        "{\"username\":\"rush_%012llx_%zu\",\"email\":\"rush_%012llx_%zu@example.com\",\"password\":\"Rush-%"
        "016llx\"}",
        (unsigned long long)(nonce & 0xffffffffffff), number, (unsigned long long)(nonce & 0xffffffffffff),
        number, (unsigned long long)plan_draw(nonce, number));
    strbuf_init(&request, memory, sizeof memory);
    put_request(&request, rush, "/api/auth/register", SLICE(""), strbuf_slice(&body));
    ENSURE(!body.has_overflowed && !request.has_overflowed);
    enum err err = exchange_do(rush->exchange, strbuf_slice(&request), &reply, error);
    if (err != ERR_NONE)
        return err;
    if (reply.status != 201 || !intake_read_token(reply.body, token, TOKEN_MAX, token_len))
        return not_registered(rush, &reply, error);
    return ERR_NONE;
}

/* The two requests that the client sends in turn. */
static void write_requests(const struct rush *rush, struct client *client, struct slice token)
{
    for (size_t side = 0; side < SIDE_COUNT; side++) {
        char memory[256];
        struct strbuf body;
        struct strbuf request;
        strbuf_init(&body, memory, sizeof memory);
        strbuf_printf(&body,
            "{\"symbol\":\"AAPL\",\"side\":\"%.*s\",\"order_type\":\"LIMIT\",\"quantity\":100.0,\"price\":"
            "150.0}",
            SLICE_ARGS(side_names[side]));
        strbuf_init(&request, client->requests[side], REQUEST_MAX);
        put_request(&request, rush, "/api/orders", token, strbuf_slice(&body));
        ENSURE(!body.has_overflowed && !request.has_overflowed);
        client->request_lens[side] = request.len;
    }
}

static enum err set_up(struct rush *rush, struct error *error)
{
    struct intake *intake = rush->state;
    struct id_source source;
    id_source_init(&source);
    uint64_t nonce = id_next(&source);
    for (size_t i = 0; i < intake->client_count; i++) {
        char token[TOKEN_MAX];
        size_t token_len = 0;
        if (rush->options.stop != NULL && atomic_load(rush->options.stop))
            return error_set(error, ERR_TIMEOUT, "stopped while the clients were being registered");
        enum err err = register_user(rush, nonce, i, token, &token_len, error);
        if (err != ERR_NONE)
            return err;
        write_requests(rush, &intake->clients[i], slice_make(token, token_len));
    }
    return ERR_NONE;
}

/* --- after the run --- */

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Orders whose number another one has too; 0 when memory is out, which *is_known then tells. */
static uint64_t count_repeated(const struct intake *intake, bool *is_known)
{
    size_t count = 0;
    uint64_t repeated = 0;
    for (size_t i = 0; i < intake->client_count; i++)
        count += intake->clients[i].number_count;
    uint64_t *numbers = malloc((count > 0 ? count : 1) * sizeof *numbers);
    *is_known = numbers != NULL;
    if (numbers == NULL)
        return 0;
    size_t at = 0;
    for (size_t i = 0; i < intake->client_count; i++) {
        const struct client *client = &intake->clients[i];
        if (client->number_count > 0)
            memcpy(numbers + at, client->numbers, client->number_count * sizeof *numbers);
        at += client->number_count;
    }
    qsort(numbers, count, sizeof *numbers, compare_numbers);
    for (size_t i = 1; i < count; i++)
        repeated += numbers[i] == numbers[i - 1];
    free(numbers);
    return repeated;
}

static void tear_down(struct rush *rush, const struct tally *crowd)
{
    bool is_known;
    uint64_t repeated = count_repeated(rush->state, &is_known);
    rush_add_invariant(rush, is_known && repeated == 0,
        "every order has a number of its own: %s%llu have another's",
        is_known ? "" : "no memory to compare; ", (unsigned long long)repeated);
    if (tally_count_all(crowd, OUTCOME_BIT(INTAKE_UNAUTHORIZED)) > 0)
        rush->hint =
            "the server refused access tokens (401) that it had given to these clients: an access token is "
            "good for 15 minutes, which longer runs outlast";
}

/* --- the report --- */

static double original_rate(uint64_t clients)
{
    return clients == 1 ? 549 : clients == 10 ? 2554 : clients == 40 ? 2653 : NAN;
}

static void add_spread(struct rush_level *level, const struct client *first)
{
    double count = 0;
    double sum = 0;
    double square_sum = 0;
    for (uint64_t i = 0; i < level->clients; i++) {
        count += (double)first[i].answer_count;
        sum += first[i].took_sum_ms;
        square_sum += first[i].took_square_sum;
    }
    if (count <= 0)
        return;
    double mean = sum / count;
    double variance = square_sum / count - mean * mean;
    level->mean_ms = mean;
    level->stdev_ms = variance > 0 ? sqrt(variance) : 0; /* below 0 by rounding alone */
}

/* When one thread drives several clients they all tell the same of it. */
static double busiest(const struct client *first, uint64_t count)
{
    double busiest = NAN;
    for (uint64_t i = 0; i < count; i++) {
        const struct usage *from = &first[i].usage_first;
        const struct usage *until = &first[i].usage_last;
        if (until->at_ns <= from->at_ns)
            continue;
        double busy = (double)(until->cpu_ns - from->cpu_ns) / (double)(until->at_ns - from->at_ns);
        busiest = isnan(busiest) || busy > busiest ? busy : busiest;
    }
    return busiest;
}

static void add_level_row(
    const struct rush *rush, const struct tally *crowd, struct rush_report *report, size_t i)
{
    const struct intake *intake = rush->state;
    const struct hist *queued = crowd->latency[i][INTAKE_QUEUED];
    struct hist latency;
    hist_init(&latency);
    tally_latency(crowd, (unsigned)i, &latency);
    struct rush_level level = {.clients = intake->level_clients[i],
        .order_count = queued != NULL ? queued->count : 0,
        .latency = rush_times_of(&latency),
        .predicted_per_s = NAN,
        .original_per_s = original_rate(intake->level_clients[i])};
    level.error_count = latency.count - level.order_count;
    level.orders_per_s = (double)level.order_count / (double)rush->options.seconds;
    if (i > 0) {
        const struct rush_level *before = &report->levels[i - 1];
        level.predicted_per_s = before->orders_per_s * (double)level.clients / (double)before->clients;
    }
    add_spread(&level, intake->level_first[i]);
    level.generator_busy = busiest(intake->level_first[i], level.clients);
    report->levels[report->level_count++] = level;
}

static const struct rush_level *find_level(const struct rush_report *report, uint64_t clients)
{
    for (size_t i = 0; i < report->level_count; i++)
        if (report->levels[i].clients == clients)
            return &report->levels[i];
    return NULL;
}

static void tell(const struct rush *rush, const struct tally *crowd, struct rush_report *report)
{
    const struct intake *intake = rush->state;
    double best = 0;
    for (size_t i = 0; i < intake->level_count; i++) {
        add_level_row(rush, crowd, report, i);
        best = report->levels[i].orders_per_s > best ? report->levels[i].orders_per_s : best;
    }
    report->seconds = (double)(rush->options.seconds * (int64_t)intake->level_count); /* without the gaps */
    report->requests_per_s = (double)report->request_count / report->seconds;
    const struct rush_level *ten = find_level(report, 10);
    const struct rush_level *forty = find_level(report, 40);
    tell_figure(report, "most orders a second", "/s", 2653, 10000, best);
    tell_figure(report, "errors", "", 0, 0, (double)tally_count(crowd, ~OUTCOME_BIT(INTAKE_QUEUED)));
    if (ten != NULL) {
        tell_figure(report, "10 clients: response time, average", "ms", 3.91, NAN, ten->mean_ms);
        tell_figure(report, "10 clients: standard deviation", "ms", 0.04, NAN, ten->stdev_ms);
    }
    if (forty != NULL) {
        tell_figure(report, "40 clients: response time, average", "ms", 16.19, NAN, forty->mean_ms);
        tell_figure(report, "40 clients: standard deviation", "ms", 4.21, NAN, forty->stdev_ms);
        tell_figure(report, "40 clients: response time, longest", "ms", 3000, NAN,
            (double)forty->latency.max_ns / NS_PER_MS);
    }
    tell_bars(report, crowd, (struct tell_endings){OUTCOME_BIT(INTAKE_QUEUED), 0}, 0, NULL);
}

const struct scenario scenario_intake = {
    .name = "intake",
    .summary =
        "1, 10 and 40 clients send orders one after the other as fast as they are accepted (--clients)",
    .face = "intake",
    .endpoints = NULL,
    .outcomes = intake_outcomes,
    .is_saturating = true,
    .prepare = prepare,
    .set_up = set_up,
    .tear_down = tear_down,
    .tell = tell,
    .release = release,
};
