#!/usr/bin/python3
"""Whether the API's memory stays flat: customers do all that customers do, and what the kernel says of till-api is
printed each minute.

    memory_api.py [--minutes 10] [--clients 8]

Ends with 1 when it held more at the end than after two minutes, by a tenth and 4 MiB.
"""

import argparse
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from harness import folders, programs, redis  # noqa: E402
from harness.postgres import Cluster  # noqa: E402
from harness.shop import Shop  # noqa: E402

PRODUCTS = 200
WARM_MINUTES = 2
SLACK_KIB = 4096
LOOKS = 60  # in a minute, of which the least counts: a password takes 19 MiB (Argon2id) for a moment


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def resident_after_a_second(pid):
    time.sleep(1)
    return resident_kib(pid)


class Customers:
    def __init__(self, url, count):
        self.url = url
        self.done = threading.Event()
        self.requests = 0
        self.broken = 0
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, seed):
        choose = random.Random(seed)
        shop = Shop(self.url)
        while not self.done.is_set():
            try:
                shop.sign_up()
                for _ in range(200):
                    if self.done.is_set():
                        break
                    self.visit(shop, choose)
            except (OSError, AssertionError):
                self.broken += 1

    def visit(self, shop, choose):
        """A few requests of one kind, good and bad."""
        product = choose.randint(1, PRODUCTS)
        kind = choose.randrange(8)
        if kind == 0:
            shop.pay(shop.order((product, 1))["id"])
        elif kind == 1:
            cart = shop.expect(201, shop.post("/api/shopping-carts/", {}))["id"]
            shop.post("/api/cart-items/", {"cart_id": cart, "product_id": product, "quantity": 2})
            shop.post("/api/orders/", {"cart_id": cart})
            shop.call("DELETE", f"/api/shopping-carts/{cart}/")
        elif kind == 2:
            review = {"product_id": product, "rating": "4.50", "comment": "x" * choose.randint(1, 300)}
            shop.post("/api/reviews/", review)
        elif kind == 3:
            shop.get(f"/api/products/?page_size=100&page={choose.randint(1, 4)}&search={choose.randint(0, 99)}")
        elif kind == 4:
            shop.post_order((product, 10**9), (0, 1), headers={"Idempotency-Key": str(choose.random())})
        elif kind == 5:
            shop.post("/api/auth/login/", {"email": "x" * choose.randint(1, 400), "password": None})
        elif kind == 6:
            shop.post("/api/products/", {"items": [[{}] * choose.randint(0, 2000)]})
        for path in ("orders", "payments", "reviews", f"products/{product}", "nothing"):
            shop.get(f"/api/{path}/")
        self.requests += 7

    def end(self):
        self.done.set()
        for thread in self.threads:
            thread.join()


def start_api(folder):
    postgres = Cluster(folder, programs.migrate).new_server(folder, "pg")
    redis_server = redis.new_server(folder, "redis")
    postgres.new_database("memory")
    with postgres.connect("memory") as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO categories (name) VALUES ('Things')")
        cursor.execute(
            "INSERT INTO products (name, price, stock_quantity, category_id)"
            f" SELECT 'Thing ' || n, 12.50, 2000000000, 1 FROM generate_series(1, {PRODUCTS}) n"
        )
    settings = {
        "DATABASE_URL": postgres.url("memory"),
        "REDIS_URL": redis_server.url(),
        "JWT_SECRET": "a-key-of-the-bench-0123456789abcdef",
        "TILL_API_LISTEN": "127.0.0.1:0",
        "TILL_ADMISSION_SECONDS": 0,  # nobody runs the payments here
    }
    api = programs.Program("till-api", settings, f"{folder}/api.log", (), "listening")
    return api.start(), [redis_server.stop, lambda: postgres.stop("immediate")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--clients", type=int, default=8)
    arguments = parser.parse_args()
    api, ends = start_api(folders.new_run_folder())
    customers = Customers(api.url, arguments.clients)
    held = []
    try:
        for minute in range(1, arguments.minutes + 1):
            held.append(min(resident_after_a_second(api.pid) for _ in range(LOOKS)))
            print(f"minute {minute:3}: {held[-1]:8,} KiB, {customers.requests:9,} requests", flush=True)
    finally:
        customers.end()
        api.term_and_wait(60)
        for end in ends:
            end()
    if customers.broken:
        print(f"{customers.broken} visits broke off")
    before = held[min(WARM_MINUTES, len(held)) - 1]
    grew = held[-1] - before
    print(f"grew by {grew:,} KiB after the first {WARM_MINUTES} minutes")
    return 1 if grew > max(before // 10, SLACK_KIB) else 0


if __name__ == "__main__":
    sys.exit(main())
