"""The systemd units as `make install` puts them: sound, locked in, and with settings that the
programs understand."""

import filecmp
import os
import re
import shutil
import subprocess

import pytest
from harness import programs

UNITS = ("till-api", "till-worker", "till-scheduler", "till-dashboard", "till-migrate")
EXPOSURE_MAX = 2.0
SECRETS = {
    "DATABASE_URL": "postgresql://till@127.0.0.1/till\n",
    "REDIS_URL": "redis://till-api:secret@127.0.0.1:6379/0\n",
    "JWT_SECRET": "a-key-that-only-the-tests-know-0123456789\n",
    "GATEWAY_SECRET_KEY": "sk_test_till\n",
}

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not here: make deps installs it"
)


def make(goal, **variables):
    build = os.environ.get("BUILD", "build")
    words = [f"{name}={value}" for name, value in variables.items()]
    if build != "build":
        words.append(f"VARIANT={os.path.basename(build)}")
    return subprocess.run(
        ["make", "--no-print-directory", goal, *words],
        cwd=programs.ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def installed(run_folder):
    """An installation below a folder; the programs of this run, whatever they are built for."""
    root = os.path.join(run_folder, "installed")
    make("install", PREFIX=f"{root}/usr", SYSCONFDIR=f"{root}/etc")
    return root


def unit_path(installed, name):
    return os.path.join(installed, "usr/lib/systemd/system", f"{name}.service")


def values_of(path, key):
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_sound_and_exposes_little(installed, name):
    path = unit_path(installed, name)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if name in line]
    assert done.returncode == 0 and not said, done.stderr
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    exposure = float(done.stdout.strip().splitlines()[-1].partition(": ")[2].split()[0])
    assert 0 < exposure <= EXPOSURE_MAX, done.stdout


@pytest.mark.parametrize("name", UNITS)
def test_a_program_understands_what_its_unit_gives_it(installed, name, test_folder):
    path = unit_path(installed, name)
    command = values_of(path, "ExecStart")[0].split()
    assert command[0].startswith(installed) and os.access(command[0], os.X_OK)
    assert values_of(path, "LoadCredential") == [f"secret:{installed}/etc/till/secrets/%p"]
    given = dict(v.replace("%d", test_folder).split("=", 1) for v in values_of(path, "Environment"))
    assert "DATABASE_URL_FILE" in given
    for variable, secret in given.items():
        setting = variable.removesuffix("_FILE")
        assert secret == os.path.join(test_folder, f"secret_{setting}")
        with open(secret, "w", encoding="utf-8") as file:
            file.write(SECRETS[setting])
    settings = os.path.join(installed, "etc/till/till.env")
    assert settings in values_of(path, "EnvironmentFile")
    if name == "till-migrate":
        assert command[1:] == ["migrate"]
        command[1:] = []
    done = subprocess.run(
        [command[0], "--config", settings, "--check"],
        env=programs.environment(given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_what_is_installed_runs_the_shops_schedules(installed):
    """Without them no order expires, no payment is reconciled and no job is pruned."""
    with open(os.path.join(installed, "etc/till/till.env"), encoding="utf-8") as file:
        [named] = re.findall(r"^TILL_SCHEDULES_FILE=(.+)$", file.read(), re.MULTILINE)
    assert named == os.path.join(installed, "etc/till/schedules.conf")
    assert filecmp.cmp(named, os.path.join(programs.ROOT, "etc/schedules.conf"), shallow=False)


def test_installing_again_keeps_the_sites_settings_and_uninstalling_too(installed, run_folder):
    root = os.path.join(run_folder, "again")
    where = {"DESTDIR": root, "PREFIX": "/opt/till"}
    make("install", **where)
    with open(unit_path(root + "/opt/till", "x").replace("usr/", "").replace("x.", "till-api.")) as file:
        assert "ExecStart=/opt/till/bin/till-api\n" in file.read()
    settings = os.path.join(root, "etc/till/till.env")
    with open(settings, "w", encoding="utf-8") as file:
        file.write("LOG_LEVEL=warn\n")
    assert os.stat(os.path.join(root, "etc/till/secrets")).st_mode & 0o077 == 0
    make("install", **where)
    make("uninstall", **where)
    with open(settings, encoding="utf-8") as file:
        assert file.read() == "LOG_LEVEL=warn\n"
    left = [name for _, _, names in os.walk(os.path.join(root, "opt")) for name in names]
    assert not left


def test_help_shows_each_target_that_has_a_line():
    with open(os.path.join(programs.ROOT, "Makefile"), encoding="utf-8") as file:
        told = re.findall(r"^([\w-]+):.*##", file.read(), re.M)

    shown = [line.split()[0] for line in make("help").stdout.splitlines()]

    assert shown == told
