/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses are private: a table, with both edges of every range. */
#include "service/targets.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>
#include <cmocka.h>

static bool is_private(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return targets_is_private((const struct sockaddr *)&in);
    assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    return targets_is_private((const struct sockaddr *)&in6);
}

static const char *const private_addresses[] = {
    /* IPv4 */
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.255",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.255",
    "224.0.0.0",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.255",
    /* IPv6: unspecified, loopback, IPv4-compatible, unique local, link-local, site-local, multicast */
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "fc00::",
    "fd12:3456:789a::1",
    "fdff:ffff::1",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    /* ... discard-only, local NAT64, Teredo, documentation, not given out */
    "100::1",
    "64:ff9b:1::1",
    "2001::1",
    "2001:1ff:ffff::1",
    "2001:db8::1",
    "2001:db8:ffff::1",
    "3fff::1",
    "3fff:fff:ffff::1",
    "3ffe::1",
    "4000::1",
    "1fff:ffff::1",
    "5f00::1",
    /* ... that stand for an IPv4 address: mapped, NAT64, 6to4 */
    "::ffff:127.0.0.1",
    "::ffff:10.1.2.3",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "64:ff9b::127.0.0.1",
    "64:ff9b::192.168.1.1",
    "64:ff9b::100.64.0.1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:c0a8:101::1",
};

static const char *const public_addresses[] = {
    "1.0.0.0",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "2000::1",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2001:db7:ffff::1",
    "2001:db9::1",
    "2003::1",
    "2606:4700:4700::1111",
    "3ffd::1",
    "3fff:1000::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
};

static void every_private_address_is_known(void **state)
{
    for (size_t i = 0; i < sizeof private_addresses / sizeof private_addresses[0]; i++)
        if (!is_private(private_addresses[i]))
            fail_msg("%s is taken for a public address", private_addresses[i]);
}

static void every_public_address_is_known(void **state)
{
    for (size_t i = 0; i < sizeof public_addresses / sizeof public_addresses[0]; i++)
        if (is_private(public_addresses[i]))
            fail_msg("%s is taken for a private address", public_addresses[i]);
}

static void what_is_neither_ipv4_nor_ipv6_is_private(void **state)
{
    const struct sockaddr_un un = {.sun_family = AF_UNIX};
    assert_true(targets_is_private((const struct sockaddr *)&un));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_private_address_is_known),
        cmocka_unit_test(every_public_address_is_known),
        cmocka_unit_test(what_is_neither_ipv4_nor_ipv6_is_private),
    };
    return cmocka_run_group_tests_name("targets", tests, NULL, NULL);
}
