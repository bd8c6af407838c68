/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the service manager how the server is doing (sd_notify protocol). */
#ifndef DOORBUSTER_CMD_NOTIFY_H
#define DOORBUSTER_CMD_NOTIFY_H

/* Sends e.g. "READY=1" to $NOTIFY_SOCKET; does nothing when there is none. Any thread; does not block. */
void notify_manager(const char *state);

#endif
