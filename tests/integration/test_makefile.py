"""What `make` makes anew, and whether each variant of it can be linked."""

import ctypes
import glob
import os
import shutil
import subprocess

import pytest

from harness.programs import ROOT, environment

KINDS = {"sql_files": "sql/*.sql", "dashboard_files": "api/dashboard/static/*"}
FOLDERS = ("api", "cli", "common", "scheduler", "worker")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_gone_leaves_the_programs(test_folder, kind):
    files = [os.path.relpath(name, ROOT) for name in glob.glob(os.path.join(ROOT, KINDS[kind]))]
    for name in ["Makefile", "common/embed.sh", *files]:
        os.makedirs(os.path.join(test_folder, os.path.dirname(name)), exist_ok=True)
        shutil.copy(os.path.join(ROOT, name), os.path.join(test_folder, name))
    made = os.path.join(test_folder, "build", "obj", f"{kind}.c")

    def make():
        command = ["make", "-s", "-C", test_folder, f"build/obj/{kind}.c"]
        subprocess.run(command, check=True, env=environment({}))  # not as the make that runs the tests
        with open(made, encoding="latin-1") as file:
            return file.read()

    gone = os.path.basename(files[0])
    before = make()
    assert gone in before
    written = os.stat(made).st_mtime_ns
    assert make() == before and os.stat(made).st_mtime_ns == written, "nothing has changed"
    os.remove(os.path.join(test_folder, files[0]))
    assert gone not in make()


def test_no_file_needs_the_mathematics_library_when_nothing_is_optimised(test_folder):
    """We link none, and an optimiser that writes trunc() itself hides it from all but one variant."""
    found = subprocess.run(["grep", "-rl", "--include=*.c", "<math.h>", *FOLDERS], cwd=ROOT, check=True,
                           capture_output=True, text=True)
    objects = [f"{test_folder}/obj/{name[:-2]}.o" for name in found.stdout.split()]
    command = ["make", "-s", "VARIANT=coverage", f"O={test_folder}/obj", *objects]
    subprocess.run(command, cwd=ROOT, check=True, env=environment({}))
    needed = subprocess.run(["nm", "-u", "-j", *objects], check=True, capture_output=True, text=True).stdout.split()
    ours, libm = ctypes.CDLL("libc.so.6"), ctypes.CDLL("libm.so.6")
    assert [name for name in needed if hasattr(libm, name) and not hasattr(ours, name)] == []
