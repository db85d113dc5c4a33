"""How many reads of the catalogue are answered from what is kept while orders change it: one product that
nobody buys, products at random that are all bought, a list of 100 of them. The orders are pgbench's, with
the statements of the API's own checkout, at a fixed rate.

    sold.py [--rates 300 650] [--seconds 6] [--beside PATH]      PATH: another till-api, in turn
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import web  # noqa: E402

from harness import postgres, programs  # noqa: E402
from harness.crowd import counter  # noqa: E402

READERS = 32
# Each connection asks every ten milliseconds at most, so that the orders have the machine, too.
AT_RANDOM = f"""
function delay() return 10 end
function request()
    return wrk.format("GET", "/api/products/" .. {web.FIRST_PRODUCT} + math.random({web.PRODUCTS - 1}) .. "/")
end
"""
READS = {
    "a product that nobody buys": (web.PRODUCT, "function delay() return 10 end"),
    "products at random": (web.PRODUCT, AT_RANDOM),
    "a list of 100": (web.LIST, "function delay() return 10 end"),
}
COUNTED = ("cache_hits_total", "cache_misses_total", "lookups_total")


def write(bench, name, text):
    path = os.path.join(bench.folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


@contextlib.contextmanager
def orders(bench, script, rate):
    """A stream of them; of all products but the first."""
    command = f"{postgres.program('pgbench')} -n -M prepared -c 8 -j 1 -R {rate} -T 3600 -f {script}"
    with subprocess.Popen(
        [*command.split(), bench.settings["DATABASE_URL"]],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.kill()


def read(bench, shop, api, what, seconds):
    path, script = READS[what]
    orders_before = bench.query("SELECT count(*) FROM orders")[0][0]
    before = [counter(api.url, name) for name in COUNTED]
    token = f"Authorization: Bearer {shop.token}"
    lua = write(bench, "read.lua", script)
    figures = web.figures_of(web.wrk(api.url + path, seconds, READERS, "-s", lua, "-H", token))
    hits, misses, lookups = (counter(api.url, n) - b for n, b in zip(COUNTED, before))
    ordered = bench.query("SELECT count(*) FROM orders")[0][0] - orders_before
    print(
        f"{what:<28} {ordered / seconds:>8.0f} {figures['rate']:>8.0f} {hits / (hits + misses):>8.1%}"
        f" {figures['p99']:>7.1f} {lookups / seconds:>9.0f} {figures['errors']:>7.0f}"
    )


def main():
    import bench as whole
    from harness import folders

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rates", type=int, nargs="+", default=[300, 650])
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--beside")
    arguments = parser.parse_args()
    bench = whole.Bench(folders.new_run_folder())
    try:
        shop_web = bench.web = web.Web(bench)
        script = re.sub(r"(?m)^(\\set product random\()(\d+)", rf"\g<1>{web.FIRST_PRODUCT + 1}",
                        shop_web.pgbench_script())
        script = write(bench, "order.sql", script)
        shop_web.end()
        print(f"{'':<28} {'orders/s':>8} {'reads/s':>8} {'kept':>8} {'p99 ms':>7} {'look-ups':>9} {'errors':>7}")
        for rate in arguments.rates:
            for path in filter(None, [arguments.beside, programs.path_of("till-api")]):
                print(path)
                for what in READS:
                    with orders(bench, script, rate), running(shop_web.api, path) as api:
                        read(bench, shop_web.shops[0], api, what, arguments.seconds)
    finally:
        bench.end()


@contextlib.contextmanager
def running(api, path):
    """The same API anew, from that build."""
    log = f"{api.log}.{time.monotonic_ns()}"
    again = programs.Program("till-api", api.settings, log, (), "listening", path).start()
    try:
        yield again
    finally:
        again.term_and_wait()


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    main()
