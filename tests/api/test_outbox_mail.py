# SPDX-License-Identifier: Apache-2.0
"""Orders contract, "Notifications": the mails that customers get about their orders, by a real SMTP server."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import services  # noqa: E402 (the path comes first)
import wire  # noqa: E402
from ordering import item, new_order_id  # noqa: E402
from outbox import (PRIVATE, Hook, dead_letters, delivered, figure, start_paying, start_receiver,  # noqa: E402
    wait_dead, wait_delivered)
from services.mail import Certificate  # noqa: E402

pytestmark = pytest.mark.needs("mail")
__all__ = ["start_paying", "start_receiver"]  # fixtures

SENDER = "shop@example.com"


@pytest.fixture
def start_mail():
    """start_mail(**how): a mail server, gone at the end."""
    servers = []

    def start(**how):
        servers.append(services.MailServer(**how))
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()


def flags(mail, **who):
    return ("--smtp", mail.url(**who), "--mail-from", SENDER, PRIVATE)


def queue_for(orders, address, order_id=None, **how):
    order_id = order_id or new_order_id("mail")
    return orders.queue_well(order_id=order_id, customer_email=address, **how)


def mail_to(mail, address):
    """The one mail that this recipient has got."""
    found = wire.wait_for(lambda: [each for each in mail.received() if address in each.recipients],
        f"a mail to {address}", 60)
    assert len(found) == 1, found
    return found[0]


def text_of(each):
    return each.content.get_content()


def test_completed_order_is_mailed(start_paying, orders_of, start_mail):
    """A customer whose order is paid gets no mail, two, or one that says something else."""
    mail = start_mail()
    server = start_paying(*flags(mail))
    orders = orders_of(server)
    order_id = queue_for(orders, "anna@example.com", items=[item(price=1.05, quantity=3)])
    nobody = orders.queue_well()
    each = mail_to(mail, "anna@example.com")
    assert (each.sender, each.recipients) == (SENDER, ["anna@example.com"])
    content = each.content
    assert content["from"] == SENDER and content["to"] == "anna@example.com"
    assert content["subject"] == f"Your order {order_id} is paid"
    assert content["message-id"].endswith("@example.com>") and content["date"] and content["auto-submitted"]
    assert order_id in text_of(each) and "3.15" in text_of(each)
    wait_delivered(server.store, order_id, "email")
    orders.wait_status(nobody, "completed")
    assert tuple(delivered(server.store, nobody, "email")) == (0, 0) and len(mail.received()) == 1
    assert figure(server, 'doorbuster_notifications_delivered_total{channel="email"}') == 1


def test_failed_order_is_mailed_and_told(start_paying, orders_of, start_mail, start_receiver):
    """A customer whose payment was declined is told that it succeeded, or the shop is not told when there is mail."""
    mail, hook = start_mail(), start_receiver(Hook())
    server = start_paying(*hook.flags(), *flags(mail)[:-1], "--payment-decline-rate", "1")
    order_id = queue_for(orders_of(server), "bert@example.com")
    each = mail_to(mail, "bert@example.com")
    assert each.content["subject"] == f"Your order {order_id} could not be paid"
    assert "has failed" in text_of(each) and order_id in text_of(each)
    assert hook.wait_about(order_id)[0].json()["type"] == "order.failed"
    wait_delivered(server.store, order_id, "email")
    wait_delivered(server.store, order_id)


def test_odd_order_ids_stay_text(start_paying, orders_of, start_mail):
    """What a customer calls an order becomes a header line, a recipient, another subject or another body."""
    mail = start_mail()
    server = start_paying(*flags(mail))
    orders = orders_of(server)
    ends = new_order_id("")
    odd = {
        f'"quoted" <a@b> \\ {ends}': None,
        f"Müller & 東京 😀 {ends}": None,
        f"=?UTF-8?B?QmNjOiBtZQ==?= {ends}": None,
        f"x\r\nBcc: thief@example.com\r\n\r\nHello{ends}": f"x??Bcc: thief@example.com????Hello{ends}",
        f"x\n.\nRCPT TO:<thief@example.com>\n{ends}": f"x?.?RCPT TO:<thief@example.com>?{ends}",
        f"tab\t\x01\x7f{ends}": f"tab???{ends}",
        f"{'ü' * 100}{ends}": None,
        f"{'x' * (255 - len(ends))}{ends}": None,
    }
    for number, order_id in enumerate(odd):
        queue_for(orders, f"odd{number}@example.com", order_id)
    for number, (order_id, shown) in enumerate(odd.items()):
        each = mail_to(mail, f"odd{number}@example.com")
        shown = shown or order_id
        assert each.recipients == [f"odd{number}@example.com"] and each.content.get_all("bcc") is None
        assert each.content["subject"] == f"Your order {shown} is paid"
        assert len(each.content.get_all("subject")) == 1 and not each.content.defects, each.raw
        assert shown in text_of(each).replace("\n", ""), each.raw
        assert max(map(len, each.raw.split(b"\r\n"))) <= 998, each.raw
        wait_delivered(server.store, order_id, "email")
    assert len(mail.received()) == len(odd)


@pytest.mark.seconds(180)
def test_refused_mails(start_paying, orders_of, start_mail):
    """A mail that was refused for now does not come again, or one that was refused for ever does, or is lost."""
    mail = start_mail()
    mail.refusals = {"later@example.com": "451 4.3.0 come again", "never@example.com": "550 5.1.1 no such user"}
    server = start_paying(*flags(mail))
    orders = orders_of(server)
    later, never = queue_for(orders, "later@example.com"), queue_for(orders, "never@example.com")
    letter = wait_dead(server, 1)[0]
    assert (letter["order_id"], letter["channel"], letter["attempts"]) == (never, "email", 1)
    assert letter["target"] == "never@example.com"
    entry = server.wait_log(lambda entry: "is a dead letter" in entry["message"], "the dead letter")
    assert entry["message"].count("550") == 1 and "no such user" in entry["message"], entry
    entry = server.wait_log(lambda entry: "is tried again in 5 s" in entry["message"], "the refusal")
    assert entry["message"].count("451") == 1, entry
    mail.refusals = {}
    mail_to(mail, "later@example.com")
    wait_delivered(server.store, later, "email")
    assert [each["order_id"] for each in dead_letters(server)["dead_letters"]] == [never]
    assert orders.admin("POST", f"/admin/dead-letters/{letter['id']}/replay").status == 202
    mail_to(mail, "never@example.com")
    wait_delivered(server.store, never, "email")
    assert dead_letters(server) == {"dead_letters": [], "next": None}
    assert len(mail.received()) == 2


def test_mail_server_comes_late(start_paying, orders_of, start_mail):
    """A mail is lost because the mail server was down, or the server was killed in between."""
    mail = start_mail()
    mail.stop()
    server = start_paying(*flags(mail))
    order_id = queue_for(orders_of(server), "cora@example.com")
    server.wait_log(lambda entry: "email" in entry["message"] and "is tried again in 5 s" in entry["message"],
        "the first try has failed")
    server.kill9()
    mail.start()
    server = start_paying(*flags(mail), on=server.store)
    mail_to(mail, "cora@example.com")
    wait_delivered(server.store, order_id, "email")


@pytest.mark.embedded
def test_mail_server_wants_to_know_who(start_paying, orders_of, start_mail):
    """The user and password of --smtp are not told to the mail server, or are written to the log."""
    mail = start_mail(user="shop", password="pass-word-123")
    server = start_paying(*flags(mail, user="shop", password="pass-word-123"))
    order_id = queue_for(orders_of(server), "dora@example.com")
    each = mail_to(mail, "dora@example.com")
    assert (each.user, each.is_encrypted) == (b"shop", False) or (each.user, each.is_encrypted) == ("shop", False)
    wait_delivered(server.store, order_id, "email")
    assert "pass-word-123" not in server.err.text()


@pytest.mark.embedded
def test_mail_server_does_not_know_us(start_paying, orders_of, start_mail):
    """A wrong password, which the operator can mend, makes dead letters of all mails."""
    mail = start_mail(user="shop", password="pass-word-123")
    server = start_paying(*flags(mail, user="shop", password="another-one"))
    order_id = queue_for(orders_of(server), "emil@example.com")
    entry = server.wait_log(lambda entry: "email" in entry["message"], "the refusal")
    assert "is tried again in 5 s" in entry["message"] and "another-one" not in entry["message"], entry
    assert dead_letters(server) == {"dead_letters": [], "next": None} and mail.received() == []
    assert tuple(delivered(server.store, order_id, "email")) == (0, 1)


@pytest.mark.embedded
@pytest.mark.parametrize("is_smtps", [False, True], ids=["starttls", "smtps"])
def test_mail_goes_through_tls(start_paying, orders_of, start_mail, tmp_path, is_smtps):
    """A mail server that offers TLS gets mails without it, or with a certificate that nobody vouches for."""
    certificate = Certificate(tmp_path, "DNS:localhost", "IP:127.0.0.1")
    mail = start_mail(certificate=certificate, is_smtps=is_smtps)
    server = start_paying(*flags(mail), environment={"SSL_CERT_FILE": str(certificate.file)})
    queue_for(orders_of(server), "fred@example.com")
    wire.wait_for(lambda: mail.received() or "is tried again" in server.err.text(), "a mail or a refusal", 60)
    assert mail.received() and mail.received()[0].is_encrypted, server.err.text()
