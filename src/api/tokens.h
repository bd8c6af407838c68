/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bearer tokens: signed, expiring, and checked without a look at the store (intake contract). A token is a
 * JSON Web Token (RFC 7519) with HS256, so any library that has the key can read it:
 *
 *     {"alg":"HS256","typ":"JWT"}
 *     {"sub":"42","typ":"access","iat":1700000000,"exp":1700000900}
 *     {"sub":"42","typ":"refresh","iat":1700000000,"exp":1702592000,"jti":"00112233445566778899aabbccddeeff"}
 *
 * Only this program issues them, so only what it writes is accepted: this header and these members in this
 * order, no blanks, numbers without leading zeros, one base64url text (RFC 4648, without padding, unused bits
 * 0) for each. There is no JSON to misread and no algorithm to choose, and each token has exactly one text.
 * The signature is checked before anything else is read. Any thread; nothing here allocates or blocks.
 */
#ifndef DOORBUSTER_API_TOKENS_H
#define DOORBUSTER_API_TOKENS_H

#include "base/slice.h"

enum {
    TOKEN_KEY_BYTES = 32,
    TOKEN_JTI_LEN = 32,  /* hexadecimal digits */
    TOKEN_LEN_MAX = 320, /* bytes of any token */
};

/* The secret. All nodes on one store need the same, or a client's token is good on one of them only. */
struct token_key {
    unsigned char bytes[TOKEN_KEY_BYTES];
};

enum token_kind { TOKEN_ACCESS, TOKEN_REFRESH };

enum token_status {
    TOKEN_OK,
    TOKEN_MALFORMED,     /* not a token of ours */
    TOKEN_BAD_SIGNATURE, /* not signed with this key */
    TOKEN_WRONG_KIND,    /* ours, but refresh where access is due, or the other way round */
    TOKEN_EXPIRED
};

/* What a token says. */
struct token_claims {
    enum token_kind kind;
    int64_t account_id; /* above 0 */
    int64_t issued_s;   /* since 1970 */
    int64_t expires_s;
    char jti[TOKEN_JTI_LEN]; /* refresh: what tells it from all others, no NUL; access: zeroes */
};

/*
 * Writes a token into `text` and returns its length; no NUL. The account is above 0; the lifetime is in ms,
 * at least 1000, and counts in whole seconds from now_ms (since 1970, not negative). A refresh token gets a
 * random jti.
 */
size_t tokens_issue(const struct token_key *key, int64_t account_id, enum token_kind kind, int64_t now_ms,
    int64_t lifetime_ms, char text[TOKEN_LEN_MAX]);

/*
 * Whether the text is a token of that kind, signed with this key and not expired at now_ms (since 1970). It
 * is good up to and not including the second of its exp. *claims is written when OK or EXPIRED. The time
 * needed does not depend on how much of a signature is right.
 */
enum token_status tokens_check(const struct token_key *key, struct slice text, enum token_kind kind,
    int64_t now_ms, struct token_claims *claims);

#endif
