# SPDX-License-Identifier: Apache-2.0
"""
C files have the shape of .clang-format, as script/format would put them. Its versions do not agree about braces in
macros and about what follows a cast in them; such macros are guarded with clang-format off and on.
"""
import os
import re
import shutil
import subprocess

PROGRAM = "clang-format"
MISSING = f"{PROGRAM} is not installed; script/bootstrap --all does it"
FINDING = re.compile(r"([^\s:][^:]*):(\d+):\d+: (?:error|warning): ")
FILES_AT_ONCE = 50


def is_missing():
    return shutil.which(PROGRAM) is None


def may_be_missing():
    """On a build machine nothing may."""
    return os.environ.get("CI") != "true"


def check(root, script, files):
    """The lines of these files that script/format would change, each once; every file is C or is left out."""
    names = [str(f) for f in files if f.suffix in (".c", ".h")]
    found = set()
    for begin in range(0, len(names), FILES_AT_ONCE):
        done = subprocess.run([str(script), "--check", *names[begin:begin + FILES_AT_ONCE]], cwd=root,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        places = [match.groups() for match in map(FINDING.match, done.stdout.split("\n")) if match]
        if done.returncode != 0 and not places:
            raise RuntimeError(f"{script} --check, exit status {done.returncode}:\n{done.stdout}")
        found |= {(os.path.relpath(path, root), int(line)) for path, line in places}
    return [(*place, "has another shape than .clang-format; script/format gives it") for place in sorted(found)]
