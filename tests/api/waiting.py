# SPDX-License-Identifier: Apache-2.0
"""
A client of the vending face that speaks in users: who takes a machine and chooses, and who waits for one, with
`Prefer: wait=N` on a connection of his own (Waiter) or with a ticket (TicketEvents: a listener of one).
"""
import contextlib
import re
import socket
import struct
import threading

import wire
from machines import START_WORK, Pool, compact, expect
from ordering import OrderEvents

CHOOSE = "/api/orchestrator/choose-product"
QUEUE = "/api/orchestrator/queue"
SELECTED = "Machine selected and moved to choose_product state."
NO_MACHINE = '{"error":"No idle vending machine available."}'
NOT_CHOOSING = '{"error":"Machine is not in choose_product state."}'
TICKET = re.compile(r"[1-9][0-9]*-[0-9a-f]{16}")
LONG = {"Prefer": "wait=100"}
STILL = ("--dispense-time", "1h", "--choose-timeout", "1h", "--ticket-timeout", "1h")  # nothing happens by itself


def short_of(left):
    return compact({"error": f"Insufficient stock. Available count: {left}"})


def expect_later(reply, status, body=None):
    """A refusal that tells after how many seconds to come again."""
    expect(reply, status, body)
    assert re.fullmatch(r"[1-9][0-9]*", reply.header("retry-after")), reply
    return reply


def at_once(asks):
    """What these functions return when all are called at the same moment, in their order."""
    barrier = threading.Barrier(len(asks))
    found = [None] * len(asks)

    def run(index):
        barrier.wait(60)
        found[index] = asks[index]()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(asks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert None not in found, f"{found.count(None)} of {len(asks)} have no answer"
    return found


class Waiter:
    """A user who waits on a connection of his own, which is sent off before this returns."""

    def __init__(self, server, headers):
        self.connection = wire.Connection(server.port, limit=90.0)
        self.connection.send(wire.build("POST", START_WORK, headers))

    def reply(self):
        return self.connection.read_reply()

    def served(self):
        """What he was served with, which must come."""
        reply = expect(self.reply(), 200)
        assert reply.json()["message"] == SELECTED, reply
        return reply.json()

    def is_silent(self):
        """Nothing has come yet."""
        self.connection.socket.setblocking(False)
        try:
            return not self.connection.buffer and self.connection.socket.recv(1, socket.MSG_PEEK) is None
        except BlockingIOError:
            return True
        finally:
            self.connection.socket.settimeout(self.connection.limit)

    def close(self):
        self.connection.close()

    def break_off(self):
        """Closes the connection with a reset."""
        self.connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


class Line(Pool):
    """Somebody who has the key, and everybody who waits, in a pool in which nobody else is."""

    def __init__(self, server):
        super().__init__(server)
        self.waiters = contextlib.ExitStack()
        self.tickets = []

    def close(self):
        self.waiters.close()
        super().close()

    def clear(self):
        """Nobody waits or listens, and there are no machines."""
        self.waiters.close()
        for name in self.tickets:
            self.leave(name)
        self.tickets.clear()
        for machine in self.machines():
            self.remove(machine["id"])
        self.wait_waiting(0)
        wire.wait_for(lambda: self.figure("doorbuster_tickets_listening") == 0, "nobody listens")

    def figure(self, name):
        return int(re.search(rf"^{name} (\d+)$", self.ask("GET", "/metrics").text, re.MULTILINE)[1])

    def waiting(self):
        """Users in the line, by the store: a server's figure may be a moment behind what it, or another node, has
        answered."""
        return self.rows("SELECT count(*) FROM tickets WHERE state = 'waiting'")[0][0]

    def wait_waiting(self, count):
        wire.wait_for(lambda: self.waiting() == count, f"{count} users wait in the line", 60.0)

    def come(self, *preferences):
        """Somebody who asks for a machine with these preferences, whether he has to wait or not."""
        return self.enter([("Prefer", prefer) for prefer in preferences])

    def enter(self, headers):
        waiter = Waiter(self.server, headers)
        self.waiters.callback(waiter.close)
        return waiter

    def waiter(self, headers=None):
        """One more user at the end of the line, who waits for as long as he may."""
        before = self.waiting()
        waiter = self.enter(headers or LONG)
        self.wait_waiting(before + 1)
        return waiter

    def take_all(self, count):
        """So many machines, all of them in use; what their users were told."""
        for _ in range(count):
            self.make()
        return [self.start_work() for _ in range(count)]

    def choose(self, machine, product, count=1, coins=None, **members):
        body = {"machine_id": machine, "product_id": product, "count": count, "coins": coins or count, **members}
        return self.ask("POST", CHOOSE, body=body)

    def choose_anew(self, machine, product):
        """On a connection of its own."""
        body = {"machine_id": machine, "product_id": product, "count": 1, "coins": 1}
        return wire.ask(self.server.port, "POST", CHOOSE, body=body)

    def free(self, user):
        """Sets the machine of somebody idle, whose it still is."""
        expect(self.reset(user["machine"]["id"], f"?lease={user['lease']}"), 200)

    def wait_idle(self, number):
        return wire.wait_for(lambda: (machine := self.machine(number))["status"] == "idle" and machine,
            f"machine {number} is idle", 60.0)

    def rows(self, statement, *values):
        return self.server.store.rows(statement, *values)

    def ended(self, lease):
        """How a lease has ended, or None."""
        return next((outcome for outcome, in self.rows("SELECT outcome FROM leases WHERE id = ?", lease)), None)

    def buyers(self, product):
        return [user for user, in self.rows("SELECT user_id FROM purchases WHERE product_id = ?", product)]

    def product_of(self, sku):
        """The number of a product of the flash sale."""
        return self.rows("SELECT id FROM products WHERE sku = ?", sku)[0][0]

    # --- tickets ---

    def queue(self, headers=None, body=None):
        """A new ticket: the reply's members."""
        reply = expect(self.ask("POST", QUEUE, headers, body), 202)
        value = reply.json()
        self.tickets.append(value["ticket"])
        assert list(value) == ["ticket", "position", "estimated_wait_seconds"], reply
        assert TICKET.fullmatch(value["ticket"]) and reply.header("location") == f"{QUEUE}/{value['ticket']}", reply
        return value

    def join(self):
        """The name of a new ticket."""
        return self.queue()["ticket"]

    def ticket(self, name):
        reply = expect(self.ask("GET", f"{QUEUE}/{name}"), 200)
        assert reply.header("cache-control") == "no-store", reply
        return reply.json()

    def wait_status(self, name, status):
        return wire.wait_for(lambda: (value := self.ticket(name))["status"] == status and value,
            f"ticket {name} is {status}", 60.0)

    def wait_position(self, name, position):
        """A node's picture of the line may be a moment old."""
        return wire.wait_for(lambda: (value := self.ticket(name))["position"] == position and value,
            f"ticket {name} is number {position}", 60.0)

    def leave(self, name):
        return self.ask("DELETE", f"{QUEUE}/{name}")

    def events(self, name, headers=None):
        events = TicketEvents(self.server, name, headers)
        self.waiters.callback(events.connection.close)
        return events


class TicketEvents(OrderEvents):
    """A listener of one ticket."""

    target = f"{QUEUE}/{{}}/events"
