# SPDX-License-Identifier: Apache-2.0
"""
All tests, or the parts that are named, and one line at the end: `N passed, N failed`.

    unit   unit tests under AddressSanitizer and UndefinedBehaviorSanitizer, with gcc -Werror (build-asan/)
    api    tests against the running program, the same build (tests/api and its neighbours)
    lint   arrows between the layers, house rules and the shape of the code (tests/lint)
    clang  the whole tree compiles with clang -Werror (build-clang/)
    tsan   unit tests with threads, a small sale and the tests in which threads meet, under ThreadSanitizer
           (build-tsan/)
    fuzz   every fuzz target for ten seconds (build-fuzz/)
    demo   the release build sells out and audits (build/)

Two lanes run at once: one has the tests of the running program, which mostly wait, the other what keeps processors
busy; what is only compiled gives way. Both use one PostgreSQL server, started for the run (tests/services). A failure
is printed with the command that repeats it. With CI=true nothing may be skipped. build-test/times.txt tells when each
command began, how long it took and what it cost the processors.
"""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as xml

import services
import with_services

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOGS = ROOT / "build-test"
IS_CI = os.environ.get("CI") == "true"
FUZZ_SECONDS = 10
FUZZ_RUNS = 2
TAIL_LINES = 60
# So many runs of pytest share the tests out that mostly wait.
API_RUNS = 5
TSAN_RUNS = 2
# What a demo says on a machine that stood still, which the other lane may make it do: then another one is taken.
TOO_SLOW = ("INVALID: the generator was late", "FAIL  http_req_duration")
SALES_MAX = 5
# The tests in which the server's threads meet: buying, streams, one wallet on many connections, and the end.
TSAN_SELECT = ("flash_sale_purchase or flash_sale_sse or flash_sale_idempotency or limits_redis or shutdown or "
    "market_transact and (same_intent_at_once or intents_with_a_nonce or last_coins or last_units or go_round or "
    "pipelined)")

SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:halt_on_error=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}
# Debug information that is enough for a sanitizer's stacks, and compiled sooner than all of it.
LINES_ONLY = "-Dc_args=-g1"
# What each build directory is; also printed, so that a failure can be repeated by hand.
BUILDS = {
    "asan": ["-Dwerror=true", "-Dtests=enabled", "-Db_sanitize=address,undefined", "-Db_lundef=false", LINES_ONLY],
    # Clang's warnings are the same without optimization, and come in half the time.
    "clang": ["-Dwerror=true", "-Dtests=enabled", "-Doptimization=0", "-Ddebug=false"],
    "tsan": ["-Dwerror=true", "-Dtests=enabled", "-Db_sanitize=thread", "-Db_lundef=false", LINES_ONLY],
    "fuzz": ["-Dfuzz=true", "-Dtests=disabled", "-Db_lundef=false"],
}
WITH_CLANG = {"clang", "fuzz"}
# Two parts may need the same build: one of them builds.
BUILDING = {kind: threading.Lock() for kind in [*BUILDS, "release"]}
# Where the servers are that were started for this run.
SERVICES = {}
# (begin and length in seconds, seconds of processors, log) of each command.
TIMES = []
BEGAN = time.monotonic()


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


def run(log, command, env=None, timeout=2400):
    """Runs a command with its output in the file LOGS/log; returns (exit status, that file)."""
    path = LOGS / log
    begin = time.monotonic()
    with open(path, "w") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   env={**os.environ, **SERVICES, **(env or {})})
        limit = threading.Timer(timeout, os.kill, (process.pid, signal.SIGKILL))
        limit.daemon = True
        limit.start()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        limit.cancel()
        limit.join()  # so that it never kills who gets this number next
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if time.monotonic() - begin >= timeout:
            out.write(f"\nnot finished after {timeout} s\n")
    TIMES.append((begin - BEGAN, time.monotonic() - begin, usage.ru_utime + usage.ru_stime, log))
    return process.returncode, path


def reproduce_build(kind, *more):
    compiler = ["CC=clang"] if kind in WITH_CLANG else []
    return " ".join([*compiler, "meson", "setup", f"build-{kind}", *BUILDS[kind], *more])


def configure(kind):
    """Makes the build directory build-KIND; returns it."""
    directory = ROOT / f"build-{kind}"
    if not (directory / "build.ninja").exists():
        command = ["meson", "setup", directory.name, *BUILDS[kind]]
        status, log = run(f"{kind}-setup.log", command, {"CC": "clang"} if kind in WITH_CLANG else {})
        if status != 0:
            raise Failed(f"{kind}: configure", tail(log), reproduce_build(kind))
    return directory


def build(kind, targets=None):
    """Brings build-KIND up to date: everything in it, or what targets(directory) names, for which nothing else is
    waited for."""
    with BUILDING[kind]:
        directory = configure(kind)
        command = ["ninja", "-k", "0", "-C", directory.name, *(targets(directory) if targets else [])]
        # What is only compiled gives way to what is being tested meanwhile; the program under test is waited for.
        is_urgent = kind == "asan" and targets
        status, log = run(f"{kind}-build.log", command if is_urgent else ["nice", *command])
        if status != 0:
            raise Failed(f"{kind}: build", tail(log), reproduce_build(kind, "&&", *command))
    return directory


def introspect(directory, what):
    return json.loads(subprocess.run(["meson", "introspect", what, str(directory)], check=True, capture_output=True,
                                     stdin=subprocess.DEVNULL).stdout)


def programs_of_tests(directory, suites, without):
    """The targets that the tests in one of the suites, and in none of the suites `without`, need."""
    def is_wanted(test):
        names = {name.split(":")[-1] for name in test["suite"]}
        return names & set(suites) and not names & set(without)

    files = {target["id"]: target["filename"][0] for target in introspect(directory, "--targets")}
    needed = {files[name] for test in introspect(directory, "--tests") if is_wanted(test) for name in test["depends"]}
    return sorted(os.path.relpath(file, directory) for file in needed)


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


def pytest(directory, binary, prefix="", select=None, among=None):
    """Runs the tests of a directory against a binary and counts each. among: (number of this run, the directory that
    --among of tests/api takes)."""
    name = (prefix + directory + (f"-{among[0]}" if among else "")).replace("/", "-").replace(": ", "-")
    junit = LOGS / (name + ".xml")
    junit.unlink(missing_ok=True)
    binary = binary.relative_to(ROOT)
    repeat = f"DOORBUSTER_BIN={binary} {sys.executable} -m pytest"
    command = [*NO_ASLR, sys.executable, "-m", "pytest", directory, "-q", "-o", "junit_family=xunit1",
               f"--junitxml={junit}", *(["-k", select] if select else []),
               *([f"--among={among[1]}"] if among else [])]
    status, log = run(name + ".log", command, {**SANITIZER_ENV, "DOORBUSTER_BIN": str(binary)})

    def reproduce(suite, case):
        file = directory + "/" + pathlib.Path(case.get("file") or "").name
        return f"{repeat} {shlex.quote(file + '::' + case.get('name'))}"

    results = read_junit(junit, prefix, reproduce) if junit.exists() else []
    if status != 0 and not any(r.status == "failed" for r in results):
        results.append(Result(f"{prefix}{directory}: pytest", "failed", tail(log), f"{repeat} {directory}"))
    return results


def pytest_api(count, binary, prefix="", select=None, before=()):
    """Runs tests/api in so many runs at once, which share its files out; the last ones join them when the functions in
    `before`, whose results are returned as well, are done."""
    with tempfile.TemporaryDirectory(prefix="doorbuster-among-") as notes, \
            concurrent.futures.ThreadPoolExecutor(count) as pool:
        works = [*before, *(lambda number=number: pytest("tests/api", binary, prefix, select, (number, notes))
            for number in range(1, count + 1))]
        return [result for results in pool.map(lambda work: work(), works) for result in results]


def part_api():
    binary = build("asan", lambda directory: ["doorbuster"]) / "doorbuster"
    build_release()  # what is said about memory is measured on the release build
    others = sorted({str(f.parent.relative_to(ROOT)) for f in (ROOT / "tests").rglob("test_*.py")} - {"tests/api"})
    return pytest_api(API_RUNS, binary,
        before=[lambda: [result for directory in others for result in pytest(directory, binary)]])


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
            name, _, reason = line.split(" - ", 1)[1].partition(" # SKIP ")
            status_of = "skipped" if reason else "passed" if is_ok else "failed"
            results.append(Result("lint: " + name, status_of, reason or "\n".join(comments), " ".join(command)))
            comments = []
    if status != 0 and not any(r.status == "failed" for r in results):
        results.append(Result("lint", "failed", text, " ".join(command)))
    return results


def part_clang():
    build("clang")
    return [Result("clang: the whole tree compiles without a warning", "passed")]


def part_tsan():
    suites, without = ["unit"], ["one-thread"]
    directory = build("tsan", lambda directory: ["doorbuster", *programs_of_tests(directory, suites, without)])
    return [*meson_tests("tsan", directory, suites, without),
            sale("tsan: a sale without a data race", directory, 200),
            *pytest_api(TSAN_RUNS, directory / "doorbuster", "tsan: ", TSAN_SELECT)]


def build_release():
    """Brings build/doorbuster up to date."""
    with BUILDING["release"]:
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
    directory = build("fuzz", lambda directory: [f"tests/fuzz/{name}" for name in names])
    with concurrent.futures.ThreadPoolExecutor(FUZZ_RUNS) as pool:
        return list(pool.map(lambda name: fuzz(directory / "tests" / "fuzz" / name), names))


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
    "clang": (part_clang, ["clang", "meson", "ninja"], 1),
    "unit": (part_unit, ["gcc", "meson", "ninja"], 1),
    "api": (part_api, ["gcc", "meson", "ninja"], 0),
    "tsan": (part_tsan, ["gcc", "meson", "ninja"], 1),
    "fuzz": (part_fuzz, ["clang", "meson", "ninja"], 1),
    "demo": (part_demo, ["meson", "ninja"], 1),
}

printing = threading.Lock()


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


def write_times():
    """Where the time went."""
    with open(LOGS / "times.txt", "w") as file:
        file.write("  begin seconds    cpu  log\n")
        for begin, seconds, cpu, log in sorted(TIMES):
            file.write(f"{begin:7.1f} {seconds:7.1f} {cpu:6.1f}  {log}\n")


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
    write_times()
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
