/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the vending face is sent, and what it says when that is not good (vending contract, Validation).
 *
 * A body is a JSON object or application/x-www-form-urlencoded; none at all, of whatever type, is an object
 * without members, and so are [] and null, which some clients write for it. Members that nobody asks for are
 * ignored; of several with the same name the last one counts. Texts are trimmed; an empty text, null, [] and
 * {} are missing. Integers are JSON numbers without a fraction, and texts of a sign and digits without
 * leading zeros.
 *
 * Each question for a member leaves a complaint when its value is not good, so that a client hears of all its
 * mistakes at once, in the order of the questions. Net threads.
 */
#ifndef DOORBUSTER_API_VENDING_FORM_H
#define DOORBUSTER_API_VENDING_FORM_H

#include "net/http_server.h"
#include "net/json.h"

/* --- complaints --- */

enum { VENDING_COMPLAINTS_MAX = 8, VENDING_COMPLAINT_TEXT_MAX = 120, VENDING_PAIRS_MAX = 32 };

/* Begins as {0}. More than there is room for are left out. */
struct vending_complaints {
    struct vending_complaint {
        const char *field; /* a literal: "machine_id" */
        char text[VENDING_COMPLAINT_TEXT_MAX];
    } items[VENDING_COMPLAINTS_MAX];
    size_t count;
};

/* "The machine id field " and what is wrong with it, such as "is required." */
void vending_complain(struct vending_complaints *complaints, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "The selected machine id is invalid.": there is none with this id. */
void vending_complain_unknown(struct vending_complaints *complaints, const char *field);

/* This text as it is. */
void vending_complain_text(struct vending_complaints *complaints, const char *field, const char *text);

/* {"message":the first and how many more,"errors":{field:[texts]}} */
void vending_put_complaints(struct strbuf *body, const struct vending_complaints *complaints);

/* Answers with that; there is at least one complaint. The status is 422, or 400 for a name that is taken. */
void vending_reply_complaints(
    struct http_request *request, int status, const struct vending_complaints *complaints);

/* --- bodies --- */

struct vending_form {
    struct slice body;
    struct json *json; /* an object, or NULL: there are only pairs, perhaps none */
    struct vending_pair {
        struct slice name;
        struct slice value;
    } pairs[VENDING_PAIRS_MAX]; /* of a form */
    size_t pair_count;
    void *memory; /* of the pairs */
    struct vending_complaints complaints;
};

enum vending_form_status {
    VENDING_FORM_OK,
    VENDING_FORM_NO_JSON,   /* `position` tells at which byte reading ended */
    VENDING_FORM_NO_OBJECT, /* JSON, but another value */
    VENDING_FORM_NO_PAIRS,  /* '%' without two hex digits, no UTF-8, or more than VENDING_PAIRS_MAX pairs */
    VENDING_FORM_NO_TYPE,   /* the type of a body that is there is none of the two */
    VENDING_FORM_NO_MEMORY,
};

/* The body is borrowed until vending_form_fini, which is due when it is OK. The content type may be empty,
 * for JSON. */
MUST_CHECK enum vending_form_status vending_form_read(
    struct vending_form *form, struct slice body, struct slice content_type, size_t *position);

/* The same for a request. False: it has been answered with 400, 415 or 503. */
MUST_CHECK bool vending_form_open(struct vending_form *form, struct http_request *request);
void vending_form_fini(struct vending_form *form);

/* For the end: 422 with all complaints. True: there were some; the request has been answered and the form is
 * finished. */
MUST_CHECK bool vending_form_reply_complaints(struct vending_form *form, struct http_request *request);

/* --- members: true when there is a good value, which lives as long as the form --- */

enum vending_need {
    VENDING_REQUIRED,
    VENDING_IF_SENT, /* may be left out, but must be good when it is sent: null and "" are missing */
    VENDING_OPTIONAL /* may be left out, null or empty */
};

/* 1 to chars_max code points, without NUL. */
bool vending_form_text(struct vending_form *form, const char *field, enum vending_need need, size_t chars_max,
    struct slice *text);

bool vending_form_integer(struct vending_form *form, const char *field, enum vending_need need, int64_t min,
    int64_t max, int64_t *value);

/* true, false, 1, 0, "1" or "0". Optional. */
bool vending_form_flag(struct vending_form *form, const char *field, bool *is_set);

/* An amount of at least 0 with at most two decimal places, a number or a text, in hundredths. Optional. */
bool vending_form_amount(struct vending_form *form, const char *field, int64_t max_minor, int64_t *minor);

#endif
