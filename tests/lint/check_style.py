# SPDX-License-Identifier: Apache-2.0
"""
What a compiler does not see: the licence line and the head comment of every file, calls that have no bound or no
place here, notes to self, tests that wait by the clock, and lines that nobody can read.
"""
import re

LINE_LEN_MAX = 120

BANNED = [
    (re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|gets|alloca|strtok)\s*\("), "writes without a bound"),
    (re.compile(r"\b(atoi|atol|atoll|atof)\s*\("), "cannot tell a number from none; use slice_to_i64"),
    (re.compile(r"\b(s?rand|random|drand48)\s*\("), "is not random enough; use base/id.h or libsodium"),
    (re.compile(r"\b(asctime|ctime|gmtime|localtime)\s*\("), "shares one buffer between threads"),
]
# Only cmd/ reads the environment; elsewhere a setting is an argument.
GETENV = re.compile(r"\b(secure_)?getenv\s*\(")
NOTE_TO_SELF = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
HOME_PATH = re.compile(r"/(work|home|root|Users)/[A-Za-z]")
SLEEP = re.compile(r"\b(u?sleep|nanosleep|uv_sleep)\s*\(")
# A pause that is no hope: the comment on its line or on the one above says what it waits for, or whom it plays.
PAUSE = re.compile(r"(#|/\*|//).*\bpause: \S")

TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_only(text):
    """The C text with comments and literals blanked, lines kept."""
    return TOKEN.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def numbered(text):
    return enumerate(text.split("\n"), 1)


def check_head(text, file):
    """The licence first, then what the file is for; a .c file may leave that to its own header."""
    lines = text.split("\n")
    head = lines[1:] if lines[0].startswith("#!") else lines
    if "SPDX-License-Identifier: Apache-2.0" not in head[0]:
        yield 1, "the first line is not the SPDX line"
    rest = next((line for line in head[1:] if line.strip()), "")
    openings = {".py": ('"""', "#"), "": ("#",), ".sh": ("#",)}.get(file.suffix, ("/*",))
    has_header = file.suffix == ".c" and file.with_suffix(".h").exists()
    if not rest.startswith(openings) and not has_header:
        yield 2, "there is no head comment that says what the file is for"


def check_c(text, is_cmd, is_test):
    for line, code in numbered(code_only(text)):
        for pattern, reason in BANNED:
            match = pattern.search(code)
            if match:
                yield line, f"{match.group(1)} {reason}"
        if GETENV.search(code) and not is_cmd and not is_test:
            yield line, "the environment is read in cmd/ only"


def check_text(text, may_name_paths, may_be_long):
    for line, content in numbered(text):
        if len(content) > LINE_LEN_MAX and not may_be_long:
            yield line, f"the line has {len(content)} characters, {LINE_LEN_MAX} is the most"
        if NOTE_TO_SELF.search(content):
            yield line, "a note to self; do it, or open an issue"
        if content != content.rstrip():
            yield line, "blanks at the end of the line"
        if "\t" in content:
            yield line, "a tab; indent with blanks"
        if HOME_PATH.search(content) and not may_name_paths:
            yield line, "a path of somebody's machine"
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "the last line does not end"


def check_pauses(text):
    lines = text.split("\n")
    for index, line in enumerate(lines):
        if SLEEP.search(line) and not any(PAUSE.search(near) for near in lines[max(0, index - 1):index + 1]):
            yield index + 1, "waits by the clock; wait for the condition with a limit, or say why (`pause: ...`)"


def check(root, files):
    """Returns the findings in `files` (paths under root) as (path, line, message)."""
    findings = []
    for file in files:
        where = file.relative_to(root).as_posix()
        text = file.read_text()
        is_test = where.startswith("tests/")
        problems = list(check_text(text, where.startswith("tests/lint/"), file.suffix == ".build"))
        if file.suffix in (".c", ".h", ".def", ".py") or text.startswith("#!"):
            problems += check_head(text, file)
        if file.suffix in (".c", ".h", ".def"):
            problems += check_c(text, where.startswith("src/cmd/"), is_test)
        if is_test and file.suffix in (".c", ".py", ".sh") and not where.startswith("tests/lint/check_"):
            problems += check_pauses(text)
        findings += [(where, line, message) for line, message in problems]
    if not files:
        findings.append(("", 0, "no file found: the check reached nothing"))
    return findings
