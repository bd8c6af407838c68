/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random identifiers. The generator belongs to one thread and is seeded from the kernel; its values are
 * unique and unguessable enough for correlation ids, not for secrets.
 */
#ifndef DOORBUSTER_BASE_ID_H
#define DOORBUSTER_BASE_ID_H

#include "base/slice.h"

enum { ID_UUID_LEN = 36 };

struct id_source {
    uint64_t state[4]; /* xoshiro256** */
};

/* Seeds from the kernel's random numbers. */
void id_source_init(struct id_source *source);

/* Seeds from a number, for runs that must repeat. */
void id_source_init_seed(struct id_source *source, uint64_t seed);

uint64_t id_next(struct id_source *source);

/* A UUID's 128 bits as 8-4-4-4-12 digits in lower case, no NUL. */
void id_write_uuid(uint64_t high, uint64_t low, char text[ID_UUID_LEN]);

/* Back; letters in both cases. False when it is anything else, and nothing is changed. */
bool id_read_uuid(struct slice text, uint64_t *high, uint64_t *low);

/* A random UUID (RFC 9562 version 4), lower case, no NUL. */
void id_uuid(struct id_source *source, char text[ID_UUID_LEN]);

#endif
