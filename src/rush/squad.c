/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/squad.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "net/http_client.h"
#include "rush/schedule.h"

enum {
    REQUEST_MAX = 2048,
    REPLY_MAX = 1 << 20,
    RETRY_PAUSE_MS = 50, /* after a failed connection: a server that is down is not hammered */
    NAME_MAX_BYTES = 256,
    CONNECTIONS_PER_SOURCE = 4096 /* of the 28,232 ports that an address usually has */
};

static const int64_t NS_PER_S = 1000000000;
static const int64_t NS_PER_MS = 1000000;

/* This squad's share of a crowd. */
struct share {
    struct squad *squad;
    const struct crowd *crowd;
    struct vu *vus;
    size_t vu_count;
    /* Open loop. */
    struct list free;      /* users without a session, that is, free connections */
    uint64_t next_arrival; /* the next session that has not begun */
    bool is_arrival_scheduled;
    int64_t give_up_ns; /* sessions that could not begin by then never will */
};

/* What stands in the schedule: a user whose session is due, or a share whose next arrival is. */
enum due_kind { DUE_USER, DUE_ARRIVAL };

struct due {
    enum due_kind kind;
};

struct vu {
    struct due due; /* first: what the schedule points at */
    struct http_link link;
    struct share *share;
    struct session session;
    struct list node; /* on share->free */
    uint64_t number;  /* in the crowd, over all threads */
    uint64_t sessions_begun;
    int64_t began_ns;  /* when the session should have started */
    int64_t due_ns;    /* when the present request should have started */
    int64_t until_ns;  /* closed: begins nothing after this */
    bool is_repeating; /* what is due is the present request once more */
};

struct share_due {
    struct due due;
    struct share *share;
};

struct cpu_usage {
    int64_t at_ns;
    int64_t cpu_ns;
    int64_t runnable_ns;
};

struct squad {
    const struct rush *rush;
    unsigned index;
    unsigned count;
    pthread_t thread;
    uv_loop_t loop;
    struct http_client *client;
    uv_async_t wake;
    uv_timer_t grace;   /* after squad_stop */
    uv_timer_t flusher; /* of the journal */
    uv_poll_t alarm; /* of alarm_fd, a timer that is exact to microseconds where libuv's know milliseconds */
    int alarm_fd;
    int64_t alarm_ns; /* what it is set to; INT64_MAX: nothing */
    struct schedule schedule;
    struct share shares[CROWDS_MAX];
    struct share_due arrivals[CROWDS_MAX];
    struct tally tally;
    struct journal_writer journal;
    struct slice sku;
    int64_t start_ns;
    int64_t measure_from_ns; /* these two by clock_mono_ns */
    int64_t measure_until_ns;
    struct cpu_usage usage_first;
    struct cpu_usage usage_last;
    bool has_usage_first;
    bool has_usage_last;
    int64_t last_answer_ns;
    int64_t last_purchase_ns;
    uint64_t measured_count;
    uint64_t waiting_count; /* requests sent and not answered */
    int last_errno;
    bool is_stopping;
    bool is_closing;
    atomic_bool is_stop_asked;
    atomic_bool is_over;
    _Atomic uint64_t answered;
    _Atomic uint64_t failed;
};

/* --- how busy the thread is --- */

/* Nanoseconds this thread has been ready to run and waited for a core; 0 where the kernel does not tell. */
static int64_t read_runnable_ns(void)
{
    char path[64];
    long long run_ns;
    long long wait_ns = 0;
    (void)snprintf(path, sizeof path, "/proc/self/task/%ld/schedstat", syscall(SYS_gettid));
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%lld %lld", &run_ns, &wait_ns) != 2)
        wait_ns = 0;
    (void)fclose(file);
    return wait_ns;
}

static struct cpu_usage read_usage(void)
{
    return (struct cpu_usage){clock_mono_ns(), clock_thread_cpu_ns(), read_runnable_ns()};
}

/* Called often; reads the counters when the measured time begins and when it ends. */
static void watch_usage(struct squad *squad, int64_t now_ns)
{
    if (!squad->has_usage_first && now_ns >= squad->measure_from_ns) {
        squad->has_usage_first = true;
        squad->usage_first = read_usage();
    }
    if (!squad->has_usage_last && now_ns >= squad->measure_until_ns) {
        squad->has_usage_last = true;
        squad->usage_last = read_usage();
    }
}

/* --- the schedule --- */

static void set_alarm(struct squad *squad)
{
    int64_t next_ns = schedule_next_ns(&squad->schedule);
    if (next_ns == squad->alarm_ns)
        return;
    squad->alarm_ns = next_ns;
    struct itimerspec when = {0}; /* zero: off */
    if (next_ns != INT64_MAX) {
        when.it_value.tv_sec = next_ns / NS_PER_S;
        when.it_value.tv_nsec = next_ns % NS_PER_S;
    }
    ENSURE(timerfd_settime(squad->alarm_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0);
}

static void on_handle_closed(uv_handle_t *handle)
{
    (void)handle;
}

static void close_handle(uv_handle_t *handle)
{
    if (handle->data != NULL) /* it was initialised */
        uv_close(handle, on_handle_closed);
}

/* Closes everything that the loop knows, which ends it. */
static void let_go(struct squad *squad)
{
    squad->is_closing = true;
    for (size_t i = 0; i < squad->rush->crowd_count; i++)
        for (size_t j = 0; j < squad->shares[i].vu_count; j++)
            http_link_fini(&squad->shares[i].vus[j].link);
    if (squad->client != NULL) {
        squad->last_errno = http_client_last_errno(squad->client);
        http_client_destroy(squad->client);
    }
    close_handle((uv_handle_t *)&squad->wake);
    close_handle((uv_handle_t *)&squad->grace);
    close_handle((uv_handle_t *)&squad->flusher);
    close_handle((uv_handle_t *)&squad->alarm);
}

/* Over when nothing is due and nothing is awaited. */
static void end_if_over(struct squad *squad)
{
    if (squad->waiting_count == 0 && squad->schedule.count == 0 && !squad->is_closing)
        let_go(squad);
}

/* --- requests --- */

static void send_request(struct vu *vu, int64_t now_ns)
{
    struct squad *squad = vu->share->squad;
    vu->session.endpoint = vu->share->crowd->endpoint;
    struct strbuf *request = http_link_prepare(&vu->link);
    vu->share->crowd->write(squad->rush, &vu->session, request);
    squad->waiting_count++;
    http_link_send(&vu->link, now_ns);
}

static void begin_session(struct vu *vu, uint64_t serial, int64_t due_ns, int64_t now_ns)
{
    if (vu->share->crowd->is_fresh)
        http_link_close(&vu->link);
    memset(&vu->session, 0, sizeof vu->session);
    vu->session.serial = serial;
    vu->sessions_begun++;
    vu->began_ns = due_ns;
    vu->due_ns = due_ns;
    send_request(vu, now_ns);
}

static void add_lag(struct squad *squad, int64_t due_ns, int64_t now_ns)
{
    if (due_ns >= squad->measure_from_ns)
        hist_add(&squad->tally.lag, (uint64_t)(now_ns > due_ns ? now_ns - due_ns : 0));
}

/* Burst and closed: numbers sessions so that no two in the crowd are alike. */
static uint64_t next_serial(const struct vu *vu)
{
    return vu->number + vu->sessions_begun * vu->share->crowd->plan.vu_count;
}

static void on_user_due(struct vu *vu, int64_t due_ns, int64_t now_ns)
{
    if (vu->is_repeating) {
        vu->is_repeating = false;
        send_request(vu, now_ns);
        return;
    }
    if (due_ns >= vu->until_ns)
        return;
    add_lag(vu->share->squad, due_ns, now_ns);
    begin_session(vu, next_serial(vu), due_ns, now_ns);
}

/* --- open loop --- */

static int64_t arrival_ns(const struct share *share)
{
    return share->squad->start_ns + plan_arrival_ns(&share->crowd->plan, share->next_arrival);
}

static bool has_arrivals(const struct share *share)
{
    return share->next_arrival < share->crowd->plan.session_count && !share->squad->is_stopping;
}

static void schedule_arrival(struct share *share)
{
    if (!has_arrivals(share) || share->is_arrival_scheduled)
        return;
    struct squad *squad = share->squad;
    share->is_arrival_scheduled = true;
    schedule_add(&squad->schedule, arrival_ns(share), &squad->arrivals[share - squad->shares].due);
}

/* What did not begin in time will not begin at all; the report says how many these are. */
static void give_up_arrivals(struct share *share)
{
    uint64_t count = share->crowd->plan.session_count;
    for (; share->next_arrival < count; share->next_arrival += share->squad->count)
        share->squad->tally.unsent_count++;
}

static void on_arrival_due(struct share *share, int64_t now_ns)
{
    share->is_arrival_scheduled = false;
    if (now_ns > share->give_up_ns)
        give_up_arrivals(share);
    while (has_arrivals(share) && arrival_ns(share) <= now_ns) {
        struct list *node = list_first(&share->free);
        if (node == NULL)
            return; /* the next connection that gets free goes on from here */
        struct vu *vu = CONTAINER_OF(node, struct vu, node);
        list_remove(node);
        int64_t due_ns = arrival_ns(share);
        uint64_t serial = share->next_arrival;
        share->next_arrival += share->squad->count;
        add_lag(share->squad, due_ns, now_ns);
        begin_session(vu, serial, due_ns, now_ns);
    }
    schedule_arrival(share);
}

/* A connection is free: it serves who has been waiting for it longest. */
static void on_connection_free(struct vu *vu, int64_t now_ns)
{
    struct share *share = vu->share;
    if (now_ns > share->give_up_ns)
        give_up_arrivals(share);
    if (!has_arrivals(share) || share->is_arrival_scheduled || arrival_ns(share) > now_ns) {
        list_append(&share->free, &vu->node);
        schedule_arrival(share);
        return;
    }
    int64_t due_ns = arrival_ns(share);
    uint64_t serial = share->next_arrival;
    share->next_arrival += share->squad->count;
    share->squad->tally.starved_count++;
    begin_session(vu, serial, due_ns, now_ns);
}

/* --- after a session --- */

static void begin_next(struct vu *vu, bool has_failed, int64_t now_ns)
{
    struct squad *squad = vu->share->squad;
    const struct plan *plan = &vu->share->crowd->plan;
    int64_t due_ns = now_ns;
    if (plan->kind == PLAN_BURST && vu->sessions_begun >= plan->sessions_per_vu)
        return;
    if (plan->kind == PLAN_CLOSED)
        due_ns = plan_next_ns(plan, vu->due_ns, now_ns, plan_draw(vu->number, vu->sessions_begun));
    if (has_failed && due_ns < now_ns + RETRY_PAUSE_MS * NS_PER_MS)
        due_ns = now_ns + RETRY_PAUSE_MS * NS_PER_MS;
    if (due_ns >= vu->until_ns || squad->is_stopping)
        return;
    if (due_ns > now_ns)
        schedule_add(&squad->schedule, due_ns, &vu->due);
    else
        begin_session(vu, next_serial(vu), due_ns, now_ns);
}

static void after_session(struct vu *vu, bool has_failed, int64_t now_ns)
{
    struct squad *squad = vu->share->squad;
    if (vu->share->crowd->is_stepwise || vu->share->crowd->times_sessions)
        hist_add(&squad->tally.session, (uint64_t)(now_ns - vu->began_ns));
    if (vu->share->crowd->plan.kind == PLAN_OPEN)
        on_connection_free(vu, now_ns);
    else
        begin_next(vu, has_failed, now_ns);
    if (squad->waiting_count == 0)
        end_if_over(squad);
}

/* --- measuring --- */

/* An open loop measures by when a session should have begun, or its slowest answers would be left out. */
static bool is_measured(const struct squad *squad, const struct vu *vu, int64_t now_ns)
{
    if (vu->share->crowd->plan.kind == PLAN_OPEN)
        return vu->due_ns >= squad->measure_from_ns;
    return now_ns >= squad->measure_from_ns && now_ns < squad->measure_until_ns;
}

static void count(_Atomic uint64_t *counter)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + 1, memory_order_relaxed); /* one writer */
}

static void measure(struct vu *vu, unsigned outcome, bool is_failed, int64_t now_ns)
{
    struct squad *squad = vu->share->squad;
    const struct http_link *link = &vu->link;
    squad->waiting_count--;
    squad->tally.all_counts[outcome]++;
    count(&squad->answered);
    if (is_failed)
        count(&squad->failed);
    watch_usage(squad, now_ns);
    if (!is_measured(squad, vu, now_ns))
        return;
    struct sample sample = {.endpoint = vu->session.endpoint,
        .outcome = outcome,
        .is_failed = is_failed,
        .latency_ns = (uint64_t)(now_ns - vu->due_ns),
        .duration_ns = (uint64_t)(now_ns - (link->sent_ns > 0 ? link->sent_ns : link->started_ns))};
    tally_add(&squad->tally, &sample);
    if (link->connected_ns > 0)
        hist_add(&squad->tally.connect, (uint64_t)(link->connected_ns - link->started_ns));
    squad->measured_count++;
    squad->last_answer_ns = now_ns;
}

/* A request to a vending machine is over. */
static void note_vending(struct vu *vu, enum truth truth, struct slice detail)
{
    struct squad *squad = vu->share->squad;
    struct journal_vending line = {.truth = truth, .detail = detail};
    if (!journal_is_on(&squad->journal))
        return;
    vu->share->crowd->note_vending(squad->rush, &vu->session, &line);
    journal_add_vending(&squad->journal, &line);
}

/* A request to the marketplace is over. */
static void note_market(struct vu *vu, enum truth truth, struct slice detail)
{
    struct squad *squad = vu->share->squad;
    struct journal_market line = {.truth = truth, .detail = detail};
    if (!journal_is_on(&squad->journal))
        return;
    vu->share->crowd->note_market(squad->rush, &vu->session, &line);
    journal_add_market(&squad->journal, &line);
}

/* A purchase or an order is over, whatever became of it. */
static void note_purchase(struct vu *vu, enum truth truth, struct slice detail, int64_t now_ns)
{
    struct squad *squad = vu->share->squad;
    const struct crowd *crowd = vu->share->crowd;
    char memory[NAME_MAX_BYTES];
    struct strbuf name;
    if (crowd->note_vending != NULL)
        note_vending(vu, truth, detail);
    if (crowd->note_market != NULL)
        note_market(vu, truth, detail);
    if (crowd->name_user == NULL)
        return;
    squad->last_purchase_ns = now_ns;
    if (!journal_is_on(&squad->journal))
        return;
    strbuf_init(&name, memory, sizeof memory);
    crowd->name_user(squad->rush, &vu->session, &name);
    if (squad->rush->scenario->face != NULL)
        journal_add_order(&squad->journal, strbuf_slice(&name), truth, detail);
    else
        journal_add(&squad->journal, squad->sku, strbuf_slice(&name), truth, detail);
}

/* Puts the present request on the schedule once more; false when it is over with it. */
static bool ask_again(struct vu *vu, int64_t now_ns)
{
    struct squad *squad = vu->share->squad;
    int64_t repeat_ns = vu->share->crowd->repeat_ns;
    if (squad->is_stopping || now_ns - vu->due_ns >= repeat_ns)
        return false;
    vu->is_repeating = true;
    schedule_add(&squad->schedule, now_ns + RETRY_PAUSE_MS * NS_PER_MS, &vu->due);
    return true;
}

static void on_reply(struct http_link *link, const struct http_response *response, int64_t now_ns)
{
    struct vu *vu = CONTAINER_OF(link, struct vu, link);
    const struct reply reply = {
        response->status, response->content_type, response->body, response->retry_after, now_ns - vu->due_ns};
    struct judgement judgement;
    judgement.outcome = 0;
    judgement.truth = TRUTH_UNKNOWN;
    judgement.detail_len = 0;
    vu->session.goes_on = false;
    vu->session.asks_again = false;
    if (vu->share->crowd->is_stepwise)
        http_link_close(link); /* the answer stays where it is */
    vu->share->crowd->judge(vu->share->squad->rush, &vu->session, &reply, &judgement);
    measure(vu, judgement.outcome, response->status >= 400, now_ns);
    note_purchase(vu, judgement.truth, slice_make(judgement.detail, judgement.detail_len), now_ns);
    if (vu->session.asks_again && ask_again(vu, now_ns))
        return;
    if (!vu->session.goes_on) {
        after_session(vu, false, now_ns);
        return;
    }
    vu->session.step++;
    vu->due_ns = now_ns;
    send_request(vu, now_ns);
}

static void on_failure(struct http_link *link, enum http_failure failure, int64_t now_ns)
{
    static const unsigned outcomes[] = {
        [HTTP_FAILURE_TIMEOUT] = OUTCOME_TIMEOUT,
        [HTTP_FAILURE_LOST] = OUTCOME_LOST,
        [HTTP_FAILURE_CONNECT] = OUTCOME_CONNECT,
        [HTTP_FAILURE_MALFORMED] = OUTCOME_MALFORMED,
        [HTTP_FAILURE_LOCAL] = OUTCOME_LOCAL,
        [HTTP_FAILURE_CANCELLED] = OUTCOME_CUT_SHORT,
    };
    struct vu *vu = CONTAINER_OF(link, struct vu, link);
    unsigned outcome = outcomes[failure];
    bool was_sent = link->sent_ns > 0;
    struct slice code = slice_cstr(scenario_outcome(vu->share->squad->rush->scenario, outcome)->name);
    measure(vu, outcome, true, now_ns);
    note_purchase(vu, was_sent ? TRUTH_UNKNOWN : TRUTH_REFUSED, was_sent ? code : SLICE("NOT_SENT"), now_ns);
    if (!ask_again(vu, now_ns))
        after_session(vu, true, now_ns);
}

/* --- the loop --- */

static void serve_due(struct squad *squad)
{
    int64_t now_ns = clock_mono_ns();
    int64_t due_ns;
    watch_usage(squad, now_ns);
    for (struct due *due = schedule_take(&squad->schedule, now_ns, &due_ns); due != NULL;
         due = schedule_take(&squad->schedule, now_ns, &due_ns)) {
        if (due->kind == DUE_USER)
            on_user_due(CONTAINER_OF(due, struct vu, due), due_ns, now_ns);
        else
            on_arrival_due(CONTAINER_OF(due, struct share_due, due)->share, now_ns);
        now_ns = clock_mono_ns();
    }
}

static void on_alarm(uv_poll_t *poll, int status, int events)
{
    struct squad *squad = poll->data;
    uint64_t expirations;
    (void)status;
    (void)events;
    if (read(squad->alarm_fd, &expirations, sizeof expirations) < 0)
        return; /* set anew meanwhile: it will come again */
    squad->alarm_ns = INT64_MAX;
    serve_due(squad);
    end_if_over(squad);
}

/* The schedule changes in many places; the alarm follows once a turn. */
static void on_turn(uv_prepare_t *prepare)
{
    struct squad *squad = prepare->data;
    if (!squad->is_closing)
        set_alarm(squad);
    else if (!uv_is_closing((uv_handle_t *)prepare))
        uv_close((uv_handle_t *)prepare, on_handle_closed);
}

static void on_grace_over(uv_timer_t *timer)
{
    struct squad *squad = timer->data;
    http_client_cancel(squad->client);
    end_if_over(squad);
}

static void on_wake(uv_async_t *wake)
{
    struct squad *squad = wake->data;
    if (!atomic_load(&squad->is_stop_asked) || squad->is_stopping || squad->is_closing)
        return;
    squad->is_stopping = true;
    schedule_clear(&squad->schedule);
    for (size_t i = 0; i < squad->rush->crowd_count; i++)
        if (squad->shares[i].crowd->plan.kind == PLAN_OPEN)
            give_up_arrivals(&squad->shares[i]);
    (void)uv_timer_start(&squad->grace, on_grace_over, SQUAD_STOP_GRACE_MS, 0);
    end_if_over(squad);
}

static void on_flush(uv_timer_t *timer)
{
    struct squad *squad = timer->data;
    journal_flush(&squad->journal);
}

/* Puts everybody's first session on the schedule. */
static void schedule_all(struct squad *squad)
{
    for (size_t i = 0; i < squad->rush->crowd_count; i++) {
        struct share *share = &squad->shares[i];
        share->give_up_ns =
            squad->start_ns + plan_end_ns(&share->crowd->plan) + squad->rush->options.timeout_ms * NS_PER_MS;
        if (share->crowd->plan.kind == PLAN_OPEN) {
            schedule_arrival(share);
            continue;
        }
        for (size_t j = 0; j < share->vu_count; j++) {
            struct vu *vu = &share->vus[j];
            int64_t from_ns;
            int64_t until_ns;
            plan_vu_window(&share->crowd->plan, vu->number, &from_ns, &until_ns);
            vu->until_ns = until_ns == INT64_MAX ? INT64_MAX : squad->start_ns + until_ns;
            schedule_add(&squad->schedule, squad->start_ns + from_ns, &vu->due);
        }
    }
}

static void *run(void *argument)
{
    struct squad *squad = argument;
    uv_prepare_t turn;
    (void)uv_prepare_init(&squad->loop, &turn);
    turn.data = squad;
    (void)uv_prepare_start(&turn, on_turn);
    schedule_all(squad);
    end_if_over(squad);
    (void)uv_run(&squad->loop, UV_RUN_DEFAULT);
    if (!squad->has_usage_first)
        squad->usage_first = read_usage();
    if (!squad->has_usage_last)
        squad->usage_last = read_usage();
    journal_flush(&squad->journal);
    atomic_store(&squad->is_over, true);
    return NULL;
}

/* --- from outside --- */

static bool init_share(struct squad *squad, size_t i)
{
    struct share *share = &squad->shares[i];
    const struct crowd *crowd = &squad->rush->crowds[i];
    uint64_t all = crowd->plan.vu_count;
    share->squad = squad;
    share->crowd = crowd;
    share->next_arrival = squad->index;
    list_init(&share->free);
    squad->arrivals[i] = (struct share_due){{DUE_ARRIVAL}, share};
    size_t count_of_mine = (size_t)(all / squad->count + (all % squad->count > squad->index));
    share->vus = calloc(count_of_mine > 0 ? count_of_mine : 1, sizeof *share->vus);
    if (share->vus == NULL)
        return false;
    for (size_t j = 0; j < count_of_mine; j++) {
        struct vu *vu = &share->vus[j];
        if (!http_link_init(&vu->link, squad->client))
            return false;
        share->vu_count++;
        vu->due.kind = DUE_USER;
        vu->share = share;
        vu->number = squad->index + j * squad->count;
        list_init(&vu->node);
        if (crowd->plan.kind == PLAN_OPEN)
            list_append(&share->free, &vu->node);
    }
    return true;
}

static bool init_handles(struct squad *squad)
{
    squad->alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (squad->alarm_fd < 0 || uv_poll_init(&squad->loop, &squad->alarm, squad->alarm_fd) != 0)
        return false;
    squad->alarm.data = squad;
    (void)uv_poll_start(&squad->alarm, UV_READABLE, on_alarm);
    if (uv_async_init(&squad->loop, &squad->wake, on_wake) != 0)
        return false;
    squad->wake.data = squad;
    (void)uv_timer_init(&squad->loop, &squad->grace); /* timers cannot fail */
    (void)uv_timer_init(&squad->loop, &squad->flusher);
    squad->grace.data = squad;
    squad->flusher.data = squad;
    if (journal_is_on(&squad->journal))
        (void)uv_timer_start(&squad->flusher, on_flush, JOURNAL_FLUSH_INTERVAL_MS, JOURNAL_FLUSH_INTERVAL_MS);
    return true;
}

static bool init(struct squad *squad, const struct journal *journal)
{
    const struct rush *rush = squad->rush;
    size_t vu_count = 0;
    for (size_t i = 0; i < rush->crowd_count; i++)
        vu_count += (size_t)(rush->crowds[i].plan.vu_count / squad->count) + 2;
    struct http_client_config config = {.target = rush->target,
        .timeout_ms = rush->options.timeout_ms,
        .request_bytes_max = REQUEST_MAX,
        .reply_bytes_max = REPLY_MAX,
        .connections_per_source = CONNECTIONS_PER_SOURCE,
        .on_reply = on_reply,
        .on_failure = on_failure};
    squad->client = http_client_create(&squad->loop, &config);
    if (squad->client == NULL || !journal_writer_init(&squad->journal, journal) ||
        !schedule_init(&squad->schedule, vu_count) || !init_handles(squad))
        return false;
    for (size_t i = 0; i < rush->crowd_count; i++)
        if (!init_share(squad, i))
            return false;
    return true;
}

struct squad *squad_create(
    const struct rush *rush, const struct journal *journal, unsigned index, unsigned count_all)
{
    struct squad *squad = calloc(1, sizeof *squad);
    if (squad == NULL || uv_loop_init(&squad->loop) != 0) {
        free(squad);
        return NULL;
    }
    squad->rush = rush;
    squad->index = index;
    squad->count = count_all;
    squad->alarm_fd = -1;
    squad->alarm_ns = INT64_MAX;
    squad->sku = slice_cstr(rush->options.sku);
    tally_init(&squad->tally);
    if (init(squad, journal))
        return squad;
    squad_destroy(squad);
    return NULL;
}

void squad_destroy(struct squad *squad)
{
    if (squad == NULL)
        return;
    if (!squad->is_closing) { /* it never ran */
        let_go(squad);
        (void)uv_run(&squad->loop, UV_RUN_DEFAULT);
    }
    ENSURE(uv_loop_close(&squad->loop) == 0);
    if (squad->alarm_fd >= 0)
        (void)close(squad->alarm_fd);
    for (size_t i = 0; i < squad->rush->crowd_count; i++)
        free(squad->shares[i].vus);
    schedule_fini(&squad->schedule);
    journal_writer_fini(&squad->journal);
    tally_fini(&squad->tally);
    free(squad);
}

enum err squad_start(struct squad *squad, int64_t start_ns, struct error *error)
{
    const struct rush *rush = squad->rush;
    squad->start_ns = start_ns;
    squad->measure_from_ns = start_ns + rush->measure_from_ns;
    squad->measure_until_ns =
        rush->measure_until_ns == INT64_MAX ? INT64_MAX : start_ns + rush->measure_until_ns;
    int code = pthread_create(&squad->thread, NULL, run, squad);
    return code == 0 ? ERR_NONE
                     : error_set(error, ERR_MEMORY, "no thread for the load generator: %s", strerror(code));
}

void squad_join(struct squad *squad, struct squad_result *result)
{
    ENSURE(pthread_join(squad->thread, NULL) == 0);
    const struct cpu_usage *first = &squad->usage_first;
    const struct cpu_usage *last = &squad->usage_last;
    *result = (struct squad_result){.tally = squad->tally,
        .measured_ns = last->at_ns - first->at_ns,
        .cpu_ns = last->cpu_ns - first->cpu_ns,
        .runnable_ns = last->runnable_ns - first->runnable_ns,
        .last_answer_ns = squad->last_answer_ns,
        .last_purchase_ns = squad->last_purchase_ns,
        .request_count = squad->measured_count,
        .journal_errno = squad->journal.failed_errno,
        .last_errno = squad->last_errno};
    tally_init(&squad->tally); /* moved to the result */
}

void squad_stop(struct squad *squad)
{
    atomic_store(&squad->is_stop_asked, true);
    if (!atomic_load(&squad->is_over))
        (void)uv_async_send(&squad->wake);
}

void squad_progress(const struct squad *squad, struct squad_progress *progress)
{
    progress->answered = atomic_load_explicit(&squad->answered, memory_order_relaxed);
    progress->failed = atomic_load_explicit(&squad->failed, memory_order_relaxed);
    progress->is_over = atomic_load(&squad->is_over);
}
