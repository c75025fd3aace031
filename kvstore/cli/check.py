"""`fluyt check perf`: put at a fixed rate for a while, and judge throughput and latency as etcdctl does."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field

import click

from kvstore.cli.console import Console, connected
from kvstore.cli.exits import BAD_FEATURE, INVALID_INPUT, CommandError
from kvstore.cli.grammar import Command, SubGroup
from kvstore.cli.output.printer import emit
from kvstore.cli.progress import Bar, bar
from kvstore.client.aio import AsyncClient
from kvstore.client.errors import ClientError

# Key and value sizes (bytes) of etcdctl's workload.
_KEY_SIZE, _VALUE_SIZE = 256, 1024
# How many workers share one connection.
_WORKERS_PER_CLIENT = 50
_MIN_SHARE, _MAX_SLOWEST, _MAX_STDDEV = 0.9, 0.5, 0.1


@dataclass(frozen=True)
class Load:
    """Puts a second, and how many at once."""

    rate: int
    workers: int


_LOADS = {"s": Load(150, 50), "m": Load(1000, 200), "l": Load(8000, 500), "xl": Load(15000, 1000)}
_NAMES = {"small": "s", "medium": "m", "large": "l", "xLarge": "xl"}


@dataclass
class Measured:
    """Latencies (seconds) of the puts that worked, counts of the errors, and how long it all took."""

    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def verdict(self, load: Load) -> tuple[list[str], bool]:
        """The lines of the report, and whether all is well."""
        rate = len(self.latencies) / self.seconds if self.seconds else 0.0
        slowest = max(self.latencies, default=0.0)
        deviation = statistics.pstdev(self.latencies) if self.latencies else 0.0
        lines = ["FAIL: too many errors"] if self.errors else []
        lines += [f"FAIL: ERROR({text}) -> {count}" for text, count in self.errors.items()]
        enough, fast, even = rate / load.rate > _MIN_SHARE, slowest <= _MAX_SLOWEST, deviation <= _MAX_STDDEV
        puts = f"{int(rate) + 1} writes/s"
        lines.append(f"PASS: Throughput is {puts}" if enough else f"FAIL: Throughput too low: {puts}")
        lines.append(
            f"PASS: Slowest request took {slowest:f}s" if fast else f"Slowest request took too long: {slowest:f}s"
        )
        lines.append(f"PASS: Stddev is {deviation:f}s" if even else f"Stddev too high: {deviation:f}s")
        passed = enough and fast and even and not self.errors
        return [*lines, "PASS" if passed else "FAIL"], passed


@click.group(cls=SubGroup)
def check() -> None:
    """Check whether a cluster performs well enough."""


@check.command(cls=Command, examples="fluyt check perf --load m")
@click.option("--load", "load_name", default="s", help="s, m, l or xl: 150, 1,000, 8,000 or 15,000 puts a second.")
@click.option("--prefix", default="/fluyt-check-perf/", help="Where the keys go; nothing may be there.")
@click.option("--duration", type=int, default=60, help="Seconds.")
@click.option("--auto-compact", is_flag=True, help="Forget the history afterwards.")
@click.option("--auto-defrag", is_flag=True, help="Defragment afterwards.")
@connected
async def perf(
    console: Console, load_name: str, prefix: str, duration: int, auto_compact: bool, auto_defrag: bool
) -> int:
    """Put at a fixed rate for a minute; fail if the store lags, or is slow or uneven.

    One process in Python sends a few thousand puts a second at most: for l and xl, scripts/bench says more.
    """
    load = _LOADS.get(_NAMES.get(load_name, load_name))
    if load is None:
        raise CommandError(f"unknown load option {load_name}", BAD_FEATURE)
    if (await console.client.get_prefix(prefix, limit=1)).kvs:
        message = f"prefix \"{prefix}\" has keys. Delete with 'fluyt del --prefix {prefix}' first"
        raise CommandError(message, INVALID_INPUT)
    try:
        measured = await _measure(console, load, prefix, duration)
    finally:
        deleted = await console.client.delete(prefix, prefix=True)
    if auto_compact:
        await console.client.compact(deleted.header.revision, physical=True, timeout=30.0)
    if auto_defrag:
        for endpoint in console.endpoints:
            await console.client.maintenance.defragment(endpoint, timeout=30.0)
    lines, passed = measured.verdict(load)
    emit(*lines)
    return 0 if passed else 1


async def _measure(console: Console, load: Load, prefix: str, duration: int) -> Measured:
    clients = [console.open() for _ in range(max(load.workers // _WORKERS_PER_CLIENT, 1))]
    measured = Measured()
    tickets: asyncio.Queue[None] = asyncio.Queue(load.workers)
    workers = [
        asyncio.create_task(_work(clients[i % len(clients)], prefix, tickets, measured)) for i in range(load.workers)
    ]
    started = time.monotonic()
    try:
        with bar("check perf", unit="seconds") as progress:
            await _hand_out(tickets, load.rate, duration, progress)
        await tickets.join()
        measured.seconds = time.monotonic() - started
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await asyncio.gather(*(client.close() for client in clients))
    return measured


async def _hand_out(tickets: asyncio.Queue[None], rate: int, duration: int, progress: Bar) -> None:
    """One ticket a put, at the rate; when all workers are busy, later ones wait and the rate falls."""
    started = time.monotonic()
    count = 0
    while (elapsed := time.monotonic() - started) < duration:
        progress(int(elapsed), duration)
        while count < rate * elapsed and time.monotonic() - started < duration:
            await tickets.put(None)
            count += 1
        await asyncio.sleep(0.005)
    progress(duration, duration)


async def _work(client: AsyncClient, prefix: str, tickets: asyncio.Queue[None], measured: Measured) -> None:
    value = b"\0" * _VALUE_SIZE
    while True:
        await tickets.get()
        key = prefix.encode() + random.randbytes(8).ljust(_KEY_SIZE, b"\0")
        started = time.monotonic()
        try:
            await client.put(key, value)
            measured.latencies.append(time.monotonic() - started)
        except ClientError as problem:
            measured.errors[str(problem)] += 1
        finally:
            tickets.task_done()
