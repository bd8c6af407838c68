/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passwords, hashed with argon2id: slow and hungry for memory on purpose, so it is done away from the
 * network's and the engine's threads, by a few threads of its own behind a bounded queue. What does not fit
 * into the queue is refused at once: a crowd that logs in must not take all processors and all memory, and
 * nobody waits for an answer that comes too late.
 *
 * One hash with the default cost takes 64 MiB and about a tenth of a second of a processor; so many threads
 * as there are, so many times that.
 */
#ifndef DOORBUSTER_SERVICE_PASSWORDS_H
#define DOORBUSTER_SERVICE_PASSWORDS_H

#include "base/err.h"
#include "base/list.h"
#include "base/strbuf.h"

enum {
    PASSWORD_LEN_MAX = 1024, /* bytes; more is no password but a burden */
    PASSWORD_HASH_SIZE = 128 /* with its NUL */
};

struct passwords;

struct passwords_config {
    size_t thread_count; /* 1 to 64 */
    size_t queue_max;    /* jobs that may wait, at least 1 */
    uint64_t passes;     /* argon2id's time cost, at least 1 */
    size_t memory_bytes; /* argon2id's memory cost, at least 8 KiB */
};

/* One thread, 64 jobs may wait, 2 passes over 64 MiB. */
extern const struct passwords_config passwords_defaults;

enum password_status {
    PASSWORD_OK,     /* hashed, or it matches */
    PASSWORD_WRONG,  /* it does not match, or there was no hash to match */
    PASSWORD_FAILED, /* no verdict: no memory, or the hash is damaged (errors are logged) */
};

/* The caller's memory, which must stay until on_done. */
struct password_job {
    char password[PASSWORD_LEN_MAX]; /* wiped before on_done */
    size_t password_len;
    char hash[PASSWORD_HASH_SIZE]; /* ends with a NUL; passwords_hash writes it, passwords_verify reads it */
    /* On a thread of the pool, once. Must not block. The job is the caller's again. */
    void (*on_done)(struct password_job *job);
    void *context;
    enum password_status status; /* to read in on_done */
    bool is_verify;              /* from here on the pool's */
    struct list link;
};

/* Makes the hash that an unknown user's password is compared with, and starts the threads. */
MUST_CHECK enum err passwords_create(
    const struct passwords_config *config, struct passwords **passwords, struct error *error);

/*
 * Both: any thread, do not block. False when the queue is full or the pool has stopped: the job was not
 * taken, the password is wiped, and on_done is not called.
 */
bool passwords_hash(struct passwords *passwords, struct password_job *job);

/*
 * Whether the password is that of job->hash. With an empty hash, for a user that does not exist, the same
 * work is done against a hash that nobody knows the password of, and the answer is WRONG: who asks cannot
 * tell from the time which users there are.
 */
bool passwords_verify(struct passwords *passwords, struct password_job *job);

/* How long a job that came now would wait and take, in ns: for Retry-After. Any thread. */
int64_t passwords_wait_ns(struct passwords *passwords);

/* Finishes what is queued, refuses more, ends the threads. */
void passwords_stop(struct passwords *passwords);

/* Stopped or not; stops it. */
void passwords_destroy(struct passwords *passwords);

/* doorbuster_passwords_..., for Prometheus. Any thread. */
void passwords_put_metrics(struct passwords *passwords, struct strbuf *text);

#endif
