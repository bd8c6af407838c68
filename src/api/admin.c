/* SPDX-License-Identifier: Apache-2.0 */
#include "api/admin.h"

#include <sodium.h>

#include "api/envelope.h"

/* Compares hashes, so that the time tells nothing about the key, not even its length. */
static bool is_key(struct slice given, struct slice key)
{
    unsigned char a[crypto_generichash_BYTES];
    unsigned char b[crypto_generichash_BYTES];
    crypto_generichash(a, sizeof a, (const unsigned char *)given.base, given.len, NULL, 0);
    crypto_generichash(b, sizeof b, (const unsigned char *)key.base, key.len, NULL, 0);
    return sodium_memcmp(a, b, sizeof a) == 0;
}

bool is_admin(const struct http_request *request, const struct net_thread *thread)
{
    const struct app_config *config = &thread->app->config;
    struct slice given;
    if (config->trusts_loopback && request->is_from_loopback)
        return true;
    return http_header(request, SLICE("x-admin-key"), &given) && is_key(given, config->admin_key);
}

bool check_admin(struct http_request *request, const struct net_thread *thread)
{
    if (is_admin(request, thread))
        return true;
    request->counted_status = HTTP_NOT_COUNTED;
    reply_error(request, 401, SLICE("UNAUTHORIZED"), SLICE("Missing or invalid X-Admin-Key header."));
    return false;
}
