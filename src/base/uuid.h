/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of rows as clients see them: a UUID version 8 (RFC 9562, section 5.8) that hides the number under a
 * secret and can be turned back into it. So the rows need no second, random index, nobody learns from an id
 * how many there are, and a guessed or foreign UUID is refused without a look at the store: one guess in 2^60
 * passes.
 *
 *     tag  = F1(number), 60 bits, where the version leaves room for them
 *     rest = number ^ F2(tag), 62 bits, behind the variant
 *
 * F1 and F2 are SipHash-2-4 with keys made from the secret and the purpose: the UUID of an order is none of
 * an account. It lies in base, since the secret's hash is libsodium's, which core has to do without. Any
 * thread; nothing here allocates or blocks.
 */
#ifndef DOORBUSTER_BASE_UUID_H
#define DOORBUSTER_BASE_UUID_H

#include "base/id.h"
#include "base/slice.h"

enum { UUID_SECRET_BYTES = 32, UUID_KEY_BYTES = 16 };

#define UUID_NUMBER_MAX ((INT64_C(1) << 62) - 1)

struct uuid_key {
    unsigned char tag[UUID_KEY_BYTES];
    unsigned char mask[UUID_KEY_BYTES];
};

/* The keys for one purpose, such as "order". The same secret and purpose give the same UUIDs, on every node
 * and for ever: with another secret no UUID that was given out before is known any more. */
void uuid_key_init(struct uuid_key *key, const unsigned char secret[UUID_SECRET_BYTES], struct slice purpose);

/* The number's UUID in lower case, no NUL; the number is 0 to UUID_NUMBER_MAX. */
void uuid_from_number(const struct uuid_key *key, int64_t number, char text[ID_UUID_LEN]);

/* Back; letters in both cases. False when it is no UUID or not one of this key. */
bool uuid_to_number(const struct uuid_key *key, struct slice text, int64_t *number);

#endif
