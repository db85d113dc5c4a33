"""Test runs beside each other, and test runs that are killed."""

import os
import re
import signal
import subprocess
import sys

import pytest

from harness import processes
from harness.wait import SLOWNESS, wait_for

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CHECKOUT = "integration/test_checkout.py::test_a_checkout_ends_with_a_paid_order_one_charge_and_a_mail"
FLUSH = "faults/test_servers_fail.py::test_flushall_under_load_loses_nothing"

QUICK = "integration/test_cli.py::test_json_output_is_json"


def start_run(*tests):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return processes.spawn(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", *tests],
        cwd=TESTS,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_runs_at_once_do_not_disturb_each_other():
    runs = [start_run(CHECKOUT, FLUSH), start_run(FLUSH, CHECKOUT)]

    outputs = [run.communicate(timeout=240 * SLOWNESS)[0] for run in runs]

    for run, output in zip(runs, outputs):
        assert run.returncode == 0, output
        assert "2 passed" in output


def told_of(pid, what):
    """Nothing of one that has ended meanwhile."""
    try:
        with open(f"/proc/{pid}/{what}") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_killed_run_leaves_no_process_and_the_next_one_sweeps_its_folder():
    run = start_run(FLUSH)

    def children():
        found = processes.descendants_of(run.pid)
        names = {told_of(pid, "comm").strip() for pid in found}
        return found if {"till-api", "till-worker", "redis-server"} <= names else None

    family = wait_for(children, 60, "the run started no programs")
    commands = [told_of(pid, "cmdline") for pid in family]
    folder = re.search(r"/[^\0=:]*/till-test-[a-z0-9_]+", "\0".join(commands))[0]
    assert os.path.isdir(folder)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()

    wait_for(lambda: not any(map(processes.is_running, family)), 15, "processes are left")
    # Any run that begins just now sweeps it, so it need not be there any more.
    start_run(QUICK).communicate()
    assert not os.path.exists(folder)


def shared_memory_of(pid):
    """Lines of what that process has made and nobody has removed, of System V and of POSIX."""
    with open("/proc/sysvipc/shm") as file:
        made = [line for line in file.read().splitlines()[1:] if int(line.split()[4]) == pid]
    try:
        with open(f"/proc/{pid}/maps") as file:
            return made + [line for line in file if "/dev/shm/PostgreSQL" in line]
    except FileNotFoundError:
        return made


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill", "postmaster"])
def test_a_server_that_ends_leaves_no_shared_memory(cluster, test_folder, mode):
    server = cluster.new_server(test_folder, "pg")
    pid = server.process.pid
    assert len(shared_memory_of(pid)) == 1  # which goes when its segment goes

    server.stop(mode)

    assert not shared_memory_of(pid)
