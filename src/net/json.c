/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recursive descent over a copy of the text, in which strings are decoded in place (an escape is never
 * shorter than what it stands for). A document is one piece of memory when it is small: header, text, values;
 * each thread keeps such a piece ready, so that a usual request body costs no allocation. What does not fit
 * follows in pieces from the heap.
 *
 * The values of a container lie side by side. While a container is open they wait on a stack, since the
 * values of the containers inside come between.
 */
#include "net/json.h"

#include <math.h>
#include <stdalign.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/utf8.h"

enum {
    DEPTH_MAX = 64,
    READY_BYTES = 16 * 1024,
    PIECE_BYTES_MIN = 16 * 1024,
    STACK_READY = 64,
    FEW_MEMBERS = 16
};

/* A double names each integer up to here, and no two integers look alike. */
static const double EXACT_MAX = 9007199254740992.0; /* 2^53 */

struct json {
    struct slice name; /* of a member */
    uint8_t kind;      /* enum json_kind */
    bool is_true;
    bool is_integer; /* the number is in `integer`, else in `real` */
    uint32_t count;  /* of a container */
    union {
        int64_t integer;
        double real;
        const char *text; /* text_len bytes */
        struct json *items;
    };
    size_t text_len;
};

struct piece {
    struct piece *next;
    alignas(max_align_t) char bytes[];
};

/* A document; its first value is the one the caller gets. */
struct document {
    struct json root;     /* first */
    bool *is_ready_taken; /* the thread's own piece that this document lies in, or NULL: from the heap */
    struct piece *pieces;
    char *free_at;
    size_t free_bytes;
};

static _Thread_local struct {
    alignas(max_align_t) char bytes[READY_BYTES];
    bool is_taken;
} ready;

struct parser {
    const char *at;
    const char *end;
    struct document *document;
    struct json *stack;
    size_t stack_count;
    size_t stack_size;
    bool has_too_large_number;
    struct json stack_ready[STACK_READY];
};

/* ---- Memory ---- */

static struct document *create_document(size_t text_len)
{
    const size_t size = sizeof(struct document) + alignof(max_align_t) + text_len + 1;
    bool is_small = !ready.is_taken && size <= READY_BYTES;
    char *memory = is_small ? ready.bytes : malloc(size);
    if (memory == NULL)
        return NULL;
    struct document *document = (struct document *)(void *)memory;
    document->is_ready_taken = is_small ? &ready.is_taken : NULL;
    document->pieces = NULL;
    document->free_at = memory + sizeof *document;
    document->free_bytes = (is_small ? READY_BYTES : size) - sizeof *document;
    if (is_small)
        ready.is_taken = true;
    return document;
}

static void destroy_document(struct document *document)
{
    while (document->pieces != NULL) {
        struct piece *piece = document->pieces;
        document->pieces = piece->next;
        free(piece);
    }
    if (document->is_ready_taken != NULL)
        *document->is_ready_taken = false;
    else
        free(document);
}

/* Memory that lives as long as the document, or NULL. */
static void *document_alloc(struct document *document, size_t size)
{
    const size_t align = alignof(max_align_t);
    size = (size + align - 1) / align * align;
    if (size > document->free_bytes) {
        size_t piece_size = size > PIECE_BYTES_MIN ? size : PIECE_BYTES_MIN;
        struct piece *piece = malloc(sizeof *piece + piece_size);
        if (piece == NULL)
            return NULL;
        piece->next = document->pieces;
        document->pieces = piece;
        document->free_at = piece->bytes;
        document->free_bytes = piece_size;
    }
    void *memory = document->free_at;
    document->free_at += size;
    document->free_bytes -= size;
    return memory;
}

static bool push(struct parser *parser, const struct json *value)
{
    if (parser->stack_count == parser->stack_size) {
        bool is_first = parser->stack == parser->stack_ready;
        struct json *stack = realloc(is_first ? NULL : parser->stack, parser->stack_size * 2 * sizeof *stack);
        if (stack == NULL)
            return false;
        if (is_first)
            memcpy(stack, parser->stack_ready, sizeof parser->stack_ready);
        parser->stack = stack;
        parser->stack_size *= 2;
    }
    parser->stack[parser->stack_count++] = *value;
    return true;
}

/* Moves the values from `first` on off the stack to the place where they stay. */
static bool pop_items(struct parser *parser, size_t first, struct json *container)
{
    size_t count = parser->stack_count - first;
    container->count = (uint32_t)count;
    container->items = NULL;
    parser->stack_count = first;
    if (count == 0)
        return true;
    container->items = document_alloc(parser->document, count * sizeof *container->items);
    if (container->items == NULL)
        return false;
    memcpy(container->items, parser->stack + first, count * sizeof *container->items);
    return true;
}

/* ---- Members of the same name ---- */

struct member {
    const struct json *value;
    uint32_t index;
};

static int compare_members(const void *left, const void *right)
{
    const struct member *a = left;
    const struct member *b = right;
    struct slice x = a->value->name;
    struct slice y = b->value->name;
    int order = memcmp(x.base, y.base, x.len < y.len ? x.len : y.len);
    if (order != 0)
        return order;
    if (x.len != y.len)
        return x.len < y.len ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

/* The later one takes the place of the earlier one. */
static void replace_member(struct json *object, uint32_t earlier, uint32_t later)
{
    object->items[earlier] = object->items[later];
    object->items[later].kind = UINT8_MAX; /* to be dropped */
}

static void drop_replaced(struct json *object)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < object->count; i++) {
        if (object->items[i].kind != UINT8_MAX)
            object->items[kept++] = object->items[i];
    }
    object->count = kept;
}

/* For objects so large that comparing each with each would take a stranger's time for ours. */
static bool merge_many(struct json *object)
{
    struct member *members = malloc(object->count * sizeof *members);
    if (members == NULL)
        return false;
    for (uint32_t i = 0; i < object->count; i++)
        members[i] = (struct member){&object->items[i], i};
    qsort(members, object->count, sizeof *members, compare_members);
    uint32_t first = 0; /* of a run of equal names */
    for (uint32_t i = 1; i < object->count; i++) {
        if (slice_eq(members[i].value->name, members[first].value->name))
            replace_member(object, members[first].index, members[i].index);
        else
            first = i;
    }
    free(members);
    drop_replaced(object);
    return true;
}

static bool merge_members(struct json *object)
{
    if (object->count > FEW_MEMBERS)
        return merge_many(object);
    bool has_replaced = false;
    for (uint32_t i = 1; i < object->count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (object->items[j].kind != UINT8_MAX &&
                slice_eq(object->items[i].name, object->items[j].name)) {
                replace_member(object, j, i);
                has_replaced = true;
                break;
            }
        }
    }
    if (has_replaced)
        drop_replaced(object);
    return true;
}

/* ---- The grammar ---- */

static void skip_blanks(struct parser *parser)
{
    while (parser->at < parser->end &&
           (*parser->at == ' ' || *parser->at == '\n' || *parser->at == '\r' || *parser->at == '\t'))
        parser->at++;
}

static bool take_char(struct parser *parser, char c)
{
    if (parser->at == parser->end || *parser->at != c)
        return false;
    parser->at++;
    return true;
}

static bool take_word(struct parser *parser, struct slice word)
{
    if ((size_t)(parser->end - parser->at) < word.len || memcmp(parser->at, word.base, word.len) != 0)
        return false;
    parser->at += word.len;
    return true;
}

/* One or more digits. */
static bool take_digits(struct parser *parser)
{
    const char *start = parser->at;
    while (parser->at < parser->end && *parser->at >= '0' && *parser->at <= '9')
        parser->at++;
    return parser->at > start;
}

static bool take_fraction_and_exponent(struct parser *parser, bool *is_integer)
{
    if (take_char(parser, '.')) {
        *is_integer = false;
        if (!take_digits(parser))
            return false;
    }
    if (take_char(parser, 'e') || take_char(parser, 'E')) {
        *is_integer = false;
        if (!take_char(parser, '+'))
            (void)take_char(parser, '-');
        return take_digits(parser);
    }
    return true;
}

static bool read_number(struct parser *parser, struct json *value)
{
    const char *start = parser->at;
    bool is_integer = true;
    (void)take_char(parser, '-');
    if (!take_char(parser, '0') && !take_digits(parser))
        return false;
    if (!take_fraction_and_exponent(parser, &is_integer))
        return false;
    value->kind = JSON_KIND_NUMBER;
    value->is_integer =
        is_integer && slice_to_i64(slice_make(start, (size_t)(parser->at - start)), &value->integer);
    if (value->is_integer)
        return true;
    value->real = strtod(start, NULL); /* the text ends in a NUL; the program stays in the C locale */
    if (isinf(value->real))
        parser->has_too_large_number = true;
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Four hex digits. */
static bool take_unit(struct parser *parser, uint32_t *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = parser->at < parser->end ? hex_value(*parser->at) : -1;
        if (digit < 0)
            return false;
        parser->at++;
        *unit = *unit << 4 | (unsigned)digit;
    }
    return true;
}

static char *put_utf8(char *out, uint32_t point)
{
    if (point < 0x80) {
        *out++ = (char)point;
        return out;
    }
    if (point < 0x800) {
        *out++ = (char)(0xC0 | point >> 6);
    } else {
        if (point < 0x10000) {
            *out++ = (char)(0xE0 | point >> 12);
        } else {
            *out++ = (char)(0xF0 | point >> 18);
            *out++ = (char)(0x80 | (point >> 12 & 0x3F));
        }
        *out++ = (char)(0x80 | (point >> 6 & 0x3F));
    }
    *out++ = (char)(0x80 | (point & 0x3F));
    return out;
}

/* What follows "\u"; a character beyond the first 65,536 is a pair of surrogates, and half a pair is none. */
static bool take_escaped_point(struct parser *parser, char **out)
{
    uint32_t point;
    uint32_t low;
    if (!take_unit(parser, &point) || (point >= 0xDC00 && point <= 0xDFFF))
        return false;
    if (point >= 0xD800 && point <= 0xDBFF) {
        if (!take_word(parser, SLICE("\\u")) || !take_unit(parser, &low) || low < 0xDC00 || low > 0xDFFF)
            return false;
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    }
    *out = put_utf8(*out, point);
    return true;
}

static bool take_escape(struct parser *parser, char **out)
{
    static const char names[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (parser->at == parser->end)
        return false;
    char c = *parser->at++;
    if (c == 'u')
        return take_escaped_point(parser, out);
    const char *name = c == '\0' ? NULL : strchr(names, c);
    if (name == NULL)
        return false;
    *(*out)++ = meanings[name - names];
    return true;
}

/* The rest of a string from its first escape on, decoded to `out`, which lies in the string itself. */
static bool decode_string(struct parser *parser, char *out, const char **end)
{
    while (parser->at < parser->end) {
        char c = *parser->at;
        size_t width = 1;
        if (c == '"') {
            parser->at++;
            *end = out;
            return true;
        }
        if (c == '\\') {
            parser->at++;
            if (!take_escape(parser, &out))
                return false;
            continue;
        }
        if ((unsigned char)c < 0x20)
            return false;
        if ((unsigned char)c >= 0x80)
            width = utf8_char_len(slice_make(parser->at, (size_t)(parser->end - parser->at)));
        if (width == 0)
            return false;
        memmove(out, parser->at, width);
        out += width;
        parser->at += width;
    }
    return false;
}

static bool take_string(struct parser *parser, struct slice *text)
{
    if (!take_char(parser, '"'))
        return false;
    const char *start = parser->at;
    while (parser->at < parser->end && *parser->at >= 0x20 && *parser->at < 0x7F && *parser->at != '"' &&
           *parser->at != '\\')
        parser->at++;
    const char *end = parser->at;
    if (!take_char(parser, '"') && !decode_string(parser, (char *)end, &end))
        return false;
    *text = slice_make(start, (size_t)(end - start));
    return true;
}

static bool read_value(struct parser *parser, struct json *value, int depth);

static bool read_array(struct parser *parser, struct json *array, int depth)
{
    size_t first = parser->stack_count;
    struct json item = {.name = {"", 0}};
    array->kind = JSON_KIND_ARRAY;
    parser->at++;
    skip_blanks(parser);
    if (take_char(parser, ']'))
        return pop_items(parser, first, array);
    do {
        if (!read_value(parser, &item, depth) || !push(parser, &item))
            return false;
    } while (take_char(parser, ','));
    return take_char(parser, ']') && pop_items(parser, first, array);
}

static bool read_object(struct parser *parser, struct json *object, int depth)
{
    size_t first = parser->stack_count;
    struct json member;
    object->kind = JSON_KIND_OBJECT;
    parser->at++;
    skip_blanks(parser);
    if (take_char(parser, '}'))
        return pop_items(parser, first, object);
    do {
        skip_blanks(parser);
        if (!take_string(parser, &member.name))
            return false;
        skip_blanks(parser);
        if (!take_char(parser, ':') || !read_value(parser, &member, depth) || !push(parser, &member))
            return false;
    } while (take_char(parser, ','));
    return take_char(parser, '}') && pop_items(parser, first, object) && merge_members(object);
}

static bool read_word(struct parser *parser, struct json *value, struct slice word, enum json_kind kind)
{
    value->kind = (uint8_t)kind;
    value->is_true = kind == JSON_KIND_BOOL && word.base[0] == 't';
    return take_word(parser, word);
}

static bool read_text(struct parser *parser, struct json *value)
{
    struct slice text;
    if (!take_string(parser, &text))
        return false;
    value->kind = JSON_KIND_STRING;
    value->text = text.base;
    value->text_len = text.len;
    return true;
}

static bool read_bare(struct parser *parser, struct json *value, int depth)
{
    if (parser->at == parser->end)
        return false;
    switch (*parser->at) {
    case '{':
        return depth < DEPTH_MAX && read_object(parser, value, depth + 1);
    case '[':
        return depth < DEPTH_MAX && read_array(parser, value, depth + 1);
    case '"':
        return read_text(parser, value);
    case 't':
        return read_word(parser, value, SLICE("true"), JSON_KIND_BOOL);
    case 'f':
        return read_word(parser, value, SLICE("false"), JSON_KIND_BOOL);
    case 'n':
        return read_word(parser, value, SLICE("null"), JSON_KIND_NULL);
    default:
        return read_number(parser, value);
    }
}

/* A value and the blanks around it; its name is left alone. */
static bool read_value(struct parser *parser, struct json *value, int depth)
{
    skip_blanks(parser);
    if (!read_bare(parser, value, depth))
        return false;
    skip_blanks(parser);
    return true;
}

/* ---- The door ---- */

static enum json_status parse_copy(struct document *document, struct slice text)
{
    struct parser parser;
    char *copy = document_alloc(document, text.len + 1);
    ENSURE(copy != NULL); /* a document is made with room for it */
    memcpy(copy, text.base, text.len);
    copy[text.len] = '\0';
    parser.at = copy;
    parser.end = copy + text.len;
    parser.document = document;
    parser.stack = parser.stack_ready;
    parser.stack_count = 0;
    parser.stack_size = STACK_READY;
    parser.has_too_large_number = false;
    document->root.name = slice_make("", 0);
    bool is_read = read_value(&parser, &document->root, 0) && parser.at == parser.end;
    if (parser.stack != parser.stack_ready)
        free(parser.stack);
    if (!is_read)
        return JSON_MALFORMED;
    return parser.has_too_large_number ? JSON_OUT_OF_RANGE : JSON_OK;
}

enum json_status json_parse(struct slice text, struct json **value)
{
    *value = NULL;
    if (text.len == 0 || text.len >= UINT32_MAX)
        return JSON_MALFORMED;
    struct document *document = create_document(text.len);
    if (document == NULL)
        return JSON_MALFORMED;
    enum json_status status = parse_copy(document, text);
    if (status == JSON_OK)
        *value = &document->root;
    else
        destroy_document(document);
    return status;
}

void json_free(struct json *value)
{
    if (value != NULL)
        destroy_document((struct document *)(void *)value);
}

enum json_kind json_kind(const struct json *value)
{
    return (enum json_kind)value->kind;
}

const struct json *json_member(const struct json *object, const char *name)
{
    struct slice wanted = slice_cstr(name);
    if (json_member_count(object) == 0)
        return NULL;
    for (uint32_t i = 0; i < object->count; i++) {
        if (slice_eq(object->items[i].name, wanted))
            return &object->items[i];
    }
    return NULL;
}

size_t json_member_count(const struct json *object)
{
    return object != NULL && object->kind == JSON_KIND_OBJECT ? object->count : 0;
}

bool json_next_member(const struct json *object, void **cursor, struct slice *name, const struct json **value)
{
    if (json_member_count(object) == 0)
        return false;
    struct json *next = *cursor == NULL ? object->items : (struct json *)*cursor + 1;
    if (next == object->items + object->count)
        return false;
    *cursor = next;
    *name = next->name;
    *value = next;
    return true;
}

size_t json_item_count(const struct json *array)
{
    return array != NULL && array->kind == JSON_KIND_ARRAY ? array->count : 0;
}

const struct json *json_item(const struct json *array, size_t index)
{
    return index < json_item_count(array) ? &array->items[index] : NULL;
}

bool json_bool(const struct json *value, bool *is_true)
{
    if (value == NULL || value->kind != JSON_KIND_BOOL)
        return false;
    *is_true = value->is_true;
    return true;
}

bool json_text(const struct json *value, struct slice *text)
{
    if (value == NULL || value->kind != JSON_KIND_STRING)
        return false;
    *text = slice_make(value->text, value->text_len);
    return true;
}

bool json_int64(const struct json *value, int64_t *number)
{
    if (value == NULL || value->kind != JSON_KIND_NUMBER)
        return false;
    if (value->is_integer) {
        *number = value->integer;
        return true;
    }
    if (value->real != trunc(value->real) || fabs(value->real) > EXACT_MAX)
        return false;
    *number = (int64_t)value->real;
    return true;
}
