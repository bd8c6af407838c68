/* SPDX-License-Identifier: Apache-2.0 */
/* See fault.h. The calls of each operation are counted, those of all readers together; rules never change. */
#include "store/fault.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { RULES_MAX = 32, EXIT_CRASH = 9 };

enum operation { OPERATION_COMMIT, OPERATION_LOAD, OPERATION_PROBE, OPERATION_READ, OPERATION_COUNT };

enum fault {
    FAULT_FULL,
    FAULT_IO,
    FAULT_UNKNOWN_LOST,
    FAULT_UNKNOWN_KEPT,
    FAULT_CRASH_BEFORE,
    FAULT_CRASH_AFTER,
    FAULT_COUNT,
    FAULT_NONE = FAULT_COUNT
};

static const struct slice operation_names[OPERATION_COUNT] = {
    [OPERATION_COMMIT] = SLICE_INIT("commit"),
    [OPERATION_LOAD] = SLICE_INIT("load"),
    [OPERATION_PROBE] = SLICE_INIT("probe"),
    [OPERATION_READ] = SLICE_INIT("read"),
};

static const struct slice fault_names[FAULT_COUNT] = {
    [FAULT_FULL] = SLICE_INIT("full"),
    [FAULT_IO] = SLICE_INIT("io"),
    [FAULT_UNKNOWN_LOST] = SLICE_INIT("unknown-lost"),
    [FAULT_UNKNOWN_KEPT] = SLICE_INIT("unknown-kept"),
    [FAULT_CRASH_BEFORE] = SLICE_INIT("crash-before"),
    [FAULT_CRASH_AFTER] = SLICE_INIT("crash-after"),
};

struct rule {
    enum operation operation;
    int64_t first; /* calls first..last fail */
    int64_t last;
    enum fault fault;
};

struct fault_store {
    struct store base;
    struct store *inner;
    struct rule rules[RULES_MAX];
    size_t rule_count;
    atomic_llong calls[OPERATION_COUNT];
    bool is_broken; /* engine thread */
};

struct fault_reader {
    struct store_reader base;
    struct store_reader *inner;
};

/* --- the specification --- */

static bool find_name(struct slice text, const struct slice *names, int count, int *found)
{
    for (int i = 0; i < count; i++) {
        if (slice_eq(text, names[i])) {
            *found = i;
            return true;
        }
    }
    return false;
}

/* "3", "3+" or "3-7". */
static bool parse_calls(struct slice text, struct rule *rule)
{
    struct slice last;
    if (text.len > 0 && text.base[text.len - 1] == '+') {
        rule->last = INT64_MAX;
        return slice_to_i64(slice_make(text.base, text.len - 1), &rule->first) && rule->first >= 1;
    }
    struct slice first = slice_split(text, '-', &last);
    if (!slice_to_i64(first, &rule->first) || rule->first < 1)
        return false;
    rule->last = rule->first;
    return first.len == text.len || (slice_to_i64(last, &rule->last) && rule->last >= rule->first);
}

static bool parse_rule(struct slice text, struct rule *rule)
{
    int operation = 0;
    int fault = 0;
    struct slice rest;
    struct slice operation_name = slice_split(text, ':', &rest);
    struct slice calls = slice_split(rest, ':', &rest);
    bool is_good = find_name(operation_name, operation_names, OPERATION_COUNT, &operation) &&
                   parse_calls(calls, rule) && find_name(rest, fault_names, FAULT_COUNT, &fault);
    rule->operation = (enum operation)operation;
    rule->fault = (enum fault)fault;
    return is_good;
}

static enum err parse_spec(struct fault_store *store, const char *spec, struct error *error)
{
    struct slice rest = slice_cstr(spec);
    while (rest.len > 0) {
        struct slice text = slice_split(rest, ',', &rest);
        if (store->rule_count == RULES_MAX)
            return error_set(error, ERR_USAGE, "too many faults (at most %d)", RULES_MAX);
        if (!parse_rule(text, &store->rules[store->rule_count++]))
            return error_set(error, ERR_USAGE,
                "'%.*s' is no fault: write OPERATION:N:FAULT, such as commit:3:full, with OPERATION one of "
                "commit,"
                " load, probe, read; N a number, N+ or N-M; FAULT one of full, io, unknown-lost, "
                "unknown-kept,"
                " crash-before, crash-after",
                SLICE_ARGS(text));
    }
    return ERR_NONE;
}

/* --- failing --- */

static enum fault next_fault(struct fault_store *store, enum operation operation)
{
    int64_t call = atomic_fetch_add(&store->calls[operation], 1) + 1;
    for (size_t i = 0; i < store->rule_count; i++) {
        const struct rule *rule = &store->rules[i];
        if (rule->operation == operation && call >= rule->first && call <= rule->last)
            return rule->fault;
    }
    return FAULT_NONE;
}

/* Before the real call: true when it must not be made, with *err as the answer. */
static bool fails_before(enum fault fault, enum err *err, struct error *error)
{
    switch (fault) {
    case FAULT_FULL:
        *err = error_set(error, ERR_FULL, "disk full (on request)");
        return true;
    case FAULT_IO:
        *err = error_set(error, ERR_IO, "input/output error (on request)");
        return true;
    case FAULT_UNKNOWN_LOST:
        *err = error_set(error, ERR_COMMIT_UNKNOWN, "flush failed (on request)");
        return true;
    case FAULT_CRASH_BEFORE:
        _exit(EXIT_CRASH);
    default:
        return false;
    }
}

/* After the real call, which answered `err`. */
static enum err fail_after(enum fault fault, enum err err, struct error *error)
{
    if (fault == FAULT_CRASH_AFTER)
        _exit(EXIT_CRASH);
    if (fault == FAULT_UNKNOWN_KEPT && err == ERR_NONE)
        return error_set(error, ERR_COMMIT_UNKNOWN, "flush failed (on request)");
    return err;
}

/* --- the operations --- */

/* What the inner store knows about others is passed on. */
static void take_over(struct fault_store *store)
{
    store->base.confirmed_ns = store->inner->confirmed_ns;
    atomic_store(&store->base.clock_ahead_ms, atomic_load(&store->inner->clock_ahead_ms));
    memcpy(store->base.secret, store->inner->secret, STORE_SECRET_BYTES);
}

static enum err fault_load(struct store *base, struct world *world, const struct command *const *commands,
    size_t count, struct error *error)
{
    struct fault_store *store = (struct fault_store *)base;
    enum fault fault = next_fault(store, OPERATION_LOAD);
    enum err err;
    if (fails_before(fault, &err, error))
        return err;
    err = store_load(store->inner, world, commands, count, error);
    take_over(store);
    return fail_after(fault, err, error);
}

static enum err fault_load_due(
    struct store *base, struct world *world, const struct due *due, struct error *error)
{
    struct fault_store *store = (struct fault_store *)base;
    enum err err = store_load_due(store->inner, world, due, error);
    take_over(store);
    return err;
}

static void fault_abandon(struct store *base)
{
    store_abandon(((struct fault_store *)base)->inner);
}

static enum err fault_watch(
    struct store *base, void (*on_change)(void *context), void *context, struct error *error)
{
    return store_watch(((struct fault_store *)base)->inner, on_change, context, error);
}

static void fault_unwatch(struct store *base)
{
    store_unwatch(((struct fault_store *)base)->inner);
}

/* commit and probe differ in nothing else. */
static enum err fault_write(
    struct fault_store *store, enum operation operation, const struct world *world, struct error *error)
{
    enum fault fault = next_fault(store, operation);
    enum err err;
    if (store->is_broken)
        return error_set(error, ERR_IO, "nothing is written any more after a failed flush (on request)");
    if (!fails_before(fault, &err, error)) {
        err = operation == OPERATION_COMMIT ? store_commit(store->inner, world, error)
                                            : store_probe(store->inner, error);
        err = fail_after(fault, err, error);
    }
    if (operation == OPERATION_COMMIT && err != ERR_NONE)
        store_abandon(store->inner); /* nothing to do when the inner one failed by itself */
    store->is_broken = err == ERR_COMMIT_UNKNOWN && !store->base.is_shared;
    return err;
}

static enum err fault_commit(struct store *base, const struct world *world, struct error *error)
{
    return fault_write((struct fault_store *)base, OPERATION_COMMIT, world, error);
}

static enum err fault_probe(struct store *base, struct error *error)
{
    return fault_write((struct fault_store *)base, OPERATION_PROBE, NULL, error);
}

static enum err fault_reader_open(struct store *base, struct store_reader **reader_out, struct error *error)
{
    struct fault_store *store = (struct fault_store *)base;
    struct fault_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return error_set(error, ERR_MEMORY, "no memory for a reader");
    reader->base.store = base;
    enum err err = store_reader_open(store->inner, &reader->inner, error);
    if (err != ERR_NONE) {
        free(reader);
        return err;
    }
    *reader_out = &reader->base;
    return ERR_NONE;
}

static enum err fault_reader_purchases(
    struct store_reader *base, struct purchase_lookup *lookups, size_t count, struct error *error)
{
    struct fault_reader *reader = (struct fault_reader *)base;
    enum fault fault = next_fault((struct fault_store *)base->store, OPERATION_READ);
    enum err err;
    if (fails_before(fault, &err, error))
        return err;
    return fail_after(fault, store_read_purchases(reader->inner, lookups, count, error), error);
}

static enum err fault_reader_sale_totals(
    struct store_reader *base, struct sale_totals *totals, struct error *error)
{
    struct fault_reader *reader = (struct fault_reader *)base;
    enum fault fault = next_fault((struct fault_store *)base->store, OPERATION_READ);
    enum err err;
    if (fails_before(fault, &err, error))
        return err;
    return fail_after(fault, store_read_sale_totals(reader->inner, totals, error), error);
}

static enum err fault_reader_ask(struct store_reader *base, struct question *question, struct error *error)
{
    struct fault_reader *reader = (struct fault_reader *)base;
    enum fault fault = next_fault((struct fault_store *)base->store, OPERATION_READ);
    enum err err;
    if (fails_before(fault, &err, error))
        return err;
    return fail_after(fault, store_ask(reader->inner, question, error), error);
}

static void fault_reader_close(struct store_reader *base)
{
    struct fault_reader *reader = (struct fault_reader *)base;
    store_reader_close(reader->inner);
    free(reader);
}

static void fault_close(struct store *base)
{
    struct fault_store *store = (struct fault_store *)base;
    store_close(store->inner);
    free(store);
}

static const struct store_operations operations = {
    .load = fault_load,
    .load_due = fault_load_due,
    .abandon = fault_abandon,
    .watch = fault_watch,
    .unwatch = fault_unwatch,
    .commit = fault_commit,
    .probe = fault_probe,
    .reader_open = fault_reader_open,
    .reader_purchases = fault_reader_purchases,
    .reader_sale_totals = fault_reader_sale_totals,
    .reader_ask = fault_reader_ask,
    .reader_close = fault_reader_close,
    .close = fault_close,
};

enum err fault_store_wrap(
    struct store *inner, const char *spec, struct store **store_out, struct error *error)
{
    struct fault_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        store_close(inner);
        return error_set(error, ERR_MEMORY, "no memory for a store");
    }
    store->base =
        (struct store){.operations = &operations, .kind = inner->kind, .is_shared = inner->is_shared};
    store->inner = inner;
    take_over(store);
    enum err err = parse_spec(store, spec, error);
    if (err != ERR_NONE) {
        fault_close(&store->base);
        return err;
    }
    *store_out = &store->base;
    return ERR_NONE;
}
