/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures of webhooks as Standard Webhooks 1.0 has them (https://www.standardwebhooks.com): the receiver
 * knows from three header lines who sent a message, that nobody changed it, when it was sent, and whether it
 * has seen it before. Any thread; nothing blocks.
 */
#ifndef DOORBUSTER_SERVICE_WEBHOOK_H
#define DOORBUSTER_SERVICE_WEBHOOK_H

#include "base/err.h"
#include "base/slice.h"

enum {
    WEBHOOK_KEY_MIN = 24, /* bytes, as the specification asks */
    WEBHOOK_KEY_MAX = 64,
    WEBHOOK_ID_MAX = 64,
    WEBHOOK_HEADER_COUNT = 3
};

struct webhook_secret {
    unsigned char key[WEBHOOK_KEY_MAX];
    size_t key_len;
};

/*
 * Reads "whsec_" and the base64 of 24 to 64 bytes (standard alphabet, with padding). ERR_USAGE with a text
 * that says what is wrong and how to make one; it does not repeat the secret.
 */
MUST_CHECK enum err webhook_secret_parse(
    struct slice text, struct webhook_secret *secret, struct error *error);

struct webhook_headers {
    char id[sizeof "webhook-id: " + WEBHOOK_ID_MAX];
    char timestamp[sizeof "webhook-timestamp: " + 20];
    char signature[sizeof "webhook-signature: v1," + 44];
    const char *lines[WEBHOOK_HEADER_COUNT]; /* the three above, for courier_request.headers: do not copy the
                                                struct */
};

/*
 * The header lines of a message. `id` is the same for every try of one message: 1 to WEBHOOK_ID_MAX of
 * A-Z a-z 0-9 _ -; `timestamp_s` is the time of this try, seconds since 1970, not negative.
 */
void webhook_sign(const struct webhook_secret *secret, struct slice id, int64_t timestamp_s,
    struct slice body, struct webhook_headers *headers);

#endif
