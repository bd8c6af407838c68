#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write SQL scripts as C strings: embed.py OUTPUT.c SCRIPT.sql... (sqlite_001.sql becomes sqlite_001_sql)."""
import pathlib
import sys


def c_line(text):
    return '    "' + text.replace("\\", "\\\\").replace('"', '\\"') + '\\n"'


def main(output, scripts):
    parts = ["/* Made by schema/embed.py from the scripts in schema. */"]
    for script in map(pathlib.Path, scripts):
        lines = script.read_text(encoding="utf-8").splitlines()
        name = f"const char {script.stem}_sql[]"
        parts.append(f"extern {name};\n{name} =\n" + "\n".join(map(c_line, lines)) + ";")
    pathlib.Path(output).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


main(sys.argv[1], sys.argv[2:])
