"""SIGTERM to each program while it works."""

import signal
import socket

from harness import openapi, processes
from harness.load import Load
from harness.wait import wait_for


def connect(one):
    host, _, port = one.api.address().rpartition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def half_a_question(one):
    """A connection that asks whether the API is ready, but for the end of the head; and what it has said."""
    connection = connect(one)
    head = b"GET /readyz HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n"
    connection.sendall(head)
    return connection, head


def half_a_login(one, shop):
    """A connection whose request has begun and is not complete; the whole request, and what is missing of it."""
    body = f'{{"email": "{shop.email}", "password": "correct-horse-battery-7"}}'.encode()
    connection = connect(one)
    head = (
        f"POST /api/auth/login/ HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    connection.sendall(head.encode() + body[:10])
    return connection, head.encode() + body, body[10:]


def read_all(connection, request):
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    connection.close()
    openapi.check_raw(request, data)
    return data


def test_the_api_answers_what_has_begun_and_ends_with_0(stack):
    one = stack().start(workers=0, schedulers=0)
    api = one.api
    shop = one.shop()
    shop.register()
    begun = [half_a_login(one, shop) for _ in range(4)]
    asking, head = half_a_question(one)
    assert shop.get("/readyz").status_code == 200  # the others were accepted before this one

    api.term()
    api.wait_for_log("stopping")
    asking.sendall(b"\r\n")
    assert read_all(asking, head + b"\r\n").startswith(b"HTTP/1.1 503 "), "still ready after TERM"
    for connection, _, rest in begun:
        connection.sendall(rest)

    for connection, request, _ in begun:
        assert read_all(connection, request).startswith(b"HTTP/1.1 200 ")
    api.expect_exit(0)


def test_the_api_under_load_ends_with_0_and_another_goes_on(stack):
    one = stack().start()
    first = one.api
    with Load(one, seed=21) as load:
        load.wait_accepted(10)
        second = one.start_api()
        first.term()
        first.expect_exit(0)
        load.wait_accepted(20)
        assert second.is_running()
    one.settle(unpaid=True)


def test_the_worker_finishes_what_it_has_and_loses_no_attempt(stack):
    one = stack().start(apis=0)
    one.enqueue("till.tasks.sleep", 1, count=60)
    started = "SELECT count(*) FROM jobs WHERE state = 'STARTED'"
    wait_for(lambda: one.value(started) >= 8, 15, "nothing started")

    one.worker.term_and_wait(timeout=10)

    assert one.value(started) == 0, "finished or released"
    one.start_worker()
    one.wait_settled(timeout=40)
    # What was claimed and had not begun gets its attempt back as one more that it may have.
    assert one.query("SELECT state, max_attempts - attempt AS left, count(*) FROM jobs GROUP BY 1, 2") == [
        {"state": "SUCCESS", "left": 9, "count": 60}
    ]
    assert one.value("SELECT count(*) FROM job_errors") == 0


def test_a_job_longer_than_the_grace_time_is_released_to_others_at_once(stack):
    one = stack({"TILL_SHUTDOWN_SECONDS": 1, "TILL_LEASE_SECONDS": 30}).start(apis=0)
    first = one.worker
    made = one.enqueue("till.tasks.sleep", 30)
    job = one.wait_job(made, "STARTED")

    second = one.start_worker()
    first.term_and_wait(timeout=8)

    def taken():
        now = one.job(made)
        return now["state"] == "STARTED" and now["started_at"] > job["started_at"]

    wait_for(taken, 10, lambda: f"not taken by another, far before its lease: {one.job(made)}")
    second.kill()


def test_a_term_to_all_processes_of_a_worker_hurries_nobody(stack):
    """As a terminal and systemd send it: to the supervisor, which passes it on, and to its children."""
    one = stack({"TILL_SHUTDOWN_SECONDS": 30}).start(apis=0)
    worker = one.worker
    job = one.enqueue("till.tasks.sleep", 3)
    one.wait_job(job, "STARTED")

    for child in processes.children_of(worker.pid):
        processes.send(child, signal.SIGTERM)
    worker.wait_for_log("stopping", timeout=10)
    worker.term_and_wait(timeout=20)

    assert one.query("SELECT state, attempt FROM jobs") == [{"state": "SUCCESS", "attempt": 1}]


def test_the_worker_under_load_ends_with_0_again_and_again(stack):
    one = stack().start()
    with Load(one, seed=22) as load:
        for _ in range(4):
            load.wait_accepted(10)
            one.worker.term_and_wait()
            one.start_worker()
    one.settle()
    assert one.value("SELECT count(*) FROM job_errors") == 0, "no attempt was lost"


def test_the_scheduler_under_load_ends_with_0_and_the_other_leads(stack):
    one = stack().start(schedulers=2)
    with Load(one, seed=23) as load:
        load.wait_accepted(10)
        leader = next(s for s in one.named("till-scheduler") if s.find_log("leading"))
        leader.term_and_wait()
        one.scheduler.wait_for_log("leading", timeout=10)
    one.settle()


def test_the_dashboard_under_load_ends_with_0(stack):
    one = stack().start(dashboards=1)
    with Load(one, seed=24) as load:
        load.wait_accepted(10)
        one.dashboard.term_and_wait()
    one.settle()


def test_a_second_term_ends_a_worker_at_once(stack):
    one = stack({"TILL_SHUTDOWN_SECONDS": 60}).start(apis=0)
    worker = one.worker
    one.wait_job(one.enqueue("till.tasks.sleep", 60), "STARTED")

    worker.term()
    wait_for(lambda: not worker.is_running() or worker.term() or False, 10, "still there")
