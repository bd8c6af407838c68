/* SPDX-License-Identifier: Apache-2.0 */
#include "api/redis_url.h"

#include "base/hex.h"

enum { PORT_DEFAULT = 6379, NUMBER_MAX = 65535 };

static const struct slice scheme = SLICE_INIT("redis://");

static enum err refuse(struct error *error, const char *what)
{
    return error_set(error, ERR_USAGE,
        "%s, expected redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], for example redis://127.0.0.1:6379/0",
        what);
}

/* Percent-decoded and with a NUL; false when it is too long, or no such encoding, or holds a NUL itself. */
static bool decode(struct slice text, char out[REDIS_SECRET_MAX + 1])
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.base[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_value(text.base[i + 1]) : -1;
            int low = high < 0 ? -1 : hex_value(text.base[i + 2]);
            if (low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0' || len == REDIS_SECRET_MAX)
            return false;
        out[len++] = c;
    }
    out[len] = '\0';
    return true;
}

/* The bytes before and after the last `separator`; false when there is none. */
static bool split_last(struct slice text, char separator, struct slice *before, struct slice *after)
{
    for (size_t i = text.len; i-- > 0;) {
        if (text.base[i] == separator) {
            *before = slice_make(text.base, i);
            *after = slice_make(text.base + i + 1, text.len - i - 1);
            return true;
        }
    }
    return false;
}

static bool read_number(struct slice text, int64_t min, int *number)
{
    int64_t value;
    if (!slice_to_i64(text, &value) || value < min || value > NUMBER_MAX)
        return false;
    *number = (int)value;
    return true;
}

static bool is_host(struct slice host)
{
    if (host.len == 0 || host.len > REDIS_HOST_MAX)
        return false;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.base[i];
        bool is_letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (!is_letter && !(c >= '0' && c <= '9') && memchr(".-_:%", c, 5) == NULL)
            return false;
    }
    return true;
}

/* HOST, HOST:PORT, [HOST] or [HOST]:PORT. */
static enum err read_place(struct slice place, struct redis_address *address, struct error *error)
{
    struct slice host = place;
    struct slice port = slice_make("", 0);
    bool has_port = false;
    if (slice_starts_with(place, SLICE("["))) {
        if (!split_last(place, ']', &host, &port))
            return refuse(error, "the bracket of the address is not closed");
        host = slice_make(host.base + 1, host.len - 1);
        has_port = port.len > 0;
        if (has_port && port.base[0] != ':')
            return refuse(error, "after the bracket stands neither : nor /");
        port = has_port ? slice_make(port.base + 1, port.len - 1) : port;
    } else if (split_last(place, ':', &host, &port)) {
        has_port = true;
        if (memchr(host.base, ':', host.len) != NULL)
            return refuse(error, "an IPv6 address stands without brackets");
    }
    if (!is_host(host))
        return refuse(error, "the host is missing or is no name");
    if (has_port && !read_number(port, 1, &address->port))
        return refuse(error, "the port is no number from 1 to 65535");
    memcpy(address->host, host.base, host.len);
    address->host[host.len] = '\0';
    return ERR_NONE;
}

/* :PASSWORD or USER:PASSWORD */
static enum err read_secret(struct slice secret, struct redis_address *address, struct error *error)
{
    if (memchr(secret.base, ':', secret.len) == NULL)
        return refuse(
            error, "before the @ stands no colon, so that nobody knows whether it is a user or a password");
    struct slice password;
    struct slice user = slice_split(secret, ':', &password);
    if (!decode(user, address->user) || !decode(password, address->password))
        return refuse(error, "the user or the password is too long or not well percent-encoded");
    if (password.len == 0)
        return refuse(error, "the password before the @ is empty");
    return ERR_NONE;
}

enum err redis_url_parse(struct slice url, struct redis_address *address, struct error *error)
{
    *address = (struct redis_address){.port = PORT_DEFAULT};
    if (!slice_starts_with(url, scheme))
        return refuse(error, "it does not begin with redis://");
    url = slice_make(url.base + scheme.len, url.len - scheme.len);
    struct slice database;
    struct slice place = slice_split(url, '/', &database);
    struct slice secret;
    if (split_last(place, '@', &secret, &place)) {
        enum err status = read_secret(secret, address, error);
        if (status != ERR_NONE)
            return status;
    }
    enum err status = read_place(place, address, error);
    if (status != ERR_NONE)
        return status;
    if (database.len > 0 && !read_number(database, 0, &address->database))
        return refuse(error, "the database is no number from 0 to 65535");
    return ERR_NONE;
}
