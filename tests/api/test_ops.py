# SPDX-License-Identifier: Apache-2.0
"""Flash-sale contract, sections 2.9, 2.10 and 10, and what an operator relies on: probes, metrics, logs, start-up."""
import json
import re
import resource
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

import services
import wire
from server import binary, clean_environment
from shop import ISO, JSON_TYPE, NOT_ACTIVE, PRODUCTS, SALES, expect, in_time, new_sku, new_user, now_ms, ms_of

CHECK = r'\{"status":"(?:up|not_configured)"(?:,"latencyMs":\d+)?\}'
HEALTHY = re.compile(r'\{"success":true,"data":\{"status":"healthy","uptime":(\d+),"checks":\{'
    r'"redis":(' + CHECK + r'),"postgresql":(' + CHECK + r')\}\},'
    r'"status":"healthy","mode":"async-enabled","num_workers":\d+,"version":"[^"]+"\}')  # and the orders contract's
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)')


def metrics(shop):
    """{(name, ((label, value), ...)): number} of all series, labels sorted."""
    series = {}
    for line in shop.ask("GET", "/metrics").text.splitlines():
        if line and not line.startswith("#"):
            name, labels, value = SAMPLE.fullmatch(line).groups()
            pairs = re.findall(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"', labels or "")
            key = (name, tuple(sorted(pairs)))
            assert key not in series, f"{key} twice"
            series[key] = float(value)
    return series


def total(series, name, **labels):
    return sum(value for (key, pairs), value in series.items()
        if key == name and set(labels.items()) <= set(pairs))


# --- probes ---

def test_live(server, shop):
    """The liveness probe is not a plain 200."""
    reply = shop.ask("GET", "/livez")
    assert reply.status == 200


def test_ready(server, shop):
    """The readiness probe is not a 200 that says ready."""
    reply = shop.ask("GET", "/readyz")
    assert reply.status == 200 and reply.header("content-type") == JSON_TYPE
    assert reply.json()["status"] == "ready"
    verbose = shop.ask("GET", "/readyz?verbose")
    assert verbose.status == 200 and verbose.json()["status"] == "ready"
    assert len(verbose.body) > len(reply.body)


def test_health_is_exact(server, shop):
    """/health has other members, another order or other types than the contract's."""
    reply = shop.ask("GET", "/health")
    match = HEALTHY.fullmatch(reply.text)
    assert match, reply
    expect(reply, 200, match[0])
    for check in (json.loads(match[2]), json.loads(match[3])):
        assert check["status"] == "not_configured" or "latencyMs" in check
    assert any(json.loads(match[i])["status"] == "up" for i in (2, 3))


def test_uptime_counts_seconds(start_server, shop_of):
    """The uptime of /health does not grow from 0 by one a second."""
    shop = shop_of(start_server())
    began = time.monotonic()
    first = shop.ask("GET", "/health").json()["data"]["uptime"]
    assert first <= 60
    wire.wait_for(lambda: shop.ask("GET", "/health").json()["data"]["uptime"] > first, "a second of uptime")
    later = shop.ask("GET", "/health").json()["data"]["uptime"]
    assert later - first <= time.monotonic() - began + 1


# --- metrics ---

def test_metrics_head(server, shop):
    """A scraper does not recognise /metrics."""
    reply = shop.ask("GET", "/metrics")
    assert reply.status == 200
    assert reply.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert reply.header("cache-control") == "no-store"
    assert reply.text.endswith("\n")


def test_metrics_pass_promtool(server, shop):
    """Prometheus finds fault with /metrics."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (Debian package prometheus) is not installed")
    shop.buy_well(shop.sale())
    text = shop.ask("GET", "/metrics").body
    result = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=30)
    assert result.returncode == 0, (result.stdout + result.stderr).decode()


def test_metrics_have_types(server, shop):
    """A series of the contract is missing or has another type."""
    shop.buy_well(shop.sale())
    text = shop.ask("GET", "/metrics").text
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    for name, kind in (("http_requests_total", "counter"), ("http_errors_total", "counter"),
            ("http_request_duration_seconds", "histogram"), ("purchase_outcomes_total", "counter"),
            ("sse_connections_active", "gauge"), ("reconciliation_mismatches_total", "counter")):
        assert types.get(name) == kind, name
    assert any(name.startswith("flashsale_process_") for name in types)
    series = metrics(shop)
    assert total(series, "reconciliation_mismatches_total") == 0


def test_requests_are_counted_by_route(start_server, shop_of):
    """Requests are not counted under method, pattern and status."""
    shop = shop_of(start_server())
    sku = shop.sale()
    before = metrics(shop)
    for _ in range(3):
        shop.product(sku)
    for _ in range(5):
        shop.status(sku)
    shop.buy_well(sku)
    shop.ask("GET", SALES)
    after = metrics(shop)

    def grown(name, **labels):
        return total(after, name, **labels) - total(before, name, **labels)

    for name in ("http_requests_total", "http_request_duration_seconds_count"):
        assert grown(name, method="GET", route="/api/v1/products/:sku", status_code="200") == 3
        assert grown(name, method="GET", route="/api/v1/sales", status_code="200") == 5
        assert grown(name, method="GET", route="/api/v1/sales", status_code="400") == 1
        assert grown(name, method="POST", route="/api/v1/purchases", status_code="200") == 1
    assert grown("http_errors_total", method="GET", route="/api/v1/sales", status_code="400") == 1
    assert grown("http_errors_total", route="/api/v1/purchases") == 0


@in_time(1.0)
def test_refusals_of_guards_are_not_counted(start_server, shop_of):
    """401 and 429 count as requests (the contract leaves them out)."""
    shop = shop_of(start_server())
    user = new_user()
    shop.buy("NO-SUCH", user)
    before = metrics(shop)
    assert shop.buy("NO-SUCH", user).status == 429
    assert shop.ask("GET", PRODUCTS + "/A").status == 401
    after = metrics(shop)
    for name in ("http_requests_total", "http_errors_total"):
        for status in ("401", "429"):
            assert total(after, name, status_code=status) == 0
        assert total(after, name, route="/api/v1/purchases") == total(before, name, route="/api/v1/purchases")
        assert total(after, name, route="/api/v1/products/:sku") == \
            total(before, name, route="/api/v1/products/:sku")


def test_domain_errors_are_counted_as_500(start_server, shop_of):
    """Domain and not-found errors are counted under the status of the wire (dashboards expect 500)."""
    shop = shop_of(start_server())
    sku = shop.upcoming()
    before = metrics(shop)
    assert shop.product("NO-SUCH").status == 404
    assert shop.product("bad_sku").status == 200
    assert shop.put(sku, {"endTime": "2020-01-01"}).code == "INVALID_TIME_RANGE"
    after = metrics(shop)
    for name in ("http_requests_total", "http_errors_total"):
        for method, count in (("GET", 2), ("PUT", 1)):
            labels = {"method": method, "route": "/api/v1/products/:sku", "status_code": "500"}
            assert total(after, name, **labels) - total(before, name, **labels) == count, (name, labels)


def test_outcomes_of_purchases_are_counted(start_server, shop_of):
    """Successes and rejections are not counted one by one."""
    shop = shop_of(start_server("--purchase-interval", "0"))
    sku, user, empty = shop.sale(stock=3), new_user(), shop.sale(stock=0)
    shop.buy_well(sku, user)
    shop.buy_well(sku)
    shop.buy(sku, user)
    for _ in range(3):
        shop.buy("NO-SUCH")
    shop.buy(empty)
    shop.buy_well(sku)
    for _ in range(4):
        shop.buy(sku)
    series = metrics(shop)
    for outcome, count in (("SUCCESS", 3), ("ALREADY_PURCHASED", 1), ("SOLD_OUT", 1), ("SALE_NOT_ACTIVE", 7)):
        assert total(series, "purchase_outcomes_total", outcome=outcome) == count, outcome


def test_durations_have_the_contracts_buckets(server, shop):
    """The histogram has other buckets, or they do not add up."""
    shop.status("A")
    series = metrics(shop)
    labels = {"method": "GET", "route": "/api/v1/sales", "status_code": "200"}
    buckets = [(dict(pairs)["le"], value) for (name, pairs), value in series.items()
        if name == "http_request_duration_seconds_bucket" and set(labels.items()) <= set(pairs)]
    assert [float(bound) for bound, _ in buckets[:-1]] == [.005, .01, .025, .05, .1, .25, .5, 1]
    assert buckets[-1][0] == "+Inf"
    counts = [count for _, count in buckets]
    assert counts == sorted(counts)
    assert counts[-1] == total(series, "http_request_duration_seconds_count", **labels)
    assert total(series, "http_request_duration_seconds_sum", **labels) > 0


def test_own_metrics_have_our_names(server, shop):
    """A metric has a name that is neither the contract's nor ours."""
    names = re.findall(r"^# TYPE (\S+) ", shop.ask("GET", "/metrics").text, re.M)
    for name in names:
        assert name.startswith(("http_", "purchase_outcomes", "sse_connections", "reconciliation_", "flashsale_",
            "doorbuster_")), name
    assert len(names) == len(set(names))


def test_strangers_cannot_grow_the_metrics(server, shop):
    """Made-up paths or methods become labels, so that a stranger fills the memory of the scraper."""
    for i in range(20):
        shop.ask("GET", f"/made-up-{i}")
        shop.ask(f"METHOD{i}", "/api/v1/sales") if i == 0 else None
    text = shop.ask("GET", "/metrics").text
    assert "made-up" not in text and "METHOD" not in text


# --- logs ---

def test_logs_are_json(start_server, shop_of):
    """A line of the log is no JSON object with timestamp, level, context and message."""
    server = start_server("--log-level", "debug")
    shop = shop_of(server)
    shop.buy_well(shop.sale())
    shop.buy("NO-SUCH")
    server.stop()
    lines = server.err.text().splitlines()
    assert lines
    for line in lines:
        entry = json.loads(line)
        assert re.fullmatch(ISO, entry["timestamp"]), line
        assert abs(now_ms() - ms_of(entry["timestamp"])) < 60_000
        assert entry["level"] in ("debug", "info", "warn", "error"), line
        assert isinstance(entry["context"], str) and entry["context"], line
        assert isinstance(entry["message"], str) and entry["message"], line


@pytest.mark.parametrize("level, silent", [("debug", []), ("info", ["debug"]), ("warn", ["debug", "info"]),
    ("error", ["debug", "info", "warn"])])
def test_log_level_keeps_lesser_lines_out(start_server, level, silent):
    """--log-level does not leave out what is less important."""
    server = start_server.launch("--log-level", level, listen=f"127.0.0.1:{services.free_port()}")
    server.port = int(server.command[server.command.index("--listen") + 1].rsplit(":", 1)[1])
    wire.wait_for(server.is_ready, "ready")
    server.stop()
    levels = {entry["level"] for entry in server.logs()}
    assert not levels & set(silent)


def test_secrets_are_not_logged(start_server, shop_of):
    """The admin key or a request body stands in the log."""
    server = start_server("--log-level", "debug")
    shop = shop_of(server)
    shop.create(shop.body(new_sku(), name="a-very-secret-name"))
    shop.ask("GET", PRODUCTS + "/A", {"X-Admin-Key": "guessed-secret-1234"})
    shop.ask("POST", PRODUCTS, {**shop.admin, "Content-Type": "application/json"}, '{"broken-secret')
    server.stop()
    text = server.err.text() + server.out.text()
    for secret in ("dev-admin-key-12345678", "a-very-secret-name", "guessed-secret", "broken-secret"):
        assert secret not in text, secret


def test_text_logs_are_plain_lines(start_server):
    """--log-format text still writes JSON."""
    port = services.free_port()
    server = start_server.launch("--log-format", "text", listen=f"127.0.0.1:{port}")
    server.port = port
    wire.wait_for(server.is_ready, "ready")
    server.stop()
    lines = server.err.text().splitlines()
    assert any(f"listening on 127.0.0.1:{port}" in line for line in lines)
    assert not any(line.startswith("{") for line in lines)


# --- start-up and configuration ---

def run_serve(store, *arguments, environment=None, seconds=60):
    """Runs a serve that must end by itself."""
    return subprocess.run([str(binary()), "serve", "--store", store.argument, "--log-format", "json",
        *map(str, arguments)], env=clean_environment(environment), capture_output=True, timeout=seconds, text=True,
        cwd=store.directory)


@pytest.mark.parametrize("key", ["", "short", "x" * 15])
def test_short_admin_key_is_refused(store, key):
    """The server starts with an admin key that is easy to guess."""
    for arguments, environment in ((["--admin-key", key], None), ([], {"DOORBUSTER_ADMIN_KEY": key})):
        if not key and environment:
            continue  # an empty variable is an unset one
        result = run_serve(store(), "--listen", "127.0.0.1:0", *arguments, environment=environment)
        assert result.returncode == 2, result
        assert "admin-key" in result.stderr or "DOORBUSTER_ADMIN_KEY" in result.stderr, result
        assert not key or key not in result.stderr, result


def test_without_a_key_the_admin_routes_stay_closed(start_server):
    """Without an admin key everybody is admin, or nobody can be."""
    server = start_server(key=None)
    for headers in ({}, {"X-Admin-Key": ""}, {"X-Admin-Key": "dev-admin-key-12345678"}):
        assert wire.ask(server.port, "GET", PRODUCTS + "/A", headers).status == 401
    words = wire.wait_for(lambda: re.findall(r"[^\s\"',]{16,}", server.out.text()), "a printed key")
    statuses = {wire.ask(server.port, "GET", PRODUCTS + "/A", {"X-Admin-Key": word}).status for word in set(words)
        if word.isascii()}
    assert 404 in statuses, f"no printed word is the key: {words}"


def test_two_servers_without_a_key_have_different_ones(start_server):
    """The key that is made is always the same."""
    texts = []
    for _ in range(2):
        server = start_server(key=None)
        printed = wire.wait_for(lambda: re.findall(r"[0-9A-Za-z_-]{16,}", server.out.text()), "a printed key")
        texts.append(set(printed))
    assert texts[0] - texts[1] and texts[1] - texts[0]


def test_key_may_come_from_environment_or_file(start_server, store, tmp_path):
    """DOORBUSTER_ADMIN_KEY or --admin-key-file does not set the key, or the flag does not win."""
    file = tmp_path / "key"
    file.write_text("key-from-the-file-123\n")
    for how, good, bad in (
            ({"key": None, "environment": {"DOORBUSTER_ADMIN_KEY": "key-from-the-env-1234"}}, "key-from-the-env-1234",
                "x" * 20),
            ({"environment": {"DOORBUSTER_ADMIN_KEY": "key-from-the-env-1234"}}, "dev-admin-key-12345678",
                "key-from-the-env-1234"),
            ({"key": None, "environment": {"DOORBUSTER_ADMIN_KEY_FILE": str(file)}}, "key-from-the-file-123",
                "x" * 20)):
        server = start_server(**how)
        assert wire.ask(server.port, "GET", PRODUCTS + "/A", {"X-Admin-Key": good}).status == 404
        assert wire.ask(server.port, "GET", PRODUCTS + "/A", {"X-Admin-Key": bad}).status == 401


def test_trust_loopback_opens_the_admin_routes(start_server):
    """--trust-loopback still asks for a key, or is on by itself."""
    server = start_server("--trust-loopback")
    assert wire.ask(server.port, "GET", PRODUCTS + "/A").status == 404


@pytest.mark.parametrize("arguments", [["--no-such-flag"], ["--listen", "nonsense"], ["--listen", "127.0.0.1:99999"],
    ["--log-level", "loud"], ["--sold-out-reply", "x"], ["--head-timeout", "-1s"], ["--net-threads", "many"],
    ["surplus"], ["--fault", "commit:x:full"]], ids=" ".join)
def test_wrong_usage_exits_2(store, arguments):
    """A wrong command line starts a server, or ends with another status than 2 or without a word."""
    listen = [] if "--listen" in arguments else ["--listen", "127.0.0.1:0"]
    result = run_serve(store(), *listen, "--admin-key", "dev-admin-key-12345678", *arguments)
    assert result.returncode == 2 and result.stderr.strip(), result


def test_help_tells_defaults():
    """--help does not tell the flags, or the defaults are not those of the contract (0.0.0.0:3000)."""
    result = subprocess.run([str(binary()), "serve", "--help"], capture_output=True, text=True, timeout=60,
        env=clean_environment())
    assert result.returncode == 0
    for word in ("--listen", "0.0.0.0:3000", "--store", "--admin-key", "--sold-out-reply", "--drain-timeout",
            "DOORBUSTER_STORE"):
        assert word in result.stdout, word


def test_several_addresses(start_server, store):
    """--listen given twice listens once."""
    port = services.free_port()
    server = start_server("--listen", f"127.0.0.1:{port}")
    for each in (server.port, port):
        expect(wire.ask(each, "POST", "/api/v1/purchases", {"X-User-Id": new_user()}, {"sku": "A"}), 200, NOT_ACTIVE)


def test_socket_limits_are_raised_and_told(start_server):
    """The server keeps the shell's low limit of open files, or does not say what it got."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    server = start_server(prepare=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)))
    server.wait_log(lambda entry: "open files" in entry["message"], "open files")
    lines = Path(f"/proc/{server.pid}/limits").read_text(encoding="ascii").splitlines()
    soft = int(next(line for line in lines if line.startswith("Max open files"))[26:].split()[0])
    assert soft >= hard
    assert any(str(soft) in entry["message"] for entry in server.logs() if "open files" in entry["message"])


def test_crowd_of_fresh_connections_is_accepted(start_server):
    """A thousand connections at once: some are refused or wait for a retry of the kernel."""
    server = start_server()
    began = time.monotonic()
    connections = []
    try:
        for _ in range(1000):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", server.port))
            connections.append(connection)
        for connection in connections:
            connection.setblocking(True)
            connection.settimeout(20)
            connection.sendall(wire.build("GET", "/livez"))
        for connection in connections:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
    finally:
        for connection in connections:
            connection.close()
    assert time.monotonic() - began < 25
