#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes compile_commands.json for clang-tidy from the Makefile itself: lint_commands.py OUT.

`make -n` tells how each program's source is compiled; nothing is built. The names of the sources go
to stdout. Flags that only gcc knows are left out, since clang would warn of them instead of our code.
"""

import json
import os
import shlex
import subprocess
import sys

GCC_ONLY = {"-fno-strict-overflow"}


def entries(root):
    dry_run = subprocess.run(
        ["make", "--no-print-directory", "-Bnk", "V=1", "CC=cc", "all"],
        cwd=root,
        check=False,
        capture_output=True,
        text=True,
    )
    for line in dry_run.stdout.splitlines():
        words = shlex.split(line) if line.lstrip().startswith("cc ") else []
        if "-c" not in words or not words[-1].endswith(".c") or words[-1].startswith("build/"):
            continue
        arguments = [word for word in words if word not in GCC_ONLY]
        yield {"directory": root, "file": os.path.join(root, words[-1]), "arguments": arguments}


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    found = {entry["file"]: entry for entry in entries(root)}
    if not found:
        sys.exit("lint_commands.py: make told of no source file")
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        json.dump([found[name] for name in sorted(found)], out, indent=1)
    print("\n".join(os.path.relpath(name, root) for name in sorted(found)))


if __name__ == "__main__":
    main()
