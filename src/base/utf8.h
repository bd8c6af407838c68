/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. Any thread. */
#ifndef DOORBUSTER_BASE_UTF8_H
#define DOORBUSTER_BASE_UTF8_H

#include "base/slice.h"

/* Bytes of the well-formed character that the text starts with (1 to 4), or 0 when it starts with none. */
size_t utf8_char_len(struct slice text);

bool utf8_is_valid(struct slice text);

/* Characters (code points) of a valid text. */
size_t utf8_length(struct slice text);

#endif
