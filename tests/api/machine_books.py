# SPDX-License-Identifier: Apache-2.0
"""
Machines, leases, tickets and stock as the tables have them, and whether that follows from what users and the caretaker
of the machines were told (machine_crowd.Journal). Everything here is compared with numbers and times of the store
itself, never with a clock of this process.

A store that is in use moves on, so: what was done before the books were read has to be in them, and what is in them
has to come from something that is possible by what is known after they were read.
"""
import json
from collections import Counter, namedtuple

TIMES = {"started_at", "chosen_at", "due_at", "ended_at", "expires_at"}
FLAGS = {"is_draining", "is_attached"}
TABLES = {
    "machines": "id status is_draining usage_count lease_id ticket_id started_at chosen_at product_id units"
        " purchase_id due_at",
    "leases": "id machine_id ticket_id started_at chosen_at product_id units purchase_id outcome ended_at",
    "tickets": "id is_attached state expires_at first_lease_id end_lease_id machine_id ended_at",
    "products": "id initial_stock stock",
    "purchases": "id product_id user_id",
    "pool": "next_machine_id next_lease_id next_ticket_id",
}
ROWS = {table: namedtuple(table, columns) for table, columns in TABLES.items()}
Lease = namedtuple("Lease", "id machine_id ticket_id started_at chosen_at product_id units purchase_id outcome ended_at"
    " due_at")
CLOCK_DOUBT_MS = 250  # how much the times of two nodes may differ


def column(kind, name):
    if kind == "postgres" and name in TIMES:
        return f"(extract(epoch FROM {name}) * 1000)::bigint"
    return f"{name}::int" if kind == "postgres" and name in FLAGS else name


def question(kind):
    """One statement, so that all tables are seen as they were at one moment."""
    array, gather = ("json_build_array", "json_agg") if kind == "postgres" else ("json_array", "json_group_array")
    parts = []
    for table, columns in TABLES.items():
        names = ", ".join(column(kind, name) for name in columns.split())
        parts.append(f"(SELECT {gather}({array}({names})) FROM {table})")
    return "SELECT " + ", ".join(f"CAST({part} AS text)" for part in parts)


def read(place):
    """{table: its rows}"""
    found = place.rows(question(place.kind))[0]
    return {table: [ROWS[table](*row) for row in json.loads(text or "[]")] for table, text in zip(TABLES, found)}


class Books:
    """The tables at one moment. `journal`: what was asked for until then and shortly after."""

    def __init__(self, place, journal, where, choose_timeout_ms):
        self.where, self.kind, self.choose_timeout_ms = where, place.kind, choose_timeout_ms
        self.done = journal.done()
        tables = read(place)
        self.possible = journal.possible()
        self.machines = {row.id: row for row in tables["machines"]}
        self.tickets = {row.id: row for row in tables["tickets"]}
        self.products = {row.id: row for row in tables["products"]}
        self.purchases = {row.id: row for row in tables["purchases"]}
        self.pool, = tables["pool"]
        self.all_leases = [Lease(*row, None) for row in tables["leases"]] + [present_lease(row)
            for row in self.machines.values() if row.lease_id is not None]
        self.leases = {lease.id: lease for lease in self.all_leases}

    def did(self, kind):
        return [act for act in self.done if act.kind == kind]

    def may_have(self, kind):
        return [act for act in self.possible if act.kind == kind]

    def expect(self, is_so, what):
        assert is_so, f"{self.where}: {what}"

    def expect_between(self, least, found, most, what):
        """Three Counters."""
        for key in set(least) | set(found):
            self.expect(least[key] <= found[key] <= most[key],
                f"{what} {key}: {least[key]} were acknowledged, {most[key]} asked for, there are {found[key]}")

    def check(self):
        self.check_numbers()
        self.check_machines()
        self.check_told()
        self.check_choices()
        self.check_ends()
        self.check_tickets()
        self.check_line()
        self.check_stock()

    # --- machines and leases ---

    def check_numbers(self):
        """Each number was given out once, and what it was given to is there."""
        self.expect(sorted(lease.id for lease in self.all_leases) == list(range(1, self.pool.next_lease_id)),
            "leases are missing, or there twice")
        self.expect(sorted(self.tickets) == list(range(1, self.pool.next_ticket_id)), "tickets are missing")
        removed = {act.machine for act in self.may_have("remove")}
        gone = set(range(1, self.pool.next_machine_id)) - set(self.machines)
        self.expect(gone <= removed, f"nobody has removed the machines {gone - removed}")

    def check_machines(self):
        for act in self.did("add"):
            self.expect(act.machine < self.pool.next_machine_id, f"{act}: there was no such machine")
        for act in self.did("remove"):
            self.expect(act.machine not in self.machines, f"{act}: it is there")
        self.expect(len(self.did("add")) <= self.pool.next_machine_id - 1 <= len(self.may_have("add")),
            "machines were invented")
        completed = Counter(lease.machine_id for lease in self.all_leases if lease.outcome == "completed")
        for machine in self.machines.values():
            self.expect(machine.usage_count == completed[machine.id], f"{machine}: {completed[machine.id]} completed")
            self.expect_last(lambda act: act.kind == "drain" and act.machine == machine.id, 0, machine.is_draining,
                f"{machine}: draining")

    def expect_last(self, is_meant, first, found, what):
        """What was set last, or what may have been set since."""
        done = {id(act) for act in self.done}
        allowed = {first}
        for act in self.possible:
            if is_meant(act):
                allowed = (set() if id(act) in done else allowed) | {act.value}
        self.expect(found in allowed, f"{what}: {found}, of {allowed}")

    def check_told(self):
        """Who was told of a lease has it, or it has ended; nobody has a machine that somebody else has."""
        for act in self.did("hold"):
            lease = self.leases.get(act.lease)
            self.expect(lease is not None and lease.machine_id == act.machine, f"{act}: the store has {lease}")
            self.expect(act.ticket in (0, lease.ticket_id), f"{act}: the store has {lease}")
        told = {act.lease for act in self.may_have("hold")}
        unknown = sum(act.is_done is None for act in self.may_have("take"))
        untold = [lease.id for lease in self.all_leases if lease.ticket_id is None and lease.id not in told]
        self.expect(len(untold) <= unknown, f"nobody has asked for one of the leases {untold}")
        doubt = CLOCK_DOUBT_MS if self.kind == "postgres" else 0
        last = {}
        for lease in sorted(self.all_leases):
            before = last.get(lease.machine_id)
            self.expect(before is None or (before.outcome is not None and
                before.ended_at <= lease.started_at + doubt), f"two had one machine: {before}, {lease}")
            last[lease.machine_id] = lease

    def check_choices(self):
        for act in self.did("choose"):
            lease = self.leases.get(act.lease)
            self.expect(act.lease == 0 or (lease.product_id, lease.units) == (act.product, act.units),
                f"{act}: the store has {lease}")

        def count(them):
            return Counter((act.machine, act.product, act.units) for act in them)

        chosen = Counter((lease.machine_id, lease.product_id, lease.units) for lease in self.all_leases
            if lease.chosen_at is not None)
        self.expect_between(count(self.did("choose")), chosen, count(self.may_have("choose")), "choices of")

    def check_ends(self):
        """A lease ends by an act or by its own time."""
        named = {act.lease for act in self.may_have("reset")}
        removed = {act.machine for act in self.may_have("remove")}
        left = {act.ticket for act in self.may_have("leave")}
        told = {act.lease for act in self.may_have("hold")}
        unnamed = Counter(act.machine for act in self.may_have("reset") if act.lease == 0)
        for lease in self.all_leases:
            if lease.outcome == "reset" and lease.id not in named:
                unnamed[lease.machine_id] -= 1
            has_cause = {
                None: True,
                "completed": lease.chosen_at is not None and lease.ended_at is not None
                    and lease.ended_at >= lease.chosen_at,
                "timed_out": lease.chosen_at is None and lease.ended_at is not None
                    and lease.ended_at - lease.started_at >= self.choose_timeout_ms,
                "reset": lease.id in named or unnamed[lease.machine_id] >= 0,
                "deleted": lease.machine_id in removed,
                "given_up": lease.chosen_at is None and (lease.id not in told or lease.ticket_id in left),
            }[lease.outcome]
            self.expect(has_cause, f"nothing has ended {lease} so")
        self.check_resets()

    def check_resets(self):
        for act in self.did("reset"):
            outcome = self.leases[act.lease].outcome if act.lease else "reset"
            self.expect(outcome == "reset", f"{act}: it is {outcome}")
        found = Counter(lease.machine_id for lease in self.all_leases if lease.outcome == "reset")
        self.expect_between(Counter(act.machine for act in self.did("reset")), found,
            Counter(act.machine for act in self.may_have("reset")), "resets of machine")

    # --- the line ---

    def check_tickets(self):
        left = {act.ticket for act in self.may_have("leave")}
        own = [ticket for ticket in self.tickets.values() if not ticket.is_attached]
        self.expect(len(own) <= len(self.may_have("queue")), "tickets were invented")
        for act in self.did("queue"):
            ticket = self.tickets.get(act.ticket)
            self.expect(ticket is not None and not ticket.is_attached, f"{act}: the store has {ticket}")
        for act in self.did("leave"):
            ticket = self.tickets[act.ticket]
            was_given_back = ticket.state == "served" and self.leases[ticket.end_lease_id].outcome == "given_up"
            self.expect(ticket.state == "left" or was_given_back, f"{act}: the store has {ticket}")
        for ticket in self.tickets.values():
            if ticket.state == "served":
                lease = self.leases[ticket.end_lease_id]
                self.expect((lease.ticket_id, lease.machine_id) == (ticket.id, ticket.machine_id), f"{ticket}, {lease}")
            if ticket.state == "left" and not ticket.is_attached:
                self.expect(ticket.id in left, f"nobody has left: {ticket}")
            if ticket.state == "expired" and not ticket.is_attached:
                self.expect(ticket.ended_at >= ticket.expires_at, f"too early: {ticket}")

    def check_line(self):
        """Nobody is overtaken: while somebody waits, leases go to those before him."""
        for ticket in self.tickets.values():
            end = self.pool.next_lease_id if ticket.end_lease_id is None else ticket.end_lease_id
            for number in range(ticket.first_lease_id, end):
                earlier = self.leases[number].ticket_id
                self.expect(earlier is not None and earlier < ticket.id,
                    f"{self.leases[number]} was given out while {ticket} waited")

    # --- stock ---

    def check_stock(self):
        """Units of choices are purchases of the machine, each once, and nothing else is sold."""
        units = {}
        for lease in self.all_leases:
            for purchase in range(lease.purchase_id or 0, (lease.purchase_id or 0) + (lease.units or 0)):
                self.expect(purchase not in units, f"purchase {purchase} was made twice: {lease}")
                units[purchase] = (lease.product_id, f" machine {lease.machine_id}")
        found = {row.id: (row.product_id, row.user_id) for row in self.purchases.values()}
        self.expect(found == units, f"only in one of choices and purchases: {set(found.items()) ^ set(units.items())}")
        sold = Counter(product for product, _ in units.values())
        for product in self.products.values():
            self.expect(product.stock >= 0 and product.stock + sold[product.id] == product.initial_stock,
                f"{product}: {sold[product.id]} sold")
        spare = {act.product for act in self.possible if act.kind == "spare"}
        for product in spare:
            self.expect_last(lambda act: act.kind == "spare", 1, self.products[product].stock, "stock that nobody buys")

    # --- before and after ---

    def check_follows(self, before):
        """These books are of the same store, later: who had a machine has it until the time that was set before."""
        for was in before.all_leases:
            now = self.leases[was.id]
            self.expect(now[:4] == was[:4], f"{was} has become {now}")
            if was.outcome is not None:
                self.expect(now == was, f"{was} has become {now}")
                continue
            if was.chosen_at is not None:
                self.expect(now[4:8] == was[4:8], f"{was} has become {now}")
                self.expect(now.outcome != "completed" or now.ended_at >= was.due_at, f"too early: {was}, {now}")
            is_as_it_was = now.outcome is None and now.chosen_at == was.chosen_at
            self.expect(not is_as_it_was or now.due_at == was.due_at, f"due at another time: {was}, {now}")
        for was in before.tickets.values():
            now = self.tickets[was.id]
            is_kept = now == was if was.state != "waiting" else (now.is_attached, now.first_lease_id) == (
                was.is_attached, was.first_lease_id) and (was.is_attached or now.expires_at >= was.expires_at)
            self.expect(is_kept, f"{was} has become {now}")

    def attached(self):
        """The tickets that stand and fall with a connection, and wait."""
        return [ticket.id for ticket in self.tickets.values() if ticket.is_attached and ticket.state == "waiting"]

    def hits(self):
        """How many there are of what a kill should be in the middle of."""
        waiting = sum(ticket.state == "waiting" for ticket in self.tickets.values())
        return Counter({"chosen": sum(row.status == "processing" for row in self.machines.values()),
            "choosing": sum(row.status == "choose_product" for row in self.machines.values()),
            "attached": len(self.attached()), "tickets": waiting - len(self.attached())})


def present_lease(machine):
    return Lease(machine.lease_id, machine.id, machine.ticket_id, machine.started_at, machine.chosen_at,
        machine.product_id, machine.units, machine.purchase_id, None, None, machine.due_at)
