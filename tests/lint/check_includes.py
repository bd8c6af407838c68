# SPDX-License-Identifier: Apache-2.0
"""
The arrows between the layers point down only: reads the #include lines of src/ and reports every one that points
up or sideways, every library used outside the layer that wraps it, and every .c file that does not include its
own header first.
"""
import re

# What each layer may include, itself aside.
BELOW = {
    "base": set(),
    "core": {"base"},
    "store": {"core", "base"},
    "engine": {"store", "core", "base"},
    "net": {"base"},
    "service": {"engine", "store", "core", "net", "base"},
    "api": {"service", "engine", "store", "core", "net", "base"},
    "rush": {"net", "base"},
    "verify": {"base"},
    "cmd": {"api", "rush", "verify", "service", "engine", "store", "core", "net", "base"},
}

# Libraries that only the layers that wrap them may know.
LIBRARIES = [
    (re.compile(r"sqlite3\.h$"), {"store", "verify"}, "SQL lives in the store and in the auditor"),
    (re.compile(r"libpq-fe\.h$"), {"store", "verify"}, "SQL lives in the store and in the auditor"),
    (re.compile(r"jansson\.h$"), {"net"}, "JSON is read behind net/json.h"),
    (re.compile(r"^hiredis/"), {"api"}, "Redis is spoken to behind api/redis_link.h"),
    (re.compile(r"^curl/"), {"service"}, "what goes outside is carried by service/courier.h"),
    (re.compile(r"(llhttp|http_parser)\.h$"), {"net"}, "HTTP is read behind net/"),
]

# core decides from its arguments alone: no clock, no randomness, no files, no threads (see src/core).
NOT_IN_CORE = re.compile(
    r"^(time|unistd|fcntl|pthread|threads|uv|sodium|sys/(time|random|socket|stat|types))\.h$"
    r"|^base/(clock|id|log)\.h$")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.M)


def includes(text):
    """Yields (line, path, is_quoted) of every #include."""
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group(1) or match.group(2), match.group(1) is not None


def check_arrow(layer, path):
    """What is wrong with `layer` including `path`, or None."""
    target = path.split("/")[0]
    if layer == "core" and NOT_IN_CORE.search(path):
        return f"core includes {path}; time, ids and the like come in as arguments"
    for pattern, layers, reason in LIBRARIES:
        if pattern.search(path) and layer not in layers:
            return f"{layer} includes {path}; only {', '.join(sorted(layers))} may: {reason}"
    if target in BELOW and target != layer and target not in BELOW[layer]:
        allowed = ", ".join(sorted(BELOW[layer])) or "nothing"
        return f"{layer} includes {path}, which is not below it; besides itself it may include: {allowed}"
    return None


def check_own_header(source, file, first):
    """A header that only compiles after another one is found by including it first; a private one includes it."""
    own = file.with_suffix(".h")
    if file.suffix != ".c" or not own.exists():
        return None
    expected = own.relative_to(source).as_posix()
    is_private = first.endswith("_priv.h") and first.startswith(file.parent.relative_to(source).as_posix() + "/")
    return None if first == expected or is_private else f'the first include is not its own header "{expected}"'


def check(root):
    """Returns the findings for root/src as (path, line, message)."""
    source = root / "src"
    findings = []
    files = sorted(f for f in source.rglob("*") if f.suffix in (".c", ".h", ".def"))
    for file in files:
        layer = file.relative_to(source).parts[0]
        found = list(includes(file.read_text()))
        where = file.relative_to(root).as_posix()
        if layer not in BELOW:
            findings.append((where, 1, f"{layer} is no layer; the layers are {', '.join(BELOW)}"))
            continue
        for line, path, is_quoted in found:
            problem = check_arrow(layer, path)
            if is_quoted and not (source / path).exists():
                problem = f'"{path}" is no file under src/; paths are written from there'
            if problem:
                findings.append((where, line, problem))
        if found:
            problem = check_own_header(source, file, found[0][1])
            if problem:
                findings.append((where, found[0][0], problem))
    if not files:
        findings.append(("src", 0, "no source file found: the check reached nothing"))
    return findings
