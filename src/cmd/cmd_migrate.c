/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `doorbuster migrate`: makes the tables of a PostgreSQL store (store/postgres.h), or moves an embedded store
 * there (store/postgres_copy.h). What is moved is audited twice: the file before, and the rows where they
 * have arrived, inside the transaction that brought them; only then is it committed. So nobody ever meets
 * half a store, or one that the auditor does not vouch for.
 */
#include <inttypes.h>

#include "base/clock.h"
#include "cmd/cmd.h"
#include "store/postgres.h"
#include "store/postgres_copy.h"
#include "verify/verify.h"

enum { NS_PER_MS = 1000 * 1000 };

static enum err check_params(const struct params *params, struct error *error)
{
    static const char example[] = "postgres://USER@HOST:PORT/DATABASE";
    if ((params->from == NULL) != (params->to == NULL))
        return error_set(
            error, ERR_USAGE, "--from and --to go together, for example --from shop.db --to %s", example);
    if (params->from != NULL && params->is_typed[PARAM_migrate_store])
        return error_set(error, ERR_USAGE,
            "--store does not go with --from and --to: either make tables, --store %s, or copy a file",
            example);
    const char *url = params->from != NULL ? params->to : params->migrate_store;
    if (url == NULL)
        return error_set(error, ERR_USAGE, "give the database: --store %s", example);
    if (!postgres_is_url(url))
        return error_set(error, ERR_USAGE,
            "--%s must be the URL of a database, %s; a file needs no migrate, serve brings it up to date",
            params->from != NULL ? "to" : "store", example);
    if (params->from != NULL && postgres_is_url(params->from))
        return error_set(
            error, ERR_USAGE, "--from must be the path of a file; databases are copied with pg_dump");
    return ERR_NONE;
}

/* --- the tables alone --- */

static void put_tables(FILE *out, int version_before)
{
    if (version_before == 0)
        (void)fprintf(out, "made the tables, version %d\n", POSTGRES_SCHEMA_VERSION);
    else if (version_before == POSTGRES_SCHEMA_VERSION)
        (void)fprintf(out, "the tables are at version %d already\n", POSTGRES_SCHEMA_VERSION);
    else
        (void)fprintf(out, "brought the tables from version %d to version %d\n", version_before,
            POSTGRES_SCHEMA_VERSION);
}

static int make_tables(const char *url)
{
    char name[POSTGRES_NAME_LEN_MAX];
    struct error error;
    int version_before;
    if (postgres_migrate(url, &version_before, &error) != ERR_NONE)
        return cmd_fail(VERB_MIGRATE, &error);
    postgres_name(url, name);
    (void)printf("%s: ", name);
    put_tables(stdout, version_before);
    return fflush(stdout) == 0 ? EXIT_WELL : EXIT_WORLD;
}

/* --- a whole store --- */

struct move {
    const char *from;
    const char *to;
    struct postgres_copy *copy;
    struct copied copied;
    int64_t checks[2]; /* invariants that hold: of the file, of the database */
    struct error error;
};

/* What fails is printed by the auditor. ERR_REFUSED: an invariant is broken. */
static enum err audit(struct move *move, bool is_target)
{
    struct verify_options options = {
        .store_path = is_target ? move->to : move->from,
        .connection = is_target ? postgres_copy_connection(move->copy) : NULL,
        .expect_users = -1,
        .is_quiet = true,
    };
    struct verify_summary summary;
    enum err err = verify_run(&options, stdout, &summary);
    if (err != ERR_NONE)
        return error_set(&move->error, err, "%s; nothing was copied", summary.error.message);
    if (summary.violated > 0)
        return error_set(&move->error, ERR_REFUSED,
            "%s does not hold what the rules promise (see above); nothing was copied",
            is_target ? "what arrived in the database" : move->from);
    move->checks[is_target] = summary.checks;
    return ERR_NONE;
}

static enum err run_move(struct move *move, bool *has_failed)
{
    enum err err = postgres_copy_open(move->from, move->to, &move->copy, &move->error);
    *has_failed = false;
    if (err != ERR_NONE)
        return err;
    err = audit(move, false);
    *has_failed = err == ERR_REFUSED;
    if (err == ERR_NONE)
        err = postgres_copy_rows(move->copy, &move->copied, &move->error);
    if (err == ERR_NONE) {
        err = audit(move, true);
        *has_failed = err == ERR_REFUSED;
    }
    return err == ERR_NONE ? postgres_copy_commit(move->copy, &move->error) : err;
}

static int put_report(const struct move *move, int64_t duration_ns)
{
    char name[POSTGRES_NAME_LEN_MAX];
    postgres_name(move->to, name);
    (void)printf("from  %s\nto    %s: ", move->from, name);
    put_tables(stdout, move->copied.version_before);
    (void)printf("\n%-18s %12s  %-16s\n", "table", "rows", "checksum");
    for (int i = 0; i < COPY_TABLE_COUNT; i++) {
        const struct copied_table *table = &move->copied.tables[i];
        if (table->is_absent)
            (void)printf("%-18s %12s  the file has no such table\n", table->name, "-");
        else
            (void)printf("%-18s %12" PRId64 "  %016" PRIx64 " on both sides\n", table->name, table->rows_to,
                table->checksum_to);
    }
    (void)printf("\naudit of the file:     ALL INVARIANTS HOLD, %" PRId64 " checks\n", move->checks[0]);
    (void)printf("audit of the database: ALL INVARIANTS HOLD, %" PRId64 " checks\n", move->checks[1]);
    (void)printf("\nCOPIED in %.1f s. From now on serve the database; what %s sells is not in it.\n",
        (double)duration_ns / NS_PER_MS / 1000, move->from);
    return fflush(stdout) == 0 ? EXIT_WELL : EXIT_WORLD;
}

static int copy_store(const char *from, const char *to)
{
    int64_t start_ns = clock_mono_ns();
    struct move move = {.from = from, .to = to};
    bool has_failed;
    int status;
    if (run_move(&move, &has_failed) == ERR_NONE) {
        status = put_report(&move, clock_mono_ns() - start_ns);
    } else {
        status = cmd_fail(VERB_MIGRATE, &move.error);
        if (has_failed)
            status = EXIT_FAILED;
    }
    postgres_copy_close(move.copy);
    return status;
}

int cmd_migrate(int argc, char **argv)
{
    struct params params;
    struct error error;
    int status;
    enum err err = params_parse(&params, VERB_MIGRATE, argc, argv, &error);
    if (err == ERR_NONE)
        err = check_params(&params, &error);
    if (err != ERR_NONE)
        status = cmd_fail(VERB_MIGRATE, &error);
    else
        status = params.from != NULL ? copy_store(params.from, params.to) : make_tables(params.migrate_store);
    params_fini(&params);
    return status;
}
