/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scenario says who comes, what they ask, how their answers are to be read and what must hold afterwards;
 * the squads (squad.h) send and measure. One file a scenario; scenarios.c lists them.
 *
 * A run goes: prepare (memory and plans only), set_up (requests through rush->exchange), the crowds follow
 * their plans on the squads, tear_down (requests again, adds invariants), release. Everything but write,
 * judge, name_user, note_vending and note_market is called on the thread that called rush_run; those are
 * called by squads, for one session by one squad, and share only what they make atomic.
 *
 * A run may have several rounds: then the crowds are begin_round's, and all of a round's users are through
 * before the next one begins.
 */
#ifndef DOORBUSTER_RUSH_SCENARIO_H
#define DOORBUSTER_RUSH_SCENARIO_H

#include "base/strbuf.h"
#include "net/http_target.h"
#include "rush/exchange.h"
#include "rush/plan.h"
#include "rush/rush.h"

enum { CROWDS_MAX = 8, SESSION_MEMORY_MAX = 6, DETAIL_MAX = 64 };

/* What a request's answer says about the truth, for the journal. */
enum truth {
    TRUTH_ACKNOWLEDGED, /* it took effect, says the server; detail: its number, or an order's status */
    TRUTH_REFUSED,      /* it took no effect; detail: the code */
    TRUTH_UNKNOWN       /* sent, and nobody said what became of it */
};

/* One go of one virtual user: a small state machine. Zeroed but for `serial` when the session begins. */
struct session {
    uint64_t serial;   /* number of this session in its crowd over all threads, from 0 */
    unsigned step;     /* requests of this session answered so far */
    unsigned endpoint; /* of the present request; the crowd's unless write changes it */
    bool goes_on;      /* judge sets it when another request follows at once; cleared before every judge */
    bool asks_again;   /* judge sets it when the same request is to be sent again, of crowds with repeat_ns */
    uint64_t memory[SESSION_MEMORY_MAX]; /* the scenario's own */
};

struct reply {
    int status;
    struct slice content_type;
    struct slice body;
    struct slice retry_after; /* the header's value; empty: none */
    int64_t took_ns;          /* since the request should have started */
};

struct judgement {
    unsigned outcome;
    enum truth truth;
    size_t detail_len;
    char detail[DETAIL_MAX];
};

struct rush;
struct journal;
struct journal_vending;
struct journal_market;
struct round_result;

/* Virtual users that all behave alike. */
struct crowd {
    const char *name; /* "buyers" */
    struct plan plan;
    unsigned endpoint;
    bool is_fresh; /* a new connection for every session */
    /* A session is several requests, each on a new connection, which is closed when it is answered; the time
     * of the whole session is measured too. */
    bool is_stepwise;
    bool times_sessions; /* a session's time is measured, on a kept connection too */
    /*
     * Above 0: a request that got no answer, or whose judge asks_again, is written and sent again after a
     * short pause, until so long after it should have started; so a server may be killed and come back in
     * between. Each time counts as a request of its own, and what write makes of a session and its step must
     * always be the same.
     */
    int64_t repeat_ns;
    /* Writes the next request. */
    void (*write)(const struct rush *rush, struct session *session, struct strbuf *request);
    /* Reads the answer. *judgement comes zeroed. */
    void (*judge)(const struct rush *rush, struct session *session, const struct reply *reply,
        struct judgement *judgement);
    /* Writes the buyer's name, or the order's number, for the journal, after judge if there was an answer;
     * NULL: these requests are not in the journal. */
    void (*name_user)(const struct rush *rush, const struct session *session, struct strbuf *name);
    /* In name_user's place for requests to vending machines: fills all of the line but how it ended. */
    void (*note_vending)(
        const struct rush *rush, const struct session *session, struct journal_vending *line);
    /* The same for the marketplace; who leaves line->request NULL has no line. */
    void (*note_market)(const struct rush *rush, const struct session *session, struct journal_market *line);
};

struct outcome {
    const char *name;
    const char *meaning;
};

struct scenario {
    const char *name;
    const char *summary;
    const char *sku;    /* NULL: it is not about a product */
    const char *face;   /* of orders, as the journal names it; NULL: what the crowd asks for are purchases */
    int64_t timeout_ms; /* how long its users wait unless the options say so; 0: 30 s */
    const char *const *endpoints; /* names, ended by NULL; NULL: prepare makes them */
    const struct outcome
        *outcomes;      /* the scenario's own, from OUTCOME_COMMON_COUNT on; ended by a NULL name */
    bool has_receipts;  /* the journal begins when set_up knows who signs them: journal_begin_receipts */
    bool is_saturating; /* made to send as fast as possible: a busy generator is no defect but bounds the
                           figure */
    /* Fills crowds, thresholds, options left at zero, and state. */
    enum err (*prepare)(struct rush *rush, struct error *error);
    enum err (*set_up)(struct rush *rush, struct error *error);
    /* `crowd` is what the crowd met, merged. */
    void (*tear_down)(struct rush *rush, const struct tally *crowd);
    /* Scenarios with rush->round_count; NULL: the crowds are prepare's. begin_round makes the crowds of round
     * `round` (from 0), memory and plans only; end_round may send requests through rush->exchange. */
    void (*begin_round)(struct rush *rush, size_t round);
    void (*end_round)(struct rush *rush, size_t round, const struct round_result *result);
    /* Adds what only this scenario tells to the report, whose figures are filled in; NULL: nothing. */
    void (*tell)(const struct rush *rush, const struct tally *crowd, struct rush_report *report);
    void (*release)(struct rush *rush);
};

/* What the crowds of one round met. */
struct round_result {
    const struct tally *crowd;
    int64_t start_ns;       /* clock_mono_ns: the zero of its plans */
    int64_t last_answer_ns; /* the same of the last answer; 0: there was none */
};

/* A run: what it is made of. Squads read it and change nothing. */
struct rush {
    struct rush_options options; /* with the scenario's values filled in */
    const struct scenario *scenario;
    struct http_target target;
    struct exchange *exchange;
    const struct journal *journal;
    const char *const *endpoints; /* names, ended by NULL: the scenario's */
    struct crowd crowds[CROWDS_MAX];
    size_t crowd_count;
    size_t round_count;     /* 0: one, with the crowds of prepare */
    uint64_t vu_count_most; /* virtual users of the largest round; 0: those of prepare's crowds */
    struct threshold thresholds[RUSH_THRESHOLDS_MAX];
    size_t threshold_count;
    struct rush_invariant invariants[RUSH_INVARIANTS_MAX];
    size_t invariant_count;
    const char *hint;         /* tear_down may set it: a sentence that explains a failed run; NULL: none */
    uint64_t user_count;      /* different buyers' names; 0: as many as there are requests */
    int64_t measure_from_ns;  /* from the start of the run; what starts earlier is warm-up and not measured */
    int64_t measure_until_ns; /* answers after this are not measured; INT64_MAX: all are */
    void *state;              /* the scenario's own */
};

/* Registry. */
const struct scenario *scenario_find(const char *name);
const struct scenario *scenario_at(size_t index);

/* The outcome's row, the common ones included. */
const struct outcome *scenario_outcome(const struct scenario *scenario, unsigned outcome);
size_t scenario_outcome_count(const struct scenario *scenario);

/* A histogram's figures. */
struct rush_times rush_times_of(const struct hist *hist);

/* For prepare and tear_down. There must be room: RUSH_THRESHOLDS_MAX, RUSH_INVARIANTS_MAX, CROWDS_MAX. */
void rush_add_threshold(struct rush *rush, struct threshold threshold);
void rush_add_invariant(struct rush *rush, bool holds, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
struct crowd *rush_add_crowd(struct rush *rush, struct crowd crowd);

/* Writes the detail of a judgement, cut when too long. */
void judgement_set_detail(struct judgement *judgement, struct slice detail);

#endif
