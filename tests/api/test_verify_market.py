# SPDX-License-Identifier: Apache-2.0
"""
`doorbuster verify` and wallets: whatever crowds spend and send at once leaves books in order, and what they were told,
receipt by receipt, is what is in the store.
"""
import json

from test_verify import HOLDS, VIOLATED, failed, run, verify

INVARIANTS = {"wallets", "transfers", "nonces", "openings", "balances", "wallet-sums", "coins-issued",
    "transfer-chains", "spends"}
TOLD = {"registrations-acknowledged", "payments-acknowledged", "receipts", "payments-refused", "payments-complete"}


def rush(server, scenario, journal, *arguments):
    done = run("rush", scenario, "--url", f"http://127.0.0.1:{server.port}", "--admin-key", "dev-admin-key-12345678",
        "--journal", journal, *arguments)
    assert done.returncode == HOLDS, done.stdout + done.stderr


def lines_of(journal, request):
    """What a journal says was acknowledged."""
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert lines[0]["face"] == "marketplace"
    return [line for line in lines[1:] if line["request"] == request and line["outcome"] == "acknowledged"]


def test_what_crowds_pay_agrees_with_what_they_were_told(start_server, tmp_path):
    """Coins are lost or made, a receipt proves nothing, or the two sides read the journal differently."""
    server = start_server("--net-threads", "2")
    journals = [tmp_path / "marketplace.journal", tmp_path / "double-spend.journal"]
    rush(server, "marketplace", journals[0], "--levels", "5,20")
    rush(server, "double-spend", journals[1])
    report = tmp_path / "report.json"
    arguments = [argument for journal in journals for argument in ("--journal", journal)]
    verify(server.store, *arguments, "--journal-complete", "--report", report)
    data = json.loads(report.read_text())
    names = {finding["invariant"] for finding in data["findings"]}
    assert INVARIANTS | TOLD <= names and data["verdict"] == "PASS"
    assert data["transfers"] > len(lines_of(journals[0], "spend")) >= 25
    server.kill9()
    verify(server.store, *arguments)
    server = start_server("--net-threads", "2", on=server.store)
    verify(server.store, *arguments, "--journal-complete")
    server.stop()
    verify(server.store, *arguments, "--journal-complete")


def test_what_was_told_and_is_not_so_is_named(start_server, tmp_path):
    """A spend that a customer holds a receipt of can vanish from the books unseen, or a receipt can be forged."""
    server = start_server("--net-threads", "2")
    journal = tmp_path / "rush.journal"
    rush(server, "marketplace", journal, "--levels", "5")
    server.stop()
    spend = min(lines_of(journal, "spend"), key=lambda line: int(line["receipt"]["id"]))
    forged = tmp_path / "forged.journal"
    forged.write_text(journal.read_text().replace(spend["receipt"]["signature"], "00" * 64))
    result = verify(server.store, "--journal", forged, expect=VIOLATED)
    assert failed(result) == ["receipts"], result.stdout
    assert f"of {spend['key']} is not signed by " in result.stdout
    server.store.spoil(f"DELETE FROM transfers WHERE id = {spend['receipt']['id']}")
    result = verify(server.store, "--journal", journal, expect=VIOLATED)
    assert failed(result) == ["wallet-sums", "coins-issued", "transfer-chains", "spends", "payments-acknowledged"], \
        result.stdout
    assert f"of {spend['key']} is not in the store" in result.stdout and "was not paid for" in result.stdout
