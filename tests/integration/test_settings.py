"""Settings as every program reads them: flag over environment over file over default, no unknown
name, secrets from files."""

import subprocess

import pytest

from harness import programs

DAEMONS = ["till-api", "till-worker", "till-scheduler", "till-dashboard"]
COMPLETE = {
    "DATABASE_URL": "postgresql://till@127.0.0.1/till",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "JWT_SECRET": "0123456789abcdef0123456789abcdef",
    "GATEWAY_SECRET_KEY": "sk_test_settings",
}


def check(program, settings, *arguments):
    return programs.run(program, settings, "--check", *arguments)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:8000", "0.0.0.0:65535", "8000"])
def test_check_accepts_addresses_to_listen_on(listen):
    assert check("till-api", {**COMPLETE, "TILL_API_LISTEN": listen}).returncode == 0


@pytest.mark.parametrize("program", DAEMONS)
def test_check_accepts_complete_settings_without_any_server(program):
    done = check(program, COMPLETE)

    assert done.returncode == 0, done.stderr
    assert "valid" in done.stdout


@pytest.mark.parametrize(
    "program, name, value, told",
    [
        ("till-api", "TILL_CORS_ORIGINS", "shop.example", "TILL_CORS_ORIGINS"),
        ("till-api", "REDIS_URL", "http://x", "REDIS_URL"),
        ("till-api", "TILL_API_LISTEN", "", "127.0.0.1:8000"),
        ("till-api", "TILL_API_LISTEN", "127.0.0.1", "127.0.0.1:8000"),
        ("till-api", "TILL_API_LISTEN", "127.0.0.1:70000", "127.0.0.1:8000"),
        ("till-api", "TILL_API_LISTEN", "256.0.0.1:8000", "127.0.0.1:8000"),
        ("till-api", "TILL_API_LISTEN", "[::1]:8000", "127.0.0.1:8000"),
        ("till-dashboard", "TILL_DASHBOARD_LISTEN", "127.0.0.1:http", "TILL_DASHBOARD_LISTEN"),
        ("till-dashboard", "TILL_DASHBOARD_LISTEN", "127.0.0.1:1,", "TILL_DASHBOARD_LISTEN"),
        ("till-worker", "GATEWAY_URL", "http://gateway.example", "GATEWAY_URL"),
        ("till-scheduler", "TILL_SCHEDULES_FILE", "/nowhere", "/nowhere"),
        ("till-dashboard", "TILL_DASHBOARD_USERS", "/nowhere", "/nowhere"),
        ("till-dashboard", "PATH_PREFIX", "till/", "PATH_PREFIX"),
    ],
)
def test_check_refuses_what_the_start_refuses_and_says_nothing_else(program, name, value, told):
    done = check(program, {**COMPLETE, name: value})

    assert done.returncode == 2
    assert told in done.stderr
    assert "valid" not in done.stdout.replace("not valid", "")
    assert programs.run(program, {}, "--check", "--help").returncode == 0


@pytest.mark.parametrize("program", ["till", *DAEMONS])
def test_an_unknown_till_name_refuses_to_start(program):
    done = check(program, {**COMPLETE, "TILL_WORKER_PROCESES": "4"})

    assert done.returncode == 2
    assert "TILL_WORKER_PROCESES" in done.stderr


@pytest.mark.parametrize(
    "program, name",
    [
        ("till-api", "DATABASE_URL"),
        ("till-api", "JWT_SECRET"),
        ("till-worker", "GATEWAY_SECRET_KEY"),
        ("till-scheduler", "DATABASE_URL"),
    ],
)
def test_a_missing_setting_is_named(program, name):
    done = check(program, {key: value for key, value in COMPLETE.items() if key != name})

    assert done.returncode == 2
    assert name in done.stderr


def test_each_source_beats_the_next(tmp_path):
    """A bad value is told with its source, which shows which one was read."""
    file = tmp_path / "till.env"
    file.write_text("TILL_LEASE_SECONDS=file\n")
    from_file = ("--config", file)
    env = {**COMPLETE, "TILL_LEASE_SECONDS": "environment"}
    flag = ("--lease-seconds", "flag")

    def complaint(settings, *arguments):
        done = check("till-worker", settings, *arguments)
        assert done.returncode == 2
        return done.stderr

    assert '"flag" (flag)' in complaint(env, *from_file, *flag)
    assert '"environment" (environment)' in complaint(env, *from_file)
    assert '"file"' in complaint(COMPLETE, *from_file)
    assert check("till-worker", COMPLETE).returncode == 0, "the default is valid"
    assert check("till-worker", env, *from_file, "--lease-seconds=7").returncode == 0


@pytest.mark.parametrize("value", ["0", "-1", "3601", "9999999999999999999", "1e3", "", "7 "])
def test_numbers_out_of_range_or_not_numbers_are_refused(value):
    done = check("till-scheduler", {**COMPLETE, "TILL_HEAL_SECONDS": value})

    assert done.returncode == 2
    assert "TILL_HEAL_SECONDS" in done.stderr


def test_a_secret_comes_from_a_file_and_is_never_printed(tmp_path):
    secret = tmp_path / "jwt"
    secret.write_text("abcdefghijklmnopqrstuvwxyz-0123456789\n")
    without = {key: value for key, value in COMPLETE.items() if key != "JWT_SECRET"}

    assert check("till-api", {**without, "JWT_SECRET_FILE": secret}).returncode == 0

    secret.write_text("too-short-but-telling\n")
    done = check("till-api", {**without, "JWT_SECRET_FILE": secret})
    assert done.returncode == 2
    assert "JWT_SECRET" in done.stderr
    assert "too-short-but-telling" not in done.stdout + done.stderr


def test_a_weak_previous_key_is_refused_as_the_present_one_is(tmp_path):
    secret = tmp_path / "jwt"
    secret.write_text("too-short-but-telling\n")
    done = check("till-api", {**COMPLETE, "JWT_SECRET_PREVIOUS_FILE": secret})
    assert done.returncode == 2
    assert "JWT_SECRET_PREVIOUS" in done.stderr
    assert "too-short-but-telling" not in done.stdout + done.stderr
    secret.write_text("abcdefghijklmnopqrstuvwxyz-0123456789\n")
    assert check("till-api", {**COMPLETE, "JWT_SECRET_PREVIOUS_FILE": secret}).returncode == 0


def test_a_secret_file_that_cannot_be_read_is_named(tmp_path):
    without = {key: value for key, value in COMPLETE.items() if key != "JWT_SECRET"}

    done = check("till-api", {**without, "JWT_SECRET_FILE": tmp_path / "nowhere"})

    assert done.returncode == 2
    assert "nowhere" in done.stderr


def test_a_settings_file_with_an_unknown_name_or_a_broken_line_is_refused(tmp_path):
    file = tmp_path / "till.env"
    for text in ("TILL_NONSENSE=1\n", "just words\n"):
        file.write_text("# a comment\n\n" + text)
        done = check("till-scheduler", COMPLETE, "--config", file)
        assert done.returncode == 2
        assert "line 3" in done.stderr


@pytest.mark.parametrize(
    "text, told",
    [
        (b"\xef\xbb\xbfLOG_LEVEL=info\n", "begins with a byte order mark"),
        ("LOG_LEVEL=info\n".encode("utf-16"), "line 1: holds a NUL"),
        (b"LOG_LEVEL=info\nLOG_LEVEL=in\0fo\n", "line 2: holds a NUL"),
        (b"LOG_LEVEL=info\n\0" * 2, "line 2: holds a NUL"),
        (b"LOG_LEVEL=info\n#" + b"x" * 4094 + b"\n", "line 2: longer than 4094 bytes"),
    ],
)
def test_a_settings_file_that_is_no_plain_text_is_told_as_such(tmp_path, text, told):
    file = tmp_path / "till.env"
    file.write_bytes(text)
    done = check("till-scheduler", COMPLETE, "--config", file)
    assert done.returncode == 2
    assert told in done.stderr
    file.write_bytes(b"#" + b"x" * 4093 + b"\nLOG_LEVEL=info")
    assert check("till-scheduler", COMPLETE, "--config", file).returncode == 0


def test_a_settings_file_may_quote_its_values(tmp_path):
    file = tmp_path / "till.env"
    file.write_text("# all of it\n" + "".join(f'{k}="{v}"\n' for k, v in COMPLETE.items()))

    assert check("till-worker", {}, "--config", file).returncode == 0


@pytest.mark.parametrize("program", ["till", *DAEMONS])
def test_help_prints_the_table_of_settings(program):
    done = programs.run(program, {}, "--help")

    assert done.returncode == 0
    assert "DATABASE_URL" in done.stdout


@pytest.mark.parametrize("program", ["till", *DAEMONS])
def test_version_is_printed(program):
    done = programs.run(program, {}, "--version")

    assert done.returncode == 0
    assert done.stdout.startswith(f"{program} ")


@pytest.mark.parametrize("program", ["till", *DAEMONS])
@pytest.mark.parametrize("question", ["--help", "--version", "--check"])
def test_an_answer_that_cannot_be_written_is_no_success(program, question):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [programs.path_of(program), question], env=programs.environment(COMPLETE),
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr.startswith(f"{program}: standard output could not be written")


@pytest.mark.parametrize("program", DAEMONS)
def test_an_unknown_argument_is_wrong_usage(program):
    done = programs.run(program, COMPLETE, "--nonsense")

    assert done.returncode == 2
    assert "--nonsense" in done.stderr
