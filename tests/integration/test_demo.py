"""`make demo`: the program behind it, with other ports and a folder of its own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from harness import processes
from harness.programs import ROOT
from harness.wait import SLOWNESS, wait_for

DEMO = os.path.join(ROOT, "tests", "demo.py")
PORTS = ("api", "dashboard", "gateway", "mail")


@pytest.fixture
def var(test_folder):
    """The folder of the demo; short, and not there yet."""
    return os.path.join(test_folder, "var")


def start(var, *arguments, account=None, **env):
    free = {f"DEMO_{name.upper()}_PORT": "0" for name in PORTS}
    kept = {name: os.environ[name] for name in ("PATH", "BUILD") if name in os.environ}
    return processes.spawn(
        [sys.executable, "-B", DEMO, "--var", var, *arguments],
        signal.SIGTERM,
        account,
        env={**kept, **free, **env},
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(demo, code=0, timeout=90):
    output = demo.communicate(timeout=timeout * SLOWNESS)[0]
    assert demo.returncode == code, output
    return output


def running_below(folder):
    """Processes that were started with something of this folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if folder.encode() in file.read() and int(pid) != os.getpid():
                    found.append(int(pid))
        except OSError:
            continue
    return found


def test_one_checkout_is_shown_twice_and_nothing_is_left(var):
    first = finish(start(var, DEMO_ONCE="1"))

    for text in ("pending", "succeeded", "paid", "ch_", "process_payment", "Message-ID: <"):
        assert text in first, first
    assert "send_order_confirmation_email" in first
    assert running_below(var) == []

    second = finish(start(var, "--once"))
    assert "with the data of last time" in second
    assert running_below(var) == []


def test_its_settings_can_be_sourced_by_a_shell_and_hold_only_known_names(var):
    finish(start(var, "--once"))

    script = f"set -a; . {var}/demo.env; exec {sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    shown = subprocess.run(
        ["/bin/sh", "-euc", script], env={}, capture_output=True, text=True, check=True
    )

    values = json.loads(shown.stdout)
    for name in (
        "DATABASE_URL REDIS_URL GATEWAY_URL GATEWAY_SECRET_KEY SMTP_URL JWT_SECRET API_URL DASHBOARD_URL"
    ).split():
        assert values[name], name
    worker = os.path.join(ROOT, os.environ.get("BUILD", "build"), "till-worker")
    script = f"set -a; . {var}/demo.env; exec {worker} --check"
    assert subprocess.run(["/bin/sh", "-euc", script], env={}, check=False).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_everything_with_0(var, number):
    demo = start(var)
    lines = []
    while not any("Ctrl-C" in line for line in lines):
        line = demo.stdout.readline()
        assert line, "".join(lines)
        lines.append(line)
    family = processes.descendants_of(demo.pid)
    assert len(family) >= 8

    demo.send_signal(number)
    finish(demo)

    assert not [pid for pid in family if processes.is_running(pid)]


def test_killed_it_leaves_no_process(var):
    demo = start(var)
    while "Ctrl-C" not in (line := demo.stdout.readline()):
        assert line
    family = processes.descendants_of(demo.pid)

    demo.kill()
    demo.communicate()

    wait_for(lambda: not any(map(processes.is_running, family)), 20, "processes are left")
    finish(start(var, "--once"))


@pytest.mark.parametrize("name", PORTS)
def test_a_port_in_use_is_named_with_the_way_to_choose_another(var, name):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        output = finish(start(var, "--once", **{f"DEMO_{name.upper()}_PORT": str(port)}), code=1)

    assert f"port {port}" in output
    assert f"DEMO_{name.upper()}_PORT=" in output
    assert len(output.strip().splitlines()) == 1, output
    assert running_below(var) == []


def test_a_second_demo_in_the_same_folder_is_refused(var):
    demo = start(var)
    while "Ctrl-C" not in (line := demo.stdout.readline()):
        assert line

    output = finish(start(var, "--once"), code=1)

    assert f"process {demo.pid}" in output
    demo.send_signal(signal.SIGINT)
    finish(demo)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_can_run_it_and_is_told_when_root_has_run_it_before(var):
    account = processes.server_account()
    if subprocess.run([sys.executable, "-c", "pass"], user=account.pw_uid, check=False).returncode:
        pytest.skip("this Python cannot be run by others")
    copy = os.path.join(os.path.dirname(var), "copy")
    for name in ("api", "etc", "tests", os.environ.get("BUILD", "build")):
        shutil.copytree(
            os.path.join(ROOT, name),
            os.path.join(copy, name),
            ignore=shutil.ignore_patterns("obj", "node_modules", "*.a", "__pycache__"),
        )
    os.mkdir(var)

    def as_user():
        env = {"PATH": os.environ["PATH"], "BUILD": os.environ.get("BUILD", "build")}
        env.update({f"DEMO_{name.upper()}_PORT": "0" for name in PORTS})
        return processes.spawn(
            [sys.executable, "-B", os.path.join(copy, "tests", "demo.py"), "--once", "--var", var],
            signal.SIGTERM, account, env=env, cwd="/",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    output = finish(as_user(), code=1)
    assert "belongs to root" in output

    os.chown(var, account.pw_uid, account.pw_gid)
    assert "succeeded" in finish(as_user())
    output = finish(start(var, "--once"), code=1)
    assert f"belongs to {account.pw_name}" in output
