/* SPDX-License-Identifier: Apache-2.0 */
/* Looking into a request. */
#include "net/http_server.h"

bool http_header(const struct http_request *request, struct slice name, struct slice *value)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (slice_eq_nocase(request->headers[i].name, name)) {
            *value = request->headers[i].value;
            return true;
        }
    }
    return false;
}

size_t http_header_count(const struct http_request *request, struct slice name)
{
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++)
        count += slice_eq_nocase(request->headers[i].name, name);
    return count;
}
