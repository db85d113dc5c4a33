"""The mail sink: what it keeps, how it misbehaves on demand, and that it loses nothing.

Every test has a private sink on free ports.
"""

import smtplib
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from pathlib import Path

import pytest
import requests

from harness.wait import SLOWNESS, wait_for

SANDBOX = Path(__file__).resolve().parents[1] / "sandbox"
sys.path.insert(0, str(SANDBOX))

from launch import PYTHON, start_mail_sink  # noqa: E402

GONE = (smtplib.SMTPServerDisconnected, ConnectionError, TimeoutError)


class Sink:
    def __init__(self, program):
        self.port = program.port
        self.control = program.control

    def ask(self, method, path, body=None):
        answer = requests.request(method, f"{self.control}/{path}", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fault(self, action, **more):
        self.ask("POST", "faults", {"action": action, **more})

    def mails(self):
        return self.ask("GET", "mails")["mails"]

    def connect(self, timeout=30):
        return smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.test", timeout=timeout)

    def send(self, mail=None, timeout=30):
        with self.connect(timeout) as client:
            return client.send_message(mail or letter())


@pytest.fixture
def sink():
    with start_mail_sink() as program:
        yield Sink(program)


def letter(message_id="<order-7@till.test>", to="anna@shop.test"):
    mail = EmailMessage()
    mail["From"] = "shop@till.test"
    mail["To"] = to
    mail["Subject"] = "Your order 7 – paid"
    mail["Message-ID"] = message_id
    mail.set_content("Thank you, Änne.\n.\n..and more\n")
    mail.add_alternative("<p>Thank you, Änne.</p>\n", subtype="html")
    return mail


def test_a_mail_is_kept_whole(sink):
    sink.send(letter(to="anna@shop.test, bert@shop.test"))
    (mail,) = sink.mails()
    assert mail["mail_from"] == "shop@till.test"
    assert mail["rcpt_tos"] == ["anna@shop.test", "bert@shop.test"]
    assert mail["message_id"] == "<order-7@till.test>"
    assert mail["subject"] == "Your order 7 – paid"
    assert mail["text"].replace("\r\n", "\n") == "Thank you, Änne.\n.\n..and more\n"
    assert mail["html"].strip() == "<p>Thank you, Änne.</p>"
    assert ["To", "anna@shop.test, bert@shop.test"] in mail["headers"]
    assert abs(mail["received_at"] - time.time()) < 60
    raw = requests.get(f"{sink.control}/mails/{mail['id']}", timeout=60).content
    assert len(raw) == mail["size"] and b"Message-ID: <order-7@till.test>" in raw
    sink.ask("DELETE", "mails")
    assert sink.mails() == []
    assert requests.get(f"{sink.control}/mails/{mail['id']}", timeout=60).status_code == 404


def test_mails_are_also_files(tmp_path):
    with start_mail_sink("--dir", str(tmp_path)) as program:
        Sink(program).send(letter("<../../etc/x y@till.test>"))
    with start_mail_sink("--dir", str(tmp_path)) as program:
        Sink(program).send(letter("<two@till.test>"))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["000001-.._.._etc_x_y@till.test.eml", "000002-two@till.test.eml"]
    assert b"Message-ID: <two@till.test>" in (tmp_path / names[1]).read_bytes()


@pytest.mark.parametrize(
    "action, error, code",
    [
        ("greet_421", smtplib.SMTPConnectError, 421),
        ("mail_from_451", smtplib.SMTPSenderRefused, 451),
        ("greylist", smtplib.SMTPRecipientsRefused, 450),
        ("data_552", smtplib.SMTPDataError, 552),
        ("data_451", smtplib.SMTPDataError, 451),
    ],
)
def test_refusals_for_as_often_as_told(sink, action, error, code):
    sink.fault(action, times=2)
    for _ in range(2):
        with pytest.raises(error) as refused:
            sink.send()
        if error is smtplib.SMTPRecipientsRefused:
            assert refused.value.recipients["anna@shop.test"][0] == code
        else:
            assert refused.value.smtp_code == code
    assert sink.mails() == []
    sink.send()
    assert len(sink.mails()) == 1


def test_one_recipient_of_two_is_refused(sink):
    sink.fault("rcpt", rcpt={"Bert@shop.test": [550, "5.1.1 no such user"]}, times=-1)
    refused = sink.send(letter(to="anna@shop.test, bert@shop.test"))
    assert refused == {"bert@shop.test": (550, b"5.1.1 no such user")}
    assert sink.mails()[0]["rcpt_tos"] == ["anna@shop.test"]
    sink.ask("DELETE", "faults")
    assert sink.send(letter(to="bert@shop.test")) == {}


@pytest.mark.parametrize("action, kept", [("drop_before_data", 0), ("drop_after_data", 1)])
def test_the_connection_drops_around_the_final_dot(sink, action, kept):
    sink.fault(action)
    with pytest.raises(GONE):
        sink.send()
    assert len(sink.mails()) == kept
    sink.send()
    mails = sink.mails()
    assert len(mails) == kept + 1
    assert {mail["message_id"] for mail in mails} == {"<order-7@till.test>"}


def test_refused_and_silent_connections(sink):
    sink.fault("refuse")
    with pytest.raises(GONE):
        sink.send()
    sink.fault("silent_greeting")
    with pytest.raises(GONE):
        sink.send(timeout=0.2)
    sink.send()
    assert len(sink.mails()) == 1


def test_garbage_and_slow_replies(sink):
    sink.fault("garbage")
    with pytest.raises(smtplib.SMTPException):
        sink.send()
    sink.fault("slow", seconds=0.1, times=3)
    started = time.monotonic()
    sink.send()
    assert time.monotonic() - started >= 0.3
    sink.fault("slow", seconds=5)
    with pytest.raises(GONE):
        sink.send(timeout=0.2)
    assert len(sink.mails()) == 1


def test_held_between_the_mail_and_its_250(sink):
    sink.fault("hold", times=2)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(sink.send)
        wait_for(lambda: sink.ask("GET", "held")["held"] == 1)
        assert len(sink.mails()) == 1 and not first.done()
        assert sink.ask("POST", "release", {})["released"] == 1
        assert first.result() == {}
        second = pool.submit(sink.send)
        wait_for(lambda: sink.ask("GET", "held")["held"] == 1)
        sink.ask("POST", "release", {"action": "drop"})
        with pytest.raises(GONE):
            second.result()
    assert len(sink.mails()) == 2 and sink.ask("GET", "held")["held"] == 0


def test_a_client_killed_while_held_leaves_nothing_held(sink):
    sink.fault("hold")
    client = sink.connect()
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(client.send_message, letter())
        wait_for(lambda: sink.ask("GET", "held")["held"] == 1)
        client.sock.shutdown(socket.SHUT_RDWR)
        with pytest.raises(GONE):
            sending.result()
    wait_for(lambda: sink.ask("GET", "held")["held"] == 0)
    assert len(sink.mails()) == 1


@pytest.mark.parametrize(
    "fault",
    [{}, {"action": "explode"}, {"action": "hold", "tmes": 1}, {"action": "slow"},
     {"action": "rcpt", "rcpt": {"a": 550}}],
)  # fmt: skip
def test_a_mistaken_fault_is_refused(sink, fault):
    answer = requests.post(f"{sink.control}/faults", json=fault, timeout=60)
    assert answer.status_code == 400 and answer.json()["error"]


def test_several_hundred_sessions_at_once_lose_nothing(sink):
    count = 300
    clients = []

    def send(number):
        client = sink.connect(timeout=60 * SLOWNESS)
        clients.append(client)
        wait_for(lambda: len(clients) == count, 60)
        client.send_message(letter(f"<{number}@till.test>"))
        client.quit()

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(send, range(count)))
    ids = [mail["message_id"] for mail in sink.mails()]
    assert len(ids) == count and len(set(ids)) == count


def test_auth_when_asked_for():
    with start_mail_sink("--user", "till", "--password", "geheim") as program:
        sink = Sink(program)
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            sink.send()
        assert refused.value.smtp_code == 530
        with sink.connect() as client:
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login("till", "wrong")
        with sink.connect() as client:
            client.login("till", "geheim")
            client.send_message(letter())
        assert sink.mails()[0]["authenticated"] is True


def test_starttls_when_asked_for(tmp_path):
    key, cert = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    make += ["-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run(make, check=True, capture_output=True, timeout=30)
    with start_mail_sink("--tls-cert", cert, "--tls-key", key) as program:
        sink = Sink(program)
        with sink.connect() as client:
            client.starttls()
            client.send_message(letter())
        sink.send()
        assert [mail["tls"] for mail in sink.mails()] == [True, False]


def test_a_port_in_use_and_a_clean_end():
    with start_mail_sink() as program:
        for option, port in [
            ("--port", str(program.port)),
            ("--control-port", program.control.rpartition(":")[2]),
        ]:
            free = ["--port", "0"] if option != "--port" else []
            command = [PYTHON, "-B", str(SANDBOX / "mail_sink.py"), *free, option, port]
            second = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert second.returncode == 1 and "in use" in second.stderr and not second.stdout
        idle = socket.create_connection(("127.0.0.1", program.port))
        assert program.stop() == 0
        idle.close()
