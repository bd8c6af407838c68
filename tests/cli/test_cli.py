# SPDX-License-Identifier: Apache-2.0
"""
The command line as a person or a script meets it: help, exit statuses, and the demo with all that can happen to it.

DOORBUSTER_BIN is the binary under test, by default build/doorbuster.
"""
import base64
import fcntl
import os
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import termios
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = (ROOT / os.environ.get("DOORBUSTER_BIN", "build/doorbuster")).resolve()
VERBS = ["serve", "rush", "verify", "migrate", "demo", "help"]
SECONDS_MAX = 60
DEMO_SECONDS_MAX = 180
DEMOS_MAX = 5
# What a demo says on a machine that stood still for a moment: then another one is taken.
TOO_SLOW = ("INVALID: the generator was late", "FAIL  http_req_duration", "FAIL  order_duration",
    "FAIL  order_timeouts", "FAIL  customers waited", "FAIL  what could not be paid in time was refused at once",
    "FAIL  no order failed or was refused", "FAIL  SIGKILL hits", "FAIL  99 % were answered sooner",
    "FAIL  no machine stood still", "FAIL  every machine finished after", "FAIL  99 % of the requests")


def environment(**extra):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DOORBUSTER_")}
    return {**kept, **extra}


def run(*arguments, cwd=None, **extra):
    return subprocess.run([str(BINARY), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=SECONDS_MAX, cwd=cwd, env=environment(**extra))


class Demo:
    """A running `doorbuster demo` whose temporary files lie in a directory of ours."""

    def __init__(self, directory, *arguments, **extra):
        self.text = ""
        size = [] if {"orders", "vending", "marketplace"} & set(arguments) else ["--users", "200"]
        self.process = subprocess.Popen(
            [str(BINARY), "demo", *size, *arguments], stdin=subprocess.DEVNULL, stdout=self.output(),
            stderr=subprocess.STDOUT, env=environment(TMPDIR=str(directory), **extra), start_new_session=True)

    def output(self):
        return subprocess.PIPE

    def read_until(self, pattern):
        """Reads on until the pattern has been printed; the match."""
        end = time.monotonic() + DEMO_SECONDS_MAX
        while not (match := re.search(pattern, self.text)):
            left = end - time.monotonic()
            assert left > 0, f"never printed {pattern}:\n{self.text}"
            ready, _, _ = select.select([self.process.stdout], [], [], left)
            piece = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert piece or not ready, f"ended before it printed {pattern}:\n{self.text}"
            self.text += piece.decode()
        return match

    def finish(self):
        """The exit status, after everything has been read."""
        out, _ = self.process.communicate(timeout=DEMO_SECONDS_MAX)
        self.text += out.decode()
        return self.process.returncode


class LiveDemo(Demo):
    """One that runs on a terminal of 40 lines of 100 characters."""

    def __init__(self, directory, *arguments, **extra):
        super().__init__(directory, *arguments, TERM="xterm-256color", **extra)
        os.close(self.inner)

    def output(self):
        self.outer, self.inner = os.openpty()
        fcntl.ioctl(self.inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        return self.inner

    def read_until(self, pattern):
        end = time.monotonic() + DEMO_SECONDS_MAX
        while not (match := re.search(pattern, self.text)):
            left = end - time.monotonic()
            assert left > 0 and self.read_some(left), f"ended before it printed {pattern}:\n{self.text}"
        return match

    def read_some(self, seconds):
        """False when all has been read, or nothing came in that time."""
        if not select.select([self.outer], [], [], seconds)[0]:
            return False
        try:
            piece = os.read(self.outer, 65536)
        except OSError:  # what reading a terminal says that nobody writes to any more
            return False
        self.text = (self.text + piece.decode()).replace("\r\n", "\n")
        return True

    def finish(self):
        while self.read_some(DEMO_SECONDS_MAX):
            continue
        os.close(self.outer)
        return self.process.wait(timeout=DEMO_SECONDS_MAX)


@pytest.fixture
def start_demo(tmp_path):
    """start_demo(*arguments) in tmp_path, which must be empty again afterwards unless the test says otherwise."""
    demos = []

    def start(*arguments, kind=Demo, **extra):
        demos.append(kind(tmp_path, *arguments, **extra))
        return demos[-1]

    yield start
    for demo in demos:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.finish()


def in_time(start_demo, *arguments, ready=None, **extra):
    """A demo that has finished, or has printed `ready`; another one when this machine stood still for its crowd."""
    for left in reversed(range(DEMOS_MAX)):
        demo = start_demo(*arguments, **extra)
        if ready is None:
            demo.finish()
        else:
            demo.read_until(ready)
        if left == 0 or not any(words in demo.text for words in TOO_SLOW):
            return demo
        if ready is not None:
            demo.process.send_signal(signal.SIGINT)
            demo.finish()
        remove_evidence(demo)


def remove_evidence(demo):
    """What a demo that failed has left, so that the next one begins with nothing."""
    for directory in re.findall(r"are left in (\S+)$", demo.text, re.M):
        shutil.rmtree(directory)


def is_listening(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def wait_gone(port):
    end = time.monotonic() + SECONDS_MAX
    while is_listening(port):
        assert time.monotonic() < end, f"somebody still listens on port {port}"
        time.sleep(0.02)  # pause: between two looks


# --- help and usage ---

def test_version_is_one_line():
    result = run("--version")
    assert result.returncode == 0
    assert re.fullmatch(r"doorbuster \d+\.\d+\.\d+\n", result.stdout)


def test_help_lists_every_verb():
    for arguments in (["--help"], ["-h"], ["help"]):
        result = run(*arguments)
        assert result.returncode == 0 and result.stderr == ""
        for verb in VERBS:
            assert re.search(rf"^  {verb} ", result.stdout, re.M)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb):
    result = run(verb, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"doorbuster {verb}: ")
    assert "Examples:" in result.stdout
    assert run("help", verb).stdout == result.stdout
    assert max(map(len, result.stdout.split("\n"))) <= 110


def test_the_manual_page_is_roff():
    result = run("help", "--man")
    assert result.returncode == 0
    assert result.stdout.startswith(".TH DOORBUSTER 1")
    assert all(f".SH DOORBUSTER {verb}\n" in result.stdout for verb in VERBS)


@pytest.mark.parametrize("arguments, words", [
    ([], "Usage: doorbuster VERB"),
    (["srve"], 'there is no verb "srve"; did you mean serve'),
    (["frobnicate"], 'there is no verb "frobnicate"; doorbuster --help lists them'),
    (["help", "frobnicate"], 'there is no verb "frobnicate"'),
    (["serve", "--lsten", "x"], "there is no flag --lsten; did you mean --listen?"),
    (["serve", "--line-depth-max", "many"], "expected a whole number of commands from 1 to 1048576"),
    (["serve", "now"], '"now" is one word too many'),
    (["serve", "--admin-key", "short"], "(not shown), expected 16 to 255"),
    (["serve", "--payment-decline-rate", "2"], "expected a number from 0 to 1 (a share of payments)"),
    (["rush"], "SCENARIO is missing"),
    (["demo", "--users", "3", "--stock", "7"], "expected at most --users (3)"),
    (["demo", "order"], 'there is no demo "order"; expected orders, vending, marketplace, or nothing'),
    (["demo", "orders", "--stock", "7"], "--stock is of another demo; orders takes --seconds and --payment-time"),
    (["demo", "--seconds", "7"], "--seconds is of another demo; the flash sale takes --users and --stock"),
    (["demo", "--dispense-time", "1s"], "--dispense-time is of another demo; the flash sale takes"),
    (["demo", "vending", "--stock", "7"], "--stock is of another demo; vending takes --users and --dispense-time"),
    (["demo", "marketplace", "--stock", "7"], "--stock is of another demo; marketplace takes --users"),
])
def test_wrong_usage_is_status_2_and_one_sentence(arguments, words):
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert words in result.stderr
    if arguments:
        assert result.stderr.count("\n") == 1


KEY = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize("flag, arguments", [
    ("payment", ["--payment", "simulatd"]),
    ("payment", ["--payment", "ftp://127.0.0.1/pay"]),
    ("webhook", ["--webhook", "127.0.0.1", "--webhook-secret", KEY]),
    ("webhook", ["--webhook", "http://127.0.0.1/"]),
    ("intake-sink", ["--intake-sink", "smtp://127.0.0.1/", "--webhook-secret", KEY]),
    ("intake-sink", ["--intake-sink", "http://127.0.0.1/"]),
    ("webhook-secret", ["--webhook-secret", "TOPSECRET"]),
    ("smtp", ["--smtp", "http://user:TOPSECRET@127.0.0.1/"]),
    ("mail-from", ["--smtp", "smtp://127.0.0.1/", "--mail-from", "nobody"]),
    ("currency", ["--currency", "usd"]),
    ("currency", ["--currency", "U\"D"]),
    ("opening-balance", ["--opening-balance", "1e3"]),
    ("opening-balance", ["--opening-balance", "0.001"]),
])
def test_bad_settings_of_a_server_are_named_before_anything_is_made(tmp_path, flag, arguments):
    result = run("serve", "--store", "shop.db", "--listen", "127.0.0.1:0", *arguments, cwd=tmp_path)
    assert result.returncode == 2 and result.stdout == "", result
    assert result.stderr.startswith(f"doorbuster serve: --{flag}: ") and result.stderr.count("\n") == 1, result
    assert "TOPSECRET" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_variable_is_wrong_usage_too():
    result = run("serve", DOORBUSTER_NET_THREADS="many")
    assert result.returncode == 2
    assert "DOORBUSTER_NET_THREADS is \"many\"" in result.stderr


SECRET_URL = "postgres://u:TOPSECRET@127.0.0.1/db"


@pytest.mark.parametrize("arguments", [
    ["verify", SECRET_URL],
    ["verify", "host=h password=TOPSECRET"],
    ["verify", "--quiet=" + SECRET_URL],
    ["serve", "--" + SECRET_URL],
    ["serve", "-" + SECRET_URL],
    ["serve", "--net-threads", SECRET_URL],
    ["serve", "--admin-key-file", SECRET_URL],
    ["serve", "--store", SECRET_URL + "x" * 5000],
    ["verify", "--store", "TOPSECRET" + "x" * 5000],
    ["migrate", "--from", "shop.db", "--to", SECRET_URL + "x" * 5000],
    ["migrate", "--from", "TOPSECRET" + "x" * 5000, "--to", SECRET_URL],
    ["rush", SECRET_URL],
    ["help", SECRET_URL],
    [SECRET_URL],
])
def test_a_password_in_a_wrong_place_is_not_shown(arguments):
    """Who forgets --store finds the password in a log."""
    result = run(*arguments)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
    assert "TOPSECRET" not in result.stderr and "(not shown)" in result.stderr, result.stderr


@pytest.mark.parametrize("store", ["postgres:shop", "Postgres://u:TOPSECRET@127.0.0.1/shop", "postgresql:/shop",
    "mysql://a:TOPSECRET@h/d", "host=127.0.0.1 dbname=shop password=TOPSECRET", "dbname=shop"])
def test_a_mistyped_database_is_no_file(store, tmp_path):
    """A server sells from a new file that has the name of a database."""
    for arguments in (["serve", "--store", store], ["verify", "--store", store], ["migrate", "--store", store],
            ["migrate", "--from", store, "--to", "postgres://h/d"], ["migrate", "--from", "shop.db", "--to", store],
            ["serve"], ["verify"], ["migrate"]):
        extra = {} if len(arguments) > 1 else {"DOORBUSTER_STORE": store}
        result = run(*arguments, cwd=tmp_path, **extra)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
        assert "looks like a database but is no URL" in result.stderr and "./NAME" in result.stderr, result.stderr
        assert ("DOORBUSTER_STORE " in result.stderr) == (len(arguments) == 1), result.stderr
        assert "TOPSECRET" not in result.stderr, result.stderr
        assert not any(tmp_path.iterdir())
    result = run("verify", "--store", "./" + store, cwd=tmp_path)
    assert result.returncode == 3 and "looks like a database" not in result.stderr, result.stderr


def test_full_standard_output_is_no_success():
    with open("/dev/full", "w") as full:
        result = subprocess.run([str(BINARY), "help"], stdout=full, stderr=subprocess.PIPE, text=True,
                                timeout=SECONDS_MAX, env=environment())
    assert result.returncode == 3
    assert "No space left" in result.stderr


# --- the demo ---

def test_the_demo_passes_and_leaves_nothing(start_demo, tmp_path):
    demo = in_time(start_demo, "--stock", "20")
    assert demo.process.returncode == 0, demo.text
    assert "verdict: PASS" in demo.text
    assert "FAIL" not in demo.text
    assert list(tmp_path.iterdir()) == []


def test_the_callers_variables_do_not_reach_the_demo(start_demo):
    """A production setting in the environment must neither break nor touch the demo."""
    demo = in_time(start_demo, "--stock", "20", DOORBUSTER_STORE="/nonexistent/shop.db",
                   DOORBUSTER_FAULT="commit:1+:full", DOORBUSTER_URL="http://127.0.0.1:1", DOORBUSTER_ADMIN_KEY="x",
                   NOTIFY_SOCKET="/nonexistent")
    assert demo.process.returncode == 0, demo.text


def test_the_kept_demo_can_be_played_with(start_demo, tmp_path):
    """The printed lines work as they stand; Ctrl-C ends with a last audit and nothing is left."""
    demo = in_time(start_demo, "--keep", ready="Ctrl-C stops")
    lines = re.findall(r"^  (curl .*)$", demo.text, re.M)
    assert len(lines) == 3
    answers = [subprocess.run(shlex.split(line) + ["-sS"], capture_output=True, text=True, timeout=SECONDS_MAX)
               for line in lines]
    for answer in answers:
        assert answer.returncode == 0, answer.stderr
        assert '"success":true' in answer.stdout, answer.stdout
    demo.process.send_signal(signal.SIGINT)
    assert demo.finish() == 0, demo.text
    assert "verdict: PASS" in demo.text
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_demo_takes_everything_down(start_demo, tmp_path):
    demo = start_demo()
    port = demo.read_until(r"ready on http://127\.0\.0\.1:(\d+)").group(1)
    demo.process.send_signal(signal.SIGTERM)
    assert demo.finish() == -signal.SIGTERM, demo.text
    assert not is_listening(port)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_demo_leaves_no_server(start_demo):
    demo = start_demo("--keep")
    port = demo.read_until(r"ready on http://127\.0\.0\.1:(\d+)").group(1)
    demo.read_until("Ctrl-C stops")
    demo.process.kill()
    wait_gone(port)


def test_a_demo_without_a_place_to_write_says_so():
    for directory, reason in (("/nonexistent", "No such file"), ("/" + 1100 * "x", "File name too long")):
        result = run("demo", TMPDIR=directory)
        assert result.returncode == 3
        assert f"cannot make a directory under {directory[:200]}: {reason}" in result.stderr


# --- the demo of orders ---

ORDERS = ("orders", "--seconds", "3", "--payment-time", "500ms")


def test_the_demo_of_orders_tells_the_whole_story(start_demo, tmp_path):
    """The original's figures are missing, or one of ours does not hold: an act, the kill, or the audit."""
    demo = in_time(start_demo, *ORDERS)
    assert demo.process.returncode == 0, demo.text
    assert "verdict: PASS" in demo.text and "FAIL" not in demo.text, demo.text
    assert re.search(r"^failure rate +86\.7 % +0\.00 %$", demo.text, re.M), demo.text
    assert re.search(r"^response time, average +9521 ms +[0-9.]+ ms$", demo.text, re.M), demo.text
    for what in ("was refused at once: [1-9]", "paid before its customer gave up", "no order failed or was refused",
            "customers waited [5-9][0-9][0-9] ms", "the backlog of payments was worked off",
            "SIGKILL hits the server with [1-9]", "all [1-9][0-9]* orders that were acknowledged are there",
            "every invariant holds under a running server", "every invariant holds at rest"):
        assert re.search("^PASS  .*" + what, demo.text, re.M), f"{what}:\n{demo.text}"
    assert list(tmp_path.iterdir()) == []


def test_the_kept_demo_of_orders_takes_orders(start_demo, tmp_path):
    """The printed lines do not work as they stand, or Ctrl-C does not end with a last audit."""
    demo = in_time(start_demo, *ORDERS, "--keep", ready="Ctrl-C stops")
    lines = re.findall(r"^  (curl .*)$", demo.text, re.M)
    assert len(lines) == 3
    answers = [subprocess.run(shlex.split(line) + ["-sS"], capture_output=True, text=True, timeout=SECONDS_MAX)
               for line in lines]
    assert all(answer.returncode == 0 for answer in answers), answers
    queued, shown, events = [answer.stdout for answer in answers]
    assert '"status":"pending"' in queued and '"order_id":"my-first"' in shown, answers
    assert '"status":"completed"' in events, answers
    demo.process.send_signal(signal.SIGINT)
    assert demo.finish() == 0, demo.text
    assert "verdict: PASS" in demo.text
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_demo_of_orders_takes_everything_down(start_demo, tmp_path):
    demo = start_demo("orders")
    port = demo.read_until(r"ready on http://127\.0\.0\.1:(\d+)").group(1)
    demo.process.send_signal(signal.SIGTERM)
    assert demo.finish() == -signal.SIGTERM, demo.text
    assert not is_listening(port)
    assert list(tmp_path.iterdir()) == []


# --- the demo of vending machines ---

VENDING = ("vending", "--users", "100", "--dispense-time", "500ms")
BRIEFLY = ("vending", "--users", "10", "--dispense-time", "200ms")


def test_the_demo_of_vending_machines_tells_the_whole_story(start_demo, tmp_path):
    """The original's figures are missing, or one of ours does not hold: an act, the kill, or the audit."""
    demo = in_time(start_demo, *VENDING)
    assert demo.process.returncode == 0, demo.text
    assert "verdict: PASS" in demo.text and "FAIL" not in demo.text, demo.text
    assert re.search(r"^ +100 +\d+ +\d+ +0 +[0-9.]+ ms +551 ms$", demo.text, re.M), demo.text
    for what in ("up to 100 users at once, everyone was answered",
            "what is left is what was supplied less what was sold",
            "30 users were served in the order of the line: 0 overtaken, 0 turned away", "none starved",
            "the machine that was added while [1-9][0-9]* waited served them at once: [1-9]",
            "the machine that was drained finished its user and took no more: [01] sold afterwards",
            "SIGKILL hits the server with 5 machines dispensing and 8 people in line",
            "5 machines go on with the time that was left", "all 8 tickets are there, in the order",
            "every machine finished after 1.5 s in all", "8 of 8 tickets were served, in their order",
            "every invariant holds under a running server", "every invariant holds at rest"):
        assert re.search("^PASS  .*" + what, demo.text, re.M), f"{what}:\n{demo.text}"
    assert list(tmp_path.iterdir()) == []


def test_without_a_terminal_the_line_is_told_in_plain_lines(start_demo):
    """Where nothing can be drawn in place, sales and what the operator does come as lines, without control codes."""
    demo = start_demo(*BRIEFLY)
    demo.read_until(r"machine 2 has sold \d+ and takes no more; \d+ in line, [0-9.]+ sales a second\n")
    demo.process.send_signal(signal.SIGTERM)
    assert demo.finish() == -signal.SIGTERM, demo.text
    assert "\x1b" not in demo.text and "\r" not in demo.text
    for what in (r"machine \d+ has sold \d+, lease \d+ has it now; \d+ in line", "an operator adds machine 6",
            "an operator drains machine 2"):
        assert re.search(r"^ +[0-9.]+ s  " + what, demo.text, re.M), f"{what}:\n{demo.text}"


@pytest.mark.parametrize("is_colored", [True, False])
def test_on_a_terminal_the_machines_are_drawn_in_place(start_demo, tmp_path, is_colored):
    """The board scrolls instead of being drawn over, is too wide, or has colours that nobody asked for; or Ctrl-C in
    the middle of it does not take everything down."""
    demo = start_demo(*BRIEFLY, kind=LiveDemo, **({} if is_colored else {"NO_COLOR": "1"}))
    port = demo.read_until(r"ready on http://127\.0\.0\.1:(\d+)").group(1)
    demo.read_until(r"\r\x1b\[9A[^\r]*in line: [1-9][^\r]*an operator drains machine 2")
    demo.process.send_signal(signal.SIGINT)
    assert demo.finish() == -signal.SIGINT, demo.text
    assert not is_listening(port)
    assert list(tmp_path.iterdir()) == []
    assert ("\x1b[32m" in demo.text) == is_colored
    board = re.sub(r"\x1b\[[0-9]*[A-Za-z]", "", demo.text[demo.text.index("-- 2."):])
    assert re.search(r"^ +3  dispensing +\d+  #+\.* +0\.[0-2] s +\d+$", board, re.M), board
    assert re.search(r"^ +2  (draining|drained) ", board, re.M), board
    assert max(len(line) for line in board.replace("\r", "\n").split("\n")) <= 120
    frames = demo.text.split("\x1b[9A")[1:]
    assert all(frame.count("\x1b[K") in (9, 10) for frame in frames[:-1]), demo.text
    assert "machine 2 has sold" not in demo.text


def test_the_kept_demo_of_vending_machines_sells(start_demo, tmp_path):
    """The printed lines do not work as they stand, or Ctrl-C does not end with a last audit."""
    demo = in_time(start_demo, *VENDING, "--keep", ready="Ctrl-C stops")
    lines = re.findall(r"^  (curl .*)$", demo.text, re.M)
    assert len(lines) == 3
    answers = [subprocess.run(shlex.split(line) + ["-sS"], capture_output=True, text=True, timeout=SECONDS_MAX)
               for line in [*lines, lines[-1]]]
    assert all(answer.returncode == 0 for answer in answers), answers
    machine, product, first, again = [answer.stdout for answer in answers]
    assert '"name":"Lobby","status":"idle"' in machine and '"name":"Espresso","stock":10' in product, answers
    for said, stock in ((first, 9), (again, 8)):
        assert '"status":"processing"' in said and f'"name":"Espresso","stock":{stock}' in said, answers
    demo.process.send_signal(signal.SIGINT)
    assert demo.finish() == 0, demo.text
    assert "verdict: PASS" in demo.text
    assert list(tmp_path.iterdir()) == []


# --- the demo of the marketplace ---

MARKETPLACE = ("marketplace", "--users", "50")


def test_the_demo_of_the_marketplace_tells_the_whole_story(start_demo, tmp_path):
    """The original's figures are missing, or one of ours does not hold: a crowd, the same coins at once, the kills, the
    audit."""
    demo = in_time(start_demo, *MARKETPLACE)
    assert demo.process.returncode == 0, demo.text
    assert "verdict: PASS" in demo.text and "FAIL" not in demo.text, demo.text
    assert re.search(r"^ +50 +50 +300 +0 +[0-9.]+ ms +[0-9.]+ ms$", demo.text, re.M), demo.text
    assert re.search(r"^sustained reads +36\.0/s +\d+(\.\d+)?/s$", demo.text, re.M), demo.text
    for what in ("99 % of the requests of 50 users",
            "up to 50 users at once, everyone bought: 0 of 360 requests failed",
            "60 wallets hold what they were opened with", "60 receipts are signed by the server's key",
            "what is left is what was supplied less what was sold: 0",
            r"Duplicate registration race \(10 at once\): 1 ",
            "100 spends of 7.00 MC at once .* 14 succeed and 86 are answered 402",
            "one intent sent 100 times at once: 100 answered", "SIGKILL hits the server [1-3] times; [1-9]",
            "1000 spends of 7.00 MC at once .* 14 succeed and 986 are answered 402",
            "one intent sent 1000 times at once: 1000 answered",
            "every spend and transfer was answered in the end: 0 were not",
            "every invariant holds under a running server", "every invariant holds at rest"):
        assert re.search("^PASS  .*" + what, demo.text, re.M), f"{what}:\n{demo.text}"
    assert list(tmp_path.iterdir()) == []


def test_the_kept_demo_of_the_marketplace_sells(start_demo, tmp_path):
    """The printed lines do not work as they stand, or Ctrl-C does not end with a last audit."""
    demo = in_time(start_demo, *MARKETPLACE, "--keep", ready="Ctrl-C stops")
    lines = re.findall(r"^  (curl .*)$", demo.text, re.M)
    assert len(lines) == 2
    made, featured = [subprocess.run(shlex.split(line) + ["-sS"], capture_output=True, text=True, timeout=SECONDS_MAX)
                      for line in lines]
    assert '"name":"Espresso","stock":10' in made.stdout, made
    assert '"name":"Espresso","price":2.5,"currency":"MC"' in featured.stdout, featured
    line = re.search(r"^  (examples/buy\.sh .*)$", demo.text, re.M)[1]
    bought = subprocess.run([*shlex.split(line), str(tmp_path / "wallet.pem")], cwd=ROOT, capture_output=True,
                            text=True, timeout=SECONDS_MAX)
    assert bought.returncode == 0 and "signed by the server" in bought.stdout, bought
    (tmp_path / "wallet.pem").unlink()
    demo.process.send_signal(signal.SIGINT)
    assert demo.finish() == 0, demo.text
    assert "verdict: PASS" in demo.text
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_demo_of_the_marketplace_takes_everything_down(start_demo, tmp_path):
    """Ctrl-C while the server is killed and its crowd repeats leaves one of them behind, or their files."""
    demo = start_demo(*MARKETPLACE)
    port = demo.read_until(r"ready on http://127\.0\.0\.1:(\d+)").group(1)
    demo.read_until("-- 4. kill -9")
    demo.process.send_signal(signal.SIGTERM)
    assert demo.finish() == -signal.SIGTERM, demo.text
    assert not is_listening(port)
    assert list(tmp_path.iterdir()) == []
