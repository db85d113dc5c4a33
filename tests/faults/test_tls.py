"""TLS that fails, in each way in which it can: nothing is charged twice or lost, nothing is said in clear,
the error of the job says what to do, and once it is mended everything goes on by itself."""

from urllib.parse import quote

import pytest

from harness import faults_report, folders
from harness.tls import GatewayFront, MailFront, Papers
from harness.wait import wait_for

full = pytest.mark.full
CERTIFICATE = "its certificate is not valid"
HANDSHAKE = "the TLS handshake failed"
USER, PASSWORD = "till@shop.example", "hunter2/over:tls@alone%"
LOGIN = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}"  # as a URL has them
# What a job's error says in each mode.
GATEWAY_ERRORS = {
    "expired": CERTIFICATE,
    "wrong_name": CERTIFICATE,
    "stranger": CERTIFICATE,
    "refused": HANDSHAKE,
    "reset": HANDSHAKE,
    "clear": HANDSHAKE,
    "lost_answer": "the charge may have been made",
}
MAIL_ERRORS = {
    "expired": "certificate has expired",
    "wrong_name": "mismatch",
    "stranger": "certificate is not valid",
    "reset": HANDSHAKE,
    "clear": HANDSHAKE,
    "no_starttls": "it offers no STARTTLS",
    "refuses_starttls": "it refused STARTTLS",
    "injected": "somebody is in between",
    "wrong_password": "refused the user and password of SMTP_URL",
}
LONGER = {"old": HANDSHAKE, "silent": "it is not reachable"}  # a time-out each


@pytest.fixture(scope="module")
def papers(run_folder):
    return Papers(folders.subfolder(run_folder, "papers", mode=0o755))


@pytest.fixture
def fronts():
    made = []
    yield made
    for front in made:
        front.close()


def error_with(one, task, text):
    """The first attempt of such a job that failed for this reason."""
    sql = "SELECT e.error FROM job_errors e JOIN jobs j ON j.id = e.job_id WHERE j.task = %s AND e.error LIKE %s"
    return one.value(sql, task, f"%{text}%")


def go_through(one, front, errors, task, begin, is_done):
    """Each mode with an order of its own; between them the server is as it should be, and what failed
    is done without help."""
    for mode, text in errors.items():
        front.mode = mode
        one.query("DELETE FROM job_errors")
        begun = begin()
        wait_for(
            lambda text=text: error_with(one, task, text),
            30,
            lambda mode=mode: f"{mode}: {one.query('SELECT error, detail FROM job_errors')}",
        )
        assert not is_done(begun), mode
        front.mode = "good"
        wait_for(lambda begun=begun: is_done(begun), 60, f"nothing goes on after {mode}")


def customer(one):
    """Gives what one does again and again: orders, pays, and tells the order."""
    shop = one.shop().sign_up()
    product = one.product()

    def pay():
        order = shop.order((product, 1))["id"]
        shop.pay(order)
        return order

    return pay


def gateway_rounds(stack, papers, fronts, errors):
    one = stack({"TILL_RETRY_BASE_MS": 20, "TILL_WORKER_PROCESSES": 1}).start(workers=0)
    front = GatewayFront(papers, ("127.0.0.1", one.gateway.port))
    fronts.append(front)
    one.start_worker(GATEWAY_URL=f"https://localhost:{front.port}", GATEWAY_CA_FILE=papers.authority)

    def is_paid(order):
        return one.value("SELECT order_status FROM orders WHERE id = %s", order) == "paid"

    go_through(one, front, errors, "payments.tasks.process_payment", customer(one), is_paid)
    one.settle(timeout=60)
    assert len(one.gateway.effective_charges()) == len(errors)
    faults_report.record("gateway: TLS fails", len(errors), len(errors))


def mail_rounds(stack, papers, fronts, errors):
    one = stack({"TILL_RETRY_BASE_MS": 20, "TILL_WORKER_PROCESSES": 1}).start(workers=0)
    front = MailFront(papers, ("127.0.0.1", one.mail.port))
    fronts.append(front)
    url = f"smtps://{LOGIN}@localhost:{front.port}"
    one.start_worker(SMTP_URL=url, SMTP_CA_FILE=papers.authority)

    def is_told(order):
        return bool(one.mail.about(order))

    go_through(one, front, errors, "payments.tasks.send_order_confirmation_email", customer(one), is_told)
    one.settle(timeout=60)
    said = b"".join(front.clear)
    assert set(line.split()[0].upper() for line in front.clear) <= {b"EHLO", b"STARTTLS", b"QUIT"}, said
    assert PASSWORD.encode() not in said
    assert set(map(tuple, front.passwords)) == {(USER.encode(), PASSWORD.encode())}
    faults_report.record("mail server: TLS fails", len(errors), len(errors))


def test_a_gateway_without_proper_tls_gets_nothing_and_charges_once_when_it_has_it(stack, papers, fronts):
    gateway_rounds(stack, papers, fronts, GATEWAY_ERRORS)


def test_a_mail_server_without_proper_tls_gets_neither_mail_nor_password(stack, papers, fronts):
    mail_rounds(stack, papers, fronts, MAIL_ERRORS)


@full
def test_a_gateway_with_old_tls_or_none_in_time(stack, papers, fronts):
    gateway_rounds(stack, papers, fronts, LONGER)


@full
def test_a_mail_server_with_old_tls_or_none_in_time(stack, papers, fronts):
    mail_rounds(stack, papers, fronts, {**LONGER, "silent": HANDSHAKE})


def test_a_worker_does_not_start_where_secrets_would_go_out_in_clear(stack):
    one = stack()
    for setting, value in (
        ("GATEWAY_URL", "http://gateway.example"),
        ("SMTP_URL", f"smtp://{LOGIN}@mail.example:25"),
        ("SMTP_URL", f"smtps://{LOGIN}@mail.example:465"),
        ("GATEWAY_CA_FILE", "/nonexistent.pem"),
        ("SMTP_CA_FILE", "/nonexistent.pem"),
    ):
        worker = one.program("till-worker", None, ["--check"], **{setting: value})
        worker.expect_exit(2)
        assert setting in worker.tail() and PASSWORD not in worker.tail()
