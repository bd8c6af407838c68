# SPDX-License-Identifier: Apache-2.0
"""
The kinds of store that the tests run on. Each kind is a class with the same face: where a server finds it
(`argument`, and the `directory` that the server works in), and what an auditor sees in it. What only a store in a
file has (path, files, copy) is for tests marked `embedded`. Another kind is another class here and one more word in
KINDS.
"""
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import services
from server import binary, clean_environment


class SqliteStore:
    kind = "sqlite"

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.path = self.directory / "shop.db"
        self.argument = str(self.path)

    def files(self):
        """The file and what SQLite puts beside it."""
        return [path for path in sorted(self.directory.iterdir()) if path.name.startswith(self.path.name)]

    def copy(self, directory):
        """A copy of the files as they are on disk now, as a power cut would leave them for the kernel's view."""
        Path(directory).mkdir(parents=True)
        for path in self.files():
            if not path.name.endswith("-shm"):
                shutil.copy(path, directory)
        return SqliteStore(directory)

    def frozen(self, directory):
        """What a killed server has left, untouched by its restart."""
        return self.copy(directory)

    def check_left(self):
        """A stopped server has left it whole."""
        assert self.rows("PRAGMA integrity_check") == [("ok",)]
        assert self.rows("PRAGMA foreign_key_check") == []

    def discard(self):
        """Its files go with the directory of the tests."""

    def rows(self, statement, *values):
        """What a statement finds; values stand for its question marks."""
        database = sqlite3.connect(f"file:{self.path}?mode=rw", uri=True, timeout=10)
        try:
            database.execute("PRAGMA query_only = 1")
            return database.execute(statement, values).fetchall()
        finally:
            database.close()

    def spoil(self, statement):
        """Changes a stopped store behind everybody's back."""
        database = sqlite3.connect(self.path)
        database.execute("PRAGMA ignore_check_constraints = 1")
        database.executescript(statement)
        database.close()

    def purchases(self, sku):
        """[(purchase number, user, time in ms)] in the order in which they were made."""
        return self.rows("SELECT purchase_no, user_id, purchased_at FROM purchases JOIN products"
            " ON products.id = product_id WHERE sku = ? ORDER BY purchases.id", sku)

    def stock(self, sku):
        """(initial stock, stock)"""
        return self.rows("SELECT initial_stock, stock FROM products WHERE sku = ?", sku)[0]


class PostgresStore:
    """A database of its own on a server that all tests share, its tables made by `doorbuster migrate`."""
    kind = "postgres"
    templates = {}  # address of a server: the database there that migrate has made

    def __init__(self, directory, server):
        self.directory = Path(directory)
        self.server = server
        self.name = server.create_database("store", template=self.template())
        self.argument = server.url(self.name)

    def template(self):
        """Made once, and copied for each store."""
        server = self.server
        if server.owner_url not in PostgresStore.templates:
            name = server.create_database("template")
            migrate(server.url(name))
            PostgresStore.templates[server.owner_url] = name
        return PostgresStore.templates[server.owner_url]

    def clients(self):
        """How many connections to it there are, but for ours."""
        return self.server.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", self.name)[0][0]

    def frozen(self, directory):
        """As above: PostgreSQL may still be busy with what the killed server has sent."""
        services.wait_for(lambda: self.clients() == 0, "no connection of the killed server is left")
        return self

    def check_left(self):
        services.wait_for(lambda: self.clients() == 0, "the stopped server has left no connection")

    def discard(self):
        self.server.drop_database(self.name)

    def rows(self, statement, *values):
        return self.server.sql(statement.replace("?", "%s"), *values, database=self.name)

    def spoil(self, statement):
        self.server.sql(statement, database=self.name)

    def purchases(self, sku):
        return self.rows("SELECT purchase_no, user_id, (extract(epoch FROM purchased_at) * 1000)::bigint"
            " FROM purchases JOIN products ON products.id = product_id WHERE sku = ? ORDER BY purchases.id", sku)

    def stock(self, sku):
        return self.rows("SELECT initial_stock, stock FROM products WHERE sku = ?", sku)[0]


def migrate(url):
    result = subprocess.run([str(binary()), "migrate", "--store", url], env=clean_environment(), capture_output=True,
        text=True, timeout=60)
    assert result.returncode == 0, result


def shared_postgres(stack):
    """The server that tests share: the one that DOORBUSTER_TEST_POSTGRES tells of, or else our own, ended with the
    stack."""
    url = os.environ.get("DOORBUSTER_TEST_POSTGRES")
    return services.Database(url) if url else stack.enter_context(services.Postgres())


# kind: what must be there for it (a name of services.CHECKS), or None
KINDS = {"sqlite": None, "postgres": "postgres"}
