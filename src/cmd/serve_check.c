/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/serve_check.h"

#include <string.h>

#include "core/decimal.h"
#include "core/wallet.h"
#include "service/courier.h"
#include "service/mail.h"
#include "service/webhook.h"

static enum err name_flag(enum err status, const char *flag, const struct error *reason, struct error *error)
{
    return status == ERR_NONE ? ERR_NONE : error_set(error, status, "--%s: %s", flag, reason->message);
}

static enum err check_currency(const struct params *params, struct error *error)
{
    for (const char *c = params->currency; *c != '\0'; c++)
        if (*c < 'A' || *c > 'Z')
            return error_set(error, ERR_USAGE,
                "--currency: this is no currency; expected three capital letters A to Z, for example USD");
    return ERR_NONE;
}

static enum err check_payment(const struct params *params, struct error *error)
{
    struct error reason;
    if (slice_eq(slice_cstr(params->payment), SLICE("simulated")))
        return ERR_NONE;
    enum err status = courier_check_url(params->payment, &reason);
    if (status == ERR_USAGE)
        return error_set(
            error, status, "--payment: neither simulated nor a URL that can be asked: %s", reason.message);
    return name_flag(status, "payment", &reason, error);
}

/* What goes to `url` is signed, so there has to be a key. NULL: nothing goes. */
static enum err check_signed(
    const struct params *params, const char *flag, const char *url, struct error *error)
{
    struct error reason;
    if (url == NULL)
        return ERR_NONE;
    enum err status = courier_check_url(url, &reason);
    if (status != ERR_NONE || params->webhook_secret != NULL)
        return name_flag(status, flag, &reason, error);
    return error_set(error, ERR_USAGE,
        "--%s: what goes there is signed, and there is no key: give --webhook-secret (whsec_ and 24 to 64 "
        "bytes in base64)",
        flag);
}

static enum err check_secret(const struct params *params, struct error *error)
{
    struct webhook_secret secret;
    struct error reason;
    if (params->webhook_secret == NULL)
        return ERR_NONE;
    enum err status = webhook_secret_parse(slice_cstr(params->webhook_secret), &secret, &reason);
    return name_flag(status, "webhook-secret", &reason, error);
}

static enum err check_mail(const struct params *params, struct error *error)
{
    struct error reason;
    if (params->smtp == NULL)
        return ERR_NONE;
    enum err status = courier_check_mail_url(params->smtp, &reason);
    if (status != ERR_NONE)
        return name_flag(status, "smtp", &reason, error);
    status = mail_check_address(slice_cstr(params->mail_from), &reason);
    return name_flag(status, "mail-from", &reason, error);
}

/* Negative: it is no amount that a wallet can hold. */
int64_t serve_opening_balance_minor(const struct params *params)
{
    const char *text = params->opening_balance;
    int64_t minor;
    if (text[strspn(text, "0123456789.")] != '\0')
        return -1; /* a number of JSON may have an exponent, an amount on a command line has none */
    enum decimal_status status = decimal_parse(slice_cstr(text), DECIMAL_SCALE_CENTS, &minor);
    return status == DECIMAL_OK && minor <= WALLET_AMOUNT_MAX ? minor : -1;
}

static enum err check_opening_balance(const struct params *params, struct error *error)
{
    if (serve_opening_balance_minor(params) >= 0)
        return ERR_NONE;
    return error_set(error, ERR_USAGE,
        "--opening-balance: %s is no amount; expected 0 to 9999999999999.99 in digits, with at most two "
        "decimals, for example 100 or 12.50",
        params->opening_balance);
}

enum err serve_check(const struct params *params, struct error *error)
{
    enum err status = check_currency(params, error);
    if (status == ERR_NONE)
        status = check_opening_balance(params, error);
    if (status == ERR_NONE)
        status = check_payment(params, error);
    if (status == ERR_NONE)
        status = check_signed(params, "webhook", params->webhook, error);
    if (status == ERR_NONE)
        status = check_signed(params, "intake-sink", params->intake_sink, error);
    if (status == ERR_NONE)
        status = check_secret(params, error);
    return status == ERR_NONE ? check_mail(params, error) : status;
}
