/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live pictures of a sale as Server-Sent Events (flash-sale contract, sections 7 and 17): one struct streams
 * a net thread, told by the engine of every change.
 *
 * A listener remembers the stock and the state that it was last told; a round tells everybody whose memory
 * differs from the present picture. So changes that come faster than rounds, or faster than a slow client
 * reads, melt into the latest one, which is always told. A sale has at most ten rounds a second, but a change
 * of state starts one at once. Rounds are served a few listeners a loop turn, so that thousands of them do
 * not hold up buyers.
 */
#ifndef DOORBUSTER_API_STREAMS_H
#define DOORBUSTER_API_STREAMS_H

#include "engine/sale_view.h"
#include "net/http_server.h"

struct streams;

/* NULL when memory is out. */
struct streams *streams_create(uv_loop_t *loop, int64_t heartbeat_ms);

/* Stops its timers; all streams must have been closed by the HTTP server. Run the loop until it has no
 * handles, then streams_destroy. */
void streams_close(struct streams *streams);
void streams_destroy(struct streams *streams);

/*
 * Answers the request with the event stream of that sale; view NULL: there is no such product yet. `last_id`
 * is the client's Last-Event-ID, 0 for none: ids go on after it.
 */
void streams_open(struct streams *streams, struct http_request *request, struct slice sku,
    const struct sale_view *view, int64_t last_id);

/* The engine's on_view. */
void streams_on_view(struct streams *streams, const struct sale_view *now);

/* Answers with an event stream that says this and ends. */
void streams_say(struct http_request *request, struct slice text);

size_t streams_count(const struct streams *streams);

/* Appends the members of a sale as the contract's 2.2 shows them; view NULL: the default ones. */
void put_sale(struct strbuf *body, struct slice sku, const struct sale_view *view);

#endif
