# SPDX-License-Identifier: Apache-2.0
"""Order-intake contract, "Clients": the load that it tells of, against the real server, and what the auditor finds."""
import json

import pytest

from test_rush import rush
from test_rush_orders import intake_outcomes, levels
from test_verify import failed, verify, VIOLATED


@pytest.fixture
def run(start_server, tmp_path):
    """A short rush of 1 and 4 clients: (server, the rush, its journal)."""
    server = start_server("--net-threads", "2")
    journal = tmp_path / "rush.journal"
    result = rush(f"http://127.0.0.1:{server.port}", "intake", "--clients", "1,4", "--seconds", "1", "--journal",
        str(journal), report=tmp_path / "report.json", may_be_slow=True)
    return server, result, journal


def test_rush_of_the_intake_agrees_with_the_store(run, tmp_path):
    """What clients were told of their orders and what is in the store differ, or an id was given twice."""
    server, result, journal = run
    taken = sum(each["orders"] for each in levels(result))
    assert intake_outcomes(result) == {"order_queued": taken} and taken > 0, result.out + result.err
    assert all(row["passed"] for row in result.run["invariants"]), result.out
    assert server.store.rows("SELECT count(*), count(DISTINCT id) FROM intake_orders")[0][0] >= taken
    report = tmp_path / "verify.json"
    verify(server.store, "--journal", journal, "--journal-complete", "--report", report)
    told = json.loads(report.read_text())
    assert told["acknowledged"] == len(journal.read_text().splitlines()) - 1 > 0, told
    server.stop()
    verify(server.store, "--journal", journal)


def test_lost_order_of_the_intake_is_found(run):
    """An acknowledged order can be missing in the store without anybody noticing."""
    server, _, journal = run
    server.stop()
    server.store.spoil("DELETE FROM intake_orders WHERE id = (SELECT max(id) FROM intake_orders)")
    result = verify(server.store, "--journal", journal, expect=VIOLATED)
    assert failed(result), result.stdout
