"""What changes the catalogue all the time, as orders do."""

import concurrent.futures
import contextlib
import threading


@contextlib.contextmanager
def sales(api, product):
    end = threading.Event()

    def sell():
        connection = api.postgres.connect(api.database)
        connection.autocommit = True
        with connection.cursor() as cursor:
            while not end.is_set():
                cursor.execute(
                    "UPDATE products SET stock_quantity = stock_quantity - 1 WHERE id = %s", (product,)
                )
                end.wait(0.002)
        connection.close()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        selling = pool.submit(sell)
        try:
            yield
        finally:
            end.set()
        selling.result()
