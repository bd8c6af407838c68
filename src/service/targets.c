/* SPDX-License-Identifier: Apache-2.0 */
#include "service/targets.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* --- IPv4: the special-purpose registry of IANA, all of it that is not globally reachable --- */

struct net4 {
    uint32_t base;
    unsigned prefix_len; /* bits */
};

/* clang-format off */
#define NET4(a, b, c, d, len) \
    {((uint32_t)(a) << 24) | ((uint32_t)(b) << 16) | ((uint32_t)(c) << 8) | (uint32_t)(d), (len)}
/* clang-format on */

static const struct net4 private4[] = {
    NET4(0, 0, 0, 0, 8),       /* this network; 0.0.0.0 is this machine */
    NET4(10, 0, 0, 0, 8),      /* private */
    NET4(100, 64, 0, 0, 10),   /* shared by customers of a provider (CGNAT) */
    NET4(127, 0, 0, 0, 8),     /* loopback */
    NET4(169, 254, 0, 0, 16),  /* link-local, and the metadata of clouds */
    NET4(172, 16, 0, 0, 12),   /* private */
    NET4(192, 0, 0, 0, 24),    /* protocol assignments */
    NET4(192, 0, 2, 0, 24),    /* documentation */
    NET4(192, 88, 99, 0, 24),  /* relays of 6to4, given up */
    NET4(192, 168, 0, 0, 16),  /* private */
    NET4(198, 18, 0, 0, 15),   /* benchmarks */
    NET4(198, 51, 100, 0, 24), /* documentation */
    NET4(203, 0, 113, 0, 24),  /* documentation */
    NET4(224, 0, 0, 0, 4),     /* multicast */
    NET4(240, 0, 0, 0, 4),     /* reserved, broadcast */
};

static bool is_private4(uint32_t address)
{
    for (size_t i = 0; i < sizeof private4 / sizeof private4[0]; i++) {
        const struct net4 *net = &private4[i];
        if ((address ^ net->base) >> (32 - net->prefix_len) == 0)
            return true;
    }
    return false;
}

/* --- IPv6: what is public lies in 2000::/3, and not all of that is --- */

struct net6 {
    unsigned char base[16];
    unsigned prefix_len; /* bits */
};

static const struct net6 global6 = {{0x20}, 3};

static const struct net6 private6[] = {
    {{0x20, 0x01, 0x00, 0x00}, 23}, /* protocol assignments, Teredo among them */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
    {{0x3f, 0xff}, 20},             /* documentation */
    {{0x3f, 0xfe}, 16},             /* 6bone, given back */
};

/* Addresses that carry an IPv4 address: they are what that one is. */
struct carrier6 {
    struct net6 net;
    size_t offset; /* of the IPv4 address, in bytes */
};

static const struct carrier6 carriers6[] = {
    {{{[10] = 0xff, [11] = 0xff}, 96}, 12}, /* ::ffff:a.b.c.d, mapped */
    {{{0x00, 0x64, 0xff, 0x9b}, 96}, 12},   /* 64:ff9b::a.b.c.d, NAT64 */
    {{{0x20, 0x02}, 16}, 2},                /* 2002:aabb:ccdd::, 6to4 */
};

static bool is_in_net6(const unsigned char *address, const struct net6 *net)
{
    size_t bytes = net->prefix_len / 8;
    unsigned rest = net->prefix_len % 8;
    if (memcmp(address, net->base, bytes) != 0)
        return false;
    return rest == 0 || (address[bytes] ^ net->base[bytes]) >> (8 - rest) == 0;
}

static uint32_t read4(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | (uint32_t)bytes[3];
}

static bool is_private6(const unsigned char *address)
{
    for (size_t i = 0; i < sizeof carriers6 / sizeof carriers6[0]; i++)
        if (is_in_net6(address, &carriers6[i].net))
            return is_private4(read4(address + carriers6[i].offset));
    if (!is_in_net6(address, &global6))
        return true;
    for (size_t i = 0; i < sizeof private6 / sizeof private6[0]; i++)
        if (is_in_net6(address, &private6[i]))
            return true;
    return false;
}

/* Copied, for what is given need not be aligned. */
bool targets_is_private(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return is_private4(ntohl(in.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        return is_private6(in6.sin6_addr.s6_addr);
    }
    return true;
}
