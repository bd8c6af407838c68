/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load generator as a library: lets a crowd loose on a server, over HTTP alone, and judges what it
 * answered. One run at a time per process; call it from one thread, it starts its own and blocks until the
 * run is over.
 */
#ifndef DOORBUSTER_RUSH_RUSH_H
#define DOORBUSTER_RUSH_RUSH_H

#include <stdatomic.h>

#include "base/err.h"
#include "rush/threshold.h"

/* Zero or NULL means the scenario's own value unless said otherwise. */
struct rush_options {
    const char *scenario;
    const char *url;       /* http://HOST:PORT; required */
    const char *admin_key; /* NULL: dev-admin-key-12345678, what servers of this wire use in development */
    const char *sku;
    const char *user_prefix;  /* what the buyers' names begin with */
    const char *op;           /* throughput: purchase, refused, status or fixed */
    const char *journal_path; /* NULL: none; see rush/journal.h */
    int64_t users;
    int64_t stock; /* units */
    int64_t dedup_users;
    int64_t pollers;
    int64_t connections;
    int64_t seconds;
    int64_t threads;         /* 0: one */
    int64_t timeout_ms;      /* 0: the scenario's own, mostly 30 s, and wait_s besides */
    const char *clients;     /* intake: how many, level by level: "1,10,40" */
    int64_t order_value;     /* what an order is worth on average, in whole dollars */
    int64_t prepared;        /* market-flow: how many intents are signed before the clock starts */
    const char *levels;      /* ladder, marketplace: how many users at once, level by level: "10,25,50" */
    int64_t machines;        /* these two: ladder, machines, line */
    int64_t wait_s;          /* how long a user stays in the line for a machine; 0: not at all */
    int64_t dispense_ms;     /* line: how long the server's machines dispense */
    int64_t drain_max_ms;    /* async-flash: how long to wait for the backlog; 0: not at all */
    double rate;             /* requests a second, open loop; 0: the scenario's own plan */
    bool is_sale_kept;       /* no set-up, no tear-down: use the sale as it stands */
    bool clears_all;         /* machines and products that no run has made are deleted, too */
    bool has_progress;       /* a line on standard error while it runs */
    const atomic_bool *stop; /* becomes true when the run is to end early; may be NULL */
};

enum {
    RUSH_PERCENTILE_COUNT = 7,
    RUSH_ROWS_MAX = 64,
    RUSH_ENDPOINT_ROWS_MAX = ENDPOINTS_MAX + 2,
    RUSH_THRESHOLDS_MAX = 16,
    RUSH_INVARIANTS_MAX = 16,
    RUSH_NOTES_MAX = 8,
    RUSH_FIGURES_MAX = 32,
    RUSH_LEVELS_MAX = 8,
    RUSH_IMPACTS_MAX = 8,
    RUSH_RUNGS_MAX = 24,
    RUSH_RUNG_ERRORS_MAX = 12,
    RUSH_MARKET_STEPS = 5,
    RUSH_TEXT_MAX = 320
};

/* 50, 75, 90, 95, 99, 99.9, 99.99 */
extern const double rush_percents[RUSH_PERCENTILE_COUNT];

struct rush_times {
    uint64_t count;
    uint64_t mean_ns;
    uint64_t min_ns;
    uint64_t max_ns;
    uint64_t percentile_ns[RUSH_PERCENTILE_COUNT];
};

/* Requests of one endpoint with one outcome. */
struct rush_row {
    const char *endpoint;
    const char *outcome;
    const char *meaning;
    double share;              /* of the endpoint's requests, 0 to 1 */
    struct rush_times latency; /* from the moment each should have started */
};

/* Requests of one endpoint, or of all. */
struct rush_endpoint {
    const char *name;
    struct rush_times latency;
    struct rush_times duration; /* uncorrected: from the first byte sent */
};

struct rush_invariant {
    char text[RUSH_TEXT_MAX];
    bool holds;
};

/* A figure of this run beside what others say of it; NAN: they say nothing. */
struct rush_figure {
    const char *name;
    const char *unit; /* "ms", "%", "/s" or "" */
    double original;  /* what the original's report measured */
    double expected;  /* what the original's report expected or aimed at */
    double ours;
};

/* How a request ended, in the distribution of the times that it took. */
enum rush_ending { RUSH_ENDED_GOOD, RUSH_ENDED_REFUSED, RUSH_ENDED_FAILED, RUSH_ENDING_COUNT };

/* How many requests took so long, and how they ended. */
struct rush_bar {
    int64_t from_ns;
    int64_t until_ns; /* INT64_MAX: no end */
    uint64_t counts[RUSH_ENDING_COUNT];
    int64_t original; /* requests in the original's report; -1: it does not say */
};

/* What so many clients at once reached. */
struct rush_level {
    uint64_t clients;
    uint64_t order_count; /* accepted */
    uint64_t error_count; /* every other request */
    double orders_per_s;
    double mean_ms;
    double stdev_ms;
    struct rush_times latency; /* of all requests of the level */
    double predicted_per_s;    /* by the level before, if twice the clients did twice as much; NAN: no such */
    double original_per_s;     /* NAN: the original was not measured with so many */
    double generator_busy;     /* share of the time in which its busiest thread ran, 0 to 1; NAN: too short to
                                  tell */
};

/* Requests of a level of the ladder that ended as no answer of the contract. */
struct rush_rung_error {
    const char *endpoint;
    const char *kind;
    const char *meaning;
    uint64_t count;
};

/* So many users at once: one level of the ladder, and what became of them. */
struct rush_rung {
    uint64_t users;
    double seconds;          /* from the instant in which they came to the last answer */
    uint64_t request_count;  /* answered or failed */
    uint64_t given_count;    /* start-work: 200 */
    uint64_t busy_count;     /* start-work: 409 */
    uint64_t full_count;     /* start-work: 503, the line is full */
    uint64_t sold_count;     /* choose-product: 200 */
    uint64_t refused_count;  /* choose-product: 422 */
    uint64_t timeout_count;  /* of both */
    uint64_t lost_count;     /* connections that were not taken, or ended too early */
    uint64_t other_count;    /* everything else */
    struct rush_times user;  /* both requests of a user together, from the instant in which it came */
    struct rush_times start; /* start-work alone */
    struct rush_times choose;
    struct rush_times connect;
    int64_t stock_expected;     /* supplied less all that was acknowledged up to here */
    int64_t stock_left;         /* as the server tells; -1: it could not be asked */
    uint64_t product_off_count; /* products whose own stock is another than expected */
    int64_t limit_ns;           /* what is asked of the 99th percentile; 0: nothing */
    bool is_limit_asked;        /* the limit is part of the verdict, not only of the breaking point */
    struct rush_rung_error errors[RUSH_RUNG_ERRORS_MAX];
    size_t error_count;
};

/* Levels with ever more users, and one stock for all of them. */
struct rush_ladder {
    struct rush_rung rungs[RUSH_RUNGS_MAX];
    size_t rung_count;
    int64_t machine_count;
    int64_t product_count;
    int64_t stock_supplied;
    int64_t stock_expected;
    int64_t stock_left;         /* at the very end; -1: it could not be asked */
    int64_t wait_s;             /* how long users stayed in the line; 0: there was none */
    uint64_t reset_error_count; /* resets that were answered neither 200 nor 409 */
};

/* So many users of the marketplace at once, and what became of them. */
struct rush_market_level {
    uint64_t users;
    double seconds;                             /* from the instant in which they came to the last answer */
    uint64_t request_count;                     /* answered or failed */
    uint64_t failed_count;                      /* without the answer that was hoped for */
    uint64_t bought_count;                      /* users who got a receipt */
    struct rush_times steps[RUSH_MARKET_STEPS]; /* register, challenge, verify, featured, transact */
    struct rush_times all;                      /* all of these requests */
    struct rush_times user;                     /* the whole way, from the instant in which the user came */
    struct rush_times connect;
    double sign_us;                /* CPU time of signing a challenge, on the way: part of the whole way */
    uint64_t wallet_count;         /* users who could register */
    uint64_t balance_wrong_count;  /* wallets in which is what should not be */
    uint64_t balance_untold_count; /* wallets that could not be read */
    uint64_t receipt_wrong_count;  /* not signed by the server's key, or with the number of another */
    int64_t stock_expected;        /* supplied less all that was acknowledged up to here */
    int64_t stock_left;            /* as the server tells; -1: it does not */
    int64_t limit_ns;              /* what is asked of the 99th percentile of all requests; 0: nothing */
    struct rush_rung_error errors[RUSH_RUNG_ERRORS_MAX];
    size_t error_count;
};

struct rush_market {
    struct rush_market_level levels[RUSH_RUNGS_MAX];
    size_t level_count; /* 0: the scenario has none */
    int64_t price_minor;
    int64_t stock_supplied;
};

enum rush_verdict { RUSH_PASSED, RUSH_FAILED, RUSH_INVALID, RUSH_INCOMPLETE };

struct rush_report {
    const char *scenario;
    const char *summary;
    char url[RUSH_TEXT_MAX];
    char sku[65];
    char plan[RUSH_TEXT_MAX]; /* what was done, in words */
    int64_t began_wall_ms;
    int64_t last_purchase_ns; /* clock_mono_ns when the crowd's last purchase was over; 0: nobody bought */
    double seconds; /* measured: from the first intended start, or the end of the warm-up, to the end */
    double requests_per_s;
    uint64_t request_count; /* measured, without set-up and tear-down */
    uint64_t admin_request_count;
    uint64_t unsent_count; /* open loop: sessions that never began */
    double
        generator_busy; /* share of the measured time in which a generator thread ran or wanted to, 0 to 1 */
    double generator_cpu_us; /* CPU time of the generator per request, in microseconds */
    int64_t threads;
    struct rush_times connect;
    struct rush_times lag; /* how late the generator itself was */
    struct rush_row rows[RUSH_ROWS_MAX];
    size_t row_count;
    struct rush_endpoint
        endpoints[RUSH_ENDPOINT_ROWS_MAX]; /* the last one: all, set-up and tear-down included */
    size_t endpoint_count;
    struct threshold_result thresholds[RUSH_THRESHOLDS_MAX];
    size_t threshold_count;
    struct rush_invariant invariants[RUSH_INVARIANTS_MAX];
    size_t invariant_count;
    char reasons[RUSH_NOTES_MAX][RUSH_TEXT_MAX]; /* why the result is invalid or incomplete */
    size_t reason_count;
    char notes[RUSH_NOTES_MAX][RUSH_TEXT_MAX];
    size_t note_count;
    struct rush_figure figures[RUSH_FIGURES_MAX];
    size_t figure_count;
    struct rush_bar bars[BANDS_MAX];
    size_t bar_count;
    struct rush_level levels[RUSH_LEVELS_MAX];
    size_t level_count;
    struct rush_ladder ladder;
    struct rush_market market;
    char impacts[RUSH_IMPACTS_MAX][RUSH_TEXT_MAX]; /* what the run means for the business, a line each */
    size_t impact_count;
    enum rush_verdict verdict;
};

/*
 * Runs a scenario once. ERR_USAGE: no such scenario or options that make no sense; ERR_ADDRESS, ERR_TIMEOUT:
 * the server cannot be reached; ERR_REFUSED: it answered, but the sale could not be set up; ERR_IO, ERR_FULL:
 * the journal cannot be written. With ERR_NONE the report is complete and its verdict says whether the run
 * passed.
 */
MUST_CHECK enum err rush_run(
    const struct rush_options *options, struct rush_report *report, struct error *error);

/* The scenarios by number, NULL beyond the last. */
const char *rush_scenario_name(size_t index);
const char *rush_scenario_summary(size_t index);

const char *rush_verdict_name(enum rush_verdict verdict);

#endif
