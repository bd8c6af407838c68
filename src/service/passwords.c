/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads take jobs from one queue under one lock, work without it, and call on_done without it. What
 * they have taken counts as running until on_done has returned, so a stop that found nothing waiting still
 * waits for it.
 */
#include "service/passwords.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"

enum {
    THREADS_MAX = 64,
    DURATION_SHARE = 8, /* a new duration's share in the expected one */
    SECRET_BYTES = 32,
};

_Static_assert(PASSWORD_HASH_SIZE == crypto_pwhash_STRBYTES, "room for argon2id's text");

/* The cost is libsodium's INTERACTIVE. */
const struct passwords_config passwords_defaults = {
    .thread_count = 1,
    .queue_max = 64,
    .passes = crypto_pwhash_OPSLIMIT_INTERACTIVE,
    .memory_bytes = crypto_pwhash_MEMLIMIT_INTERACTIVE,
};

struct passwords {
    struct passwords_config config;
    char unknown_hash[PASSWORD_HASH_SIZE]; /* of a password that nobody knows */
    pthread_t threads[THREADS_MAX];
    size_t started;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t came;
    struct list queue; /* first come first served */
    size_t queued;
    size_t running;
    bool is_stopping;
    int64_t expected_ns; /* of one job */
    uint64_t done_total;
    uint64_t refused_total;
};

/* --- one job --- */

static enum password_status hash_password(const struct passwords *passwords, struct password_job *job)
{
    const struct passwords_config *config = &passwords->config;
    int status = crypto_pwhash_str_alg(job->hash, job->password, job->password_len, config->passes,
        config->memory_bytes, crypto_pwhash_ALG_ARGON2ID13);
    return status == 0 ? PASSWORD_OK : PASSWORD_FAILED;
}

/* libsodium says no in one way only; errno is EINVAL when the hash was calculated and is another. */
static enum password_status verify_password(const struct passwords *passwords, struct password_job *job)
{
    bool is_known = job->hash[0] != '\0';
    const char *hash = is_known ? job->hash : passwords->unknown_hash;
    errno = 0;
    int status = crypto_pwhash_argon2id_str_verify(hash, job->password, job->password_len);
    if (status != 0 && errno != EINVAL)
        return PASSWORD_FAILED;
    return status == 0 && is_known ? PASSWORD_OK : PASSWORD_WRONG;
}

static void do_job(const struct passwords *passwords, struct password_job *job)
{
    job->status = job->is_verify ? verify_password(passwords, job) : hash_password(passwords, job);
    sodium_memzero(job->password, sizeof job->password);
    if (job->status == PASSWORD_FAILED)
        log_error("passwords", "a password was not %s: there are no %zu KiB of memory%s",
            job->is_verify ? "checked" : "hashed", passwords->config.memory_bytes >> 10,
            job->is_verify ? ", or its stored hash is damaged" : "");
}

/* --- the threads --- */

/* The next job, or NULL when there is none and none will come. Under the lock. */
static struct password_job *next_job(struct passwords *passwords)
{
    while (list_is_empty(&passwords->queue) && !passwords->is_stopping)
        pthread_cond_wait(&passwords->came, &passwords->lock);
    struct list *link = list_first(&passwords->queue);
    if (link == NULL)
        return NULL;
    list_remove(link);
    passwords->queued--;
    passwords->running++;
    return CONTAINER_OF(link, struct password_job, link);
}

static void note_done(struct passwords *passwords, int64_t duration_ns)
{
    passwords->running--;
    passwords->done_total++;
    passwords->expected_ns += (duration_ns - passwords->expected_ns) / DURATION_SHARE;
}

static void *passwords_main(void *context)
{
    struct passwords *passwords = context;
    struct password_job *job;
    pthread_mutex_lock(&passwords->lock);
    while ((job = next_job(passwords)) != NULL) {
        pthread_mutex_unlock(&passwords->lock);
        int64_t began_ns = clock_mono_ns();
        do_job(passwords, job);
        int64_t duration_ns = clock_mono_ns() - began_ns;
        job->on_done(job);
        pthread_mutex_lock(&passwords->lock);
        note_done(passwords, duration_ns);
    }
    pthread_mutex_unlock(&passwords->lock);
    return NULL;
}

/* --- from outside --- */

static bool push(struct passwords *passwords, struct password_job *job, bool is_verify)
{
    ENSURE(job->password_len <= PASSWORD_LEN_MAX);
    job->is_verify = is_verify;
    pthread_mutex_lock(&passwords->lock);
    bool is_taken = !passwords->is_stopping && passwords->queued < passwords->config.queue_max;
    if (is_taken) {
        list_append(&passwords->queue, &job->link);
        passwords->queued++;
        pthread_cond_signal(&passwords->came);
    } else {
        passwords->refused_total++;
    }
    pthread_mutex_unlock(&passwords->lock);
    if (!is_taken)
        sodium_memzero(job->password, sizeof job->password);
    return is_taken;
}

bool passwords_hash(struct passwords *passwords, struct password_job *job)
{
    return push(passwords, job, false);
}

bool passwords_verify(struct passwords *passwords, struct password_job *job)
{
    ENSURE(memchr(job->hash, '\0', sizeof job->hash) != NULL);
    return push(passwords, job, true);
}

int64_t passwords_wait_ns(struct passwords *passwords)
{
    pthread_mutex_lock(&passwords->lock);
    int64_t jobs = (int64_t)(passwords->queued + passwords->running) + 1;
    int64_t threads = (int64_t)passwords->config.thread_count;
    int64_t wait_ns = (jobs + threads - 1) / threads * passwords->expected_ns;
    pthread_mutex_unlock(&passwords->lock);
    return wait_ns;
}

/* How long that takes is the first guess of what a job takes. */
static enum err make_unknown_hash(struct passwords *passwords, struct error *error)
{
    struct password_job job = {.password_len = SECRET_BYTES};
    int64_t began_ns = clock_mono_ns();
    randombytes_buf(job.password, SECRET_BYTES);
    enum password_status status = hash_password(passwords, &job);
    sodium_memzero(job.password, sizeof job.password);
    if (status != PASSWORD_OK)
        return error_set(error, ERR_MEMORY, "cannot hash a password: %zu KiB of memory are needed for it",
            passwords->config.memory_bytes >> 10);
    passwords->expected_ns = clock_mono_ns() - began_ns;
    memcpy(passwords->unknown_hash, job.hash, sizeof job.hash);
    return ERR_NONE;
}

static enum err start_threads(struct passwords *passwords, struct error *error)
{
    while (passwords->started < passwords->config.thread_count) {
        if (pthread_create(&passwords->threads[passwords->started], NULL, passwords_main, passwords) != 0)
            return error_set(
                error, ERR_MEMORY, "cannot start a thread for passwords; is the limit of processes reached?");
        passwords->started++;
    }
    return ERR_NONE;
}

enum err passwords_create(
    const struct passwords_config *config, struct passwords **passwords_out, struct error *error)
{
    ENSURE(config->thread_count >= 1 && config->thread_count <= THREADS_MAX && config->queue_max >= 1);
    ENSURE(
        config->passes >= crypto_pwhash_OPSLIMIT_MIN && config->memory_bytes >= crypto_pwhash_MEMLIMIT_MIN);
    if (sodium_init() < 0) /* finds the fastest code for this processor; again does no harm */
        return error_set(
            error, ERR_UNAVAILABLE, "libsodium cannot be used: the system gives no random numbers");
    struct passwords *passwords = calloc(1, sizeof *passwords);
    if (passwords == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the passwords' threads");
    passwords->config = *config;
    list_init(&passwords->queue);
    pthread_mutex_init(&passwords->lock, NULL);
    pthread_cond_init(&passwords->came, NULL);
    enum err status = make_unknown_hash(passwords, error);
    if (status == ERR_NONE)
        status = start_threads(passwords, error);
    if (status != ERR_NONE) {
        passwords_destroy(passwords);
        return status;
    }
    *passwords_out = passwords;
    return ERR_NONE;
}

void passwords_stop(struct passwords *passwords)
{
    pthread_mutex_lock(&passwords->lock);
    passwords->is_stopping = true;
    pthread_mutex_unlock(&passwords->lock);
    pthread_cond_broadcast(&passwords->came);
    while (passwords->started > 0)
        pthread_join(passwords->threads[--passwords->started], NULL);
}

void passwords_destroy(struct passwords *passwords)
{
    passwords_stop(passwords);
    ENSURE(list_is_empty(&passwords->queue));
    pthread_cond_destroy(&passwords->came);
    pthread_mutex_destroy(&passwords->lock);
    free(passwords);
}

static void put_figure(
    struct strbuf *text, const char *name, const char *type, const char *help, uint64_t value)
{
    strbuf_printf(text, "# HELP doorbuster_passwords_%s %s\n# TYPE doorbuster_passwords_%s %s\n", name, help,
        name, type);
    strbuf_printf(text, "doorbuster_passwords_%s %llu\n", name, (unsigned long long)value);
}

void passwords_put_metrics(struct passwords *passwords, struct strbuf *text)
{
    pthread_mutex_lock(&passwords->lock);
    uint64_t waiting = passwords->queued;
    uint64_t done = passwords->done_total;
    uint64_t refused = passwords->refused_total;
    pthread_mutex_unlock(&passwords->lock);
    put_figure(text, "waiting", "gauge", "Passwords that wait to be hashed or checked.", waiting);
    put_figure(text, "done_total", "counter", "Passwords hashed or checked.", done);
    put_figure(text, "refused_total", "counter", "Passwords refused because too many were waiting.", refused);
}
