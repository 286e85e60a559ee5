"""An order service that is busy for some seconds under Pyroscope's SDK: `orders.py URL NAME`."""

import sys
import time

import pyroscope


def price_orders(until: float) -> float:
    total = 0.0
    while time.monotonic() < until:
        for number in range(10_000):
            total += number * 0.5
    return total


pyroscope.configure(
    application_name=sys.argv[2],
    server_address=sys.argv[1],
    tags={"region": "eu"},
    upload_interval=2,
    mem_enabled=True,
    mem_heap_sample_size=1 << 16,
)
kept = [bytes(1000) for _ in range(20_000)]
with pyroscope.tag_wrapper({"endpoint": "checkout"}):
    price_orders(time.monotonic() + 3)
pyroscope.shutdown()
