/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine thread. One turn: take the batch, let time do what is due, decide, commit, publish, answer.
 *
 * Why an answer is never early: answers leave in deliver(), which run_batch() calls after the store has said
 * ERR_NONE, or with every outcome turned to UNAVAILABLE or OUTCOME_UNKNOWN. A batch that changed nothing
 * and repeats no answer needs no commit: what its answers rest on was committed by batches before it, or by
 * other nodes before the load.
 */
#include "engine/engine.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "core/world_wallet.h"
#include "core/world_work.h"
#include "engine/engine_priv.h"

enum {
    NS_PER_MS = 1000000,
    NS_PER_S = 1000000000,
    PROBE_INTERVAL_MS = 250, /* while the store fails, or memory is out */
    TICK_INTERVAL_MS =
        20, /* shared store: what is due may be another node's, so it is not tried all the time */
    TIDY_INTERVAL_MS = 2000, /* shared store: what is due without our knowing is looked for so often */
    DECISIONS_MAX = 5,       /* of a batch, when other nodes are quicker each time */
    AVERAGE_WEIGHT = 8,      /* a new measurement counts one eighth */
    COMMANDS_WEIGHT = 1024,  /* so many commands count one half */
    CHOICE_GUESS_MS = 1000,  /* what a user takes to choose, as long as nobody has */
    /* By machines in one batch: each is a row, and a store writes at least 100,000 a second. */
    BATCH_UNITS_MAX = 5000,
};

const double engine_commit_bounds_s[ENGINE_COMMIT_BUCKET_COUNT] = {
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5};

const char *engine_state_name(enum engine_state state)
{
    static const char *const names[] = {
        [ENGINE_SERVING] = "serving",
        [ENGINE_FAILING] = "failing",
        [ENGINE_HALTED] = "halted",
        [ENGINE_STOPPING] = "stopping",
    };
    return names[state];
}

/* --- expected wait --- */

static void average_in(atomic_int_fast64_t *average, int64_t value)
{
    int64_t now = atomic_load_explicit(average, memory_order_relaxed);
    now = now == 0 ? value : now + (value - now) / AVERAGE_WEIGHT;
    atomic_store_explicit(average, now, memory_order_relaxed);
}

/*
 * What a command takes, by how many took it: a batch of one that the processor was taken away from says
 * little, and must not have a crowd refused that comes after it.
 */
static void average_commands_in(atomic_int_fast64_t *average, int64_t total_ns, int64_t count)
{
    int64_t now = atomic_load_explicit(average, memory_order_relaxed);
    now += (total_ns - now * count) / (count + COMMANDS_WEIGHT);
    atomic_store_explicit(average, now, memory_order_relaxed);
}

/* Those ahead one by one, then the way to the store and the flush; never less than the present batch has
 * already taken, so that a disk that hangs is noticed while it hangs. */
int64_t engine_expected_wait_ns(const struct engine *engine, size_t commands_ahead)
{
    int64_t command_ns = atomic_load_explicit(&engine->command_ns, memory_order_relaxed);
    int64_t expected = (int64_t)commands_ahead * command_ns;
    expected += 2 * (atomic_load_explicit(&engine->load_ns, memory_order_relaxed) +
                        atomic_load_explicit(&engine->commit_ns, memory_order_relaxed));
    int64_t began = atomic_load_explicit(&engine->batch_began_ns, memory_order_relaxed);
    int64_t already = began == 0 ? 0 : clock_mono_ns() - began;
    return expected > already ? expected : already;
}

size_t engine_depth(const struct engine *engine)
{
    return atomic_load_explicit(&engine->line.depth, memory_order_relaxed) +
           atomic_load_explicit(&engine->taken_count, memory_order_relaxed);
}

void engine_refuse(const struct engine *engine, struct engine_call *call)
{
    int64_t wait_ns = engine_expected_wait_ns(engine, engine_depth(engine));
    call->command.outcome = (struct outcome){.result = RESULT_UNAVAILABLE};
    call->retry_after_s = 1 + (int)(wait_ns / NS_PER_S);
}

/* --- state --- */

enum engine_state engine_state(const struct engine *engine)
{
    return (enum engine_state)atomic_load_explicit(&engine->state, memory_order_acquire);
}

void engine_last_error(struct engine *engine, struct error *error)
{
    pthread_mutex_lock(&engine->last_error_lock);
    *error = engine->last_error;
    pthread_mutex_unlock(&engine->last_error_lock);
}

/* Only moves that exist: SERVING <-> FAILING, both -> HALTED, SERVING and FAILING -> STOPPING. */
static void move_to(struct engine *engine, enum engine_state state)
{
    int from = engine_state(engine);
    while (from != ENGINE_HALTED && (from != ENGINE_STOPPING || state == ENGINE_HALTED)) {
        if (atomic_compare_exchange_weak_explicit(
                &engine->state, &from, (int)state, memory_order_acq_rel, memory_order_acquire))
            return;
    }
}

static void set_last_error(struct engine *engine, const struct error *error)
{
    pthread_mutex_lock(&engine->last_error_lock);
    engine->last_error = *error;
    pthread_mutex_unlock(&engine->last_error_lock);
}

/* Only opening the store again tells what is in it. A shared store is asked anew with each batch anyway. */
static bool is_fatal(const struct engine *engine, enum err status)
{
    return !engine->store->is_shared && (status == ERR_COMMIT_UNKNOWN || status == ERR_CORRUPT);
}

static void note_failure(struct engine *engine, const struct error *error)
{
    set_last_error(engine, error);
    atomic_fetch_add_explicit(&engine->figures.commits_failed_total, 1, memory_order_relaxed);
    if (is_fatal(engine, error->code)) {
        log_error("engine",
            "%s; nothing more is accepted, because what is on disk is not known: restart the server",
            error->message);
        move_to(engine, ENGINE_HALTED);
        return;
    }
    if (engine_state(engine) != ENGINE_FAILING)
        log_error("engine", "%s; new purchases and changes are refused until the store works again",
            error->message);
    engine->probe_at_ns = clock_mono_ns() + (int64_t)PROBE_INTERVAL_MS * NS_PER_MS;
    move_to(engine, ENGINE_FAILING);
}

static void probe_store(struct engine *engine)
{
    struct error error;
    if (clock_mono_ns() < engine->probe_at_ns)
        return;
    engine->probe_at_ns = clock_mono_ns() + (int64_t)PROBE_INTERVAL_MS * NS_PER_MS;
    enum err status = store_probe(engine->store, &error);
    if (status == ERR_NONE) {
        log_info("engine", "the store works again");
        move_to(engine, ENGINE_SERVING);
    } else if (is_fatal(engine, status)) {
        note_failure(engine, &error);
    } else {
        /* It may have changed: first a write failed, now there is too little room. */
        set_last_error(engine, &error);
    }
}

/* --- time --- */

int64_t engine_now_ms(const struct engine *engine)
{
    const struct store *store = engine->store;
    return store->is_shared
               ? clock_steady_ms() + atomic_load_explicit(&store->clock_ahead_ms, memory_order_relaxed)
               : clock_wall_ms();
}

bool engine_views_are_fresh(const struct engine *engine)
{
    return !engine->store->is_shared ||
           clock_mono_ns() < atomic_load_explicit(&engine->views_fresh_until_ns, memory_order_relaxed);
}

/* --- publishing --- */

static void publish_product(struct engine *engine, const struct product *product)
{
    struct sale_view *view = sale_view_create(product);
    ENSURE(view != NULL); /* without it readers would see an old world for ever */
    for (struct engine_port *port = engine->ports; port != NULL; port = port->next)
        engine_port_post_view(port, view);
    sale_view_put(view);
}

/* A removed product does not hide one that has taken its name. */
static void publish_once(struct engine *engine, struct product *product)
{
    const struct world *world = &engine->world;
    if (product->published_batch == world->batch)
        return;
    product->published_batch = world->batch;
    if (!product->is_removed || world_product(world, product->sku) == NULL)
        publish_product(engine, product);
}

static void publish_ticket(struct engine *engine, const struct ticket *ticket)
{
    struct ticket_view *view = ticket_view_create(&engine->world, ticket);
    ENSURE(view != NULL); /* as for pictures of sales */
    for (struct engine_port *port = engine->ports; port != NULL; port = port->next)
        engine_port_post_ticket(port, view);
    ticket_view_put(view);
}

/* As long as no lease has ended, one is taken to last as long as the processing and a moment to choose. */
static void publish_line(struct engine *engine)
{
    struct line_view *view =
        line_view_create(&engine->world, engine->config.rules.dispense_ms + CHOICE_GUESS_MS);
    ENSURE(view != NULL); /* as for pictures of sales */
    for (struct engine_port *port = engine->ports; port != NULL; port = port->next)
        engine_port_post_line(port, view);
    line_view_put(view);
}

static void publish_refreshed_pool(struct engine *engine)
{
    struct world *world = &engine->world;
    LIST_FOR_EACH (node, &world->pool.ended_tickets)
        publish_ticket(engine, CONTAINER_OF(node, struct ticket, node));
    world_accept_ended_tickets(world);
    if (engine->published_pool_version != world->pool.values.version)
        publish_line(engine);
    engine->published_pool_version = world->pool.values.version;
}

/* What other nodes have done, as the last load found it. */
static void publish_refreshed(struct engine *engine)
{
    struct world *world = &engine->world;
    const struct store *store = engine->store;
    if (!store->is_shared)
        return;
    LIST_FOR_EACH (node, &world->refreshed)
        publish_once(engine, CONTAINER_OF(node, struct product, refreshed_node));
    world_accept_refreshed(world);
    publish_refreshed_pool(engine);
    atomic_store_explicit(&engine->views_fresh_until_ns,
        store->confirmed_ns + engine->config.staleness_max_ms * NS_PER_MS, memory_order_relaxed);
    atomic_store_explicit(&engine->figures.product_count, world->products_by_sku.count, memory_order_relaxed);
}

static void publish_order(struct engine *engine, struct order *order)
{
    if (order->published_batch == engine->world.batch)
        return;
    order->published_batch = engine->world.batch;
    struct order_view *view = order_view_create(order);
    ENSURE(view != NULL); /* as for pictures of sales */
    for (struct engine_port *port = engine->ports; port != NULL; port = port->next)
        engine_port_post_order(port, view);
    order_view_put(view);
}

/* How many there are in which state; a shared world does not know. */
static void publish_order_totals(struct engine *engine)
{
    const struct world *world = &engine->world;
    const struct list *oldest = list_first(&world->pending_orders);
    int64_t oldest_ms = oldest == NULL ? 0 : CONTAINER_OF(oldest, struct order, node)->created_ms;
    for (int i = 0; i < ORDER_STATUS_COUNT; i++)
        atomic_store_explicit(&engine->figures.order_counts[i], world->order_counts[i], memory_order_relaxed);
    atomic_store_explicit(&engine->figures.oldest_pending_ms, oldest_ms, memory_order_relaxed);
}

/* Readers of a wallet without a number ask the store. */
static void publish_balance(struct engine *engine, const struct wallet *wallet)
{
    bool is_set = engine->store->is_shared ||
                  balances_set(&engine->balances, wallet->account_id, wallet->values.balance_minor);
    ENSURE(is_set); /* as for pictures of sales */
}

/* A product or an order that changed several times is published once, where it changed last: pictures show
 * the end of the batch. Work that waits for its time is nothing to hurry for. */
static void publish_changes(struct engine *engine)
{
    const struct world *world = &engine->world;
    int64_t now_ms = engine_now_ms(engine);
    unsigned work_kinds = 0;
    bool has_orders = false;
    for (size_t i = world->change_count; i-- > 0;) {
        const struct change *change = &world->changes[i];
        if (change->product != NULL)
            publish_once(engine, change->product);
        bool is_order = change->kind == CHANGE_ORDER_ADDED || change->kind == CHANGE_ORDER_UPDATED;
        bool is_work = change->kind == CHANGE_WORK_ADDED || change->kind == CHANGE_WORK_UPDATED;
        has_orders = has_orders || is_order;
        if (is_order)
            publish_order(engine, change->order.order);
        else if (change->kind == CHANGE_TICKET_ENDED)
            publish_ticket(engine, change->ticket.ticket);
        else if (change->kind == CHANGE_WALLET_ADDED || change->kind == CHANGE_WALLET_UPDATED)
            publish_balance(engine, change->wallet.wallet);
        else if (is_work && change->work.work->values.due_ms <= now_ms)
            work_kinds |= 1u << change->work.work->kind;
    }
    for (struct engine_port *port = engine->ports; port != NULL && work_kinds != 0; port = port->next)
        engine_port_post_work(port, work_kinds);
    if (has_orders)
        publish_order_totals(engine);
    if (world->pool.touched_batch == world->batch && !world->is_shared)
        publish_line(engine); /* with a shared store: publish_refreshed */
    atomic_store_explicit(&engine->figures.product_count, world->products_by_sku.count, memory_order_relaxed);
}

static void publish_balances(struct engine *engine)
{
    size_t cursor = 0;
    const struct wallet *wallet;
    while ((wallet = map_next(&engine->world.wallets_by_key, &cursor)) != NULL)
        publish_balance(engine, wallet);
}

/* --- a batch --- */

static void deliver(struct engine *engine, struct call_list *calls)
{
    struct engine_call *call;
    while ((call = call_list_take(calls)) != NULL)
        call_list_append(&call->port->delivery, call);
    /* A port that has taken its pictures already, to look at one, still has to tell its listeners. */
    for (struct engine_port *port = engine->ports; port != NULL; port = port->next) {
        if (port->delivery.count > 0 || port->is_wake_due)
            engine_port_post_answers(port);
    }
}

static void refuse_all(struct engine *engine, struct call_list *calls, enum result result)
{
    for (struct engine_call *call = calls->first; call != NULL; call = call->next) {
        engine_refuse(engine, call);
        call->command.outcome.result = result;
    }
}

static void measure_commit(struct engine *engine, int64_t duration_ns)
{
    int bucket = 0;
    while (bucket < ENGINE_COMMIT_BUCKET_COUNT && (double)duration_ns > engine_commit_bounds_s[bucket] * 1e9)
        bucket++;
    atomic_fetch_add_explicit(&engine->figures.commit_seconds_bucket[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&engine->figures.commit_ns_total, (uint64_t)duration_ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&engine->figures.batches_total, 1, memory_order_relaxed);
    average_in(&engine->commit_ns, duration_ns);
}

/*
 * Writes what was decided. ERR_NONE: it is on disk, and published. ERR_COMMIT_UNKNOWN: the world is as before
 * the batch, the store perhaps not. Else: both are as before the batch; with ERR_CONFLICT another node was
 * quicker.
 */
static enum err commit(struct engine *engine)
{
    struct error error;
    /* In a shared store an answer can be seen that its own node did not live to hear committed, or that the
     * standby has not got yet. To give it again is to acknowledge it, so a commit of ours comes first. */
    bool needs_commit = engine->store->is_shared && engine->world.repeats_answers;
    if (engine->world.change_count == 0 && !needs_commit) {
        store_abandon(engine->store);
        publish_refreshed(engine);
        return ERR_NONE;
    }
    int64_t began_ns = clock_mono_ns();
    if (store_commit(engine->store, &engine->world, &error) != ERR_NONE) {
        world_rollback(&engine->world);
        if (error.code != ERR_CONFLICT)
            note_failure(engine, &error);
        return error.code;
    }
    measure_commit(engine, clock_mono_ns() - began_ns);
    publish_changes(engine);
    /* Before what was refreshed is let go of: a product may have been refreshed and then removed by the
     * batch. */
    world_accept(&engine->world);
    publish_refreshed(engine);
    return ERR_NONE;
}

static void note_no_memory(struct engine *engine)
{
    world_rollback(&engine->world);
    store_abandon(engine->store);
    log_error("engine",
        "out of memory while deciding a batch; the whole batch was refused and nothing was changed");
}

static int64_t units_of(const struct command *command)
{
    return command->kind == COMMAND_MACHINE_CHOOSE ? command->pool->units : 0;
}

/*
 * Moves the next batch from those that wait: all of them, but for what would make it sell too many units. So
 * users who want many hold up nobody for longer than a store takes to write BATCH_UNITS_MAX rows. Calls whose
 * time ran out while they waited are not in the batch; they are answered with it.
 */
static void take_batch(
    struct engine *engine, struct call_list *waiting, struct call_list *calls, struct call_list *late)
{
    int64_t now_ns = clock_mono_ns();
    int64_t units = 0;
    while (waiting->first != NULL) {
        units += units_of(&waiting->first->command);
        if (units > BATCH_UNITS_MAX && calls->count > 0)
            return;
        struct engine_call *call = call_list_take(waiting);
        bool is_late = call->deadline_ns < now_ns;
        if (is_late) {
            engine_refuse(engine, call);
            atomic_fetch_add_explicit(&engine->figures.refused_late_total, 1, memory_order_relaxed);
            units -= units_of(&call->command);
        }
        call_list_append(is_late ? late : calls, call);
    }
}

static enum err decide_all(struct engine *engine, const struct call_list *calls)
{
    int64_t now_ms = engine_now_ms(engine);
    for (struct engine_call *call = calls->first; call != NULL; call = call->next) {
        if (!rules_decide(&engine->config.rules, &engine->world, &call->command, now_ms)) {
            note_no_memory(engine);
            return ERR_MEMORY;
        }
    }
    return ERR_NONE;
}

static enum err load_all(struct engine *engine, const struct call_list *calls)
{
    size_t count = 0;
    for (struct engine_call *call = calls->first; call != NULL; call = call->next)
        engine->commands[count++] = &call->command;
    struct error error;
    enum err status = store_load(engine->store, &engine->world, engine->commands, count, &error);
    if (status != ERR_NONE && status != ERR_CONFLICT)
        note_failure(engine, &error);
    return status;
}

/* Loads, decides and writes a batch of at least one call; what commit returns. */
static enum err decide_and_write(struct engine *engine, const struct call_list *calls)
{
    int64_t began_ns = clock_mono_ns();
    world_begin(&engine->world);
    enum err status = load_all(engine, calls);
    int64_t loaded_ns = clock_mono_ns();
    if (status == ERR_NONE)
        status = decide_all(engine, calls);
    int64_t decided_ns = clock_mono_ns();
    if (status == ERR_NONE)
        status = commit(engine);
    if (status != ERR_NONE)
        return status;
    atomic_fetch_add_explicit(&engine->figures.commands_total, calls->count, memory_order_relaxed);
    /* A load is one round trip however many it is for. */
    average_in(&engine->load_ns, loaded_ns - began_ns);
    average_commands_in(&engine->command_ns, decided_ns - loaded_ns, (int64_t)calls->count);
    return ERR_NONE;
}

/* As often as it takes to be quicker than other nodes, within reason. */
static enum result serve_batch(struct engine *engine, const struct call_list *calls)
{
    enum err status = ERR_CONFLICT;
    bool is_open = engine_state(engine) == ENGINE_SERVING || engine_state(engine) == ENGINE_STOPPING;
    if (!is_open)
        return RESULT_UNAVAILABLE;
    for (int i = 0; i < DECISIONS_MAX && status == ERR_CONFLICT; i++) {
        if (i > 0)
            atomic_fetch_add_explicit(&engine->figures.conflicts_total, 1, memory_order_relaxed);
        status = decide_and_write(engine, calls);
    }
    if (status == ERR_CONFLICT)
        log_warn("engine",
            "other nodes changed the same things %d times in a row; a batch of %zu was refused",
            DECISIONS_MAX, calls->count);
    return status == ERR_NONE             ? RESULT_OK
           : status == ERR_COMMIT_UNKNOWN ? RESULT_OUTCOME_UNKNOWN
                                          : RESULT_UNAVAILABLE;
}

static void run_batch(struct engine *engine, struct call_list *waiting)
{
    atomic_store_explicit(&engine->batch_began_ns, clock_mono_ns(), memory_order_relaxed);
    struct call_list calls = {0};
    struct call_list late = {0};
    take_batch(engine, waiting, &calls, &late);
    atomic_store_explicit(&engine->taken_count, waiting->count, memory_order_relaxed);
    enum result result = calls.count == 0 ? RESULT_OK : serve_batch(engine, &calls);
    if (result != RESULT_OK)
        refuse_all(engine, &calls, result);
    else if (engine->world.next_edge_ms <= engine_now_ms(engine))
        engine->tick_at_ns =
            0; /* a sale that begins in the past, just made here: nobody else starts it sooner */
    atomic_store_explicit(&engine->batch_began_ns, 0, memory_order_relaxed);
    call_list_splice(&calls, &late);
    deliver(engine, &calls);
}

/* Brings what other nodes have changed to the ports, when no batch has done it. */
static void refresh(struct engine *engine)
{
    struct call_list nobody = {0};
    struct error error;
    if (!atomic_exchange(&engine->is_refresh_due, false) || engine_state(engine) == ENGINE_FAILING)
        return;
    world_begin(&engine->world);
    if (store_load(engine->store, &engine->world, NULL, 0, &error) != ERR_NONE) {
        note_failure(engine, &error);
        return;
    }
    publish_refreshed(engine);
    deliver(engine, &nobody);
}

/* On a thread of the store's. */
static void on_store_change(void *context)
{
    struct engine *engine = context;
    atomic_store(&engine->is_refresh_due, true);
    line_poke(&engine->line);
}

static enum err decide_tick(struct engine *engine, int64_t now_ms)
{
    const struct rules *rules = &engine->config.rules;
    struct due due = {.edge_ms = now_ms,
        .key_ms = now_ms - rules->idempotency_ttl_ms,
        .key_count_max = RULES_KEYS_EXPIRED_PER_TICK_MAX,
        .keys_kept_max = rules->idempotency_count_max};
    struct error error;
    world_begin(&engine->world);
    enum err status = store_load_due(engine->store, &engine->world, &due, &error);
    if (status != ERR_NONE) {
        if (status != ERR_CONFLICT) /* comes again with the next tick */
            note_failure(engine, &error);
        return status;
    }
    if (rules_tick(rules, &engine->world, now_ms))
        return ERR_NONE;
    note_no_memory(engine);
    return ERR_MEMORY;
}

static bool tick_is_due(const struct engine *engine, int64_t now_ms)
{
    int64_t now_ns = clock_mono_ns();
    if (engine_state(engine) != ENGINE_SERVING || now_ns < engine->tick_at_ns)
        return false;
    return rules_next_tick_ms(&engine->config.rules, &engine->world) <= now_ms ||
           now_ns >= engine->tidy_at_ns;
}

/*
 * What time alone does, in a transaction of its own, so that each step of a sale is published. One step a
 * turn: what is left over is due at once in the next turn, and the line does not wait behind it. With a
 * shared store a sale that is due may be another node's business, which shows with its notification.
 */
static void run_tick(struct engine *engine)
{
    struct call_list nobody = {0};
    int64_t now_ms = engine_now_ms(engine);
    if (!tick_is_due(engine, now_ms))
        return;
    int64_t began_ns = clock_mono_ns();
    atomic_store_explicit(&engine->batch_began_ns, began_ns, memory_order_relaxed);
    enum err status = decide_tick(engine, now_ms);
    bool may_be_more = engine->world.change_count >= RULES_KEYS_EXPIRED_PER_TICK_MAX;
    if (status == ERR_NONE)
        status = commit(engine);
    if (status == ERR_NONE)
        deliver(engine, &nobody);
    if (status == ERR_MEMORY)
        engine->tick_at_ns = began_ns + (int64_t)PROBE_INTERVAL_MS * NS_PER_MS;
    if (engine->store->is_shared) {
        engine->tick_at_ns = began_ns + (int64_t)TICK_INTERVAL_MS * NS_PER_MS;
        engine->tidy_at_ns =
            may_be_more ? engine->tick_at_ns : began_ns + (int64_t)TIDY_INTERVAL_MS * NS_PER_MS;
    }
    atomic_store_explicit(&engine->batch_began_ns, 0, memory_order_relaxed);
}

/* When the thread has to be up again though nobody calls. */
static int64_t wake_at_ns(const struct engine *engine)
{
    int64_t now_ns = clock_mono_ns();
    if (engine_state(engine) == ENGINE_FAILING)
        return engine->probe_at_ns;
    if (engine_state(engine) != ENGINE_SERVING)
        return INT64_MAX;
    if (atomic_load(&engine->is_refresh_due))
        return now_ns;
    int64_t next_ms = rules_next_tick_ms(&engine->config.rules, &engine->world);
    int64_t wait_ms = next_ms == INT64_MAX ? INT64_MAX : next_ms - engine_now_ms(engine);
    /* The wall clock may be set meanwhile: look again at least once a second. */
    if (wait_ms > 1000)
        wait_ms = 1000;
    int64_t wake_ns = wait_ms <= 0 ? now_ns : now_ns + wait_ms * NS_PER_MS;
    return wake_ns > engine->tick_at_ns ? wake_ns : engine->tick_at_ns;
}

static void *engine_main(void *argument)
{
    struct engine *engine = argument;
    struct call_list calls;
    while (line_take(&engine->line, wake_at_ns(engine), &calls)) {
        if (engine_state(engine) == ENGINE_FAILING)
            probe_store(engine);
        run_tick(engine);
        if (calls.count == 0)
            refresh(engine);
        while (calls.count > 0) {
            run_batch(engine, &calls); /* its load has brought in what is new */
            if (calls.count > 0)
                run_tick(engine); /* machines are not done later because of what still waits */
        }
    }
    return NULL;
}

/* --- life --- */

enum err engine_create(
    const struct engine_config *config, struct store *store, struct engine **out, struct error *error)
{
    struct engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the engine");
    engine->config = *config;
    engine->store = store;
    struct map_key hash_key;
    randombytes_buf(&hash_key, sizeof hash_key);
    world_init(&engine->world, &hash_key);
    if (store->is_shared)
        world_share(&engine->world);
    engine->tidy_at_ns = store->is_shared ? clock_mono_ns() : INT64_MAX;
    line_init(&engine->line, config->line_depth_max);
    pthread_mutex_init(&engine->last_error_lock, NULL);
    engine->commands = calloc(config->line_depth_max, sizeof(const struct command *));
    enum err status =
        engine->commands == NULL || !balances_init(&engine->balances)
            ? error_set(error, ERR_MEMORY, "no memory for a line of %zu commands; lower --line-depth-max",
                  config->line_depth_max)
            : store_load(store, &engine->world, NULL, 0, error);
    if (status == ERR_NONE && store->is_shared)
        status = lookups_create(store, &engine->lookups, error);
    if (status != ERR_NONE) {
        engine_destroy(engine);
        return status;
    }
    *out = engine;
    return ERR_NONE;
}

enum err engine_start(struct engine *engine, struct error *error)
{
    LIST_FOR_EACH (node, &engine->world.products)
        publish_product(engine, CONTAINER_OF(node, struct product, node));
    atomic_store(&engine->figures.product_count, engine->world.products_by_sku.count);
    publish_order_totals(engine);
    publish_line(engine);
    publish_balances(engine);
    world_accept_refreshed(&engine->world);
    enum err status = store_watch(engine->store, on_store_change, engine, error);
    if (status != ERR_NONE)
        return status;
    engine->is_started = true;
    if (pthread_create(&engine->thread, NULL, engine_main, engine) != 0) {
        engine->is_started = false;
        store_unwatch(engine->store);
        return error_set(
            error, ERR_MEMORY, "cannot start the engine thread; is the limit of processes reached?");
    }
    return ERR_NONE;
}

void engine_stop(struct engine *engine)
{
    if (!engine->is_started)
        return;
    move_to(engine, ENGINE_STOPPING);
    line_close(&engine->line);
    pthread_join(engine->thread, NULL);
    store_unwatch(engine->store);
    if (engine->lookups != NULL)
        lookups_stop(engine->lookups);
    engine->is_started = false;
}

void engine_destroy(struct engine *engine)
{
    ENSURE(!engine->is_started && engine->ports == NULL);
    if (engine->lookups != NULL)
        lookups_destroy(engine->lookups);
    world_fini(&engine->world);
    line_fini(&engine->line);
    balances_fini(&engine->balances);
    pthread_mutex_destroy(&engine->last_error_lock);
    free(engine->commands);
    free(engine);
}

bool engine_order_totals(const struct engine *engine, struct order_totals *totals)
{
    const struct engine_figures *figures = &engine->figures;
    if (engine->store->is_shared)
        return false;
    for (int i = 0; i < ORDER_STATUS_COUNT; i++)
        totals->counts[i] = atomic_load_explicit(&figures->order_counts[i], memory_order_relaxed);
    totals->oldest_pending_ms = atomic_load_explicit(&figures->oldest_pending_ms, memory_order_relaxed);
    return true;
}

bool engine_balance(const struct engine *engine, int64_t account_id, int64_t *balance_minor)
{
    return !engine->store->is_shared && balances_get(&engine->balances, account_id, balance_minor);
}

const unsigned char *engine_secret(const struct engine *engine)
{
    return engine->store->secret;
}

void engine_stats(const struct engine *engine, struct engine_stats *stats)
{
    const struct engine_figures *figures = &engine->figures;
    size_t depth = engine_depth(engine);
    *stats = (struct engine_stats){
        .commands_total = atomic_load_explicit(&figures->commands_total, memory_order_relaxed),
        .batches_total = atomic_load_explicit(&figures->batches_total, memory_order_relaxed),
        .commits_failed_total = atomic_load_explicit(&figures->commits_failed_total, memory_order_relaxed),
        .conflicts_total = atomic_load_explicit(&figures->conflicts_total, memory_order_relaxed),
        .refused_full_total = atomic_load_explicit(&figures->refused_full_total, memory_order_relaxed),
        .refused_late_total = atomic_load_explicit(&figures->refused_late_total, memory_order_relaxed),
        .refused_state_total = atomic_load_explicit(&figures->refused_state_total, memory_order_relaxed),
        .commit_ns_total = atomic_load_explicit(&figures->commit_ns_total, memory_order_relaxed),
        .line_depth = depth,
        .product_count = atomic_load_explicit(&figures->product_count, memory_order_relaxed),
        .expected_wait_ns = engine_expected_wait_ns(engine, depth),
    };
    for (int i = 0; i <= ENGINE_COMMIT_BUCKET_COUNT; i++)
        stats->commit_seconds_bucket[i] =
            atomic_load_explicit(&figures->commit_seconds_bucket[i], memory_order_relaxed);
}
