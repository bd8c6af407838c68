# SPDX-License-Identifier: Apache-2.0
"""Vending contract: users start to work with a machine and choose; one machine is never for two."""
import pytest

import wire
from machines import GOODS, MACHINE_MEMBERS, PRODUCT_MEMBERS, START_WORK, compact, expect, ms_of, no_method, refused
from waiting import CHOOSE, NO_MACHINE, NOT_CHOOSING, QUEUE, SELECTED, STILL, at_once, expect_later, short_of

REQUIRED = [(field, f"The {field.replace('_', ' ')} field is required.")
    for field in ("machine_id", "product_id", "count", "coins")]
NO_MACHINE_ID = ("machine_id", "The selected machine id is invalid.")
NO_PRODUCT_ID = ("product_id", "The selected product id is invalid.")
UNEQUAL = '{"error":"Coins must equal the number of products (1 coin per item)."}'
INT64_MAX = 2**63 - 1
UNITS_MAX = 1000
NOBODY = 999_999_999  # no machine, and no product
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BAD_CHOICES = [
    ({"machine_id": "x"}, [("machine_id", "The machine id field must be an integer.")]),
    ({"machine_id": True}, [("machine_id", "The machine id field must be an integer.")]),
    ({"machine_id": INT64_MAX + 1}, [("machine_id", "The machine id field must be an integer.")]),
    ({"machine_id": 0}, [NO_MACHINE_ID]),
    ({"machine_id": INT64_MAX}, [NO_MACHINE_ID]),
    ({"product_id": None}, [REQUIRED[1]]),
    ({"product_id": "01"}, [("product_id", "The product id field must be an integer.")]),
    ({"product_id": "-7"}, [NO_PRODUCT_ID]),
    ({"product_id": INT64_MAX, "coins": 0}, [NO_PRODUCT_ID, ("coins", "The coins field must be at least 1.")]),
    ({"count": 0}, [("count", "The count field must be at least 1.")]),
    ({"count": UNITS_MAX + 1, "coins": UNITS_MAX + 1}, [("count", "The count field must not be greater than 1000.")]),
    ({"count": "x", "coins": 1.5}, [("count", "The count field must be an integer."),
        ("coins", "The coins field must be an integer.")]),
    ({"coins": -1}, [("coins", "The coins field must be at least 1.")]),
    ({"machine_id": NOBODY, "product_id": NOBODY, "count": 2, "coins": 1}, [NO_MACHINE_ID, NO_PRODUCT_ID]),
    ({"machine_id": NOBODY, "count": 0}, [NO_MACHINE_ID, ("count", "The count field must be at least 1.")]),
    ({"machine_id": "", "product_id": NOBODY, "coins": " "}, [REQUIRED[0], NO_PRODUCT_ID, REQUIRED[3]]),
    ({"machine_id": NOBODY, "product_id": "?"}, [NO_MACHINE_ID,
        ("product_id", "The product id field must be an integer.")]),
    ({"lease": "x"}, [("lease", "The lease field must be an integer.")]),
    ({"machine_id": NOBODY, "lease": 0}, [NO_MACHINE_ID, ("lease", "The lease field must be at least 1.")]),
]


# --- start-work ---

def test_start_work_is_exact(line):
    """Who gets a machine is told something else than the contract says, or another state of it than it has; or is asked
    for a key."""
    machine = line.make()
    empty = {"Content-Type": "application/octet-stream", "Content-Length": "0"}
    reply = expect(line.ask("POST", START_WORK, empty), 200)
    value = reply.json()
    assert list(value) == ["message", "machine", "lease"] and value["message"] == SELECTED
    assert list(value["machine"]) == MACHINE_MEMBERS and reply.text == compact(value)
    assert value["machine"] == line.machine(machine["id"]) == {**machine, "status": "choose_product",
        "updated_at": value["machine"]["updated_at"]}
    assert reply.header("preference-applied") is None and type(value["lease"]) is int


def test_start_work_without_an_idle_machine_is_409(line):
    """Who finds no machine idle is told something else, or not when to come again, or waits."""
    product = line.add()["id"]
    expect_later(line.ask("POST", START_WORK), 409, NO_MACHINE)
    user, _ = line.take_all(2)
    expect_later(line.ask("POST", START_WORK), 409, NO_MACHINE)
    expect(line.choose(user["machine"]["id"], product), 200)
    expect_later(line.ask("POST", START_WORK), 409, NO_MACHINE)
    assert line.waiting() == 0


@pytest.mark.parametrize("headers, body", [(JSON, "{"), (JSON, '{"machine_id":7}'), ({}, "x" * 5000),
    ({"Content-Type": "image/png"}, b"\xff\0")])
def test_body_of_start_work_is_ignored(line, headers, body):
    """What start-work is sent is read, and refused."""
    line.make()
    expect(line.ask("POST", START_WORK, headers, body), 200)


def test_machine_with_the_fewest_uses_is_taken_then_the_lowest_id(line_of):
    """Machines are not taken by usage_count, or not by id where that is equal; or a reset counts as a use."""
    line = line_of("--dispense-time", "0s")
    machines = [line.make()["id"] for _ in range(3)]
    product = line.add(stock=100)["id"]
    taken = []
    for _ in range(7):
        taken.append(line.start_work()["machine"]["id"])
        expect(line.choose(taken[-1], product), 200)
    assert taken == [*machines, *machines, machines[0]]
    assert [line.machine(number)["usage_count"] for number in machines] == [3, 2, 2]
    first = line.start_work()
    line.free(first)
    assert first["machine"]["id"] == machines[1] == line.start_work()["machine"]["id"]


def test_one_machine_is_never_for_two(line):
    """Of users who ask at the same moment two get one machine, one who could have got one gets none, or a lease is
    given out twice."""
    numbers = [line.make()["id"] for _ in range(5)]
    leases = set()
    for _ in range(2):
        replies = at_once([lambda: wire.ask(line.server.port, "POST", START_WORK)] * 200)
        taken = [reply.json() for reply in replies if reply.status == 200]
        for reply in replies:
            if reply.status != 200:
                expect_later(reply, 409, NO_MACHINE)
        assert sorted(each["machine"]["id"] for each in taken) == numbers
        assert {each["machine"]["status"] for each in taken} == {"choose_product"}
        leases |= {each["lease"] for each in taken}
        for each in taken:
            line.free(each)
    assert len(leases) == 2 * len(numbers)


# --- choose-product ---

def test_choice_is_exact(line):
    """Who chooses is told something else than the contract says, or machine and product are not as he is told; or the
    original's client may not choose, which has no key and knows no leases."""
    product = line.add(stock=10)
    user, = line.take_all(1)
    reply = expect(line.choose(user["machine"]["id"], product["id"], 3), 200)
    value = reply.json()
    assert list(value) == ["message", "machine", "product"] and reply.text == compact(value)
    assert value["message"] == "Product selected. Machine is now processing."
    machine, sold = value["machine"], value["product"]
    assert list(machine) == MACHINE_MEMBERS and list(sold) == PRODUCT_MEMBERS
    assert machine == {**user["machine"], "status": "processing", "updated_at": machine["updated_at"]}
    assert sold == {**product, "stock": 7, "updated_at": sold["updated_at"]}
    assert machine == line.machine(machine["id"]) and sold == line.good(product["id"])


@pytest.mark.parametrize("headers, body", [
    (JSON, '{{"machine_id":" {0} ","product_id":"+{1}","count":"2","coins":"2"}}'),
    (JSON, '{{"machine_id":{0}.0,"product_id":{1}e0,"count":2.0,"coins":2,"lease":null,"more":[]}}'),
    (JSON, '{{"machine_id":{0},"product_id":{1},"count":2,"coins":2,"lease":"{2}"}}'),
    (FORM, "machine_id={0}&product_id=+{1}+&count=2&coins=%32")])
def test_choice_is_made_of_integers(line, headers, body):
    """A numeric string, or a form, is not taken for integers."""
    product = line.add(stock=5)["id"]
    user, = line.take_all(1)
    body = body.format(user["machine"]["id"], product, user["lease"])
    assert expect(line.ask("POST", CHOOSE, headers, body), 200).json()["product"]["stock"] == 3


def test_bad_choice_is_refused_with_all_that_is_wrong(line):
    """A choice that is wrong is taken, or not all that is wrong is told, or in other words or another order."""
    product = line.add(stock=5)
    user, = line.take_all(1)
    body = {"machine_id": user["machine"]["id"], "product_id": product["id"], "count": 1, "coins": 1}
    for change, complaints in BAD_CHOICES:
        expect(line.ask("POST", CHOOSE, body={**body, **change}), 422, refused(*complaints))
    assert line.machine(user["machine"]["id"]) == user["machine"] and line.good(product["id"]) == product


def test_choice_of_nothing_is_refused(line):
    """A choice without members is refused in other words."""
    for headers, body in (({}, b""), ({"Content-Type": "application/octet-stream"}, b""), (JSON, b"{}"), (JSON, b"[]"),
            (JSON, b"null"), (FORM, b"x=1")):
        expect(line.ask("POST", CHOOSE, headers, body), 422, refused(*REQUIRED))


def test_choice_that_cannot_be_read_is_refused(line):
    """A body that is no choice is answered otherwise than with what was expected, or not in this face's form."""
    for headers, body, status in ((JSON, b"{", 400), (JSON, b"[1]", 400), (JSON, b"7", 400), (FORM, b"count=%zz", 400),
            ({"Content-Type": "image/png"}, b"{}", 415)):
        message = expect(line.ask("POST", CHOOSE, headers, body), status).json()
        assert list(message) == ["message"] and "JSON object" in message["message"]


def test_checks_of_a_choice_come_in_order(line):
    """Of several things that are wrong, another one than the first of the contract is told; or a refusal changes
    something."""
    product, none = line.add(stock=2), line.add(stock=0)
    idle = line.make()
    number = idle["id"]
    expect(line.choose(number, product["id"], 0, 5), 422, refused(("count", "The count field must be at least 1.")))
    expect(line.choose(number, product["id"], 3, 2), 422, UNEQUAL)
    expect(line.choose(number, product["id"], 3), 422, NOT_CHOOSING)
    assert line.machine(number) == idle
    user = line.start_work()
    expect(line.choose(number, product["id"], 3, INT64_MAX), 422, UNEQUAL)
    expect(line.choose(number, product["id"], 3), 422, short_of(2))
    expect(line.choose(number, none["id"]), 422, short_of(0))
    assert line.machine(number) == user["machine"] and line.good(product["id"]) == product
    expect(line.choose(number, product["id"], 2), 200)
    expect(line.choose(number, product["id"], 2), 422, NOT_CHOOSING)
    assert line.good(product["id"])["stock"] == 0


def test_what_was_removed_cannot_be_chosen(line):
    """A machine or a product that was removed is chosen."""
    first, second = (user["machine"]["id"] for user in line.take_all(2))
    product, gone = line.add()["id"], line.add()["id"]
    line.remove(first)
    assert line.send("DELETE", f"{GOODS}/{gone}").status == 204
    expect(line.choose(first, product), 422, refused(NO_MACHINE_ID))
    expect(line.choose(second, gone), 422, refused(NO_PRODUCT_ID))
    expect(line.choose(first, gone), 422, refused(NO_MACHINE_ID, NO_PRODUCT_ID))
    expect(line.choose(second, product), 200)


# --- units ---

def test_units_of_a_machine_are_purchases(line):
    """What a machine sells, up to the most that may be chosen, is not booked as any other purchase is, or not by the
    machine."""
    product = line.add(stock=UNITS_MAX + 5)["id"]
    user, = line.take_all(1)
    number = user["machine"]["id"]
    assert expect(line.choose(number, product, UNITS_MAX), 200).json()["product"]["stock"] == 5
    assert line.buyers(product) == [f" machine {number}"] * UNITS_MAX


def test_stock_of_machines_and_of_sales_is_one(line):
    """A machine sells units that the flash sale has sold, or the other way round."""
    sku = line.sale(stock=3)
    product = line.product_of(sku)
    first, second = (user["machine"]["id"] for user in line.take_all(2))
    assert expect(line.choose(first, product, 2), 200).json()["product"]["stock"] == 1
    assert line.stock(sku) == 1
    line.buy_well(sku)
    expect(line.choose(second, product), 422, short_of(0))


def test_product_whose_sale_is_not_on_is_not_dispensed(line):
    """A machine sells what the flash sale does not sell yet, or no more."""
    user, = line.take_all(1)
    upcoming, over = line.upcoming(), line.short_sale()
    line.wait_state(over, "ENDED")
    for sku in (upcoming, over):
        expect(line.choose(user["machine"]["id"], line.product_of(sku)), 422, short_of(0))
        assert line.server.store.stock(sku) == (10, 10)


def test_last_units_are_sold_once(line):
    """Of many who choose the last units at the same moment more get one than there are, or fewer; or who gets none
    loses the machine."""
    product = line.add(stock=5)["id"]
    numbers = [user["machine"]["id"] for user in line.take_all(12)]
    replies = at_once([lambda number=number: line.choose_anew(number, product) for number in numbers])
    assert sorted(reply.status for reply in replies) == [200] * 5 + [422] * 7
    assert {reply.text for reply in replies if reply.status == 422} == {short_of(0)}
    assert sorted(reply.json()["product"]["stock"] for reply in replies if reply.status == 200) == [0, 1, 2, 3, 4]
    for number, reply in zip(numbers, replies):
        assert line.machine(number)["status"] == ("processing" if reply.status == 200 else "choose_product")
    assert line.good(product)["stock"] == 0


# --- leases ---

def test_machine_is_chosen_at_once_by_one_only(line):
    """Of several who choose at one machine at the same moment, two succeed."""
    product = line.add(stock=50)["id"]
    user, = line.take_all(1)
    replies = at_once([lambda: line.choose_anew(user["machine"]["id"], product)] * 8)
    assert sorted(reply.status for reply in replies) == [200] + [422] * 7
    assert {reply.text for reply in replies if reply.status == 422} == {NOT_CHOOSING}
    assert line.good(product)["stock"] == 49


def test_stale_lease_chooses_nothing(line):
    """Who names a lease that has ended, or that there is not yet, has his choice taken for somebody else's machine."""
    product = line.add(stock=5)
    before, = line.take_all(1)
    line.free(before)
    now = line.start_work()
    assert now["machine"]["id"] == before["machine"]["id"] and now["lease"] > before["lease"]
    number = now["machine"]["id"]
    for lease in (before["lease"], now["lease"] + 1):
        expect(line.choose(number, product["id"], lease=lease), 422, NOT_CHOOSING)
    assert line.machine(number) == now["machine"] and line.good(product["id"]) == product
    expect(line.choose(number, product["id"], lease=now["lease"]), 200)


def test_reset_keeps_what_was_sold(line):
    """The units that a machine was dispensing when it was reset come back into stock, or the use is counted."""
    product = line.add(stock=9)["id"]
    user, = line.take_all(1)
    number = user["machine"]["id"]
    sold = expect(line.choose(number, product, 4), 200).json()["product"]
    assert expect(line.reset(number), 200).json()["machine"]["usage_count"] == 0
    assert line.good(product) == sold and sold["stock"] == 5 and len(line.buyers(product)) == 4
    assert line.ended(user["lease"]) == "reset" and line.machine(number)["usage_count"] == 0


def test_completion_of_before_a_reset_does_not_free_the_next_user(line_of):
    """The end of a dispensing that was reset sets the machine of the next user idle."""
    line = line_of("--dispense-time", "3s", "--choose-timeout", "1h")
    product = line.add()["id"]
    first, other = line.take_all(2)
    number = first["machine"]["id"]
    expect(line.choose(number, product), 200)
    line.free(first)
    second = line.start_work()
    assert second["machine"]["id"] == number
    expect(line.choose(other["machine"]["id"], product), 200)
    line.wait_idle(other["machine"]["id"])  # the first would have been done before
    machine = line.machine(number)
    assert (machine["status"], machine["usage_count"]) == ("choose_product", 0)
    expect(line.choose(number, product, lease=second["lease"]), 200)


# --- time ---

def test_machines_dispense_each_by_its_own_time(line_of):
    """Machines that dispense are done one after the other, before their time, or their uses are not counted."""
    line = line_of("--dispense-time", "1s", "--choose-timeout", "1h")
    product = line.add(stock=100)["id"]
    users = line.take_all(24)
    chosen = [expect(line.choose(user["machine"]["id"], product), 200).json()["machine"] for user in users]
    idle = [line.wait_idle(machine["id"]) for machine in chosen]
    took = [ms_of(after["updated_at"]) - ms_of(before["updated_at"]) for before, after in zip(chosen, idle)]
    assert min(took) >= 1000, took
    assert max(took) < 12_000, f"one after the other would be {len(users)} s: {took}"
    assert {machine["usage_count"] for machine in idle} == {1}
    assert {line.ended(user["lease"]) for user in users} == {"completed"}


def test_machine_that_takes_no_time_is_idle_at_once(line_of):
    """With --dispense-time 0s a machine is busy after the choice was answered."""
    line = line_of("--dispense-time", "0s", "--choose-timeout", "1h")
    product = line.add(stock=10)["id"]
    number = line.make()["id"]
    for uses in range(1, 11):
        line.start_work()
        chosen = expect(line.choose(number, product), 200).json()["machine"]
        assert (chosen["status"], chosen["usage_count"]) == ("processing", uses - 1)  # as the contract has it
        machine = line.machine(number)
        assert (machine["status"], machine["usage_count"]) == ("idle", uses)


def test_choice_that_does_not_come_times_out(line_of):
    """A user who does not choose keeps his machine, loses it before --choose-timeout, or it counts as used."""
    line = line_of("--choose-timeout", "300ms", "--dispense-time", "1h")
    product = line.add()
    user, = line.take_all(1)
    number = user["machine"]["id"]
    machine = line.wait_idle(number)
    assert ms_of(machine["updated_at"]) - ms_of(user["machine"]["updated_at"]) >= 300
    assert machine["usage_count"] == 0 and line.ended(user["lease"]) == "timed_out"
    expect(line.choose(number, product["id"], lease=user["lease"]), 422, NOT_CHOOSING)
    assert line.good(product["id"]) == product and line.start_work()["lease"] > user["lease"]


def test_draining_machine_finishes_its_user(line_of):
    """Who has a machine that drains may not choose any more, or it is given to somebody else afterwards."""
    line = line_of("--dispense-time", "0s", "--choose-timeout", "1h")
    user, = line.take_all(1)
    number = user["machine"]["id"]
    line.change(number, draining=True)
    chosen = expect(line.choose(number, line.add()["id"]), 200).json()["machine"]
    assert (chosen["status"], chosen["draining"]) == ("processing", True)
    machine = line.machine(number)
    assert (machine["status"], machine["usage_count"]) == ("idle", 1)
    expect(line.ask("POST", START_WORK), 409, NO_MACHINE)


# --- bad days, routes and figures ---

@pytest.mark.embedded
@pytest.mark.parametrize("fault, text", [("full", "Service temporarily unavailable. Please try again."),
    ("unknown-kept", "It is not known whether this was done. Ask for the machine to learn it.")])
def test_choice_that_was_not_stored_for_certain_is_503(line_of, fault, text):
    """A choice that may not be on disk is acknowledged, an unknown outcome is told as a refusal, or nothing goes on
    afterwards."""
    line = line_of("--fault", f"commit:4:{fault}", *STILL)
    product = line.add(stock=5)["id"]
    user, = line.take_all(1)
    number = user["machine"]["id"]
    expect_later(line.choose(number, product), 503, compact({"error": text}))
    if fault == "full":
        wire.wait_for(lambda: line.choose(number, product).status == 200, "choices are taken again")
        assert (line.machine(number)["status"], line.good(product)["stock"]) == ("processing", 4)
    else:
        line.server.signal()
        line.server.wait_exit()


def test_other_methods_for_users_are_405(line):
    """A path of users takes another method, or does not say which ones it takes."""
    for path in (START_WORK, CHOOSE, QUEUE):
        reply = expect(line.ask("GET", path), 405, no_method("GET", path[1:], "POST"))
        assert reply.header("allow") == "POST", reply


def test_metrics_count_users_of_machines(line):
    """Figures of machines are missing or wrong."""
    def figures():
        return [line.figure(f"doorbuster_vending_{name}_total")
            for name in ("taken", "refused", "chosen", "choices_refused")]

    before = figures()
    product = line.add(stock=1)["id"]
    users = line.take_all(2)
    expect(line.ask("POST", START_WORK), 409)
    expect(line.choose(users[0]["machine"]["id"], product), 200)
    expect(line.choose(users[1]["machine"]["id"], product), 422)
    assert [now - then for now, then in zip(figures(), before)] == [2, 1, 1, 1]
    wire.wait_for(lambda: line.figure("doorbuster_machines_available") == 2, "two machines take users")
    line.waiter()
    line.queue()
    for name, count in (("tickets_waiting", 2), ("vending_waiting", 1)):
        wire.wait_for(lambda: line.figure(f"doorbuster_{name}") == count, f"{name} is {count}")
