# SPDX-License-Identifier: Apache-2.0
"""
All tests, or the parts that are named, and one line at the end: `N passed, N failed`.

    unit   unit tests under AddressSanitizer and UndefinedBehaviorSanitizer, with gcc -Werror (build-asan/)
    api    tests against the running program, the same build (tests/api and its neighbours)
    lint   arrows between the layers and house rules (tests/lint)
    clang  the whole tree compiles with clang -Werror (build-clang/)
    tsan   unit tests with threads, a small sale and the tests in which threads meet, under ThreadSanitizer
           (build-tsan/)
    fuzz   every fuzz target for ten seconds (build-fuzz/)
    demo   the release build sells out and audits (build/)

Two lanes run at once, one that tests the sanitized build and one that mostly compiles, which gives way. Both use one
PostgreSQL server, started for the run (tests/services). A failure is printed with the command that repeats it. With
CI=true nothing may be skipped.
"""
import concurrent.futures
import contextlib
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as xml

import services
import with_services

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOGS = ROOT / "build-test"
IS_CI = os.environ.get("CI") == "true"
FUZZ_SECONDS = 10
TAIL_LINES = 60
API_SHARES = ["1/2", "2/2"]
# What a demo says on a machine that stood still, which the other lane may make it do: then another one is taken.
TOO_SLOW = ("INVALID: the generator was late", "FAIL  http_req_duration")
SALES_MAX = 5
# The tests in which the server's threads meet: buying, streams, and the end.
TSAN_SELECT = "flash_sale_purchase or flash_sale_sse or flash_sale_idempotency or limits_redis or shutdown"

SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:halt_on_error=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}
# What each build directory is; also printed, so that a failure can be repeated by hand.
BUILDS = {
    "asan": ["-Dwerror=true", "-Dtests=enabled", "-Db_sanitize=address,undefined", "-Db_lundef=false"],
    "clang": ["-Dwerror=true", "-Dtests=enabled"],
    "tsan": ["-Dwerror=true", "-Dtests=enabled", "-Db_sanitize=thread", "-Db_lundef=false"],
    "fuzz": ["-Dfuzz=true", "-Dtests=disabled", "-Db_lundef=false"],
}
WITH_CLANG = {"clang", "fuzz"}
# Where the servers are that were started for this run.
SERVICES = {}


class Failed(Exception):
    """A step that everything after it in its part needs has failed."""

    def __init__(self, name, text, reproduce):
        super().__init__(name)
        self.result = Result(name, "failed", text, reproduce)


class Result:
    def __init__(self, name, status, text="", reproduce=""):
        self.name = name
        self.status = status  # passed, failed, skipped
        self.text = text
        self.reproduce = reproduce


def tail(path):
    lines = path.read_text(errors="replace").split("\n")
    return "\n".join(lines[-TAIL_LINES:])


def without_aslr():
    """Sanitizers of older compilers cannot cope with the address randomisation of newer kernels."""
    prefix = ["setarch", "-R"]
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
        return prefix
    except (OSError, subprocess.CalledProcessError):
        return []


def run(log, command, env=None, timeout=1200):
    """Runs a command with its output in the file LOGS/log; returns (exit status, that file)."""
    path = LOGS / log
    with open(path, "w") as out:
        try:
            status = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out,
                                    stderr=subprocess.STDOUT, env={**os.environ, **SERVICES, **(env or {})},
                                    timeout=timeout).returncode
        except subprocess.TimeoutExpired:
            out.write(f"\nnot finished after {timeout} s\n")
            status = -1
    return status, path


def build(kind, targets=()):
    """Brings build-KIND up to date."""
    directory = f"build-{kind}"
    compiler = {"CC": "clang"} if kind in WITH_CLANG else {}
    setup = ["meson", "setup", directory, *BUILDS[kind]]
    reproduce = " ".join([*(f"{k}={v}" for k, v in compiler.items()), *setup, "&&", "ninja -C", directory, *targets])
    if not (ROOT / directory / "build.ninja").exists():
        status, log = run(f"{kind}-setup.log", setup, compiler)
        if status != 0:
            raise Failed(f"{kind}: configure", tail(log), reproduce)
    # What is only compiled gives way to what is being tested meanwhile.
    yielding = [] if kind == "asan" else ["nice"]
    status, log = run(f"{kind}-build.log", [*yielding, "ninja", "-k", "0", "-C", directory, *targets], compiler)
    if status != 0:
        raise Failed(f"{kind}: build", tail(log), reproduce)
    return ROOT / directory


def read_junit(path, prefix, reproduce):
    """The test cases of a JUnit file; `reproduce` makes the command from (suite, case)."""
    results = []
    for suite in xml.parse(path).getroot().iter("testsuite"):
        for case in suite.findall("testcase"):
            program = (case.get("classname") or suite.get("name")).split(" / ")[-1]
            name = f"{prefix}{program}: {case.get('name')}"
            bad = [child for child in case if child.tag in ("failure", "error")]
            skip = case.find("skipped")
            if bad:
                text = "\n".join(f"{child.get('message') or ''}\n{child.text or ''}" for child in bad)
                output = suite.findtext("system-out") or ""
                results.append(Result(name, "failed", (text + "\n" + output).strip(), reproduce(suite, case)))
            elif skip is not None:
                reason = skip.get("message") or case.findtext("system-out") or "no reason given"
                results.append(Result(name, "skipped", reason.strip()))
            else:
                results.append(Result(name, "passed"))
    return results


def meson_tests(kind, directory, suites, without=()):
    """Runs the meson tests of a build, one after the other per core, and counts what is inside each program."""
    command = [*NO_ASLR, "meson", "test", "-C", directory.name, "--no-rebuild", "--timeout-multiplier", "4"]
    for suite in suites:
        command += ["--suite", suite]
    for suite in without:
        command += ["--no-suite", suite]
    status, log = run(f"{kind}-tests.log", command, SANITIZER_ENV)
    junit = directory / "meson-logs" / "testlog.junit.xml"
    if not junit.exists():
        raise Failed(f"{kind}: meson test", tail(log), " ".join(command))
    repeat = " ".join(["tests/with_services.py --postgres", *NO_ASLR, "meson test -v -C", directory.name])
    results = read_junit(junit, f"{kind}: ",
                         lambda suite, case: f"{repeat} {(case.get('classname') or '').split(' / ')[-1]}")
    junit.unlink()
    if status != 0 and not any(r.status == "failed" for r in results):
        results.append(Result(f"{kind}: meson test", "failed", tail(log), " ".join(command)))
    return results


def part_unit():
    return meson_tests("asan", build("asan"), ["unit"])


def pytest(directory, binary, prefix="", select=None, part=None, share=None):
    """Runs the tests of a directory against a binary and counts each. part and share: what --on and --share of
    tests/api take."""
    name = "-".join(filter(None, [prefix + directory, part, share])).replace("/", "-").replace(": ", "-")
    junit = LOGS / (name + ".xml")
    junit.unlink(missing_ok=True)
    binary = binary.relative_to(ROOT)
    repeat = f"DOORBUSTER_BIN={binary} {sys.executable} -m pytest"
    command = [*NO_ASLR, sys.executable, "-m", "pytest", directory, "-q", "-o", "junit_family=xunit1",
               f"--junitxml={junit}", *(["-k", select] if select else []), *(["--on", part] if part else []),
               *(["--share", share] if share else [])]
    status, log = run(name + ".log", command, {**SANITIZER_ENV, "DOORBUSTER_BIN": str(binary)})

    def reproduce(suite, case):
        file = directory + "/" + pathlib.Path(case.get("file") or "").name
        return f"{repeat} {shlex.quote(file + '::' + case.get('name'))}"

    results = read_junit(junit, prefix, reproduce) if junit.exists() else []
    if status != 0 and not any(r.status == "failed" for r in results):
        results.append(Result(f"{prefix}{directory}: pytest", "failed", tail(log), f"{repeat} {directory}"))
    return results


def part_api():
    binary = build("asan", ["doorbuster"]) / "doorbuster"
    build_release()  # what is said about memory is measured on the release build
    others = sorted({str(f.parent.relative_to(ROOT)) for f in (ROOT / "tests").rglob("test_*.py")} - {"tests/api"})
    # These mostly wait, so that the shares together take as long as the longest one.
    works = [lambda: [result for directory in others for result in pytest(directory, binary)]]
    for part in ["others"] + ["postgres"] * services.can_have("postgres"):
        works += [lambda part=part, share=share: pytest("tests/api", binary, part=part, share=share)
            for share in API_SHARES]
    with concurrent.futures.ThreadPoolExecutor(len(works)) as pool:
        return [result for results in pool.map(lambda work: work(), works) for result in results]


def part_lint():
    command = [sys.executable, "tests/lint/lint.py"]
    status, log = run("lint.log", command)
    text = log.read_text()
    results = []
    comments = []
    for line in text.split("\n"):
        if line.startswith("#"):
            comments.append(line)
        elif line.startswith(("ok ", "not ok ")):
            is_ok = line.startswith("ok ")
            results.append(Result("lint: " + line.split(" - ", 1)[1], "passed" if is_ok else "failed",
                                  "\n".join(comments), " ".join(command)))
            comments = []
    if status != 0 and not any(r.status == "failed" for r in results):
        results.append(Result("lint", "failed", text, " ".join(command)))
    return results


def part_clang():
    build("clang")
    return [Result("clang: the whole tree compiles without a warning", "passed")]


def part_tsan():
    directory = build("tsan")
    return [*meson_tests("tsan", directory, ["unit"], without=["one-thread"]),
            sale("tsan: a sale without a data race", directory, 200),
            *pytest("tests/api", directory / "doorbuster", "tsan: ", TSAN_SELECT)]


def build_release():
    """Brings build/doorbuster up to date; two parts need it, one of them builds."""
    with building_release:
        status, log = run("release-build.log", ["script/build"])
    if status != 0:
        raise Failed("release: build", tail(log), "script/build")


def part_demo():
    build_release()
    return [sale("release: the demo holds", ROOT / "build", 1000)]


def sale(name, directory, users):
    command = [*NO_ASLR, str(directory / "doorbuster"), "demo", "--users", str(users)]
    for _ in range(SALES_MAX):
        status, log = run(directory.name + "-demo.log", command, SANITIZER_ENV, timeout=240)
        if status == 0 or not any(words in log.read_text(errors="replace") for words in TOO_SLOW):
            break
    return Result(name, "failed" if status != 0 else "passed", tail(log), " ".join(command))


def part_fuzz():
    names = sorted(source.stem for source in (ROOT / "tests" / "fuzz").glob("fuzz_*.c"))
    directory = build("fuzz", [f"tests/fuzz/{name}" for name in names])
    return [fuzz(directory / "tests" / "fuzz" / name) for name in names]


def fuzz(target):
    """Starts from the seeds under version control; what it finds on the way stays out of them."""
    found = LOGS / "corpus" / target.name
    found.mkdir(parents=True, exist_ok=True)
    seeds = ROOT / "tests" / "fuzz" / "corpus" / target.name.removeprefix("fuzz_")
    paths = [path.relative_to(ROOT) for path in (found, seeds)]
    if not seeds.is_dir():
        return Result(f"fuzz: {target.name}", "failed", f"{paths[1]} does not exist", f"ls {paths[1]}")
    command = [*NO_ASLR, target.relative_to(ROOT), f"-max_total_time={FUZZ_SECONDS}", "-timeout=10",
               "-rss_limit_mb=2048", f"-artifact_prefix=build-test/{target.name}-", *paths]
    command = [str(word) for word in command]
    status, log = run(f"{target.name}.log", command, SANITIZER_ENV, timeout=FUZZ_SECONDS + 60)
    crashes = sorted(LOGS.glob(f"{target.name}-*"), key=lambda f: f.stat().st_mtime)
    repeat = f"{target.relative_to(ROOT)} {crashes[-1].relative_to(ROOT)}" if crashes else " ".join(command)
    return Result(f"fuzz: {target.name}", "failed" if status != 0 else "passed", tail(log), repeat)


# part -> (function, programs it cannot do without, lane); those WITH_SERVICES get servers
WITH_SERVICES = {"unit", "api", "tsan"}
PARTS = {
    "lint": (part_lint, ["git"], 1),
    "unit": (part_unit, ["gcc", "meson", "ninja"], 0),
    "api": (part_api, ["gcc", "meson", "ninja"], 0),
    "clang": (part_clang, ["clang", "meson", "ninja"], 1),
    "tsan": (part_tsan, ["gcc", "meson", "ninja"], 1),
    "fuzz": (part_fuzz, ["clang", "meson", "ninja"], 1),
    "demo": (part_demo, ["meson", "ninja"], 1),
}

printing = threading.Lock()
building_release = threading.Lock()


def report(part, results, seconds):
    """Prints what a finished part found: every failure with its command, every skip with its reason."""
    failed = [r for r in results if r.status == "failed"]
    skipped = [r for r in results if r.status == "skipped"]
    passed = len(results) - len(failed) - len(skipped)
    with printing:
        for r in failed:
            print(f"\nFAILED {r.name}\n{r.text}\nrepeat it with: {r.reproduce}\n")
        for reason in dict.fromkeys(r.text for r in skipped):
            print(f"skipped {', '.join(r.name for r in skipped if r.text == reason)}: {reason}")
        print(f"{part:6} {passed} passed, {len(failed)} failed{f', {len(skipped)} skipped' if skipped else ''}"
              f" in {seconds:.0f} s", flush=True)


def run_part(part):
    function, programs, _ = PARTS[part]
    start = time.monotonic()
    missing = [p for p in programs if shutil.which(p) is None]
    if missing:
        results = [Result(part, "skipped", f"{', '.join(missing)} is not installed; script/bootstrap --all does it")]
    else:
        try:
            results = function()
        except Failed as failure:
            results = [failure.result]
        except Exception as error:  # a broken runner is a failed test, never a silent one
            results = [Result(part, "failed", f"{type(error).__name__}: {error}", f"script/test {part}")]
    if IS_CI:
        for r in results:
            if r.status == "skipped":
                r.status, r.reproduce = "failed", f"script/test {part} (in CI nothing may be skipped)"
    if not results:
        results = [Result(part, "failed", "no test ran: the part reached nothing", f"script/test {part}")]
    report(part, results, time.monotonic() - start)
    return results


def run_lane(parts):
    results = []
    for part in parts:
        results += run_part(part)
    return results


def main():
    wanted = sys.argv[1:] or list(PARTS)
    unknown = [p for p in wanted if p not in PARTS]
    if unknown:
        print(f"there is no part {unknown[0]}; the parts are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    LOGS.mkdir(exist_ok=True)
    lanes = [[p for p in PARTS if p in wanted and PARTS[p][2] == lane] for lane in (0, 1)]
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
        if WITH_SERVICES & set(wanted):
            # What needs a server that cannot be had skips itself, and says what to install.
            with contextlib.suppress(services.Missing):
                SERVICES.update(with_services.start(stack, ["postgres"]))
        results = [r for lane in pool.map(run_lane, lanes) for r in lane]
    failed = sum(r.status == "failed" for r in results)
    passed = sum(r.status == "passed" for r in results)
    for r in results:
        if r.status == "failed":
            print(f"failed: {r.name}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


NO_ASLR = without_aslr()

if __name__ == "__main__":
    sys.exit(main())
