# SPDX-License-Identifier: Apache-2.0
"""
Figures and verdicts as tables for people: plain text and Markdown say the same.
"""
import dataclasses

SERIES_HEAD = ["what", "connections", "requests/s", "lowest–highest", "p50", "p99", "CPU µs/request: server", "client"]
VERDICT_HEAD = ["", "target", "asked", "found", "from"]


@dataclasses.dataclass
class Verdict:
    """One target: what was found, and whether it holds."""
    word: str  # PASS, FAIL or SKIP
    name: str
    asked: str
    found: str
    source: str = ""


def _time(microseconds):
    return f"{microseconds:.0f} µs" if microseconds < 1000 else f"{microseconds / 1000:.1f} ms"


def series_row(series):
    rates = [figure.requests_per_s for figure in series.figures]
    return [series.name, f"{series.connections:,}", f"{series.median('requests_per_s'):,.0f}",
            f"{min(rates):,.0f}–{max(rates):,.0f}", _time(series.median("p50_us")), _time(series.median("p99_us")),
            f"{series.median('server_cpu_us'):.2f}", f"{series.median('client_cpu_us'):.2f}"]


def verdict_row(verdict):
    return [verdict.word, verdict.name, verdict.asked, verdict.found, verdict.source]


def as_text(head, rows):
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
                     for row in [head, *rows])


def as_markdown(head, rows):
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
                     for row in [head, ["---"] * len(head), *rows])
