"""Fixtures of all tests: servers once a run (or an xdist worker), a database of its own and an
empty Redis for each test, and `stack`, the factory of whole systems."""

import os

import pytest

from harness import faults_report, folders, openapi, programs, redis
from harness.gateway import Gateway
from harness.mail import Mail
from harness.postgres import Cluster
from harness.stack import Stack


@pytest.fixture(scope="session")
def run_folder():
    """A short temporary folder; gone at the end, whatever happens."""
    return folders.new_run_folder(in_memory=True)


@pytest.fixture(scope="session")
def cluster(run_folder):
    """The data folder that every PostgreSQL of this run starts from, with a migrated template."""
    return Cluster(run_folder, programs.migrate)


@pytest.fixture(scope="session")
def postgres(cluster, run_folder):
    """The PostgreSQL that tests share: never stop this one."""
    server = cluster.new_server(run_folder, "pg")
    yield server
    server.stop("immediate")


@pytest.fixture(scope="session")
def redis_server(run_folder):
    """The Redis that tests share, flushed before each: never stop this one."""
    server = redis.new_server(run_folder, "redis")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared_gateway(run_folder):
    server = Gateway(folders.subfolder(run_folder, "gateway")).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared_mail(run_folder):
    server = Mail(folders.subfolder(run_folder, "mail")).start()
    yield server
    server.stop()


@pytest.fixture
def gateway(shared_gateway):
    """The gateway sandbox with an empty ledger and no faults."""
    shared_gateway.reset()
    return shared_gateway


@pytest.fixture
def mail(shared_mail):
    """The mail sink, empty and without faults."""
    shared_mail.reset()
    return shared_mail


counter = iter(range(1, 1 << 30))


@pytest.fixture
def test_folder(run_folder):
    """A folder of this test."""
    return folders.subfolder(run_folder, f"t{next(counter)}", mode=0o755)


@pytest.fixture
def database_url(postgres):
    """URL of a migrated database of this test alone."""
    name = f"test{next(counter)}"
    yield postgres.new_database(name)
    postgres.drop_database(name)


@pytest.fixture
def empty_database_url(postgres):
    """URL of a database of this test alone in which nothing is yet."""
    name = f"empty{next(counter)}"
    yield postgres.new_database(name, "template1")
    postgres.drop_database(name)


def settings_of(own):
    return own if isinstance(own, dict) else None


@pytest.fixture
def stack(request, run_folder, test_folder, cluster, gateway, mail):
    """Makes whole systems: stack(settings={…}, own_postgres=False, own_redis=False, migrate=None).

    A test that stops, kills or fills a server asks for one of its own; instead of True, a dictionary
    of settings of that server. `migrate` is called with the URL of an empty database, as its owner; without
    it the database has everything."""
    made = []
    ends = []

    def make(settings=None, own_postgres=False, own_redis=False, migrate=None):
        number = next(counter)
        if own_postgres:
            server = cluster.new_server(run_folder, f"pg{number}", settings_of(own_postgres))
            ends.append(lambda: server.stop("immediate"))
        else:
            server = request.getfixturevalue("postgres")
        if own_redis:
            redis_server = redis.new_server(
                run_folder, f"redis{number}", appendonly=True, settings=settings_of(own_redis)
            )
            ends.append(redis_server.stop)
        else:
            redis_server = request.getfixturevalue("redis_server")
            redis_server.flush()
        database = f"stack{number}"
        if migrate:
            migrate(server.new_empty_database(database))
        else:
            server.new_database(database)
        if not own_postgres:
            ends.append(lambda: server.drop_database(database))
        one = Stack(test_folder, server, database, redis_server, gateway, mail, settings)
        made.append(one)
        request.node.stacks = made
        return one

    yield make
    gateway.clear_faults()
    gateway.release("drop")
    mail.reset()
    refused = [text for one in made for text in one.refusals()]
    for one in made:
        one.end()
    for end in ends:
        end()
    assert not refused, "\n".join(["the programs were refused, or met in a deadlock:", *refused[:5]])


@pytest.fixture
def api(stack):
    """The API and no other program: `api.shop()` is a customer, `api.api` the program."""
    one = stack()
    one.start_api()
    return one


@pytest.fixture
def shop(api):
    """A customer of `api` who is logged in."""
    return api.shop().sign_up()


@pytest.fixture
def other(api):
    """Another one."""
    return api.shop().sign_up()


@pytest.fixture
def staff(api):
    """A customer who belongs to the staff."""
    made = api.shop().sign_up()
    api.query("UPDATE users SET is_staff = true WHERE email = %s", made.email)
    return made


def pytest_configure():
    openapi.watch()


def pytest_runtest_setup(item):
    if faults_report.time_is_over():
        pytest.skip("the time of `make faults` is over")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the programs' last log lines beneath a failure."""
    report = (yield).get_result()
    if report.failed:
        for one in getattr(item, "stacks", []):
            for program in one.programs:
                name = os.path.basename(program.log)
                report.sections.append((f"{name} {program!r}", program.tail(40)))


def pytest_collection_modifyitems(config, items):
    """The longest first, so that no worker starts one when the others are done. What is marked
    `full` belongs to `make faults`."""
    if not faults_report.FULL:
        left = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
