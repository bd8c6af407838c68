/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The members of a JSON body, each read as what it has to be, with a complaint for each that is not
 * (api/detail.h), so that a client hears of all its mistakes at once. Net threads.
 */
#ifndef DOORBUSTER_API_FIELDS_H
#define DOORBUSTER_API_FIELDS_H

#include "api/detail.h"
#include "core/intake.h"
#include "net/json.h"

struct fields {
    struct slice body; /* the text of `json` */
    struct json *json; /* an object */
    struct complaints complaints;
    bool has_secrets; /* the body is never repeated as a whole */
};

/*
 * A body without a type is taken as JSON. False: it is no JSON object, and the request has been answered with
 * 422. Otherwise fields_fini ends it.
 */
MUST_CHECK bool fields_open(struct fields *fields, struct http_request *request, bool has_secrets);
void fields_fini(struct fields *fields);

/*
 * For the end: 422 with all complaints. True: there were some; the request has been answered and the fields
 * are finished.
 */
MUST_CHECK bool fields_reply_complaints(struct fields *fields, struct http_request *request);

void fields_complain(struct fields *fields, struct slice name, const char *type, struct slice msg);

enum field_need {
    FIELD_REQUIRED,
    FIELD_OPTIONAL, /* may be missing or null, which is the same */
};

struct text_field {
    const char *name;
    enum field_need need;
    bool is_trimmed; /* blanks at both ends do not count */
    bool is_secret;  /* never repeated */
    bool may_have_nul;
    size_t chars_min; /* code points */
    size_t bytes_max;
};

/* All: true when there is a good value; it lives as long as the fields. False: there is none, and unless it
 * may be so, a complaint. */
bool fields_text(struct fields *fields, const struct text_field *field, struct slice *text);

/* One of `count` names; its index. */
bool fields_choice(
    struct fields *fields, const char *name, const struct slice *names, size_t count, size_t *index);

/* A number above 0, or a text that is one, in units of 1/INTAKE_SCALE. */
bool fields_decimal(struct fields *fields, const char *name, enum field_need need, int64_t *value);

#endif
