# SPDX-License-Identifier: Apache-2.0
"""Orders contract, "Notifications": webhooks about completed and failed orders, and what becomes of them when their
receiver is not there, is slow, or does not want them."""
import threading

import pytest

import wire
from nodes import verb
from ordering import check_problem, item, new_order_id, order
from outbox import (FIRST_RETRY_SECONDS, SECRET, Bank, Hook, check_webhook, dead_letters, delivered, figure, order_of,
    start_paying, start_receiver, wait_dead, wait_delivered)

try:
    from standardwebhooks import Webhook
except ImportError:
    Webhook = None

__all__ = ["start_paying", "start_receiver"]  # fixtures


@pytest.fixture
def hook(start_receiver):
    return start_receiver(Hook())


def queue_about(orders, hook, word, *answers):
    """A new order, whose webhooks get these answers; its id."""
    order_id = new_order_id(word)
    hook.answers[order_id] = answers
    return orders.queue_well(order_id=order_id)


# --- what is told ---

def test_completed_order_is_told_once(start_paying, orders_of, hook):
    """A completed order is not told, twice, with other members than documented, or not signed as Standard Webhooks."""
    server = start_paying(*hook.flags())
    orders = orders_of(server)
    order_ids = [orders.queue_well(customer=40 + i, items=[item(price=1.05, quantity=3)]) for i in range(20)]
    body = order(order_id=new_order_id('odd "ü\r\n\u2028\\'), items=[item(price=0, quantity=1)])
    assert orders.sync(body).status == 200
    for i, order_id in enumerate(order_ids):
        event = check_webhook(hook.wait_about(order_id)[0])
        assert event["type"] == "order.completed"
        assert event["data"] == {"order_id": order_id, "customer_id": 40 + i, "status": "completed", "amount": 3.15,
            "attempts": 1}
    post = hook.wait_about(body["order_id"])[0]
    assert check_webhook(post)["data"]["amount"] == 0 and b'"amount":0.00,' in post.body
    for order_id in order_ids:
        wait_delivered(server.store, order_id)
    assert len({post.headers["webhook-id"] for post in hook.received()}) == len(order_ids) + 1
    assert len(hook.received()) == len(order_ids) + 1, "a webhook that was taken came again"
    assert figure(server, 'doorbuster_notifications_delivered_total{channel="webhook"}') == len(order_ids) + 1


def test_failed_order_is_told_once(start_paying, orders_of, hook):
    """A declined order is not told, or as a completed one."""
    server = start_paying(*hook.flags(), "--payment-decline-rate", "1")
    order_id = orders_of(server).queue_well()
    event = check_webhook(hook.wait_about(order_id)[0])
    assert (event["type"], event["data"]["status"]) == ("order.failed", "failed")
    wait_delivered(server.store, order_id)
    assert len(hook.about(order_id)) == 1


def test_signature_is_what_the_published_library_takes(start_paying, orders_of, hook):
    """The library of Standard Webhooks refuses what we sign, or takes what was changed on the way."""
    server = start_paying(*hook.flags())
    post = hook.wait_about(orders_of(server).queue_well())[0]
    if Webhook is None:
        print("the package standardwebhooks is not installed: only the independent reading of it in outbox.py was used")
        return
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    headers = {name: post.headers[name] for name in names}
    assert Webhook(SECRET).verify(post.body, headers) == post.json()
    for changed in (post.body.replace(b"completed", b"cancelled"), post.body + b" "):
        with pytest.raises(Exception, match="(?i)signature"):
            Webhook(SECRET).verify(changed, headers)


def test_other_secret_signs_otherwise(start_paying, orders_of, hook):
    """The secret that was set is not the key of the signature."""
    other = "whsec_" + "QUJD" * 8
    order_id = orders_of(start_paying(*hook.flags(other))).queue_well()
    post = hook.wait_posts(1, "a webhook")[0]
    assert order_of(post) == order_id
    check_webhook(post, other)
    with pytest.raises(AssertionError):
        check_webhook(post, SECRET)


def test_cancelled_order_is_not_told(start_paying, orders_of, hook, start_receiver):
    """Somebody hears of an order that was cancelled."""
    held = threading.Event()
    bank = start_receiver(Bank(after=lambda post: held.wait(60)))
    server = start_paying(*hook.flags(), *bank.flags()[:-1], "--payment-slots-max", "1", "--sync-deadline", "2m")
    orders = orders_of(server)
    first = orders.queue_well()
    orders.wait_status(first, "processing")
    body = order(order_id=new_order_id())
    connection = orders.place(body)
    wire.wait_for(lambda: orders.get(body["order_id"]).status == 200, "it waits")
    connection.close()
    orders.wait_status(body["order_id"], "cancelled")
    held.set()
    last = orders.queue_well()
    for order_id in (first, last):
        hook.wait_about(order_id)
    assert hook.about(body["order_id"]) == [] and delivered(server.store, body["order_id"])[1] == 0


def test_without_webhook_nothing_is_queued(start_paying, orders_of, hook):
    """A server that has nobody to tell keeps notifications for ever, or tells old ones when it has somebody."""
    server = start_paying()
    orders = orders_of(server)
    order_id = orders.queue_well(customer_email="anna@example.com")
    orders.wait_status(order_id, "completed")
    orders.close()
    assert server.store.rows("SELECT count(*) FROM notifications")[0][0] == 0
    server.stop()
    again = start_paying(*hook.flags(), on=server.store)
    hook.wait_about(orders_of(again).queue_well())
    assert hook.about(order_id) == []


# --- receivers that fail ---

@pytest.mark.seconds(180)
def test_failed_webhooks_come_again(start_paying, orders_of, hook):
    """A webhook that was not taken does not come again, with another id, too early, or before the receiver wants it;
    or one that was taken late comes again."""
    server = start_paying(*hook.flags())
    orders = orders_of(server)
    never = threading.Event()
    hang_up = queue_about(orders, hook, "hang-up", None, 200)
    hook.wait_about(hang_up)  # on a connection that is new: on a kept one an HTTP client may ask again at once
    slow = queue_about(orders, hook, "slow", lambda: 200 if never.wait(2) else 200)
    cases = {  # order: how long it must wait at least
        hang_up: FIRST_RETRY_SECONDS,
        queue_about(orders, hook, "error", 500, 200): FIRST_RETRY_SECONDS,
        queue_about(orders, hook, "no", 404, 200): FIRST_RETRY_SECONDS,
        queue_about(orders, hook, "moved", (302, {"Location": hook.url + "/elsewhere"}), 200): FIRST_RETRY_SECONDS,
        queue_about(orders, hook, "soon", (429, {"Retry-After": "1"}), 200): FIRST_RETRY_SECONDS,
        queue_about(orders, hook, "later", (429, {"Retry-After": "8"}), 200): 8,
        queue_about(orders, hook, "busy", (503, {"Retry-After": "8"}), 204): 8,
        queue_about(orders, hook, "hangs", lambda: 200 if never.wait(60) else None, 200): 10 + FIRST_RETRY_SECONDS,
    }
    for order_id, seconds in cases.items():
        first, second = hook.wait_about(order_id, 2)
        # Clocks of two kinds and a thread between: nothing here is exact to the millisecond.
        assert second.at - first.at > seconds - 0.5, (order_id, second.at - first.at)
        assert int(second.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"]), order_id
        wait_delivered(server.store, order_id)
        assert len(hook.about(order_id)) == 2
    assert len(hook.wait_about(slow)) == 1
    wait_delivered(server.store, slow)
    assert all(post.path == "/hook" for post in hook.received()), "a redirect was followed"
    assert dead_letters(server) == {"dead_letters": [], "next": None}
    assert figure(server, 'doorbuster_notifications_failed_total{channel="webhook"}') == len(cases)
    server.wait_log(lambda entry: entry["message"].endswith(" is tried again in 5 s: answered 500"), "the failure")


def test_receiver_comes_late(start_paying, orders_of, hook):
    """What was to be told while the receiver was down is lost, also when the server is killed in between."""
    hook.stop()
    server = start_paying(*hook.flags())
    orders = orders_of(server)
    order_ids = [orders.queue_well() for _ in range(3)]
    server.wait_log(lambda entry: entry["context"] == "notifications" and "is tried again in 5 s" in entry["message"],
        "the first try has failed")
    for order_id in order_ids:
        orders.wait_status(order_id, "completed")
    orders.close()
    server.kill9()
    hook.start()
    server = start_paying(*hook.flags(), on=server.store)
    for order_id in order_ids:
        hook.wait_about(order_id)
        wait_delivered(server.store, order_id)
        assert len(hook.about(order_id)) == 1


@pytest.mark.seconds(180)
def test_server_killed_while_it_tells(start_paying, orders_of, hook):
    """What was being told when the server was killed is not told again, or as another message."""
    server = start_paying(*hook.flags())
    orders = orders_of(server)
    never = threading.Event()
    order_ids = [queue_about(orders, hook, "killed", lambda: 200 if never.wait(60) else None, 200) for _ in range(3)]
    for order_id in order_ids:
        hook.wait_about(order_id)
    orders.close()
    server.kill9()
    server = start_paying(*hook.flags(), on=server.store)
    for order_id in order_ids:
        hook.wait_about(order_id, 2, seconds=120)
        wait_delivered(server.store, order_id)


@pytest.mark.embedded
def test_private_target_is_refused(start_paying, orders_of, hook):
    """Webhooks go to a private address that nobody has allowed, the log does not say why not, or the order suffers."""
    flags = [flag for flag in hook.flags() if flag != "--allow-private-targets"]
    server = start_paying(*flags)
    orders = orders_of(server)
    order_id = orders.queue_well()
    orders.wait_status(order_id, "completed")
    entry = server.wait_log(lambda entry: entry["context"] == "notifications", "the refusal")
    assert "private address" in entry["message"] and "is tried again in 5 s" in entry["message"], entry
    assert hook.received() == [] and tuple(delivered(server.store, order_id)) == (0, 1)


@pytest.mark.embedded
def test_webhook_settings_are_checked_at_the_start(tmp_path, hook):
    """A server starts with webhooks that it cannot sign or send, or says no word about why it does not."""
    url, store = hook.url, str(tmp_path / "shop.db")
    for words, said in (
            (("--webhook", url), "--webhook-secret"),
            (("--webhook", url, "--webhook-secret", "secret"), "whsec_"),
            (("--webhook", url, "--webhook-secret", "whsec_QUJD"), "24"),
            (("--webhook", "ftp://127.0.0.1/", "--webhook-secret", SECRET), "http"),
            (("--smtp", "http://127.0.0.1/"), "smtp"),
            (("--smtp", "smtp://127.0.0.1/", "--mail-from", "nobody"), "e-mail address")):
        status, out, err = verb("serve", "--store", store, "--listen", "127.0.0.1:0", *words)
        assert status == 2 and said in err and SECRET not in err, (words, status, out, err)


# --- dead letters ---

def test_refused_for_ever_is_a_dead_letter(start_paying, orders_of, hook):
    """A receiver that is gone for good (410) is asked again; or its dead letters are not listed, or are forgotten."""
    server = start_paying(*hook.flags())
    orders = orders_of(server)
    order_ids = [queue_about(orders, hook, 'gone "', 410, 200) for _ in range(3)]
    letters = wait_dead(server, 3)
    assert sorted(letter["order_id"] for letter in letters) == sorted(order_ids)
    ids = [letter["id"] for letter in letters]
    assert ids == sorted(set(ids))
    for letter in letters:
        assert list(letter) == ["id", "order_id", "channel", "target", "attempts", "created_at"], letter
        assert letter["channel"] == "webhook" and letter["attempts"] == 1, letter
    page = dead_letters(server, "?limit=2")
    assert page == {"dead_letters": letters[:2], "next": ids[1]}
    assert dead_letters(server, f"?limit=2&after={ids[1]}") == {"dead_letters": letters[2:], "next": None}
    entry = server.wait_log(lambda entry: "is a dead letter" in entry["message"], "the dead letter")
    assert "answered 410" in entry["message"], entry
    assert figure(server, 'doorbuster_notifications_dead_total{channel="webhook"}') == 3
    orders.close()
    server.kill9()
    again = start_paying(*hook.flags(), on=server.store)
    assert dead_letters(again)["dead_letters"] == letters
    assert len(hook.received()) == 3


def test_replayed_dead_letter_is_delivered(start_paying, orders_of, hook):
    """Replaying a dead letter does not deliver it, delivers it as another message, or leaves it in the list."""
    server = start_paying(*hook.flags())
    orders = orders_of(server)
    order_id = queue_about(orders, hook, "gone", 410, 410, 200)
    other_id = queue_about(orders, hook, "other", 410)
    letters = {letter["order_id"]: letter["id"] for letter in wait_dead(server, 2)}
    path = f"/admin/dead-letters/{letters[order_id]}/replay"
    for count in (2, 3):
        wait_dead(server, 2)
        reply = orders.admin("POST", path)
        assert reply.status == 202 and reply.json()["id"] == letters[order_id], reply
        hook.wait_about(order_id, count)
    wait_delivered(server.store, order_id)
    assert [letter["order_id"] for letter in dead_letters(server)["dead_letters"]] == [other_id]
    assert check_problem(orders.admin("POST", path), 409), "what was delivered can be replayed"
    assert len(hook.about(order_id)) == 3 and len(hook.about(other_id)) == 1


def test_replay_needs_a_dead_letter_and_the_key(start_paying, orders_of, hook):
    """Anybody may see and replay dead letters, or what is none is replayed."""
    server = start_paying(*hook.flags())
    orders = orders_of(server)
    order_id = queue_about(orders, hook, "error", 500)
    hook.wait_about(order_id)
    server.wait_log(lambda entry: "is tried again" in entry["message"], "the failure")
    waiting = server.store.rows("SELECT id FROM notifications")[0][0]
    for number in (waiting, 999_999_999, 9_223_372_036_854_775_807):
        check_problem(orders.admin("POST", f"/admin/dead-letters/{number}/replay"), 409)
    for word in ("0", "-1", "x", "9223372036854775808", "%31x"):
        check_problem(orders.admin("POST", f"/admin/dead-letters/{word}/replay"), 404)
    for query in ("limit=0", "limit=1001", "limit=x", "after=-1", "limit=1&limit="):
        check_problem(orders.admin("GET", f"/admin/dead-letters?{query}"), 422)
    for key in ({}, {"X-Admin-Key": "wrong-key-12345678"}):
        assert orders.ask("GET", "/admin/dead-letters", key).status == 401
        assert orders.ask("POST", f"/admin/dead-letters/{waiting}/replay", key).status == 401
