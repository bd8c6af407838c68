/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of the PostgreSQL store: whether they are ours, which version they have, and how they come to
 * be. A server never makes or changes them by itself: several nodes share them, and one that is newer than
 * the others must not pull the tables from under them. `doorbuster migrate` does it, all in one transaction,
 * under a lock that a second migration waits for. doorbuster_schema says which version stands.
 */
#include "store/postgres_priv.h"

#include "base/database_url.h"

_Static_assert((int)POSTGRES_NAME_LEN_MAX == (int)DATABASE_NAME_LEN_MAX, "a name fits");

/* Brings the tables from `version` - 1 to `version`. */
struct step {
    int version;
    const char *sql;
};

static const struct step steps[] = {
    {1, postgres_001_sql},
    {2, postgres_002_sql},
    {3, postgres_003_sql},
    {4, postgres_004_sql},
};
_Static_assert(sizeof steps / sizeof steps[0] == POSTGRES_SCHEMA_VERSION, "one step a version");

/* What is there: doorbuster_schema, how many of the tables, and the encoding of the database. The version is
 * asked only when its table is there, since a name that is missing fails the whole query. */
static const char look_sql[] =
    "SELECT to_regclass('doorbuster_schema') IS NOT NULL,"
    " (SELECT count(to_regclass(name)) FROM unnest(ARRAY['products', 'purchase_log', 'purchases',"
    " 'idempotency_keys', 'sequences', 'work', 'orders', 'payments', 'notifications', 'accounts',"
    " 'intake_orders', 'intake_deliveries', 'intake_state', 'secrets', 'machines',"
    " 'leases', 'tickets', 'pool', 'wallets', 'transfers']) AS name),"
    " current_setting('server_encoding')";

enum { TABLE_COUNT = 20, ENCODING_SIZE = 32 };

struct look {
    bool is_ours;
    int tables;
    int version; /* 0: there is none */
    char encoding[ENCODING_SIZE];
};

bool postgres_is_url(const char *text)
{
    return database_url_is(text);
}

void postgres_name(const char *url, char name[POSTGRES_NAME_LEN_MAX])
{
    database_url_name(url, name);
}

static bool get_int(const PGresult *result, int column, int *value)
{
    int64_t wide;
    if (PQntuples(result) != 1 || !slice_to_i64(slice_cstr(PQgetvalue(result, 0, column)), &wide) ||
        wide < 0 || wide > INT32_MAX)
        return false;
    *value = (int)wide;
    return true;
}

static enum err read_version(PGconn *conn, int *version, struct error *error)
{
    PGresult *result;
    enum err err = postgres_ask(conn, "SELECT version FROM doorbuster_schema", NULL,
        "read the version of the tables of", &result, error);
    if (err != ERR_NONE)
        return err;
    if (!get_int(result, 0, version) || *version < 1)
        err = error_set(error, ERR_CORRUPT,
            "doorbuster_schema of %s must hold one row with a version, and does not; restore a backup",
            PQdb(conn));
    PQclear(result);
    return err;
}

static enum err look(PGconn *conn, struct look *seen, struct error *error)
{
    PGresult *result;
    *seen = (struct look){.version = 0};
    enum err err = postgres_ask(conn, look_sql, NULL, "look at the tables of", &result, error);
    if (err != ERR_NONE)
        return err;
    seen->is_ours = PQgetvalue(result, 0, 0)[0] == 't';
    (void)snprintf(seen->encoding, sizeof seen->encoding, "%s", PQgetvalue(result, 0, 2));
    if (!get_int(result, 1, &seen->tables))
        err = error_set(error, ERR_CORRUPT, "cannot count the tables of %s", PQdb(conn));
    PQclear(result);
    if (err == ERR_NONE && seen->is_ours)
        err = read_version(conn, &seen->version, error);
    return err;
}

/* What neither a server nor a migration can work with. In another encoding than UTF-8 a buyer's name may have
 * no place, and the first such buyer would stop the sale for everybody. */
static enum err check_look(const PGconn *conn, const struct look *seen, struct error *error)
{
    if (strcmp(seen->encoding, "UTF8") != 0)
        return error_set(error, ERR_CORRUPT,
            "the database %s has the encoding %s, expected UTF8, which every name fits in; make another one "
            "with "
            "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
            PQdb(conn), seen->encoding);
    if (!seen->is_ours && seen->tables > 0)
        return error_set(error, ERR_CORRUPT,
            "the database %s has %d tables with names that doorbuster uses (products, orders, work, ...), "
            "but "
            "doorbuster has not made them; give doorbuster a database of its own",
            PQdb(conn), seen->tables);
    if (seen->version > POSTGRES_SCHEMA_VERSION)
        return error_set(error, ERR_NEWER,
            "the tables of the database %s have version %d, this doorbuster knows versions up to %d; use the "
            "newer one",
            PQdb(conn), seen->version, POSTGRES_SCHEMA_VERSION);
    if (seen->version == POSTGRES_SCHEMA_VERSION && seen->tables < TABLE_COUNT)
        return error_set(error, ERR_CORRUPT,
            "the database %s has lost %d of the %d tables of version %d; restore a backup or a standby",
            PQdb(conn), TABLE_COUNT - seen->tables, TABLE_COUNT, seen->version);
    return ERR_NONE;
}

enum err postgres_schema_check(PGconn *conn, struct error *error)
{
    struct look seen;
    enum err err = look(conn, &seen, error);
    if (err == ERR_NONE)
        err = check_look(conn, &seen, error);
    if (err != ERR_NONE || seen.version == POSTGRES_SCHEMA_VERSION)
        return err;
    if (!seen.is_ours)
        return error_set(error, ERR_OLDER,
            "the database %s has no tables of doorbuster yet; make them with doorbuster migrate --store URL",
            PQdb(conn));
    return error_set(error, ERR_OLDER,
        "the tables of the database %s have version %d and must have %d; stop all nodes and run doorbuster "
        "migrate "
        "--store URL",
        PQdb(conn), seen.version, POSTGRES_SCHEMA_VERSION);
}

/* --- making them --- */

/* The key of the lock is the application id of the embedded store, "DBST": one lock a database. */
static const char lock_sql[] = "SET LOCAL lock_timeout = '60s'; SELECT pg_advisory_xact_lock(1145197396)";

static const char version_table_sql[] =
    "CREATE TABLE doorbuster_schema (version integer NOT NULL);"
    "CREATE UNIQUE INDEX doorbuster_schema_one_row ON doorbuster_schema ((true));"
    "INSERT INTO doorbuster_schema VALUES (0)";

static enum err take_step(PGconn *conn, const struct step *step, struct error *error)
{
    char sql[128];
    (void)snprintf(sql, sizeof sql, "UPDATE doorbuster_schema SET version = %d", step->version);
    enum err err = postgres_run(conn, step->sql, "make the tables of", error);
    return err == ERR_NONE ? postgres_run(conn, sql, "note the version of the tables of", error) : err;
}

enum err postgres_schema_bring_up(PGconn *conn, int *version_before, struct error *error)
{
    struct look seen;
    *version_before = 0;
    enum err err = postgres_run(conn, lock_sql, "wait for another migration of", error);
    if (err == ERR_NONE)
        err = look(conn, &seen, error);
    if (err == ERR_NONE)
        err = check_look(conn, &seen, error);
    if (err != ERR_NONE)
        return err;
    *version_before = seen.version;
    if (!seen.is_ours)
        err = postgres_run(conn, version_table_sql, "make the tables of", error);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && err == ERR_NONE; i++)
        if (steps[i].version > seen.version)
            err = take_step(conn, &steps[i], error);
    return err;
}

enum err postgres_migrate(const char *url, int *version_before, struct error *error)
{
    PGconn *conn;
    *version_before = 0;
    enum err err = postgres_connect(url, &conn, error);
    if (err != ERR_NONE)
        return err;
    err = postgres_run(
        conn, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", "begin a transaction on", error);
    if (err == ERR_NONE)
        err = postgres_schema_bring_up(conn, version_before, error);
    if (err == ERR_NONE)
        err = postgres_run(conn, "COMMIT", "commit the tables of", error);
    PQfinish(conn); /* rolls back what is not committed */
    return err;
}
