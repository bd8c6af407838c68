#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
What the courier sends, as others read it: mail by a mail server and the parser of Python's library, TLS by OpenSSL.
Speaks TAP.

usage: courier_probe_checks.py COURIER_PROBE
"""
import contextlib
import http.server
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import services
from services.mail import Certificate, MailServer

PROBE = sys.argv[1]
SECONDS = 120
TEXT = "Grüße,\n.\n..two dots\nfrom the shop \n" + "=long= " * 100 + "\nEuro: €\n"


def probe(*words, ca="-"):
    done = subprocess.run([PROBE, ca, *map(str, words)], stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=True)
    status, code, text = done.stdout.rstrip("\n").split(" ", 2)
    return status, int(code), text


def send(url, to="ann@example.org", subject="Your order", text=TEXT, ca="-"):
    return probe("mail", url, "shop@example.com", "Läden & Söhne, \"Inc.\"", to, subject, text, ca=ca)


@contextlib.contextmanager
def certificate(*names):
    with tempfile.TemporaryDirectory(prefix="doorbuster-cert-") as directory:
        yield Certificate(Path(directory), *names)


def test_a_mail_arrives_as_it_was_meant():
    """Somebody who gets this mail reads something else."""
    subject = "Bestellung 17 ist bezahlt – danke, Grüße und bis bald in unserem schönen Geschäft 🎉🎉🎉"
    with MailServer() as server:
        assert send(server.url(), subject=subject) == ("answered", 250, "250 kept")
        mail, = server.received()
    assert (mail.sender, mail.recipients) == ("shop@example.com", ["ann@example.org"])
    content = mail.content
    assert not content.defects, content.defects
    assert content["subject"] == subject
    sender = content["from"].addresses[0]
    assert (sender.display_name, sender.addr_spec) == ("Läden & Söhne, \"Inc.\"", "shop@example.com")
    assert content["to"] == "ann@example.org"
    assert content["date"].datetime.isoformat() == "2026-11-20T23:48:01+00:00"
    assert content["message-id"] == "<probe-1@example.com>"
    assert content["auto-submitted"] == "auto-generated"
    assert content.get_content_type() == "text/plain" and content.get_content_charset() == "utf-8"
    assert content.get_content().replace("\r\n", "\n") == TEXT
    assert all(len(line) <= 76 for line in mail.raw.split(b"\r\n"))
    assert not mail.raw.replace(b"\r\n", b"").count(b"\n")


def test_a_refused_recipient_is_an_answer():
    """A mail that will never be delivered is tried for ever, or one that may be is given up."""
    with MailServer() as server:
        server.refusals["ann@example.org"] = "550 nobody here"
        assert send(server.url()) == ("answered", 550, "550 nobody here")
        server.refusals["ann@example.org"] = "451 not now"
        assert send(server.url()) == ("answered", 451, "451 not now")
        assert server.received() == []


def test_it_logs_in_on_this_machine_without_tls():
    """A relay on the same machine cannot be used."""
    with MailServer("shop", "p@ss/word") as server:
        assert send(server.url(user="shop", password="p%40ss%2Fword"))[:2] == ("answered", 250)
        assert send(server.url(user="shop", password="wrong"))[0] == "not-reached"
        mail, = server.received()
    assert (mail.user, mail.is_encrypted) == ("shop", False)


# This machine under a name that the courier does not take for it.
ELSEWHERE = "[::ffff:127.0.0.1]"


def test_a_password_goes_elsewhere_only_through_tls_that_is_verified():
    """A password can be read on its way, or goes to somebody else."""
    with certificate("IP:::ffff:127.0.0.1") as good, MailServer("shop", "secret", good) as server:
        url = server.url(ELSEWHERE, "shop", "secret")
        assert send(url)[0] == "not-reached"  # an authority that nobody knows
        assert server.received() == []
        assert send(url, ca=good.file)[:2] == ("answered", 250)
        mail, = server.received()
        assert (mail.user, mail.is_encrypted) == ("shop", True)
    with MailServer("shop", "secret") as server:
        assert send(server.url(ELSEWHERE, "shop", "secret"))[0] == "not-reached"  # it offers no TLS
        assert server.received() == []
    with certificate("IP:192.0.2.1") as other, MailServer("shop", "secret", other) as server:
        assert send(server.url(ELSEWHERE, "shop", "secret"), ca=other.file)[0] == "not-reached"
        assert server.received() == []


def test_smtps_is_tls_from_the_first_byte():
    """Servers that take mail on port 465 cannot be used."""
    with certificate("IP:::ffff:127.0.0.1") as good, MailServer("shop", "secret", good, is_smtps=True) as server:
        url = server.url(ELSEWHERE, "shop", "secret")
        assert send(url)[0] == "not-reached"
        assert send(url, ca=good.file)[:2] == ("answered", 250)
        mail, = server.received()
        assert (mail.user, mail.is_encrypted) == ("shop", True)


class Hook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bodies = []

    def do_POST(self):
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_https_is_verified():
    """A webhook or a payment goes to whoever sits on the way."""
    with certificate("IP:127.0.0.1") as good:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        server.socket = good.server_context().wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://127.0.0.1:{server.server_port}/hook"
        assert probe("post", url, "unknown authority")[0] == "not-reached"
        assert probe("post", url.replace("127.0.0.1", "localhost"), "wrong name", ca=good.file)[0] == "not-reached"
        assert probe("post", url, "known", ca=good.file)[:2] == ("answered", 204)
        assert Hook.bodies == [b"known"]
        server.shutdown()
        server.server_close()


def main():
    try:
        services.mail.check()
    except services.Missing as missing:
        print(f"1..0 # SKIP {missing}")
        return
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    print(f"1..{len(tests)}")
    for number, (name, test) in enumerate(tests, 1):
        try:
            test()
            print(f"ok {number} - {name}")
        except Exception:
            print("".join("# " + line + "\n" for line in [test.__doc__, *traceback.format_exc().splitlines()]), end="")
            print(f"not ok {number} - {name}")


main()
