/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    BUFFER_SIZE = 1 << 18,
    LINE_MAX_BYTES = 4096 /* a name has at most 255 bytes, six times that when every byte needs escaping */
};

static int write_all(int fd, struct slice text)
{
    while (text.len > 0) {
        ssize_t written = write(fd, text.base, text.len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno;
        text = slice_make(text.base + written, text.len - (size_t)written);
    }
    return 0;
}

/* receipt_key is empty where nobody signs. */
static int write_header(int fd, const struct rush *rush, struct slice receipt_key)
{
    char memory[LINE_MAX_BYTES];
    struct strbuf line;
    strbuf_init(&line, memory, sizeof memory);
    strbuf_lit(&line, "{\"journal\":1,\"scenario\":");
    strbuf_put_json(&line, slice_cstr(rush->scenario->name));
    if (rush->scenario->face != NULL) {
        strbuf_lit(&line, ",\"face\":");
        strbuf_put_json(&line, slice_cstr(rush->scenario->face));
        if (receipt_key.len > 0) {
            strbuf_lit(&line, ",\"receipt_key\":");
            strbuf_put_json(&line, receipt_key);
        }
        strbuf_lit(&line, "}\n");
        return write_all(fd, strbuf_slice(&line));
    }
    strbuf_lit(&line, ",\"sku\":");
    strbuf_put_json(&line, slice_cstr(rush->options.sku));
    strbuf_printf(&line, ",\"users\":%llu}\n", (unsigned long long)rush->user_count);
    return write_all(fd, strbuf_slice(&line));
}

static enum err not_written(const struct rush *rush, int code, struct error *error)
{
    return error_set(
        error, ERR_IO, "the journal %s cannot be written: %s", rush->options.journal_path, strerror(code));
}

enum err journal_begin_receipts(
    const struct journal *journal, const struct rush *rush, struct slice receipt_key, struct error *error)
{
    int code = journal->fd < 0 ? 0 : write_header(journal->fd, rush, receipt_key);
    return code == 0 ? ERR_NONE : not_written(rush, code, error);
}

enum err journal_open(struct journal *journal, const char *path, const struct rush *rush, struct error *error)
{
    journal->fd = -1;
    if (path == NULL)
        return ERR_NONE;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_set(error, ERR_IO, "the journal %s cannot be made: %s", path, strerror(errno));
    int code = rush->scenario->has_receipts ? 0 : write_header(fd, rush, SLICE(""));
    if (code != 0) {
        (void)close(fd);
        return not_written(rush, code, error);
    }
    journal->fd = fd;
    return ERR_NONE;
}

void journal_close(struct journal *journal)
{
    if (journal->fd >= 0)
        (void)close(journal->fd); /* every write was checked */
    journal->fd = -1;
}

bool journal_writer_init(struct journal_writer *writer, const struct journal *journal)
{
    *writer = (struct journal_writer){.journal = journal};
    if (journal->fd < 0)
        return true;
    char *memory = malloc(BUFFER_SIZE);
    strbuf_init(&writer->buffer, memory, BUFFER_SIZE);
    return memory != NULL;
}

void journal_writer_fini(struct journal_writer *writer)
{
    if (writer->buffer.base != NULL)
        journal_flush(writer);
    free(writer->buffer.base);
    writer->buffer = (struct strbuf){0};
}

void journal_flush(struct journal_writer *writer)
{
    if (writer->buffer.len == 0)
        return;
    int code = write_all(writer->journal->fd, strbuf_slice(&writer->buffer));
    if (code != 0 && writer->failed_errno == 0)
        writer->failed_errno = code;
    strbuf_reset(&writer->buffer);
}

/* Where the next line goes; there is room for a whole one. */
static struct strbuf *begin_line(struct journal_writer *writer)
{
    if (writer->buffer.size - writer->buffer.len < LINE_MAX_BYTES)
        journal_flush(writer);
    return &writer->buffer;
}

void journal_add(
    struct journal_writer *writer, struct slice sku, struct slice user, enum truth truth, struct slice detail)
{
    static const struct slice outcomes[] = {
        [TRUTH_ACKNOWLEDGED] = SLICE_INIT(",\"outcome\":\"acknowledged\",\"purchaseNo\":"),
        [TRUTH_REFUSED] = SLICE_INIT(",\"outcome\":\"refused\",\"code\":"),
        [TRUTH_UNKNOWN] = SLICE_INIT(",\"outcome\":\"unknown\",\"code\":"),
    };
    struct strbuf *buffer = begin_line(writer);
    strbuf_lit(buffer, "{\"sku\":");
    strbuf_put_json(buffer, sku);
    strbuf_lit(buffer, ",\"user\":");
    strbuf_put_json(buffer, user);
    strbuf_put(buffer, outcomes[truth]);
    strbuf_put_json(buffer, detail);
    strbuf_lit(buffer, "}\n");
}

void journal_add_order(
    struct journal_writer *writer, struct slice order, enum truth truth, struct slice detail)
{
    static const struct slice outcomes[] = {
        [TRUTH_ACKNOWLEDGED] = SLICE_INIT("\"outcome\":\"acknowledged\",\"status\":"),
        [TRUTH_REFUSED] = SLICE_INIT("\"outcome\":\"refused\",\"code\":"),
        [TRUTH_UNKNOWN] = SLICE_INIT("\"outcome\":\"unknown\",\"code\":"),
    };
    struct strbuf *buffer = begin_line(writer);
    strbuf_put_char(buffer, '{');
    if (order.len > 0) {
        strbuf_lit(buffer, "\"order\":");
        strbuf_put_json(buffer, order);
        strbuf_put_char(buffer, ',');
    }
    strbuf_put(buffer, outcomes[truth]);
    strbuf_put_json(buffer, detail);
    strbuf_lit(buffer, "}\n");
}

static void put_number(struct strbuf *line, const char *name, int64_t number)
{
    if (number > 0)
        strbuf_printf(line, ",\"%s\":%lld", name, (long long)number);
}

void journal_add_vending(struct journal_writer *writer, const struct journal_vending *line)
{
    static const struct slice outcomes[] = {
        [TRUTH_ACKNOWLEDGED] = SLICE_INIT(",\"outcome\":\"acknowledged\""),
        [TRUTH_REFUSED] = SLICE_INIT(",\"outcome\":\"refused\",\"code\":"),
        [TRUTH_UNKNOWN] = SLICE_INIT(",\"outcome\":\"unknown\",\"code\":"),
    };
    struct strbuf *buffer = begin_line(writer);
    strbuf_lit(buffer, "{\"request\":");
    strbuf_put_json(buffer, slice_cstr(line->request));
    strbuf_put(buffer, outcomes[line->truth]);
    if (line->truth != TRUTH_ACKNOWLEDGED)
        strbuf_put_json(buffer, line->detail);
    put_number(buffer, "machine", line->machine);
    put_number(buffer, "product", line->product);
    put_number(buffer, "count", line->count);
    put_number(buffer, "lease", line->lease);
    strbuf_lit(buffer, "}\n");
}

static void put_text(struct strbuf *line, const char *name, struct slice text)
{
    if (text.len == 0)
        return;
    strbuf_printf(line, ",\"%s\":", name);
    strbuf_put_json(line, text);
}

void journal_add_market(struct journal_writer *writer, const struct journal_market *line)
{
    static const struct slice outcomes[] = {
        [TRUTH_ACKNOWLEDGED] = SLICE_INIT(",\"outcome\":\"acknowledged\""),
        [TRUTH_REFUSED] = SLICE_INIT(",\"outcome\":\"refused\""),
        [TRUTH_UNKNOWN] = SLICE_INIT(",\"outcome\":\"unknown\""),
    };
    if (!journal_is_on(writer) || line->request == NULL)
        return;
    struct strbuf *buffer = begin_line(writer);
    strbuf_lit(buffer, "{\"request\":");
    strbuf_put_json(buffer, slice_cstr(line->request));
    strbuf_put(buffer, outcomes[line->truth]);
    if (line->truth != TRUTH_ACKNOWLEDGED)
        put_text(buffer, "code", line->detail);
    put_text(buffer, "key", line->key);
    put_text(buffer, "email", line->email);
    put_text(buffer, "nonce", line->nonce);
    if (line->receipt.len > 0) {
        strbuf_lit(buffer, ",\"receipt\":");
        strbuf_put(buffer, line->receipt);
    }
    strbuf_lit(buffer, "}\n");
}
