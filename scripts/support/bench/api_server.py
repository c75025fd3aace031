"""Figures of one API server on one store member, over HTTPS: start, creates, gets, a long list, watch fan-out, memory.

Load comes from h2load and, for watches, from a small asyncio client; all of it shares the machine with the server. CPU
figures are the server's own, so they mean something on a busy machine, too.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.api_site import ADMIN, Api, Site, pod
from harness.binaries import CURES, find
from rich.console import Console
from rich.table import Table

_SMALL = {"metadata": {"generateName": "bench-", "labels": {"app": "web"}}, "data": {"key": "value" * 20}}
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Figure:
    """One measurement, as a reader wants it."""

    name: str
    value: str


def bench_api_server(quick: bool) -> list[Figure] | None:
    """All figures; None when h2load is missing (it is said)."""
    if not find("h2load"):
        print(f"bench: h2load is not on this machine; cure: {CURES['h2load']}", file=sys.stderr)
        return None
    # A full-size run is what the page quotes; a quick one shows that nothing is broken.
    requests, pods, watchers, events = (1_000, 500, 50, 50) if quick else (10_000, 10_000, 1_000, 200)
    with Site() as site:
        return list(_figures(site, requests, pods, watchers, events))


def show(figures: list[Figure]) -> None:
    """As a table on standard output."""
    table = Table("one API server, one store member", "")
    for figure in figures:
        table.add_row(figure.name, figure.value)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _figures(site: Site, requests: int, pods: int, watchers: int, events: int) -> Iterator[Figure]:
    api, pid = site.api(), site.servers[0].pid
    yield Figure("start to ready, empty", f"{_start(site):.2f} s")
    yield Figure("memory, empty", f"{_rss(pid)} MB")
    maps = "/api/v1/namespaces/default/configmaps"
    name = api.create(maps, _SMALL)["metadata"]["name"]
    body = site.folder / "body.json"
    body.write_text(json.dumps(_SMALL))
    for connections in (1, 32):
        with _cpu(pid) as used:
            rate, done = _h2load(api, maps, connections, max(requests // (4 if connections == 1 else 1), 1), body)
        yield Figure(f"creates, {connections} connections", f"{rate:,.0f}/s, {used() / done * 1e6:.0f} µs CPU each")
    for connections in (1, 32):
        with _cpu(pid) as used:
            rate, done = _h2load(api, f"{maps}/{name}", connections, requests, None)
        yield Figure(f"gets, {connections} connections", f"{rate:,.0f}/s, {used() / done * 1e6:.0f} µs CPU each")
    yield from _long_list(api, pid, pods)
    yield asyncio.run(_fan_out(api, pid, watchers, events))
    yield Figure("memory at the end", f"{_rss(pid)} MB")


def _start(site: Site) -> float:
    """Seconds from the start of a second server until it is ready."""
    started = time.monotonic()
    index = site.add_server()
    taken = time.monotonic() - started
    site.servers[index].stop()
    return taken


def _long_list(api: Api, pid: int, count: int) -> Iterator[Figure]:
    path = "/api/v1/namespaces/default/pods"
    api.create("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    with ThreadPoolExecutor(8) as pool:
        started = time.monotonic()
        list(pool.map(lambda number: api.create(path, pod(f"p{number}")), range(count)))
        yield Figure(f"{count:,} pods created, 8 connections", f"{count / (time.monotonic() - started):,.0f}/s")
    started = time.monotonic()
    with _cpu(pid) as used:
        size = len(api.ask("GET", "/api/v1/pods").body)
    taken = time.monotonic() - started
    yield Figure(f"list of {count:,} pods", f"{taken:.2f} s, {size / 1e6:.1f} MB, {used() * 1000:.0f} ms CPU")
    yield Figure("event loop held at most (with all of the above)", _lag(api))


def _lag(api: Api) -> str:
    """The bucket of the loop's longest delay."""
    text = api.ask("GET", "/metrics").body.decode()
    counts = re.findall(r'fluyt_apiserver_loop_lag_seconds_bucket\{le="([^"]+)"\} ([0-9.]+)', text)
    last = float(counts[-1][1])
    return next(f"{bound} s" for bound, count in counts if float(count) == last)


async def _fan_out(api: Api, pid: int, watchers: int, events: int) -> Figure:
    """Many watches of one resource, while objects are created."""
    context = ssl.create_default_context(cafile=str(api.ca))
    counter = _Counter(watchers * events)
    head = f"Host: x\r\nAuthorization: Bearer {ADMIN}\r\n"
    path = "/api/v1/namespaces/default/secrets"
    since = api.get(path)["metadata"]["resourceVersion"]
    asked = f"GET {path}?watch=1&resourceVersion={since} HTTP/1.1\r\n{head}\r\n".encode()
    limit = asyncio.Semaphore(50)

    async def follow() -> None:
        async with limit:
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port, ssl=context)
            writer.write(asked)
            await reader.readuntil(b"\r\n\r\n")
            counter.standing += 1
        while data := await reader.read(1 << 16):
            counter.add(data.count(b'{"type":'))
        writer.close()

    tasks = [asyncio.create_task(follow()) for _ in range(watchers)]
    while counter.standing < watchers:
        await asyncio.sleep(0.05)
    secret = {"metadata": {"generateName": "s-"}, "data": {"k": "dmFsdWU="}}
    with ThreadPoolExecutor(8) as pool, _cpu(pid) as used:
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(pool, api.create, path, secret) for _ in range(events)))
        await counter.all.wait()
        taken, cpu = time.monotonic() - started, used()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    text = f"{counter.seen / taken:,.0f} events/s, {cpu / counter.seen * 1e6:.1f} µs CPU each (creates included)"
    return Figure(f"{events} creates to {watchers:,} watchers", text)


class _Counter:
    """Events seen by all watchers together."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.seen, self.standing = wanted, 0, 0
        self.all = asyncio.Event()

    def add(self, count: int) -> None:
        self.seen += count
        if self.seen >= self.wanted:
            self.all.set()


def _h2load(api: Api, path: str, connections: int, requests: int, body: Path | None) -> tuple[float, int]:
    """(requests a second, requests that succeeded)."""
    words = [find("h2load") or "h2load", "--h1", "-n", str(requests), "-c", str(connections)]
    words += ["-H", f"authorization: Bearer {api.token}", "-H", "content-type: application/json"]
    words += ["-d", str(body)] if body else []
    run = subprocess.run([*words, f"https://127.0.0.1:{api.port}{path}"], capture_output=True, text=True, check=True)
    rate = re.search(r"finished in .*?, ([0-9.]+) req/s", run.stdout)
    done = re.search(r"status codes: (\d+) 2xx", run.stdout)
    if rate is None or done is None or int(done.group(1)) != requests:
        raise RuntimeError(f"h2load: not every request succeeded\n{run.stdout}")
    return float(rate.group(1)), int(done.group(1))


@contextmanager
def _cpu(pid: int) -> Iterator[Callable[[], float]]:
    """Seconds of CPU that the process has used since the block began."""

    def used() -> int:
        fields: list[Any] = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = used()
    yield lambda: (used() - before) / _TICKS


def _rss(pid: int) -> int:
    """Megabytes of memory."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    return int(found.group(1)) // 1024 if found else 0
