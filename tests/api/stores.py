# SPDX-License-Identifier: Apache-2.0
"""
The kinds of store that the tests run on. Each kind is a class with the same face: where a server finds it
(`argument`, `directory`), and what an auditor sees in it. Another kind is another class here and one more word in
the parameters of the fixture `store`.
"""
import shutil
import sqlite3
from pathlib import Path


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

    def rows(self, statement, *values):
        database = sqlite3.connect(f"file:{self.path}?mode=rw", uri=True, timeout=10)
        try:
            database.execute("PRAGMA query_only = 1")
            return database.execute(statement, values).fetchall()
        finally:
            database.close()

    def purchases(self, sku):
        """[(purchase number, user, time in ms)] in the order in which they were made."""
        return self.rows("SELECT purchase_no, user_id, purchased_at FROM purchases JOIN products"
            " ON products.id = product_id WHERE sku = ? ORDER BY purchases.id", sku)

    def stock(self, sku):
        """(initial stock, stock)"""
        return self.rows("SELECT initial_stock, stock FROM products WHERE sku = ?", sku)[0]


KINDS = {"sqlite": SqliteStore}
