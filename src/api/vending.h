/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the vending face keeps on each net thread (vending contract): who waits for a machine, the listeners
 * of tickets' events, and its counters. The net thread makes and ends it.
 */
#ifndef DOORBUSTER_API_VENDING_H
#define DOORBUSTER_API_VENDING_H

#include "api/net_thread.h"

struct vending;

/* The thread has its loop and its port. NULL when memory is out. */
struct vending *vending_create(struct net_thread *thread);

/* A shutdown begins: who waits is told so and leaves the line. */
void vending_drain(struct vending *vending);

/*
 * Forgets who waits and stops its timers; the HTTP server is gone, and with it the requests. Run the loop
 * until it has no handles, then destroy.
 */
void vending_close(struct vending *vending);
void vending_destroy(struct vending *vending);

/* The engine's on_ticket and on_line. */
void vending_on_ticket(struct vending *vending, const struct ticket_view *now);
void vending_on_line(struct vending *vending);

/* doorbuster_machines_..., doorbuster_tickets_..., of all net threads, for Prometheus. Any thread. */
void vending_put_metrics(const struct app *app, struct strbuf *text);

#endif
