/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_target.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>

enum { HOST_MAX = 256, PORT_TEXT_MAX = 6 };

static enum err not_a_url(const char *url, const char *why, struct error *error)
{
    return error_set(
        error, ERR_USAGE, "'%.200s' is not a server's address: %s; expected http://HOST:PORT", url, why);
}

/* Copies a part of the URL into a C string; false when it is empty or too long. */
static bool copy_part(char *to, size_t size, struct slice part)
{
    if (part.len == 0 || part.len >= size)
        return false;
    memcpy(to, part.base, part.len);
    to[part.len] = '\0';
    return true;
}

/* "host", "host:port", "[v6]" or "[v6]:port" into the two. */
static bool split_authority(struct slice authority, struct slice *host, struct slice *port)
{
    *port = SLICE("80");
    if (authority.len > 0 && authority.base[0] == '[') {
        struct slice rest;
        authority.base++;
        authority.len--;
        const char *end = memchr(authority.base, ']', authority.len);
        if (end == NULL)
            return false;
        *host = slice_split(authority, ']', &rest);
        if (rest.len == 0)
            return true;
        *port = slice_make(rest.base + 1, rest.len - 1);
        return rest.base[0] == ':';
    }
    bool has_port = memchr(authority.base, ':', authority.len) != NULL;
    struct slice rest;
    *host = slice_split(authority, ':', &rest);
    if (has_port)
        *port = rest;
    return true;
}

static enum err look_up(struct http_target *target, const char *host, const char *port, struct error *error)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int status = getaddrinfo(host, port, &hints, &found);
    if (status != 0)
        return error_set(
            error, ERR_ADDRESS, "the name '%s' cannot be looked up: %s", host, gai_strerror(status));
    memcpy(&target->address, found->ai_addr, found->ai_addrlen);
    target->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    return ERR_NONE;
}

enum err http_target_init(struct http_target *target, const char *url, struct error *error)
{
    static const struct slice scheme = SLICE_INIT("http://");
    struct slice text = slice_cstr(url);
    memset(target, 0, sizeof *target);
    if (text.len < scheme.len || !slice_eq_nocase(slice_make(text.base, scheme.len), scheme))
        return not_a_url(url, "it does not begin with http:// (TLS belongs to a proxy in front)", error);
    text = slice_make(text.base + scheme.len, text.len - scheme.len);

    struct slice path;
    struct slice authority = slice_split(text, '/', &path);
    if (path.len > 0)
        return not_a_url(url, "it has a path", error);
    if (memchr(authority.base, '@', authority.len) != NULL)
        return not_a_url(url, "it has a user name", error);

    struct slice host;
    struct slice port;
    char host_text[HOST_MAX];
    char port_text[PORT_TEXT_MAX];
    int64_t number;
    if (!split_authority(authority, &host, &port) || !copy_part(host_text, sizeof host_text, host))
        return not_a_url(url, "the host is missing or too long", error);
    if (!copy_part(port_text, sizeof port_text, port) || !slice_to_i64(port, &number) || number < 1 ||
        number > 65535)
        return not_a_url(url, "the port is not a number from 1 to 65535", error);
    if (!copy_part(target->authority, sizeof target->authority, authority))
        return not_a_url(url, "the host is too long", error);
    return look_up(target, host_text, port_text, error);
}

bool http_target_is_loopback(const struct http_target *target)
{
    if (target->address.ss_family != AF_INET)
        return false;
    const struct sockaddr_in *address = (const struct sockaddr_in *)(const void *)&target->address;
    return (ntohl(address->sin_addr.s_addr) >> 24) == 127;
}
