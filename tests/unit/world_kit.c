/* SPDX-License-Identifier: Apache-2.0 */
#include "world_kit.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "core/account.h"
#include "core/wallet.h"
#include "core/world_order.h"
#include "core/world_pool.h"
#include "core/world_work.h"

const struct map_key world_kit_hash_key = {"a fixed secret."};

/* --- commands --- */

static struct command make(enum command_kind kind, const char *sku)
{
    return (struct command){.kind = kind, .sku = slice_cstr(sku)};
}

struct command make_purchase(const char *sku, const char *user)
{
    struct command command = make(COMMAND_PURCHASE, sku);
    command.user = slice_cstr(user);
    return command;
}

struct command make_create(const char *sku, int64_t stock, int64_t start_ms, int64_t end_ms)
{
    struct command command = make(COMMAND_PRODUCT_CREATE, sku);
    command.product = (struct product_fields){
        .present = FIELDS_ALL_REQUIRED,
        .name = SLICE("Widget"),
        .initial_stock = stock,
        .start_ms = start_ms,
        .end_ms = end_ms,
    };
    return command;
}

struct command make_update(const char *sku)
{
    return make(COMMAND_PRODUCT_UPDATE, sku);
}

struct command make_patch_limit(const char *sku, int64_t per_user_limit)
{
    struct command command = make(COMMAND_PRODUCT_PATCH, sku);
    command.product =
        (struct product_fields){.present = FIELD_PER_USER_LIMIT, .per_user_limit = per_user_limit};
    return command;
}

struct command make_patch_price(const char *sku, int64_t price_minor)
{
    struct command command = make(COMMAND_PRODUCT_PATCH, sku);
    command.product = (struct product_fields){.present = FIELD_PRICE, .price_minor = price_minor};
    return command;
}

struct command make_delete(const char *sku)
{
    return make(COMMAND_PRODUCT_DELETE, sku);
}

struct command with_key(struct command command, const char *scope, const char *key, unsigned char body)
{
    command.idempotency.scope = slice_cstr(scope);
    command.idempotency.key = slice_cstr(key);
    memset(command.idempotency.fingerprint, body, FINGERPRINT_BYTES);
    return command;
}

/* --- the world as text --- */

static int compare_text(struct slice a, struct slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.base, b.base, len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_products(const void *a, const void *b)
{
    return compare_text((*(struct product *const *)a)->sku, (*(struct product *const *)b)->sku);
}

static int compare_buyers(const void *a, const void *b)
{
    const struct buyer *left = *(struct buyer *const *)a;
    const struct buyer *right = *(struct buyer *const *)b;
    return compare_text(slice_make(left->user, left->user_len), slice_make(right->user, right->user_len));
}

/* All values of a map, in the given order; NULL when there are none. */
static void **sort_values(const struct map *map, int (*compare)(const void *, const void *))
{
    if (map->count == 0)
        return NULL;
    void **values = calloc(map->count, sizeof *values);
    ENSURE(values != NULL);
    size_t cursor = 0;
    for (size_t i = 0; i < map->count; i++)
        values[i] = map_next(map, &cursor);
    ENSURE(map_next(map, &cursor) == NULL);
    qsort(values, map->count, sizeof *values, compare);
    return values;
}

static void dump_buyers(const struct product *product, struct strbuf *text)
{
    void **buyers = sort_values(&product->buyers, compare_buyers);
    for (size_t i = 0; i < product->buyers.count; i++) {
        const struct buyer *buyer = buyers[i];
        ENSURE(buyer->count > 0);
        strbuf_printf(
            text, "  buyer %.*s %lld\n", (int)buyer->user_len, buyer->user, (long long)buyer->count);
    }
    free(buyers);
}

static void dump_product(const struct world *world, const struct product *product, struct strbuf *text)
{
    const struct product_values *values = &product->values;
    ENSURE(world_product(world, product->sku) == product && !product->is_removed);
    strbuf_printf(text, "product %lld %.*s '%.*s' %lld/%lld price %lld limit %lld", (long long)product->id,
        SLICE_ARGS(product->sku), SLICE_ARGS(values->name), (long long)values->stock,
        (long long)values->initial_stock, (long long)values->price_minor, (long long)values->per_user_limit);
    strbuf_printf(text, " [%lld, %lld) %.*s '%.*s' made %lld %lld", (long long)values->start_ms,
        (long long)values->end_ms, SLICE_ARGS(sale_state_name(values->state)),
        SLICE_ARGS(end_reason_name(values->end_reason)), (long long)values->created_ms,
        (long long)values->updated_ms);
    strbuf_printf(text, " in '%.*s' featured %d purchases %lld..%lld\n", SLICE_ARGS(product->labels.category),
        product->labels.is_featured, (long long)product->purchase_id_first,
        (long long)product->purchase_id_last);
    dump_buyers(product, text);
}

static void dump_key(const struct world *world, const struct key_record *record, struct strbuf *text)
{
    ENSURE(world_key(world, record->scope, record->key) == record);
    strbuf_printf(text,
        "key %lld '%.*s' '%.*s' body %d result %d number %lld time %lld made %lld batch %llu\n",
        (long long)record->id, SLICE_ARGS(record->scope), SLICE_ARGS(record->key), record->fingerprint[0],
        (int)record->result, (long long)record->number, (long long)record->time_ms,
        (long long)record->created_ms, (unsigned long long)record->batch);
}

static int compare_work(const void *a, const void *b)
{
    int64_t left = (*(struct work *const *)a)->id;
    int64_t right = (*(struct work *const *)b)->id;
    return left < right ? -1 : left > right;
}

static void dump_work(const struct world *world, const struct work *work, struct strbuf *text)
{
    const struct heap *queue = &world->work_queues[work->kind];
    size_t place = work->queue_place;
    ENSURE(world_work(world, work->id) == work && !work->is_removed);
    ENSURE(heap_has(queue, work));
    const struct work *above = queue->entries[place == 0 ? 0 : (place - 1) / 2];
    ENSURE(above->values.due_ms < work->values.due_ms ||
           (above->values.due_ms == work->values.due_ms && above->id <= work->id));
    strbuf_printf(text, "work %lld %.*s '%.*s' '%.*s' due %lld token %lld made %lld\n", (long long)work->id,
        SLICE_ARGS(work_kind_name(work->kind)), SLICE_ARGS(work->subject), SLICE_ARGS(work->body),
        (long long)work->values.due_ms, (long long)work->values.token, (long long)work->created_ms);
}

static void dump_all_work(const struct world *world, struct strbuf *text)
{
    size_t queued = 0;
    for (int i = 0; i < WORK_KIND_COUNT; i++)
        queued += world->work_queues[i].count;
    ENSURE(queued == world->work_by_id.count);
    void **work = sort_values(&world->work_by_id, compare_work);
    for (size_t i = 0; i < world->work_by_id.count; i++)
        dump_work(world, work[i], text);
    free(work);
}

static int compare_orders(const void *a, const void *b)
{
    int64_t left = (*(struct order *const *)a)->id;
    int64_t right = (*(struct order *const *)b)->id;
    return left < right ? -1 : left > right;
}

static void dump_order(const struct world *world, const struct order *order, struct strbuf *text)
{
    const struct order_values *values = &order->values;
    ENSURE(world_order(world, order->order_id) == order && world_order_by_id(world, order->id) == order);
    strbuf_printf(text, "order %lld '%.*s' of %lld '%.*s' amount %lld priority %d deadline %lld made %lld",
        (long long)order->id, SLICE_ARGS(order->order_id), (long long)order->customer_id,
        SLICE_ARGS(order->email), (long long)order->amount_minor, order->priority,
        (long long)order->deadline_ms, (long long)order->created_ms);
    strbuf_printf(text, " %.*s attempts %lld updated %lld paid %lld\n",
        SLICE_ARGS(order_status_name(values->status)), (long long)values->attempts,
        (long long)values->updated_ms, (long long)values->paid_ms);
}

/* The counts and the list of pending orders, in a world that keeps them, say what the orders say. */
static void check_order_counts(const struct world *world, const int64_t counts[ORDER_STATUS_COUNT])
{
    int64_t id_before = 0;
    int64_t pending = 0;
    if (world->is_shared)
        return;
    for (int i = 0; i < ORDER_STATUS_COUNT; i++)
        ENSURE(counts[i] == world->order_counts[i]);
    LIST_FOR_EACH (node, &world->pending_orders) {
        const struct order *order = CONTAINER_OF(node, struct order, node);
        ENSURE(order->values.status == ORDER_PENDING && order->id > id_before);
        id_before = order->id;
        pending++;
    }
    ENSURE(pending == counts[ORDER_PENDING]);
}

static void dump_orders(const struct world *world, struct strbuf *text)
{
    int64_t counts[ORDER_STATUS_COUNT] = {0};
    ENSURE(world->orders_by_id.count == world->orders_by_name.count);
    void **orders = sort_values(&world->orders_by_id, compare_orders);
    for (size_t i = 0; i < world->orders_by_id.count; i++) {
        dump_order(world, orders[i], text);
        counts[((const struct order *)orders[i])->values.status]++;
    }
    free(orders);
    check_order_counts(world, counts);
}

static int compare_accounts(const void *a, const void *b)
{
    int64_t left = (*(struct account *const *)a)->id;
    int64_t right = (*(struct account *const *)b)->id;
    return left < right ? -1 : left > right;
}

static size_t count_nodes(const struct list *list)
{
    size_t count = 0;
    LIST_FOR_EACH (node, list)
        count++;
    return count;
}

static void dump_accounts(const struct world *world, struct strbuf *text)
{
    ENSURE(world->accounts_by_username.count == world->accounts_by_email.count);
    void **accounts = sort_values(&world->accounts_by_username, compare_accounts);
    for (size_t i = 0; i < world->accounts_by_username.count; i++) {
        const struct account *account = accounts[i];
        ENSURE(world_account_by_email(world, account->email_key) == account);
        strbuf_printf(text, "account %lld %.*s %.*s\n", (long long)account->id,
            SLICE_ARGS(account->username_key), SLICE_ARGS(account->email_key));
    }
    free(accounts);
}

/* --- wallets --- */

static int compare_wallets(const void *a, const void *b)
{
    int64_t left = (*(struct wallet *const *)a)->account_id;
    int64_t right = (*(struct wallet *const *)b)->account_id;
    return left < right ? -1 : left > right;
}

static int compare_transfers(const void *a, const void *b)
{
    int64_t left = (*(struct transfer *const *)a)->row.id;
    int64_t right = (*(struct transfer *const *)b)->row.id;
    return left < right ? -1 : left > right;
}

static void dump_wallet(const struct world *world, const struct wallet *wallet, struct strbuf *text)
{
    const struct wallet_values *values = &wallet->values;
    char user[WALLET_USER_LEN_MAX];
    ENSURE(world_wallet(world, wallet->key) == wallet && wallet->account_id > 0);
    ENSURE(values->balance_minor >= 0 && values->balance_minor <= WALLET_AMOUNT_MAX);
    ENSURE(values->last_transfer_id < world->next_transfer_id);
    strbuf_printf(text, "wallet %lld%.*s holds %lld last %lld updated %lld\n", (long long)wallet->account_id,
        SLICE_ARGS(wallet_user(wallet->key, user)), (long long)values->balance_minor,
        (long long)values->last_transfer_id, (long long)values->updated_ms);
}

static void dump_transfer(const struct world *world, const struct transfer *transfer, struct strbuf *text)
{
    const struct transfer_row *row = &transfer->row;
    ENSURE(row->nonce.len > 0 && world_transfer(world, row->from_account, row->nonce) == transfer);
    ENSURE(row->id > 0 && row->id < world->next_transfer_id && row->amount_minor > 0);
    strbuf_printf(text, "transfer %lld %.*s '%.*s' body %d of %lld", (long long)row->id,
        SLICE_ARGS(transfer_kind_name(row->kind)), SLICE_ARGS(row->nonce), row->fingerprint[0],
        (long long)row->amount_minor);
    strbuf_printf(text, " from %lld after %lld: %lld to %lld after %lld: %lld", (long long)row->from_account,
        (long long)row->from_previous_id, (long long)row->from_balance_minor, (long long)row->to_account,
        (long long)row->to_previous_id, (long long)row->to_balance_minor);
    strbuf_printf(text, " product %lld purchase %lld made %lld\n", (long long)row->product_id,
        (long long)row->purchase_id, (long long)row->created_ms);
}

static void dump_wallets(const struct world *world, struct strbuf *text)
{
    void **wallets = sort_values(&world->wallets_by_key, compare_wallets);
    for (size_t i = 0; i < world->wallets_by_key.count; i++)
        dump_wallet(world, wallets[i], text);
    free(wallets);
    void **transfers = sort_values(&world->transfers_by_nonce, compare_transfers);
    for (size_t i = 0; i < world->transfers_by_nonce.count; i++)
        dump_transfer(world, transfers[i], text);
    free(transfers);
}

/* --- machines and the line --- */

/* It knows its place, and stands not before the one above it. */
static void check_place(const struct heap *heap, const void *object, size_t place)
{
    ENSURE(heap_has(heap, object));
    ENSURE(place == 0 || heap->kind->is_before(heap->entries[(place - 1) / 2], object));
}

/* In each heap exactly when it belongs there; idle, chosen or processing, and nothing else. */
static void check_machine(const struct world *world, const struct machine *machine)
{
    const struct pool *pool = &world->pool;
    const struct machine_values *values = &machine->values;
    const struct lease *lease = &values->lease;
    bool is_idle = values->status == MACHINE_IDLE;
    bool is_chosen = values->status == MACHINE_PROCESSING;
    ENSURE(world_machine(world, machine->id) == machine && !machine->is_removed);
    ENSURE(is_idle || is_chosen || values->status == MACHINE_CHOOSING);
    ENSURE(machine->id < pool->values.next_machine_id && lease->id < pool->values.next_lease_id);
    ENSURE(is_idle == (lease->id == 0) && is_idle == (values->due_ms == 0));
    ENSURE(!is_idle || (lease->ticket_id == 0 && lease->started_ms == 0));
    ENSURE(is_chosen == (lease->purchase_id != 0) && is_chosen == (lease->product_id != 0));
    ENSURE(is_chosen == (lease->units != 0) && (is_chosen || lease->chosen_ms == 0));
    ENSURE(heap_has(&pool->idle, machine) == (is_idle && !values->is_draining));
    ENSURE(heap_has(&pool->machines_due, machine) == !is_idle);
    if (is_idle && !values->is_draining)
        check_place(&pool->idle, machine, machine->idle_place);
    if (!is_idle)
        check_place(&pool->machines_due, machine, machine->due_place);
}

static void check_machines(const struct world *world)
{
    const struct pool *pool = &world->pool;
    size_t free_count = 0;
    size_t due_count = 0;
    ENSURE(count_nodes(&pool->machines) == pool->machines_by_id.count);
    LIST_FOR_EACH (node, &pool->machines) {
        const struct machine *machine = CONTAINER_OF(node, struct machine, node);
        check_machine(world, machine);
        free_count += machine->values.status == MACHINE_IDLE && !machine->values.is_draining;
        due_count += machine->values.status != MACHINE_IDLE;
        LIST_FOR_EACH (other, &pool->machines) { /* never two holders of one lease */
            const struct lease *lease = &CONTAINER_OF(other, struct machine, node)->values.lease;
            ENSURE(other == node || lease->id == 0 || lease->id != machine->values.lease.id);
        }
    }
    ENSURE(pool->idle.count == free_count && pool->machines_due.count == due_count);
}

void world_check_pool(const struct world *world)
{
    const struct pool *pool = &world->pool;
    int64_t id_before = 0;
    size_t count = 0;
    size_t detached_count = 0;
    check_machines(world);
    LIST_FOR_EACH (node, &pool->waiting) {
        const struct ticket *ticket = CONTAINER_OF(node, struct ticket, node);
        ENSURE(world_ticket(world, ticket->id) == ticket && !ticket->has_ended);
        ENSURE(ticket->id > id_before && ticket->id < pool->values.next_ticket_id);
        ENSURE(ticket->first_lease_id <= pool->values.next_lease_id);
        ENSURE(ticket->values.state == TICKET_WAITING && ticket->values.ended_ms == 0);
        ENSURE(ticket->values.end_lease_id == 0 && ticket->values.machine_id == 0);
        check_place(&pool->tickets_due, ticket, ticket->due_place);
        id_before = ticket->id;
        detached_count += !ticket->is_attached;
        count++;
    }
    ENSURE(pool->detached_count == detached_count);
    ENSURE(count == pool->tickets_by_id.count && count == pool->tickets_due.count);
    ENSURE(count == 0 || pool->idle.count == 0); /* who waits, waits for a reason */
}

static int compare_machines(const void *a, const void *b)
{
    int64_t left = (*(struct machine *const *)a)->id;
    int64_t right = (*(struct machine *const *)b)->id;
    return left < right ? -1 : left > right;
}

static void dump_machine(const struct machine *machine, struct strbuf *text)
{
    const struct machine_values *values = &machine->values;
    const struct lease *lease = &values->lease;
    strbuf_printf(text, "machine %lld '%.*s' %.*s draining %d used %lld due %lld made %lld %lld",
        (long long)machine->id, SLICE_ARGS(machine->name), SLICE_ARGS(machine_status_name(values->status)),
        values->is_draining, (long long)values->usage_count, (long long)values->due_ms,
        (long long)machine->created_ms, (long long)values->updated_ms);
    strbuf_printf(text,
        " lease %lld ticket %lld started %lld chosen %lld product %lld units %lld from %lld\n",
        (long long)lease->id, (long long)lease->ticket_id, (long long)lease->started_ms,
        (long long)lease->chosen_ms, (long long)lease->product_id, (long long)lease->units,
        (long long)lease->purchase_id);
}

static void dump_pool(const struct world *world, struct strbuf *text)
{
    const struct pool *pool = &world->pool;
    const struct pool_values *values = &pool->values;
    world_check_pool(world);
    if (values->version > 0 || values->next_machine_id > 1 || values->next_ticket_id > 1)
        strbuf_printf(text,
            "pool next machine %lld lease %lld ticket %lld version %lld whole %lld average %lld\n",
            (long long)values->next_machine_id, (long long)values->next_lease_id,
            (long long)values->next_ticket_id, (long long)values->version, (long long)values->whole_version,
            (long long)pool->lease_ms);
    void **machines = sort_values(&pool->machines_by_id, compare_machines);
    for (size_t i = 0; i < pool->machines_by_id.count; i++)
        dump_machine(machines[i], text);
    free(machines);
    LIST_FOR_EACH (node, &pool->waiting) {
        const struct ticket *ticket = CONTAINER_OF(node, struct ticket, node);
        strbuf_printf(text, "ticket %lld until %lld attached %d from lease %lld made %lld\n",
            (long long)ticket->id, (long long)ticket->values.until_ms, ticket->is_attached,
            (long long)ticket->first_lease_id, (long long)ticket->created_ms);
    }
}

/* Products with one name are in one ring, and one of each ring is in the table. */
static void check_product_names(const struct world *world)
{
    size_t cursor = 0;
    size_t count = 0;
    const struct product *product;
    while ((product = map_next(&world->products_by_name, &cursor)) != NULL) {
        ENSURE(world_product_by_name(world, product->values.name) == product);
        count++;
        LIST_FOR_EACH (node, &product->same_name) {
            const struct product *namesake = CONTAINER_OF(node, struct product, same_name);
            ENSURE(world_product(world, namesake->sku) == namesake);
            ENSURE(slice_eq(namesake->values.name, product->values.name));
            count++;
        }
    }
    ENSURE(count == world->products_by_sku.count);
}

/* --- all of it --- */

void world_dump(const struct world *world, struct strbuf *text)
{
    ENSURE(count_nodes(&world->products) == world->products_by_sku.count);
    ENSURE(count_nodes(&world->keys) == world->keys_by_name.count);
    check_product_names(world);
    strbuf_reset(text);
    void **products = sort_values(&world->products_by_sku, compare_products);
    for (size_t i = 0; i < world->products_by_sku.count; i++)
        dump_product(world, products[i], text);
    free(products);
    LIST_FOR_EACH (node, &world->keys)
        dump_key(world, CONTAINER_OF(node, struct key_record, node), text);
    dump_all_work(world, text);
    dump_orders(world, text);
    dump_accounts(world, text);
    dump_wallets(world, text);
    if (world->intake.next_id > 1)
        strbuf_printf(text, "intake next %lld sent %lld executed %lld\n", (long long)world->intake.next_id,
            (long long)world->intake.sent_id, (long long)world->intake.executed_id);
    dump_pool(world, text);
    ENSURE(!text->has_overflowed);
}

void world_check_next_edge(const struct world *world)
{
    LIST_FOR_EACH (node, &world->products) {
        const struct product_values *values = &CONTAINER_OF(node, struct product, node)->values;
        ENSURE(values->state != SALE_UPCOMING || world->next_edge_ms <= values->start_ms);
        ENSURE(values->state != SALE_ACTIVE || world->next_edge_ms <= values->end_ms);
    }
}
