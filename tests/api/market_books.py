# SPDX-License-Identifier: Apache-2.0
"""
Wallets, transfers, orders and stock as the tables have them, and whether that follows from what owners of wallets
were told (market_crowd.MarketCrowd.journal). A store that is in use moves on, so: what was done before the books were
read has to be in them, and what is in them has to come from something that is possible by what is known afterwards.
"""
import json
from collections import Counter, namedtuple

from market import is_signed, jcs, minor, without

TABLES = {
    "wallets": "account_id public_key balance_minor last_transfer_id",
    "transfers": "id kind from_account to_account from_previous_id to_previous_id amount_minor from_balance_minor"
        " to_balance_minor product_id purchase_id nonce created_at",
    "products": "id initial_stock stock price_minor",
    "purchases": "id product_id user_id purchase_no",
}
ROWS = {table: namedtuple(table, columns) for table, columns in TABLES.items()}


def column(kind, name):
    if name == "public_key":
        return "encode(public_key, 'hex')" if kind == "postgres" else "lower(hex(public_key))"
    if kind == "postgres" and name == "created_at":
        return "(extract(epoch FROM created_at) * 1000)::bigint"
    return name


def question(kind):
    """One statement, so that all tables are seen as they were at one moment."""
    array, gather = ("json_build_array", "json_agg") if kind == "postgres" else ("json_array", "json_group_array")
    parts = []
    for table, columns in TABLES.items():
        names = ", ".join(column(kind, name) for name in columns.split())
        parts.append(f"(SELECT {gather}({array}({names})) FROM {table})")
    return "SELECT " + ", ".join(f"CAST({part} AS text)" for part in parts)


class MarketBooks:
    """The tables at one moment."""

    def __init__(self, place, crowd, receipt_key, where):
        self.where, self.kind, self.receipt_key = where, place.kind, receipt_key
        self.done = [deed for deed in list(crowd.journal) if deed.body is not None]
        self.refused = [deed for deed in list(crowd.journal) if deed.code is not None]
        found = place.rows(question(place.kind))[0]
        tables = {table: [ROWS[table](*row) for row in json.loads(text or "[]")] for table, text in zip(TABLES, found)}
        self.asked = {(deed.kind, deed.key if deed.kind != "credit" else None, deed.nonce): deed
            for deed in list(crowd.journal)}
        self.wallets = {row.account_id: row for row in tables["wallets"]}
        self.transfers = {row.id: row for row in tables["transfers"]}
        self.products = {row.id: row for row in tables["products"]}
        self.purchases = {row.id: row for row in tables["purchases"]}
        self.accounts = {row.public_key: row.account_id for row in self.wallets.values()}
        self.named = {(row.kind, self.key(row.from_account), row.nonce): row for row in self.transfers.values()
            if row.kind != "opening"}

    def key(self, account):
        return None if account is None else self.wallets[account].public_key

    def expect(self, is_so, what):
        assert is_so, f"{self.where}: {what}"

    def check(self):
        self.check_wallets()
        self.check_chains()
        self.check_sums()
        self.check_orders()
        self.check_told()
        self.check_invented()

    # --- what holds by itself ---

    def check_wallets(self):
        self.expect(len(self.accounts) == len(self.wallets), "two wallets have one key")
        opened = Counter(row.to_account for row in self.transfers.values() if row.kind == "opening")
        self.expect(opened == Counter(list(self.wallets)), "a wallet was opened twice, or is not there")
        self.expect(len(self.named) == sum(row.kind != "opening" for row in self.transfers.values()),
            "a nonce stands for two transfers")

    def check_chains(self):
        """The history of each wallet leads back to its opening and comes to its balance. Nodes of a shared store take
        ids in advance, so only with one node they say what came first."""
        lengths = Counter()
        for wallet in self.wallets.values():
            balance, at = wallet.balance_minor, wallet.last_transfer_id
            while at is not None:
                row = self.transfers.get(at)
                self.expect(row is not None, f"{wallet} has lost transfer {at}")
                is_payer = row.from_account == wallet.account_id
                self.expect(is_payer or row.to_account == wallet.account_id, f"{row} is not of {wallet}")
                after = row.from_balance_minor if is_payer else row.to_balance_minor
                self.expect(after == balance >= 0, f"{row}: {balance} was to be left")
                balance += row.amount_minor if is_payer else -row.amount_minor
                at = row.from_previous_id if is_payer else row.to_previous_id
                self.expect(at is None or at < row.id or self.kind == "postgres", f"{row} comes before {at}")
                lengths[wallet.account_id] += 1
                self.expect(lengths[wallet.account_id] <= len(self.transfers), f"{wallet} goes round")
            self.expect(balance == 0, f"{wallet} began with {balance}")
        ends = Counter(account for row in self.transfers.values() for account in (row.from_account, row.to_account)
            if account is not None)
        self.expect(ends == lengths, "a transfer stands in no history")

    def check_sums(self):
        total = Counter()
        for row in self.transfers.values():
            total[row.kind] += row.amount_minor
        balances = sum(row.balance_minor for row in self.wallets.values())
        self.expect(total["opening"] + total["credit"] == balances + total["spend"], f"{total}, balances {balances}")

    def check_orders(self):
        """What was paid for and what was bought are the same; the rest is in stock."""
        paid = Counter((row.purchase_id, row.product_id, f" key {self.key(row.from_account)}")
            for row in self.transfers.values() if row.kind == "spend")
        bought = Counter((row.id, row.product_id, row.user_id) for row in self.purchases.values())
        self.expect(paid == bought, f"without order: {paid - bought}; not paid for: {bought - paid}")
        sold = Counter(row.product_id for row in self.purchases.values())
        for row in self.products.values():
            self.expect(row.stock == row.initial_stock - sold[row.id] >= 0, f"{row}: {sold[row.id]} sold")
        for row in self.transfers.values():
            self.expect(row.kind != "spend" or row.amount_minor == self.products[row.product_id].price_minor, f"{row}")

    # --- what owners say ---

    def row_of(self, deed):
        return self.named.get((deed.kind, None if deed.kind == "credit" else deed.key, deed.nonce))

    def check_told(self):
        for deed in self.done:
            if deed.kind == "register":
                self.expect(deed.key in self.accounts, f"{deed} is not there")
                continue
            row = self.row_of(deed)
            self.expect(row is not None, f"{deed} was done and is not there: {deed.body}")
            (self.check_credit if deed.kind == "credit" else self.check_receipt)(deed, row)
        for deed in self.refused:
            self.expect(self.row_of(deed) is None, f"{deed} was refused with {deed.code} and done")

    def check_credit(self, deed, row):
        data = deed.data
        self.expect((data["id"], minor(data["amount"]), data["public_key"], minor(data["new_balance"])) == (str(row.id),
            row.amount_minor, self.key(row.to_account), row.to_balance_minor), f"{deed}: told {data}, kept {row}")

    def check_receipt(self, deed, row):
        data, intent = deed.data, deed.asked["intent"]
        receipt = data["receipt"]
        is_spend = deed.kind == "spend"
        expected = {"action": deed.kind, "amount": row.amount_minor, "id": str(row.id), "nonce": row.nonce,
            "public_key": self.key(row.from_account), "timestamp": row.created_at // 1000}
        if is_spend:
            expected |= {"product_id": str(row.product_id), "order_id": self.purchases[row.purchase_id].purchase_no}
        else:
            expected |= {"to": self.key(row.to_account)}
        told = {**without(receipt, "signature"), "amount": minor(receipt["amount"])}
        self.expect(told == expected, f"told {told}, kept {row}")
        self.expect(minor(data["new_balance"]) == row.from_balance_minor, f"{deed}: {data}, kept {row}")
        self.expect(data["order_id"] == (expected["order_id"] if is_spend else None), f"{deed}: {data}, kept {row}")
        self.expect(round(float(intent["amount"]) * 100) == row.amount_minor, f"{deed}, kept {row}")
        if not getattr(deed, "is_proved", False):
            text = jcs(without(receipt, "signature"))
            self.expect(is_signed(self.receipt_key, text, receipt["signature"]), f"{deed}")
            deed.is_proved = True

    def check_invented(self):
        for name, row in self.named.items():
            deed = self.asked.get(name)
            self.expect(deed is not None, f"nobody has asked for {row}")
            self.expect(deed.code is None, f"{deed} was refused with {deed.code}: {row}")
        keys = {deed.key for deed in self.asked.values() if deed.kind == "register"}
        self.expect(set(self.accounts) <= keys, "a wallet is nobody's")

    # --- two moments ---

    def check_follows(self, before):
        """Nothing that was there before has changed or gone."""
        for row in before.transfers.values():
            self.expect(self.transfers.get(row.id) == row, f"{row} has become {self.transfers.get(row.id)}")
        for row in before.purchases.values():
            self.expect(self.purchases.get(row.id) == row, f"{row} has become {self.purchases.get(row.id)}")
        self.expect(set(before.wallets) <= set(self.wallets), "a wallet has gone")

    def kept(self):
        """Names of what was done and whose answer was lost, by what is known up to now."""
        return {name for name, deed in self.asked.items() if name in self.named and (deed.is_in_doubt or not
            deed.is_known)}
