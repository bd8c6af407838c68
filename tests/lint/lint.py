# SPDX-License-Identifier: Apache-2.0
"""
Runs the checks of this directory over the repository and speaks TAP. First it proves that they can fail: every
line of a file under fixture/ that says `expect: WORDS` must be found with these words, and no other line may be.

usage: lint.py [ROOT]
"""
import pathlib
import re
import subprocess
import sys

import check_format
import check_includes
import check_style

HERE = pathlib.Path(__file__).resolve().parent
FORMAT = HERE.parent.parent / "script" / "format"
FIXTURE = HERE / "fixture"
EXPECT = re.compile(r"expect: (.*?)(?: \*/)?$")
TEXT = {".c", ".h", ".def", ".py", ".sh", ".sql", ".build"}


def repository_files(root):
    """The files that are or will be under version control, the deliberately bad ones aside."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=root, check=True,
                            capture_output=True, text=True).stdout.split("\n")
    files = [root / name for name in listed if name and not name.startswith("tests/lint/fixture/")]
    return [f for f in files if f.is_file() and (f.suffix in TEXT or f.parent.name in ("script", ".ci"))]


def fixture_files():
    return sorted(f for f in FIXTURE.rglob("*") if f.suffix in TEXT)


def expectations():
    """{(path, line): words} that the fixture asks for."""
    wanted = {}
    for file in fixture_files():
        for line, content in enumerate(file.read_text().split("\n"), 1):
            match = EXPECT.search(content)
            if match:
                wanted[(file.relative_to(FIXTURE).as_posix(), line)] = match.group(1)
    return wanted


def self_test():
    """The findings that are missing from, or too many in, what the checks say about the fixture."""
    found = check_includes.check(FIXTURE) + check_style.check(FIXTURE, fixture_files())
    wanted = expectations()
    if check_format.is_missing():
        wanted = {place: words for place, words in wanted.items() if ".clang-format" not in words}
    else:
        found += check_format.check(FIXTURE, FORMAT, fixture_files())
    problems = []
    for place, words in wanted.items():
        if not any((path, line) == place and words in message for path, line, message in found):
            problems.append((*place, f"nothing was found here, expected: {words}"))
    for path, line, message in found:
        if (path, line) not in wanted:
            problems.append((path, line, f"found, but is in order: {message}"))
    if len(wanted) < 15:
        problems.append(("tests/lint/fixture", 0, "has lost its bad examples"))
    return problems


def check_shape(root):
    """None: it cannot be checked here, and need not be."""
    if not check_format.is_missing():
        return check_format.check(root, FORMAT, repository_files(root))
    return None if check_format.may_be_missing() else [("script/format", 1, check_format.MISSING)]


def main():
    root = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else HERE.parent.parent
    checks = [
        ("the checks find what they look for", self_test),
        ("no include points upward", lambda: check_includes.check(root)),
        ("files keep the house rules", lambda: check_style.check(root, repository_files(root))),
        ("files have the shape of .clang-format", lambda: check_shape(root)),
    ]
    failed = 0
    print(f"1..{len(checks)}")
    for number, (name, run) in enumerate(checks, 1):
        findings = run()
        if findings is None:
            print(f"ok {number} - {name} # SKIP {check_format.MISSING}")
            continue
        for path, line, message in findings:
            print(f"# {path}:{line}: {message}")
        print(f"{'not ok' if findings else 'ok'} {number} - {name}")
        failed += bool(findings)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
