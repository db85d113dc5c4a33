"""Child processes that cannot outlive the test run.

Each child leads a session of its own, so that Ctrl-C reaches only the test run, and asks the
kernel to be signalled when the run dies, however it dies. The kernel watches the thread that
forked, so only a thread that stays alive may start one.
"""

import ctypes
import os
import pwd
import signal
import subprocess

from .wait import wait_for

PR_SET_PDEATHSIG = 1
IPC_RMID = 0
libc = ctypes.CDLL(None, use_errno=True)


def server_account():
    """Whose name the servers bear: PostgreSQL refuses root. None: our own."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("neither postgres nor nobody is an account here")


def spawn(command, death_signal=signal.SIGKILL, account=None, **options):
    """Popen() of a child that gets `death_signal` when we are gone."""
    parent = os.getpid()

    def guard():
        libc.prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for number in (signal.SIGINT, signal.SIGQUIT):  # a shell's background job ignores them
            signal.signal(number, signal.SIG_DFL)

    if account:
        options.update(user=account.pw_uid, group=account.pw_gid, extra_groups=[])
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(command, preexec_fn=guard, start_new_session=True, **options)


def stat_of(pid):
    """(state, parent) of a process, or None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[1])


def is_running(pid):
    stat = stat_of(pid)
    return stat is not None and stat[0] != "Z"


def children_of(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = stat_of(int(entry))
            if stat and stat[1] == pid and stat[0] != "Z":
                found.append(int(entry))
    return found


def descendants_of(pid):
    found = []
    for child in children_of(pid):
        found += [child, *descendants_of(child)]
    return found


def send(pid, number):
    """False when there is nobody to signal."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def kill_tree(process):
    """Kills a child with all it has started, and takes its exit code."""
    if process.poll() is None:
        send(process.pid, signal.SIGSTOP)  # it shall not replace what is killed below it
        family = descendants_of(process.pid)
        for pid in [process.pid, *family]:
            send(pid, signal.SIGKILL)
        process.wait()
        wait_for(
            lambda: not any(is_running(pid) for pid in family), 10, "killed processes still run"
        )
    return process.returncode


def interrupt(process, timeout=60):
    """What Ctrl-C would have done to a child that has a session of its own."""
    send(process.pid, signal.SIGINT)
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        kill_tree(process)


def remove_shared_memory(number):
    """Of System V; it may be gone."""
    libc.shmctl(number, IPC_RMID, None)
