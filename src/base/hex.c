/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hex.h"

bool hex_read(struct slice text, unsigned char *bytes, size_t size)
{
    if (text.len != 2 * size)
        return false;
    for (size_t i = 0; i < size; i++) {
        int high = hex_value(text.base[2 * i]);
        int low = hex_value(text.base[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

void hex_put(struct strbuf *text, const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const char pair[2] = {hex_digit(bytes[i] >> 4), hex_digit(bytes[i])};
        strbuf_put(text, slice_make(pair, sizeof pair));
    }
}
