/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the intake face keeps on each net thread (intake contract): passwords that are being hashed, the keys
 * of tokens and of ids, and its counters. The net thread makes and ends it.
 */
#ifndef DOORBUSTER_API_INTAKE_H
#define DOORBUSTER_API_INTAKE_H

#include "api/net_thread.h"

struct intake;

/* The thread has its port and its wake-up. NULL when memory is out. */
struct intake *intake_create(struct net_thread *thread);

/* The threads that hash passwords have ended. */
void intake_destroy(struct intake *intake);

/* After a wake-up: goes on with those whose password has been hashed or checked. */
void intake_receive(struct intake *intake);

/* doorbuster_accounts_..., doorbuster_logins_..., doorbuster_intake_..., of all net threads, for Prometheus.
 * Any thread. */
void intake_put_metrics(const struct app *app, struct strbuf *text);

#endif
