"""Temporary folders and free ports of one test run.

A folder's name is short, since a unix socket's path may have 107 bytes only. Its owner holds a
lock on it: what a killed run has left behind is known by its lock being free, and swept away.
"""

import atexit
import fcntl
import os
import shutil
import socket
import tempfile
import time

PREFIX = "till-test-"
MEMORY = "/dev/shm"
MEMORY_BYTES = 6 << 30  # more than all servers of a run have ever filled


def has_room_in_memory():
    try:
        system = os.statvfs(MEMORY)
        with open("/proc/meminfo") as file:
            available = next(int(line.split()[1]) for line in file if line.startswith("MemAvailable"))
    except OSError:
        return False
    free = min(system.f_bavail * system.f_frsize, available * 1024)
    return free >= MEMORY_BYTES and not system.f_flag & os.ST_NOEXEC


def base_folder(in_memory=False):
    memory = MEMORY if in_memory and has_room_in_memory() else None
    for folder in (os.environ.get("TMPDIR"), memory, "/tmp"):
        if folder and len(folder) <= 24 and os.access(folder, os.W_OK):
            return folder
    return "/tmp"


def is_old(folder):
    try:
        return time.time() - os.stat(folder).st_mtime > 60
    except OSError:
        return False  # swept by another run this moment


def sweep(base):
    for name in os.listdir(base):
        folder = os.path.join(base, name)
        if not name.startswith(PREFIX):
            continue
        try:
            if os.stat(folder).st_uid != os.geteuid():
                continue
            with open(os.path.join(folder, "lock"), "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            if is_old(folder):  # written into by a child after its owner had removed it
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # in use


def new_run_folder(in_memory=False):
    """A folder that is gone when this process ends. In memory where there is room: a database for each
    test is some hundred files, and making and removing those took a fifth of the tests' CPU time."""
    base = base_folder(in_memory)
    sweep(base)
    # It gets its name when it is locked: another run must not meet it before, and sweep it away.
    unnamed = tempfile.mkdtemp(prefix="till-new-", dir=base)
    os.chmod(unnamed, 0o755)  # the servers' account has to pass through
    lock = os.open(os.path.join(unnamed, "lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    folder = os.path.join(base, PREFIX + os.path.basename(unnamed).removeprefix("till-new-"))
    os.rename(unnamed, folder)
    owner = os.getpid()

    def remove():
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def subfolder(parent, name, account=None, mode=0o700):
    """Makes parent/name, for `account` to write in."""
    folder = os.path.join(parent, name)
    os.mkdir(folder)
    os.chmod(folder, mode)
    if account:
        os.chown(folder, account.pw_uid, account.pw_gid)
    return folder


def free_port():
    """A port that was free just now. Programs that can take port 0 do not need this."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
