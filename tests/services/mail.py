# SPDX-License-Identifier: Apache-2.0
"""
A mail server that keeps what it is given, on a thread of this process: it logs people in, speaks TLS, refuses
recipients and goes away, as a test asks. Certificates for it, and for other servers of tests.
"""
import email
import email.policy
import logging
import ssl
import subprocess
import threading
import warnings

from . import process

try:
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import SMTP, AuthResult
except ImportError:
    Controller = None


def check():
    if Controller is None:
        raise process.Missing("aiosmtpd is not installed; script/bootstrap --all does it (package python3-aiosmtpd)")
    process.program("openssl", "openssl")


class Certificate:
    """Self-signed, for these names and addresses ("DNS:localhost", "IP:127.0.0.1"); `file` is its own authority."""

    def __init__(self, directory, *names):
        self.file, self.key = directory / "cert.pem", directory / "key.pem"
        subprocess.run([process.program("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=doorbuster-test", "-addext",
            "subjectAltName=" + ",".join(names), "-keyout", self.key, "-out", self.file], check=True,
            capture_output=True)

    def server_context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key)
        return context


class Mail:
    """What one message was: envelope and parsed content."""

    def __init__(self, server, session, envelope):
        self.sender, self.recipients = envelope.mail_from, list(envelope.rcpt_tos)
        self.raw = envelope.original_content
        self.content = email.message_from_bytes(self.raw, policy=email.policy.default)
        self.user = session.auth_data
        self.is_encrypted = server.transport.get_extra_info("ssl_object") is not None


class MailServer:
    """user and password: must log in with them. certificate: TLS, at once when is_smtps, else offered (STARTTLS)."""

    def __init__(self, user=None, password=None, certificate=None, is_smtps=False):
        check()
        self.port = process.free_port()
        self.user, self.password = user, password
        self.is_smtps = is_smtps
        self.context = certificate.server_context() if certificate else None
        self.refusals = {}  # recipient: the reply that refuses it
        self.lock = threading.Lock()
        self.mails = []
        self.controller = None

    # --- for tests ---

    def url(self, host="127.0.0.1", user=None, password=None):
        who = f"{user}:{password}@" if user else ""
        return f"{'smtps' if self.is_smtps else 'smtp'}://{who}{host}:{self.port}"

    def received(self):
        with self.lock:
            return list(self.mails)

    def wait_mails(self, count):
        return process.wait_for(lambda: len(self.received()) >= count and self.received(), f"{count} mails")

    def start(self):
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port, ready_timeout=process.START_SECONDS,
            ssl_context=self.context if self.is_smtps else None)
        self.controller.factory = self.make_session
        self.controller.start()
        return self

    def stop(self):
        if self.controller:
            self.controller.stop()
            self.controller = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # --- for aiosmtpd ---

    def make_session(self):
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # a password without TLS is what a test wants
        warnings.filterwarnings("ignore", "Requiring AUTH while not requiring TLS")
        return SMTP(self, hostname="mail.example", auth_required=self.user is not None, auth_require_tls=False,
            authenticator=self.log_in, tls_context=None if self.is_smtps else self.context, loop=self.controller.loop)

    def log_in(self, server, session, envelope, mechanism, auth_data):
        is_known = (auth_data.login.decode(), auth_data.password.decode()) == (self.user, self.password)
        return AuthResult(success=is_known, auth_data=auth_data.login.decode(), handled=False)

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        with self.lock:
            self.mails.append(Mail(server, session, envelope))
        return "250 kept"
