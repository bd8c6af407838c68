/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store for tests of the engine: keeps purchases in memory, fails as it is told, and can be held in the
 * middle of a commit. The engine uses it on its thread; the controls below may be used on any thread. Waiting
 * is bounded: after WAIT_LIMIT_MS the program aborts with a message.
 */
#ifndef DOORBUSTER_TESTS_UNIT_FAKE_STORE_H
#define DOORBUSTER_TESTS_UNIT_FAKE_STORE_H

#include <pthread.h>

#include "store/store.h"

enum { WAIT_LIMIT_MS = 30000, FAKE_PURCHASES_MAX = 200000 };

struct fake_purchase {
    int64_t id;
    int64_t product_id;
    char user[24];
};

struct fake_store {
    struct store base;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* orders */
    bool is_held;                             /* commits wait */
    enum err commit_fault;                    /* what the next commits say; ERR_NONE: they succeed */
    int commit_fault_skip;                    /* so many succeed before */
    int commit_fault_count;                   /* how many of them; -1: all */
    bool (*fails)(const struct world *world); /* which commits fail besides, with ERR_FULL; may be NULL */
    enum err probe_fault;
    enum err load_fault;
    int64_t commit_ns;       /* how long a commit takes at least */
    void (*on_load)(void);   /* called in each load for a batch, may be NULL */
    void (*on_commit)(void); /* called in each commit, may be NULL */
    /* what has happened */
    int commits_begun;
    int commits_done; /* successfully */
    int commits_failed;
    int is_committing;
    int probes;
    int loads_of_all; /* with no command: the start */
    int loads_of_batch;
    size_t batch_max; /* commands */
    size_t purchase_count;
    struct fake_purchase *purchases; /* in order of id */
};

void fake_store_init(struct fake_store *store);
void fake_store_fini(struct fake_store *store);

/* From now on commits wait inside; release lets them go on. */
void fake_store_hold(struct fake_store *store);
void fake_store_release(struct fake_store *store);

/* Returns once a commit is inside and held. */
void fake_store_await_commit(struct fake_store *store);

/* Returns once the store was probed at least so often. */
void fake_store_await_probes(struct fake_store *store, int count);

void fake_store_fail_commits(struct fake_store *store, enum err fault, int count);

/* As above, but after `skip` that succeed; one that is held now counts. */
void fake_store_fail_commits_after(struct fake_store *store, int skip, enum err fault, int count);

/* Commits for which `fails` says so, on the engine's thread, fail too. NULL: none. */
void fake_store_fail_which(struct fake_store *store, bool (*fails)(const struct world *world));
void fake_store_set_probe(struct fake_store *store, enum err fault);
void fake_store_set_load(struct fake_store *store, enum err fault);

bool fake_store_has_purchase(struct fake_store *store, int64_t id);

/* A number of the struct, read under the lock. */
int fake_store_read(struct fake_store *store, const int *number);

/* The end of a bounded wait on a CLOCK_MONOTONIC condition; pthread_cond_timedwait until it fails means ...
 */
struct timespec wait_limit(void);

/* ... this: prints what was waited for and aborts. */
_Noreturn void wait_failed(const char *what);

/* A condition variable on CLOCK_MONOTONIC. */
void cond_init_mono(pthread_cond_t *cond);

#endif
