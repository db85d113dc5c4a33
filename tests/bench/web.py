"""The API under wrk beside its limits: a civetweb handler that answers one such answer as a constant
(raw_http), and pgbench with the statements that a checkout sends. Then what the checkouts leave to the workers.

Used by bench.py; alone it measures these and nothing else:

    web.py [--rounds 3] [--seconds 8]
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import chain  # noqa: E402

from harness import postgres, programs  # noqa: E402
from harness.shop import Shop  # noqa: E402
from harness.wait import wait_for  # noqa: E402

CONNECTIONS = 64
CLIENTS = 16  # of the checkout
THREADS = 80  # TILL_API_THREADS as it comes; of the civetweb beside it, too
PRODUCTS = 200
USERS = 16
FIRST_USER = 8_000_001  # numbers that stand for nothing else in a statement
FIRST_PRODUCT = 7_000_001
FIRST_ORDER = 9_000_001
PRODUCT = f"/api/products/{FIRST_PRODUCT}/"
LIST = "/api/products/?page_size=100"
FOLDER = os.path.dirname(os.path.abspath(__file__))


def wrk(url, seconds, connections, *arguments, **environment):
    done = subprocess.run(
        ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--latency", *arguments, url],
        env={**os.environ, **environment},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def figures_of(text):
    """Of wrk's own report."""
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: (.*)", text)
    failed = re.findall(r"(?:connect|read|write|timeout) (\d+)", broken[1] if broken else "")
    return {
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
        "p99": milliseconds(re.search(r"^\s+99%\s+(\S+)", text, re.M)[1]),
        "errors": sum(map(int, [*failed, errors[1] if errors else 0])),
    }


class Web:
    """An API with customers and products."""

    def __init__(self, bench):
        self.bench = bench
        bench.query(f"ALTER SEQUENCE users_id_seq RESTART {FIRST_USER}")
        bench.query(f"ALTER SEQUENCE products_id_seq RESTART {FIRST_PRODUCT}")
        bench.query(f"ALTER SEQUENCE orders_id_seq RESTART {FIRST_ORDER}")
        bench.query("INSERT INTO categories (name) VALUES ('Things')")
        bench.query(
            "INSERT INTO products (name, description, price, stock_quantity, category_id)"
            " SELECT 'Thing ' || n, repeat('A thing of use. ', 20), 12.50, 100000000, c.id"
            f" FROM generate_series(1, {PRODUCTS}) n, (SELECT min(id) AS id FROM categories) c"
        )
        self.api = programs.Program(
            "till-api",
            {
                **bench.settings,
                "JWT_SECRET": "a-key-of-the-bench-0123456789abcdef",
                "TILL_API_LISTEN": "127.0.0.1:0",
                "TILL_API_THREADS": THREADS,
                # Nobody runs the payments here, and that is not what is measured.
                "TILL_ADMISSION_SECONDS": 86400,
                "LOG_LEVEL": "info",
            },
            os.path.join(bench.folder, "api.log"),
            (),
            "listening",
        ).start()
        self.shops = [Shop(self.api.url).sign_up() for _ in range(USERS)]

    def end(self):
        self.api.term_and_wait()

    def page(self, path, seconds):
        token = f"Authorization: Bearer {self.shops[0].token}"
        return figures_of(wrk(self.api.url + path, seconds, CONNECTIONS, "-H", token))

    def answer_of(self, path):
        """The file of what the API sends for `path`, byte for byte."""
        host, port = self.api.url.removeprefix("http://").split(":")
        name = os.path.join(self.bench.folder, "answer")
        with socket.create_connection((host, int(port)), 30) as client, open(name, "wb") as file:
            asked = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {self.shops[0].token}"
            client.sendall(f"{asked}\r\nConnection: keep-alive\r\n\r\n".encode())
            answer = client.recv(65536)
            while (length := re.search(rb"\r\nContent-Length: (\d+)\r\n", answer)) is None or len(
                answer.partition(b"\r\n\r\n")[2]
            ) < int(length[1]):
                more = client.recv(65536)
                if not more:
                    sys.exit(f"bench: this is no whole answer: {answer}")
                answer += more
            if not answer.startswith(b"HTTP/1.1 200"):
                sys.exit(f"bench: {path} is answered by {answer}")
            file.write(answer)
        return name

    def constant(self, path, seconds):
        """civetweb alone, with the same answer."""
        program = os.path.join(os.path.dirname(programs.path_of("till")), "tests", "bench", "raw_http")
        with subprocess.Popen(
            [program, self.answer_of(path), str(THREADS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}/"
            token = f"Authorization: Bearer {self.shops[0].token}"
            text = wrk(url, seconds, CONNECTIONS, "-H", token)
            server.stdin.close()
        return figures_of(text)

    def checkout(self, seconds):
        users = range(FIRST_USER, FIRST_USER + USERS)
        text = wrk(
            self.api.url,
            seconds,
            CLIENTS,
            "-s",
            os.path.join(FOLDER, "checkout.lua"),
            TOKENS=",".join(shop.token for shop in self.shops),
            USERS=",".join(map(str, users)),
            PRODUCTS=",".join(str(FIRST_PRODUCT + n) for n in range(PRODUCTS)),
        )
        figures = json.loads(text.splitlines()[-1])
        figures["rate"] = figures["paid"] / figures["seconds"]
        return figures

    # ---- the same statements under pgbench ----

    def logged_checkout(self):
        """What PostgreSQL is sent for one checkout: [(statement, parameters)]."""
        bench = self.bench
        with open(bench.postgres.log, encoding="utf-8") as log:
            log.seek(0, os.SEEK_END)
            bench.query("ALTER SYSTEM SET log_statement = 'all'")
            bench.query("SELECT pg_reload_conf()")
            found = wait_for(lambda: self.log_checkout(log), 60, "the checkout is never logged whole")
            bench.query("ALTER SYSTEM RESET log_statement")
            bench.query("SELECT pg_reload_conf()")
        return found

    def log_checkout(self, log):
        """None: a session has not heard of the setting yet, so something is missing."""
        begin, end = "'begin of checkout'", "'end of checkout'"
        shop = self.shops[0]
        self.bench.query(f"SELECT {begin}")
        shop.pay(shop.order((FIRST_PRODUCT, 1))["id"])
        self.bench.query(f"SELECT {end}")
        text = log.read()
        if begin not in text or end not in text:
            return None
        text = text[text.rindex(begin) : text.rindex(end)]
        if "INSERT INTO orders" not in text or "INSERT INTO jobs" not in text:
            return None
        return re.findall(
            r"LOG:  (?:statement|execute [^:]+): (.*)(?:\n.*DETAIL:  parameters: (.*))?", text
        )

    def pgbench_script(self):
        """Statement for statement what the API sends, with other users, products and ids."""
        script = [
            f"\\set user random({FIRST_USER}, {FIRST_USER + USERS - 1})",
            f"\\set product random({FIRST_PRODUCT}, {FIRST_PRODUCT + PRODUCTS - 1})",
        ]
        statements = self.logged_checkout()
        orders = [n for n, (text, _) in enumerate(statements) if "INSERT INTO orders" in text]
        if len(orders) != 1 or not any("INSERT INTO jobs" in text for text, _ in statements):
            sys.exit(f"bench: this is no checkout: {statements}")
        order = str(self.bench.query("SELECT max(id) FROM orders")[0][0])
        for number, (text, parameters) in enumerate(statements):
            if text.startswith("SELECT 'begin"):
                continue
            text = re.sub(r"(HH24|MI):", r"\1-", text)  # pgbench would see a variable
            script.append(fill_in(text, parameters, order) + ";")
            if number == orders[0]:
                whole, number_alone = "SELECT row_to_json(made)::text", "SELECT made.id AS order"
                script[-1] = script[-1].removesuffix(";").replace(whole, number_alone, 1) + " \\gset"
        return "\n".join(script) + "\n"

    def statements(self, seconds):
        with tempfile.NamedTemporaryFile("w", suffix=".sql", dir=self.bench.folder) as file:
            file.write(self.pgbench_script())
            file.flush()
            command = f"{postgres.program('pgbench')} -n -M prepared -c {CLIENTS} -j 2 -T {seconds} -f".split()
            done = subprocess.run(
                [*command, file.name, self.bench.settings["DATABASE_URL"]],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
        return {"rate": float(re.search(r"tps = ([\d.]+)", done.stdout)[1])}


def fill_in(text, parameters, order):
    """The statement with its logged parameters in their places."""
    values = dict(re.findall(r"(\$\d+) = ('(?:[^']|'')*'|NULL)", parameters))

    def value(match):
        given = values[match[0]]
        if given == f"'{FIRST_USER}'":
            return ":user"
        if given == f"'{FIRST_PRODUCT}'":
            return ":product"
        if given == f"'{{{FIRST_PRODUCT}}}'":
            return "ARRAY[:product]"
        if given == f"'{order}'":
            return ":order"
        if re.fullmatch(r"'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'", given):
            return "gen_random_uuid()"
        return given.replace(":", "-") if given.startswith("'00-") else given

    return re.sub(r"\$\d+", value, text)


def end(bench):
    if bench.web:
        bench.web.end()
        bench.web = None


def measure(bench, note, seconds=8):
    """One round; note(name, figures)."""
    web = bench.web = bench.web or Web(bench)
    note("web_product", web.page(PRODUCT, seconds))
    note("raw_http", web.constant(PRODUCT, seconds))
    note("web_list", web.page(LIST, seconds))
    note("raw_http_list", web.constant(LIST, seconds))
    note("raw_checkout", web.statements(seconds))
    bench.redis.flushall()
    note("web_checkout", web.checkout(seconds))
    note("chain", chain.drain(bench))


def show(f):
    title = "a second, over HTTP"
    print(f"\n{title:<44} {'Till':>10} {'limit':>10} {'share':>7} {'p99 ms':>8} {'errors':>7}")

    def row(what, ours, limit):
        print(
            f"{what:<44} {ours['rate']:>10,.0f} {limit['rate']:>10,.0f}"
            f" {ours['rate'] / limit['rate']:>7.0%} {ours['p99']:>8.1f} {ours['errors']:>7,.0f}"
        )

    row(f"a cached product, {CONNECTIONS} connections", f["web_product"], f["raw_http"])
    row(f"a cached list of 100 products, {CONNECTIONS} connections", f["web_list"], f["raw_http_list"])
    row(f"checkout: order and payment, {CLIENTS} clients", f["web_checkout"], f["raw_checkout"])
    chain.show(f["chain"])


def main():
    import bench as whole
    from harness import folders

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8)
    arguments = parser.parse_args()
    bench = whole.Bench(folders.new_run_folder())
    series = {}

    def note(name, figures):
        series.setdefault(name, []).append(figures)

    try:
        for _ in range(arguments.rounds):
            measure(bench, note, arguments.seconds)
    finally:
        end(bench)
        bench.end()
    show({name: whole.median_of(rounds) for name, rounds in series.items()})


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(FOLDER))
    main()
