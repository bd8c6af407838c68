/* SPDX-License-Identifier: Apache-2.0 */
/* xoshiro256** by Blackman and Vigna (public domain algorithm), seeded through splitmix64 as they advise. */
#include "base/id.h"

#include <sodium.h>

#include "base/hex.h"

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

static bool has_dash(int digit)
{
    return digit == 8 || digit == 12 || digit == 16 || digit == 20;
}

void id_write_uuid(uint64_t high, uint64_t low, char text[ID_UUID_LEN])
{
    const uint64_t halves[2] = {high, low};
    char *at = text;
    for (int i = 0; i < 32; i++) {
        if (has_dash(i))
            *at++ = '-';
        *at++ = hex_digit(halves[i / 16] >> (60 - 4 * (i % 16)));
    }
}

bool id_read_uuid(struct slice text, uint64_t *high, uint64_t *low)
{
    uint64_t halves[2] = {0, 0};
    const char *at = text.base;
    if (text.len != ID_UUID_LEN)
        return false;
    for (int i = 0; i < 32; i++) {
        if (has_dash(i) && *at++ != '-')
            return false;
        int value = hex_value(*at++);
        if (value < 0)
            return false;
        halves[i / 16] = halves[i / 16] << 4 | (uint64_t)value;
    }
    *high = halves[0];
    *low = halves[1];
    return true;
}

void id_uuid(struct id_source *source, char text[ID_UUID_LEN])
{
    uint64_t high = (id_next(source) & ~UINT64_C(0xF000)) | UINT64_C(0x4000);
    uint64_t low = (id_next(source) & ~(UINT64_C(3) << 62)) | UINT64_C(1) << 63;
    id_write_uuid(high, low, text);
}
