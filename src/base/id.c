/* SPDX-License-Identifier: Apache-2.0 */
/* xoshiro256** by Blackman and Vigna (public domain algorithm), seeded through splitmix64 as they advise. */
#include "base/id.h"

#include <sodium.h>

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

void id_source_init(struct id_source *source)
{
    randombytes_buf(source->state, sizeof source->state);
    source->state[0] |= 1; /* the state must not be all zero */
}

void id_source_init_seed(struct id_source *source, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        source->state[i] = splitmix64(&seed);
}

uint64_t id_next(struct id_source *source)
{
    uint64_t *s = source->state;
    uint64_t value = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return value;
}

void id_uuid(struct id_source *source, char text[ID_UUID_LEN])
{
    static const char hex[] = "0123456789abcdef";
    uint64_t high = (id_next(source) & ~UINT64_C(0xF000)) | UINT64_C(0x4000);
    uint64_t low = (id_next(source) & ~(UINT64_C(3) << 62)) | UINT64_C(1) << 63;
    char *at = text;
    for (int nibble = 0; nibble < 32; nibble++) {
        if (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20)
            *at++ = '-';
        uint64_t half = nibble < 16 ? high : low;
        *at++ = hex[half >> (60 - 4 * (nibble % 16)) & 15];
    }
}
