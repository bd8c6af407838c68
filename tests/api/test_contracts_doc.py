# SPDX-License-Identifier: Apache-2.0
"""docs/contracts.md is true: what it names exists, and what exists is named. Needs no server."""
import ast
import re
from pathlib import Path

from server import ROOT

DOCUMENT = ROOT / "docs" / "contracts.md"
HERE = Path(__file__).resolve().parent


def names_in(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


def named():
    return set(re.findall(r"\btest_\w+\b(?!\.py)", DOCUMENT.read_text(encoding="utf-8")))


def test_every_named_test_exists():
    """docs/contracts.md promises a test that is not there."""
    names = named()
    assert len(names) > 100, f"only {len(names)} names found in {DOCUMENT}: this check reaches nothing"
    missing = names - {name for file in HERE.glob("test_*.py") for name in names_in(file)}
    assert not missing, f"in {DOCUMENT}, but in no file of {HERE}: {sorted(missing)}"


def test_every_test_of_the_contract_is_named():
    """A test of a contract is missing in docs/contracts.md."""
    files = [*HERE.glob("test_flash_sale_*.py"), *HERE.glob("test_orders*.py"), *HERE.glob("test_auth*.py"),
        *HERE.glob("test_intake*.py"), *HERE.glob("test_vending*.py"), *HERE.glob("test_market_*.py")]
    assert len(files) > 8
    missing = {f"{file.name}::{name}" for file in files for name in names_in(file)} - {
        f"{file.name}::{name}" for file in files for name in named()}
    assert not missing, f"not in {DOCUMENT}: {sorted(missing)}"


def test_names_of_tests_are_unique():
    """Two tests have one name, so that a line of docs/contracts.md could mean either."""
    seen = {}
    for file in sorted(HERE.glob("test_*.py")):
        for name in names_in(file):
            assert name not in seen, f"{name} is in {seen[name]} and in {file.name}"
            seen[name] = file.name


def test_every_section_has_its_tests():
    """A section of the contract stands in docs/contracts.md without a test."""
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| line of", "| requ",
        "| defect", "| what happens"))]
    assert len(rows) > 100
    bare = [row for row in rows if "test_" not in row and "tests/unit" not in row]
    assert not bare, bare
