"""What `make` makes anew."""

import glob
import os
import shutil
import subprocess

import pytest

from harness.programs import ROOT, environment

KINDS = {"sql_files": "sql/*.sql", "dashboard_files": "api/dashboard/static/*"}


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
