/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A courier and things to hand over to it, for tests: a call that waits until it is completed. The time-outs
 * are so long that only a test about time-outs ever meets them.
 */
#ifndef DOORBUSTER_TESTS_COURIER_KIT_H
#define DOORBUSTER_TESTS_COURIER_KIT_H

#include <pthread.h>

#include "service/courier.h"

enum { CALL_TIMEOUT_MS = 60000 };

struct courier *make_courier(void);

/* Counts what is done, and lets wait for it. */
struct tally {
    pthread_mutex_t lock;
    pthread_cond_t more;
    int count;
};

void tally_init(struct tally *tally);
void tally_fini(struct tally *tally);
void tally_add(struct tally *tally);
int tally_count(struct tally *tally);

/* The test fails after a minute. */
void tally_wait(struct tally *tally, int count);

struct call {
    struct courier_request request;
    struct tally *tally;
    char url[256];
    char answer[64];
};

/* A POST of "{}" to http://127.0.0.1:port/path that may be private; to be changed before it is posted. */
void call_init(struct call *call, struct tally *tally, int port, const char *path);

/* Posts and waits. */
const struct courier_result *call_run(struct courier *courier, struct call *call);

/* The whole of it. */
struct courier_result post_to(struct courier *courier, int port, const char *path);

#endif
