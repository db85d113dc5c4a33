"""The version of Till before this one, from the history of this clone, built beside it.

    old = previous.version()        raises Absent, with the reason, where there is none
    one.version = old               what the stack starts from now on is of that version

It is OLD_VERSION when that names a commit or a tag; else the release before this one; without releases
the last commit that lacks some of today's migrations and has the others as they are today. Its source and
its programs stay in var/previous/, by commit, so that only the first run builds.
"""

import fcntl
import os
import re
import shutil
import subprocess

from .programs import ROOT

PLACE = os.path.join(ROOT, "var", "previous")
MIGRATION = re.compile(r"sql/\d{4}_\w+\.sql$")


class Absent(Exception):
    """There is no such version here; the text says why."""


class Version:
    def __init__(self, commit, folder):
        self.commit = commit
        self.folder = folder
        with open(os.path.join(folder, "etc", "till.env"), encoding="utf-8") as file:
            self.settings = set(re.findall(r"^#?([A-Z][A-Z0-9_]*)=", file.read(), re.MULTILINE))

    def __repr__(self):
        return f"version {self.commit[:12]}"

    def path_of(self, name):
        return os.path.join(self.folder, "build", name)

    def known(self, settings):
        """Those that it knows: it would not start with others."""
        return {name: value for name, value in settings.items() if name in self.settings}


def git(*arguments):
    try:
        done = subprocess.run(
            ["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False, timeout=60
        )
    except FileNotFoundError:
        raise Absent("there is no git here, which has the older version") from None
    if done.returncode:
        raise Absent(f"no older version is known: {done.stderr.strip()}")
    return done.stdout.strip()


def migrations(listing):
    """{path: id of its content}, of lines `... ID<space or tab>PATH`."""
    rows = (re.split(r"\s", line)[-2:] for line in listing.splitlines())
    return {path: blob for blob, path in rows if MIGRATION.match(path)}


def of_commit(commit):
    return migrations(git("ls-tree", commit, "--", "sql/"))


def of_today():
    names = sorted(name for name in os.listdir(os.path.join(ROOT, "sql")) if MIGRATION.match(f"sql/{name}"))
    paths = [f"sql/{name}" for name in names]
    blobs = git("hash-object", *paths).splitlines()
    return dict(zip(paths, blobs))


def last_release():
    try:
        return git("rev-parse", git("describe", "--tags", "--abbrev=0", "HEAD^") + "^{commit}")
    except Absent:
        return None


def before_the_newest_migration():
    today = of_today()
    for commit in git("log", "--format=%H", "--", "sql/").splitlines():
        then = of_commit(commit)
        if then.items() < today.items():
            return commit
    raise Absent("no commit here has a part of today's migrations: the clone is shallow, or they are all new")


def find():
    """The commit."""
    if os.path.realpath(git("rev-parse", "--show-toplevel")) != os.path.realpath(ROOT):
        raise Absent("this is no clone: the older version is not here")
    wanted = os.environ.get("OLD_VERSION")
    if wanted:
        return git("rev-parse", "--verify", wanted + "^{commit}")
    return last_release() or before_the_newest_migration()


def unpack(commit, folder):
    """Without a worktree: the clone's own files and lists stay as they are."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    archive = folder + ".tar"
    git("archive", "--format=tar", f"--output={archive}", commit)
    subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)
    os.unlink(archive)


def build(folder):
    """As `make` does it, whatever the make that started us was told."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "CC") if name in os.environ}
    done = subprocess.run(
        ["make", f"-j{os.cpu_count() or 1}", "all"], cwd=folder, env=keep, capture_output=True, text=True,
        check=False,
    )
    assert done.returncode == 0, f"the older version does not build:\n{done.stdout[-500:]}{done.stderr[-3000:]}"


def version():
    """The programs of the older version, built."""
    commit = find()
    os.makedirs(PLACE, exist_ok=True)
    folder = os.path.join(PLACE, commit[:12])
    built = os.path.join(folder, "built")
    with open(os.path.join(PLACE, "lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test may want the same
        if not os.path.exists(built):
            unpack(commit, folder)
            build(folder)
            with open(built, "w", encoding="utf-8"):
                pass
    return Version(commit, folder)
