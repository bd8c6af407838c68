/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failing writes. A scenario of batches runs once for every n, with the n-th write (flush, growth of the
 * index) under SQLite failing in a given way. Beside the store under test stands one on which nothing fails;
 * it gets a batch only when the tested one has acknowledged it. After each failure
 *
 *   - the files are looked at as the next start would find them after a crash at that moment (a copy without
 *     the shared index, so that SQLite recovers the log). "Nothing was changed" must be true of it; an
 *     unknown outcome must be the batch as a whole or nothing;
 *   - if nothing was changed, the world is rolled back, the batch is decided anew and committed, and all goes
 *     on;
 *   - if the outcome is unknown, the store must refuse everything from then on, and opening it again settles
 *     it.
 *
 * The same is done with the wrapper of store/fault.h, whose failures come from above instead of from below.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "core/account.h"
#include "core/wallet.h"
#include "core/world_pool.h"
#include "failing_vfs.h"
#include "store/fault.h"
#include "store/sqlite_priv.h"
#include "store_support.h"

enum { N_MAX = 2000 };

/* --- the scenario --- */

static void buy_many(struct world *world, const char *sku, int first, int count, size_t user_len)
{
    char user[USER_LEN_MAX + 1];
    for (int i = first; i < first + count; i++) {
        memset(user, 'x', sizeof user);
        int len = snprintf(user, sizeof user, "user-%d-", i);
        user[len] = 'x';
        user[user_len] = '\0';
        test_buy(world, sku, user, 1000 + i);
    }
}

static void decide_first(struct world *world)
{
    test_add_product(world, "A", 1000);
    test_add_product(world, "B", 1000);
    test_add_key(world, "admin", "k1", 0);
}

static void decide_small(struct world *world)
{
    buy_many(world, "A", 0, 3, 12);
}

static void decide_mixed(struct world *world)
{
    buy_many(world, "B", 0, 5, 20);
    test_add_product(world, "C", 10);
    buy_many(world, "C", 0, 2, 20);
    assert_true(world_remove_product(world, world_product(world, SLICE("C"))));
    test_add_key(world, "admin", "k2", 1);
}

/* About 25 pages: more than the small cache below holds, so that pages go to the log before COMMIT. */
static void decide_large(struct world *world)
{
    buy_many(world, "A", 100, 160, 500);
}

static void decide_again(struct world *world)
{
    struct product *product = world_product(world, SLICE("A"));
    struct product_values values = product->values;
    values.stock = values.initial_stock;
    assert_true(world_clear_purchases(world, product));
    assert_true(world_set_product(world, product, &values));
    buy_many(world, "A", 0, 1, 12);
}

static void decide_removal(struct world *world)
{
    assert_true(world_remove_product(world, world_product(world, SLICE("B"))));
    assert_true(world_remove_key(world, world_key(world, SLICE("admin"), SLICE("k1"))));
}

static void decide_last(struct world *world)
{
    buy_many(world, "A", 2000, 4, 30);
}

/* A machine with a lease, one that stays idle and drains, and two who wait. */
static void decide_machines(struct world *world)
{
    struct machine *busy = world_add_machine(world, SLICE("busy"), 1000);
    struct machine *draining = world_add_machine(world, SLICE("draining"), 1000);
    assert_non_null(busy);
    assert_non_null(draining);
    struct machine_values values = draining->values;
    values.is_draining = true;
    assert_true(world_set_machine(world, draining, &values));
    values = busy->values;
    values.status = MACHINE_CHOOSING;
    values.lease.started_ms = 1000;
    values.due_ms = 2000;
    assert_true(world_take_lease_id(world, &values.lease.id));
    assert_true(world_set_machine(world, busy, &values));
    for (int i = 0; i < 2; i++)
        assert_non_null(world_add_ticket(world, false, 5000, 1000));
}

/* The lease ends, one of those that wait leaves; a machine goes, and one gets another name. */
static void decide_at_machines(struct world *world)
{
    struct machine *busy = world_machine(world, world->pool.values.next_machine_id - 2);
    struct machine *draining = world_machine(world, world->pool.values.next_machine_id - 1);
    struct machine_values values = busy->values;
    assert_true(world_add_ended_lease(world, busy, LEASE_RESET, 1500));
    values.status = MACHINE_IDLE;
    values.lease = (struct lease){0};
    values.due_ms = 0;
    assert_true(world_set_machine(world, busy, &values));
    assert_true(world_rename_machine(world, busy, SLICE("another")));
    assert_true(world_remove_machine(world, draining));
    assert_true(world_end_ticket(world, world_first_ticket(world), TICKET_LEFT, 0, 0, 1500));
    assert_true(world_keep_ticket(world, world_first_ticket(world), 9000));
}

enum { ANN = 'a', BEN = 'b' };

static struct wallet *wallet_of(const struct world *world, unsigned char person)
{
    unsigned char key[WALLET_KEY_BYTES] = {person};
    return world_wallet(world, key);
}

/* Two accounts, one of them with coins; a change borrows its request until the commit. */
static void decide_wallets(struct world *world)
{
    static const struct account_request requests[] = {
        {.username = SLICE_INIT("ann"), .username_key = SLICE_INIT("ann"), .email_key = SLICE_INIT("ann@x")},
        {.username = SLICE_INIT("ben"), .username_key = SLICE_INIT("ben"), .email_key = SLICE_INIT("ben@x")},
    };
    for (int i = 0; i < 2; i++) {
        unsigned char key[WALLET_KEY_BYTES] = {i == 0 ? ANN : BEN};
        const struct account *account = world_add_account(world, &requests[i], 1000);
        assert_non_null(account);
        assert_true(wallet_open(world, account->id, key, i == 0 ? 10000 : 0, 1000));
    }
}

/* Ann gives, is given, and buys. */
static void decide_transfers(struct world *world)
{
    struct wallet *ann = wallet_of(world, ANN);
    struct transfer_row row = {.kind = TRANSFER_TRANSFER, .amount_minor = 70, .nonce = SLICE("n")};
    assert_true(world_add_transfer(world, ann, wallet_of(world, BEN), &row, 2000));
    row.kind = TRANSFER_CREDIT;
    assert_true(world_add_transfer(world, NULL, ann, &row, 2000));
    row = (struct transfer_row){.kind = TRANSFER_SPEND, .amount_minor = 50, .nonce = SLICE("m")};
    row.product_id = world_product(world, SLICE("A"))->id;
    row.purchase_id = test_buy(world, "A", " key 61", 2000);
    assert_true(world_add_transfer(world, ann, NULL, &row, 2000));
}

/* In one batch, since every batch more is another look at all rows for each call that fails. */
static void decide_newcomers(struct world *world)
{
    decide_machines(world);
    decide_wallets(world);
}

static void decide_deeds(struct world *world)
{
    decide_at_machines(world);
    decide_transfers(world);
}

typedef void decide(struct world *world);

static decide *const scenario[] = {decide_first, decide_small, decide_mixed, decide_newcomers, decide_large,
    decide_small, decide_deeds, decide_again, decide_removal, decide_small, decide_last};

enum { BATCH_COUNT = sizeof scenario / sizeof scenario[0] };

/* --- the two stores --- */

struct trial {
    char place[PATH_MAX];
    enum failing_how how;
    int n;
    struct store *store;
    struct world world;
    struct store *twin;      /* gets what was acknowledged */
    char *before;            /* rows of the twin */
    char *after;             /* ... with the batch in question */
    int64_t purchase_id_max; /* of what was acknowledged */
};

static const char *store_path(const struct trial *trial)
{
    return place_path(trial->place, "store.db");
}

static const char *twin_path(const struct trial *trial)
{
    return place_path(trial->place, "twin.db");
}

static void complain(const struct trial *trial, const char *what, const struct error *error)
{
    fail_msg("%s, call %d: %s (%s)", failing_how_name(trial->how), trial->n, what, error->message);
}

/* A small cache makes large batches spill, a short round makes the log start again within the scenario. */
static void make_tight(struct store *store)
{
    struct sqlite_store *sqlite = (struct sqlite_store *)store;
    assert_int_equal(sqlite3_exec(sqlite->db, "PRAGMA cache_size = 10", NULL, NULL, NULL), SQLITE_OK);
    sqlite->wal.checkpoint_frames = 20;
    sqlite->wal.checkpoint_at = 20;
}

static void open_tight(const struct trial *trial, const char *path, struct store **store, struct world *world)
{
    struct error error = {.message = ""};
    if (sqlite_store_open(path, store, &error) != ERR_NONE)
        complain(trial, "a sound store cannot be opened", &error);
    make_tight(*store);
    test_world_init(world);
    if (store_load(*store, world, NULL, 0, &error) != ERR_NONE)
        complain(trial, "a sound store cannot be loaded", &error);
}

static void trial_open(struct trial *trial)
{
    struct world unused;
    place_make(trial->place);
    open_tight(trial, store_path(trial), &trial->store, &trial->world);
    open_tight(trial, twin_path(trial), &trial->twin, &unused);
    world_fini(&unused);
}

static void trial_close(struct trial *trial)
{
    world_fini(&trial->world);
    store_close(trial->store);
    store_close(trial->twin);
    place_remove(trial->place);
}

/* What the next start would find if the process ended now. */
static char *rows_after_crash(const struct trial *trial)
{
    file_copy(store_path(trial), place_path(trial->place, "crash.db"));
    file_copy(place_path(trial->place, "store.db-wal"), place_path(trial->place, "crash.db-wal"));
    char *rows = test_rows_text(place_path(trial->place, "crash.db"));
    (void)unlink(place_path(trial->place, "crash.db-wal"));
    (void)unlink(place_path(trial->place, "crash.db-shm"));
    (void)unlink(place_path(trial->place, "crash.db"));
    return rows;
}

static void assert_same_rows(const struct trial *trial, const char *found, const char *expected,
    const char *what, const struct error *error)
{
    if (strcmp(found, expected) != 0)
        complain(trial, what, error);
}

/* --- judging a failure --- */

static void judge_nothing_changed(struct trial *trial, const struct error *error)
{
    char *rows = rows_after_crash(trial);
    assert_same_rows(trial, rows, trial->before, "'nothing was changed' is not true after a crash", error);
    free(rows);
}

/* True when the batch was kept. */
static bool judge_one_or_the_other(const struct trial *trial, const char *rows, const struct error *error)
{
    bool is_kept = strcmp(rows, trial->after) == 0;
    if (!is_kept)
        assert_same_rows(trial, rows, trial->before, "an unknown batch is there in part", error);
    return is_kept;
}

static void judge_unknown(struct trial *trial, const struct error *error)
{
    char *rows = rows_after_crash(trial);
    (void)judge_one_or_the_other(trial, rows, error);
    free(rows);
    test_add_product(&trial->world, "LATER", 1);
    assert_int_equal(store_commit(trial->store, &trial->world, NULL), ERR_IO);
    assert_int_equal(store_probe(trial->store, NULL), ERR_IO);
    world_rollback(&trial->world);
    world_fini(&trial->world);
    store_close(trial->store);
    open_tight(trial, store_path(trial), &trial->store, &trial->world);
    rows = test_rows_text(store_path(trial));
    (void)judge_one_or_the_other(trial, rows, error);
    free(rows);
    assert_true(trial->world.next_purchase_id > trial->purchase_id_max);
}

/* Both stores must answer alike for what is and for what is not there. */
static void assert_reads_alike(struct trial *trial, const char *sku, const char *user)
{
    struct store_reader *readers[2];
    struct purchase_row rows[2];
    bool is_found[2];
    assert_int_equal(store_reader_open(trial->store, &readers[0], NULL), ERR_NONE);
    assert_int_equal(store_reader_open(trial->twin, &readers[1], NULL), ERR_NONE);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            store_read_purchase(readers[i], slice_cstr(sku), slice_cstr(user), &rows[i], &is_found[i], NULL),
            ERR_NONE);
        store_reader_close(readers[i]);
    }
    assert_int_equal(is_found[0], is_found[1]);
    if (is_found[0])
        assert_int_equal(rows[0].id, rows[1].id);
}

enum outcome_of_batch {
    BATCH_DONE,
    BATCH_FAILED,  /* nothing was changed */
    BATCH_UNKNOWN, /* the store was opened again */
};

/* After an acknowledged batch. Before the first failure all runs are alike, and looking would take most of
 * the time. */
static void judge_done(struct trial *trial)
{
    static const struct error none = {.message = "no error"};
    trial->purchase_id_max = trial->world.next_purchase_id - 1;
    if (!failing_vfs_has_failed())
        return;
    trial->after = test_rows_text(twin_path(trial));
    char *rows = rows_after_crash(trial);
    assert_same_rows(trial, rows, trial->after, "an acknowledged batch is lost by a crash", &none);
    free(rows);
}

/* Decides and commits one batch under fire, and puts what was acknowledged into the twin. */
static enum outcome_of_batch run_batch(struct trial *trial, decide *decide_batch)
{
    struct error error = {.message = ""};
    enum outcome_of_batch outcome = BATCH_DONE;
    world_begin(&trial->world);
    decide_batch(&trial->world);
    enum err err = store_commit(trial->store, &trial->world, &error);
    failing_vfs_pause();
    if (err != ERR_NONE)
        trial->before = test_rows_text(twin_path(trial));
    if (err == ERR_NONE || err == ERR_COMMIT_UNKNOWN)
        assert_int_equal(store_commit(trial->twin, &trial->world, NULL), ERR_NONE);
    if (err == ERR_NONE) {
        world_accept(&trial->world);
        judge_done(trial);
    } else if (err == ERR_COMMIT_UNKNOWN) {
        outcome = BATCH_UNKNOWN;
        trial->after = test_rows_text(twin_path(trial));
        world_rollback(&trial->world);
        judge_unknown(trial, &error);
    } else {
        outcome = BATCH_FAILED;
        world_rollback(&trial->world);
        judge_nothing_changed(trial, &error);
    }
    free(trial->before);
    free(trial->after);
    trial->before = NULL;
    trial->after = NULL;
    failing_vfs_resume();
    return outcome;
}

/* --- the n-th call fails --- */

struct tally {
    int failed;
    int unknown;
};

/* Runs the scenario to its end, or to an outcome that is unknown. Returns false when the n-th call did not
 * come. */
static bool run_trial(enum failing_how how, int n, struct tally *tally)
{
    struct trial trial = {.how = how, .n = n};
    trial_open(&trial);
    failing_vfs_arm(how, n, false);
    bool is_unknown = false;
    for (int i = 0; i < BATCH_COUNT && !is_unknown; i++) {
        enum outcome_of_batch outcome = run_batch(&trial, scenario[i]);
        is_unknown = outcome == BATCH_UNKNOWN;
        if (outcome != BATCH_FAILED)
            continue;
        tally->failed++;
        assert_int_equal(store_probe(trial.store, NULL), ERR_NONE);
        assert_int_equal(run_batch(&trial, scenario[i]), BATCH_DONE);
    }
    bool has_failed = failing_vfs_disarm();
    tally->unknown += is_unknown;
    if (!is_unknown) {
        char *text = test_world_text(&trial.world);
        world_fini(&trial.world);
        store_close(trial.store);
        open_tight(&trial, store_path(&trial), &trial.store, &trial.world);
        char *reopened = test_world_text(&trial.world);
        assert_string_equal(reopened, text);
        assert_true(trial.world.next_purchase_id > trial.purchase_id_max);
        assert_reads_alike(&trial, "A", "user-0-xxxxx");
        assert_reads_alike(&trial, "A", "user-2-xxxxx");
        assert_reads_alike(&trial, "B", "user-0-xxxxxxxxxxxxx");
        free(text);
        free(reopened);
    }
    trial_close(&trial);
    return has_failed;
}

static struct tally fail_every_call(enum failing_how how)
{
    struct tally tally = {0};
    int n = 1;
    while (run_trial(how, n, &tally)) {
        n++;
        assert_true(n < N_MAX);
    }
    print_message("# %s: %d calls failed, one a run; %d batches refused, %d of unknown outcome\n",
        failing_how_name(how), n - 1, tally.failed, tally.unknown);
    assert_true(n > 1);
    return tally;
}

static void a_full_disk_is_never_a_commit(void **state)
{
    struct tally tally = fail_every_call(FAILING_FULL);
    assert_true(tally.failed > 0);
    assert_int_equal(tally.unknown, 0);
}

static void a_write_cut_in_half_is_never_a_commit(void **state)
{
    struct tally tally = fail_every_call(FAILING_FULL_HALF);
    assert_true(tally.failed > 0);
}

static void an_io_error_is_never_a_commit(void **state)
{
    struct tally tally = fail_every_call(FAILING_IO);
    assert_true(tally.failed > 0);
    assert_int_equal(tally.unknown, 0);
}

/* The last frame of each batch was written whole: only looking at the log tells that it may come back. */
static void a_failure_that_wrote_everything_is_unknown(void **state)
{
    struct tally tally = fail_every_call(FAILING_IO_WRITTEN);
    assert_true(tally.failed > 0);
    assert_int_equal(tally.unknown, BATCH_COUNT);
}

static void a_failed_flush_is_unknown(void **state)
{
    struct tally tally = fail_every_call(FAILING_FLUSH);
    assert_true(tally.unknown >= BATCH_COUNT);
    assert_int_equal(tally.failed, 0);
}

/* The log's shared index grows by a block after 4062 frames. */
static void fill_index(struct trial *trial)
{
    struct wal *wal = &((struct sqlite_store *)trial->store)->wal;
    wal->checkpoint_frames = INT64_MAX;
    wal->checkpoint_at = INT64_MAX;
    assert_int_equal(run_batch(trial, decide_first), BATCH_DONE);
    while (wal->frames < 4060)
        assert_int_equal(store_probe(trial->store, NULL), ERR_NONE);
}

/* At COMMIT it grows after the flush: the batch is on the disk, though SQLite says that there is no room. */
static void an_index_that_cannot_grow_at_commit_is_unknown(void **state)
{
    struct trial trial = {.how = FAILING_INDEX, .n = 1};
    trial_open(&trial);
    fill_index(&trial);
    failing_vfs_arm(FAILING_INDEX, 1, false);
    assert_int_equal(run_batch(&trial, decide_mixed), BATCH_UNKNOWN);
    assert_true(failing_vfs_disarm());
    assert_int_equal(world_product(&trial.world, SLICE("B"))->buyers.count, 5); /* it came back */
    trial_close(&trial);
}

/* Before COMMIT, when pages are spilled, there is no commit mark yet. */
static void an_index_that_cannot_grow_before_commit_is_no_commit(void **state)
{
    struct trial trial = {.how = FAILING_INDEX, .n = 1};
    trial_open(&trial);
    fill_index(&trial);
    failing_vfs_arm(FAILING_INDEX, 1, false);
    assert_int_equal(run_batch(&trial, decide_large), BATCH_FAILED);
    assert_int_equal(run_batch(&trial, decide_large), BATCH_DONE);
    assert_true(failing_vfs_disarm());
    trial_close(&trial);
}

/* --- a disk that stays full for a while --- */

static void a_full_disk_is_refused_until_there_is_room(void **state)
{
    for (int n = 1; n < 40; n += 3) {
        struct trial trial = {.how = FAILING_FULL, .n = n};
        int refused = 0;
        trial_open(&trial);
        failing_vfs_arm(FAILING_FULL, n, true);
        for (int i = 0; i < BATCH_COUNT; i++) {
            while (run_batch(&trial, scenario[i]) == BATCH_FAILED) {
                assert_int_equal(store_probe(trial.store, NULL), ERR_FULL);
                if (++refused % 3 == 0)
                    (void)failing_vfs_disarm();
            }
        }
        (void)failing_vfs_disarm();
        assert_int_equal(refused, 3);
        trial_close(&trial);
    }
}

/* --- opening --- */

static bool open_new_under_fire(const char *place, enum failing_how how, int n)
{
    struct store *store;
    struct error error = {.message = ""};
    const char *path = place_path(place, "new.db");
    failing_vfs_arm(how, n, false);
    enum err err = sqlite_store_open(path, &store, &error);
    bool has_failed = failing_vfs_disarm();
    if (err == ERR_NONE) {
        store_close(store);
        assert_int_equal(unlink(path), 0);
        return has_failed;
    }
    assert_true(has_failed);
    assert_true(error.message[0] != '\0');
    assert_int_equal(error.code, err);
    assert_true(err == ERR_FULL || err == ERR_IO);
    assert_int_equal(file_size(path), -1);
    assert_int_equal(file_size(place_path(place, "new.db-wal")), -1);
    assert_int_equal(file_size(place_path(place, "new.db-shm")), -1);
    assert_int_equal(file_size(place_path(place, "new.db-journal")), -1);
    assert_int_equal(file_size(place_path(place, "new.db.lock")), -1);
    return has_failed;
}

static void a_store_that_cannot_be_made_leaves_nothing(void **state)
{
    char place[PATH_MAX];
    place_make(place);
    for (enum failing_how how = FAILING_FULL; how < FAILING_HOW_COUNT; how++) {
        int n = 1;
        while (open_new_under_fire(place, how, n)) {
            n++;
            assert_true(n < N_MAX);
        }
        print_message("# making a store, %s: %d calls failed, one a run\n", failing_how_name(how), n - 1);
    }
    place_remove(place);
}

/* A store that was left by a crash, with a log. Opening it fails or succeeds, but nothing is lost. */
static bool open_old_under_fire(struct trial *trial)
{
    struct store *store;
    struct world world;
    failing_vfs_arm(trial->how, trial->n, false);
    enum err err = sqlite_store_open(place_path(trial->place, "old.db"), &store, NULL);
    if (err == ERR_NONE) {
        test_world_init(&world);
        err = store_load(store, &world, NULL, 0, NULL);
        world_fini(&world);
        store_close(store);
    }
    bool has_failed = failing_vfs_disarm();
    char *rows = test_rows_text(place_path(trial->place, "old.db"));
    assert_string_equal(rows, trial->before);
    free(rows);
    return has_failed;
}

static void opening_a_store_after_a_crash_loses_nothing(void **state)
{
    struct trial trial = {.n = 1};
    trial_open(&trial);
    for (int i = 0; i < BATCH_COUNT; i++)
        assert_int_equal(run_batch(&trial, scenario[i]), BATCH_DONE);
    trial.before = test_rows_text(store_path(&trial));
    for (trial.how = FAILING_FULL; trial.how < FAILING_HOW_COUNT; trial.how++) {
        trial.n = 0;
        do {
            trial.n++;
            file_copy(store_path(&trial), place_path(trial.place, "old.db"));
            file_copy(place_path(trial.place, "store.db-wal"), place_path(trial.place, "old.db-wal"));
            (void)unlink(place_path(trial.place, "old.db-shm"));
            assert_true(trial.n < N_MAX);
        } while (open_old_under_fire(&trial));
    }
    free(trial.before);
    trial_close(&trial);
}

/* --- failures from above --- */

struct drill {
    char place[PATH_MAX];
    const char *fault;
    int n;
    struct store *store;
    struct world world;
};

static void drill_open(struct drill *drill, const char *spec)
{
    struct store *inner;
    struct error error = {.message = ""};
    assert_int_equal(sqlite_store_open(place_path(drill->place, "store.db"), &inner, &error), ERR_NONE);
    if (fault_store_wrap(inner, spec, &drill->store, &error) != ERR_NONE)
        fail_msg("%s", error.message);
    test_world_init(&drill->world);
    assert_int_equal(store_load(drill->store, &drill->world, NULL, 0, &error), ERR_NONE);
}

static void drill_close(struct drill *drill)
{
    world_fini(&drill->world);
    store_close(drill->store);
}

static void assert_world_is(struct drill *drill, const char *expected)
{
    char *text = test_world_text(&drill->world);
    if (strcmp(text, expected) != 0)
        fail_msg("commit:%d:%s: the world is not what it must be", drill->n, drill->fault);
    free(text);
}

/* Returns the outcome; the world stands where the store must stand then. */
static enum err drill_batch(struct drill *drill, decide *decide_batch)
{
    struct error error = {.message = ""};
    char *before = test_world_text(&drill->world);
    world_begin(&drill->world);
    decide_batch(&drill->world);
    char *after = test_world_text(&drill->world);
    enum err err = store_commit(drill->store, &drill->world, &error);
    if (err == ERR_NONE)
        world_accept(&drill->world);
    else
        world_rollback(&drill->world);
    if (err != ERR_NONE)
        assert_world_is(drill, before);
    if (err == ERR_COMMIT_UNKNOWN) {
        assert_int_equal(store_commit(drill->store, &drill->world, &error), ERR_IO);
        assert_int_equal(store_probe(drill->store, &error), ERR_IO);
        drill_close(drill);
        drill_open(drill, "");
        assert_world_is(drill, strcmp(drill->fault, "unknown-kept") == 0 ? after : before);
    }
    free(before);
    free(after);
    return err;
}

static void drill_run(struct drill *drill, enum err expected)
{
    char spec[64];
    (void)snprintf(spec, sizeof spec, "commit:%d:%s", drill->n, drill->fault);
    place_make(drill->place);
    drill_open(drill, spec);
    for (int i = 0; i < BATCH_COUNT; i++) {
        enum err err = drill_batch(drill, scenario[i]);
        assert_int_equal(err, i + 1 == drill->n ? expected : ERR_NONE);
        if (err != ERR_NONE && strcmp(drill->fault, "unknown-kept") != 0)
            assert_int_equal(drill_batch(drill, scenario[i]), ERR_NONE);
    }
    char *text = test_world_text(&drill->world);
    drill_close(drill);
    drill_open(drill, "");
    assert_world_is(drill, text);
    free(text);
    drill_close(drill);
    place_remove(drill->place);
}

static void a_commit_that_fails_on_request_keeps_its_word(void **state)
{
    static const struct {
        const char *fault;
        enum err expected;
    } rows[] = {{"full", ERR_FULL}, {"io", ERR_IO}, {"unknown-lost", ERR_COMMIT_UNKNOWN},
        {"unknown-kept", ERR_COMMIT_UNKNOWN}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int n = 1; n <= BATCH_COUNT + 1; n++) {
            struct drill drill = {.fault = rows[i].fault, .n = n};
            drill_run(&drill, rows[i].expected);
        }
    }
}

static void faults_count_calls_and_ranges(void **state)
{
    struct drill drill = {.fault = ""};
    struct store_reader *reader;
    struct purchase_row row;
    bool is_found;
    place_make(drill.place);
    drill_open(&drill, "probe:2:full,probe:4-5:io,read:2+:io,load:2:io");
    const enum err probes[] = {ERR_NONE, ERR_FULL, ERR_NONE, ERR_IO, ERR_IO, ERR_NONE};
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++)
        assert_int_equal(store_probe(drill.store, NULL), probes[i]);
    assert_int_equal(store_reader_open(drill.store, &reader, NULL), ERR_NONE);
    const enum err reads[] = {ERR_NONE, ERR_IO, ERR_IO, ERR_IO};
    for (size_t i = 0; i < sizeof reads / sizeof reads[0]; i++)
        assert_int_equal(
            store_read_purchase(reader, SLICE("A"), SLICE("ann"), &row, &is_found, NULL), reads[i]);
    store_reader_close(reader);
    const struct command *const commands[1] = {NULL};
    assert_int_equal(store_load(drill.store, &drill.world, commands, 1, NULL), ERR_IO);
    assert_int_equal(store_load(drill.store, &drill.world, commands, 1, NULL), ERR_NONE);
    drill_close(&drill);
    place_remove(drill.place);
}

static void a_fault_that_makes_no_sense_is_refused(void **state)
{
    static const char *const specs[] = {"x", "commit", "commit:1", "commit:1:", "commit:0:io", "commit:-1:io",
        "commit:2-1:io", "commit:1-:io", "commit:+:io", "commit:x:io", "commit:1:fire", "fsync:1:io",
        "commit:1:io,,", ",commit:1:io", "commit:1:io,x", "commit:99999999999999999999:io"};
    char place[PATH_MAX];
    place_make(place);
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        struct store *store;
        struct error error = {.message = ""};
        assert_int_equal(sqlite_store_open(place_path(place, "store.db"), &store, &error), ERR_NONE);
        if (fault_store_wrap(store, specs[i], &store, &error) != ERR_USAGE)
            fail_msg("'%s' is taken for a fault", specs[i]);
        assert_non_null(strstr(error.message, "OPERATION:N:FAULT"));
    }
    place_remove(place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_is_never_a_commit),
        cmocka_unit_test(a_write_cut_in_half_is_never_a_commit),
        cmocka_unit_test(an_io_error_is_never_a_commit),
        cmocka_unit_test(a_failure_that_wrote_everything_is_unknown),
        cmocka_unit_test(a_failed_flush_is_unknown),
        cmocka_unit_test(an_index_that_cannot_grow_at_commit_is_unknown),
        cmocka_unit_test(an_index_that_cannot_grow_before_commit_is_no_commit),
        cmocka_unit_test(a_full_disk_is_refused_until_there_is_room),
        cmocka_unit_test(a_store_that_cannot_be_made_leaves_nothing),
        cmocka_unit_test(opening_a_store_after_a_crash_loses_nothing),
        cmocka_unit_test(a_commit_that_fails_on_request_keeps_its_word),
        cmocka_unit_test(faults_count_calls_and_ranges),
        cmocka_unit_test(a_fault_that_makes_no_sense_is_refused),
    };
    log_init(LOG_ERROR, LOG_TEXT); /* checkpoints that fail are warned of, a thousand times here */
    failing_vfs_register();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
