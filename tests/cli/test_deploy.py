# SPDX-License-Identifier: Apache-2.0
"""
What an operator copies from docs/deploy.md, deploy/ and the Containerfile: it has to name what there is, and a node
has to get along with the rights that deploy/grants.sql gives it.
"""
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "api"))
from intake import Sink, Trader  # noqa: E402
from market import Market, Wallet, new_spend  # noqa: E402
from ordering import Orders  # noqa: E402
from outbox import Hook  # noqa: E402
from postgres_books import BINARY, HOLDS, ROOT, environment, run, start_postgres  # noqa: E402
from server import ADMIN_KEY, Server  # noqa: E402
from services import wait_for  # noqa: E402
from shop import Shop, new_user  # noqa: E402

COPIED = ["README.md", "Containerfile", "docs/deploy.md", "docs/operations.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "deploy").iterdir())]
DOORBUSTER = re.compile(
    r"(?:^|[\s`/\[\"])doorbuster\"?,? +\[?\"?(serve|rush|verify|migrate|demo|help)\b([^|;`#&]*)", re.M)
PASSWORD = "dev-password-3"


def text(name):
    """With lines that go on joined."""
    return (ROOT / name).read_text().replace("\\\n", " ")


def flags(verb):
    """The flags and variables that its help tells of."""
    told = run("help", verb).stdout
    return {"--help", *re.findall(r"(?<![\w-])--[a-z][a-z-]*", told)}, set(re.findall(r"DOORBUSTER_[A-Z_]+", told))


@pytest.fixture(scope="module")
def known():
    verbs = re.findall(r"^  (\w+) ", run("help").stdout, re.M)
    assert len(verbs) >= 6, verbs
    return {verb: flags(verb) for verb in verbs}


@pytest.mark.parametrize("name", COPIED)
def test_every_flag_and_variable_exists(name, known):
    """A command or a setting that is told of has been renamed or has gone."""
    for verb, arguments in DOORBUSTER.findall(text(name)):
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", arguments.split("\n")[0]):
            assert flag in known[verb][0], f"{name}: doorbuster {verb} has no {flag}"
    variables = set().union(*(names for _, names in known.values()))
    variables |= set(re.findall(r"(?:\$\{|defined\()(DOORBUSTER_[A-Z0-9_]+)", text("deploy/haproxy.cfg")))
    for variable in re.findall(r"\bDOORBUSTER_[A-Z0-9_]*[A-Z0-9]\b", text(name)):
        assert variable in variables, f"{name}: there is no {variable}"


def test_the_search_for_flags_finds_them():
    """The test above looks past what it should look at."""
    found = {verb for name in COPIED for verb, arguments in DOORBUSTER.findall(text(name)) if "--" in arguments}
    assert found >= {"serve", "rush", "verify", "migrate"}, found
    assert DOORBUSTER.search('ExecStart=/usr/local/bin/doorbuster serve --listen x')[2] == " --listen x"


@pytest.mark.parametrize("name", COPIED)
def test_every_file_exists(name):
    """A file that is told of has been renamed or has gone."""
    for path in re.findall(r"(?<![\w/])(?:deploy|docs|examples|script|tests|src)/[\w/.@-]*\w", text(name)):
        assert (ROOT / path).exists(), f"{name} names {path}"


def test_readme_and_deploy_tell_the_same():
    """The lines on moving to PostgreSQL have been changed in one place only."""
    lines = re.search(r"<!-- the same.*?-->\n(1\. .*?)<!-- end", text("docs/deploy.md"), re.S)[1]
    assert lines in text("README.md")
    assert len(re.findall(r"^\d\. ", lines, re.M)) == 5


def test_both_units_are_hardened_alike():
    """One of the units has been hardened further, or less, than the other."""
    one, many = (text(f"deploy/doorbuster{kind}.service").split("[Service]")[1].splitlines() for kind in ("", "@"))
    own = ("#", "Environment", "LoadCredential", "StateDirectory")
    one, many = ([line for line in lines if line and not line.startswith(own)] for lines in (one, many))
    assert one == many
    assert len(one) > 35, "what is compared has gone"


def test_a_stop_has_the_time_it_takes():
    """systemd kills a node that is still answering."""
    for name in ("deploy/doorbuster.service", "deploy/doorbuster@.service"):
        delay = re.search(r"DOORBUSTER_DRAIN_DELAY=(\d+)s", text(name))
        timeout = re.search(r"--drain-timeout.*?Default: (\d+)s", run("help", "serve").stdout, re.S)
        stop = re.search(r"^TimeoutStopSec=(\d+)$", text(name), re.M)
        assert int(stop[1]) >= int(delay[1] if delay else 1) + int(timeout[1]) + 5, name


# --- rights ---

@pytest.fixture(scope="module")
def postgres():
    server = start_postgres()
    yield server
    server.remove()


def psql(url, name, *arguments):
    done = subprocess.run(["psql", "-X", "-v", "ON_ERROR_STOP=1", *arguments, url], stdin=open(ROOT / name), text=True,
        capture_output=True, timeout=60, env=environment())
    assert done.returncode == 0, done.stderr


class Node:
    """Where a server under test finds its store."""

    def __init__(self, directory, url):
        self.directory = directory
        self.argument = url


def test_a_node_sells_with_the_rights_of_grants_sql(postgres, tmp_path):
    """A statement of a node needs a right that deploy/grants.sql does not give; or a node may do what it need not."""
    postgres.super_sql("DROP ROLE doorbuster")  # the tests' own user
    psql(postgres.super_url(), "deploy/database.sql", "-v", f"owner_password={PASSWORD}",
        "-v", f"node_password={PASSWORD}")
    owner, url = (postgres.url("shop", user=user, password=PASSWORD) for user in ("doorbuster_owner", "doorbuster"))
    assert run("migrate", "--store", owner).returncode == HOLDS
    assert "permission" in run("verify", "--store", url).stderr, "a node reads before it was given the right to"
    for _ in range(2):  # may be repeated
        psql(owner, "deploy/grants.sql")

    hook, sink = Hook().start(), Sink()
    server = Server(Node(tmp_path, url), ["--idempotency-ttl", "1s", "--purchase-interval", "0",
        "--payment-time", "1s", "--dispense-time", "100ms", "--webhook", hook.url, *sink.arguments]).start()
    try:
        sell_everything_there_is(server, postgres)
        take_orders_of_all_kinds(server, postgres, sink)
        serve_at_machines(server, postgres)
        pay_with_wallets(server)
        done = run("rush", "purchase-load", "--url", f"http://127.0.0.1:{server.port}", "--users", 200, "--stock", 20,
            "--admin-key", ADMIN_KEY)
        assert done.returncode == HOLDS, done.stdout + done.stderr
    finally:
        server.stop()
        hook.stop()
        sink.close()
    assert run("verify", "--store", owner).returncode == HOLDS
    assert "permission denied" not in server.err.text()
    refused = [line for line in postgres.log.read_text().splitlines() if "permission denied" in line]
    assert len(refused) <= 1, refused  # the one of verify above

    for statement in ("UPDATE purchase_log SET user_id = 'me'", "UPDATE idempotency_keys SET result = 0",
            "UPDATE doorbuster_schema SET version = 2", "TRUNCATE work", "DROP TABLE work",
            "UPDATE payments SET outcome = 'paid'", "DELETE FROM orders", "UPDATE orders SET amount_minor = 0",
            "UPDATE accounts SET password_hash = ''", "UPDATE wallets SET public_key = ''", "DELETE FROM wallets",
            "UPDATE transfers SET amount_minor = 1", "DELETE FROM transfers", "UPDATE intake_orders SET quantity = 1",
            "DELETE FROM intake_deliveries", "UPDATE leases SET outcome = 'reset'", "DELETE FROM tickets",
            "UPDATE tickets SET first_lease_id = 1", "DELETE FROM pool", "UPDATE secrets SET value = ''",
            "CREATE TABLE mine (id int)", "CREATE TEMP TABLE mine (id int)"):
        with pytest.raises(Exception, match="permission denied|must be owner"):
            postgres.sql(statement, database="shop", user="doorbuster", password=PASSWORD)


def take_orders_of_all_kinds(server, postgres, sink):
    """Paid and told, cancelled, and handed to the sink."""
    orders = Orders(server)
    paid = orders.queue_well()
    assert orders.wait_status(paid, "completed") == "completed"
    wait_for(lambda: postgres.super_sql("SELECT count(delivered_at) FROM notifications", database="shop") == [(1,)],
        "the shop is told", 20)
    orders.close()
    trader = Trader(server)
    placed = trader.place()["id"]
    wait_for(lambda: trader.order(placed)["status"] == "EXECUTED", "the sink has it", 20)
    sink.answer = lambda number: 503
    under_way = trader.place()["id"]
    wait_for(lambda: postgres.super_sql("SELECT sent_id FROM intake_state", database="shop") == [(2,)],
        "the second is under way", 20)
    assert trader.cancel(under_way).status == 409
    assert trader.cancel(trader.place()["id"]).status == 200
    trader.close()


def serve_at_machines(server, postgres):
    """Taken, chosen and done; waited for and served; reset, renamed and deleted."""
    shop = Shop(server)

    def ask(method, target, status, **members):
        reply = shop.ask(method, "/api/" + target, shop.admin, members or None)
        assert reply.status == status, reply
        return reply.json() if reply.body else None

    product = ask("POST", "products", 201, name="Tea", stock=3, category="drinks", featured=True)["id"]
    machine = ask("POST", "vending-machines", 201, name="first")["id"]
    assert ask("POST", "orchestrator/start-work", 200)["machine"]["id"] == machine
    ticket = ask("POST", "orchestrator/queue", 202)["ticket"]
    ask("POST", "orchestrator/choose-product", 200, machine_id=machine, product_id=product, count=2, coins=2)
    wait_for(lambda: postgres.super_sql("SELECT state FROM tickets", database="shop") == [("served",)],
        "who waits is served", 20)
    assert ask("GET", f"orchestrator/queue/{ticket}", 200)["machine"]["id"] == machine
    ask("PATCH", f"vending-machines/{machine}", 200, name="renamed")
    ask("POST", f"vending-machines/{machine}/reset", 200)
    ask("DELETE", f"vending-machines/{machine}", 204)
    ask("PATCH", f"products/{product}/stock", 200, stock=0)
    ask("DELETE", f"products/{product}", 204)
    shop.close()


def pay_with_wallets(server):
    """Given more, spent, sent again, handed on and read."""
    market, payer, payee = Market(server), Wallet(server), Wallet(server)
    intent = new_spend(market.product(price=10, stock=3), 10)
    for _ in range(2):
        assert market.credit_well(payer.key, "5.50", "r-1")["new_balance"] == 105.5
        assert payer.pay(intent)["new_balance"] == 95.5
    payer.send(payee.key, 1)
    assert (payer.balance(), payee.balance(), len(payer.lines())) == (94.5, 101, 4)
    for client in (market, payer, payee):
        client.close()


def sell_everything_there_is(server, postgres):
    """Every kind of command, until the stored answers have been forgotten."""
    shop = Shop(server)
    sku = shop.sale(stock=3)
    buyer = new_user()
    shop.buy_well(sku, buyer, {"Idempotency-Key": "k-1"})
    shop.buy_well(sku, buyer, {"Idempotency-Key": "k-1"})
    assert shop.purchase(sku, buyer).status == 200
    later = shop.upcoming()
    assert shop.put(later, {"productName": "Gadget"}).status == 200
    assert shop.delete(sku).status == 200
    shop.close()
    wait_for(lambda: postgres.super_sql("SELECT count(*) FROM idempotency_keys", database="shop") == [(0,)],
        "stored answers forgotten", 20)
