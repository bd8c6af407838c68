/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uuid.h"

#include <sodium.h>

#include "base/ensure.h"

_Static_assert(UUID_SECRET_BYTES == crypto_generichash_KEYBYTES, "the secret is a BLAKE2b key");
_Static_assert(UUID_KEY_BYTES == crypto_shorthash_KEYBYTES, "a key is a SipHash key");
_Static_assert(crypto_shorthash_BYTES == 8, "a hash has 64 bits");
_Static_assert(sizeof(struct uuid_key) == 2 * UUID_KEY_BYTES, "two keys and nothing between them");

static const uint64_t TAG_MASK = (UINT64_C(1) << 60) - 1;
static const uint64_t NUMBER_MASK = (UINT64_C(1) << 62) - 1;
static const uint64_t VERSION_8 = UINT64_C(8) << 12; /* of the first half, above its last 12 bits */
static const uint64_t VARIANT = UINT64_C(2) << 62;   /* of the second half */

void uuid_key_init(struct uuid_key *key, const unsigned char secret[UUID_SECRET_BYTES], struct slice purpose)
{
    int status = crypto_generichash((unsigned char *)key, sizeof *key, (const unsigned char *)purpose.base,
        purpose.len, secret, UUID_SECRET_BYTES);
    ENSURE(status == 0);
}

/* SipHash of the number's 8 bytes; bytes go from the least one on, so that all machines agree. */
static uint64_t hash_number(const unsigned char key[UUID_KEY_BYTES], uint64_t number)
{
    unsigned char bytes[8];
    unsigned char hash[8];
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> 8 * i);
    (void)crypto_shorthash(hash, bytes, sizeof bytes, key);
    for (int i = 7; i >= 0; i--)
        value = value << 8 | hash[i];
    return value;
}

static uint64_t tag_of(const struct uuid_key *key, uint64_t number)
{
    return hash_number(key->tag, number) & TAG_MASK;
}

static uint64_t mask_of(const struct uuid_key *key, uint64_t tag)
{
    return hash_number(key->mask, tag) & NUMBER_MASK;
}

void uuid_from_number(const struct uuid_key *key, int64_t number, char text[ID_UUID_LEN])
{
    ENSURE(number >= 0 && number <= UUID_NUMBER_MAX);
    uint64_t tag = tag_of(key, (uint64_t)number);
    uint64_t first = tag >> 12 << 16 | VERSION_8 | (tag & 0xFFF);
    uint64_t second = VARIANT | ((uint64_t)number ^ mask_of(key, tag));
    id_write_uuid(first, second, text);
}

bool uuid_to_number(const struct uuid_key *key, struct slice text, int64_t *number)
{
    uint64_t first;
    uint64_t second;
    if (!id_read_uuid(text, &first, &second) || (first & 0xF000) != VERSION_8 ||
        (second & ~NUMBER_MASK) != VARIANT)
        return false;
    uint64_t tag = first >> 16 << 12 | (first & 0xFFF);
    uint64_t found = (second & NUMBER_MASK) ^ mask_of(key, tag);
    if (tag_of(key, found) != tag)
        return false;
    *number = (int64_t)found;
    return true;
}
