"""Figures of one API server on one store member, over HTTPS: start, creates, gets, a long list, watch fan-out, memory.

Clients show certificates. Store, server and load share the machine. CPU figures are the server's own, so they mean
something on a busy machine, too; rates are the best of several short windows.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any

from harness.api_site import Site, pod

from control.client import kubeconfig
from support.bench.figures import Figure, cpu, cpu_of, forget_peak, peak, pss, rss
from support.bench.https_load import Load, Target, Watches, ask, request, run

PART = "API server"
_NAMESPACE = "/api/v1/namespaces/default"
_MAPS, _SECRETS, _PODS = f"{_NAMESPACE}/configmaps", f"{_NAMESPACE}/secrets", f"{_NAMESPACE}/pods"
_BARE = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"labels": {"app": "web"}}, "data": {"k": "value" * 20}}


@dataclass(frozen=True)
class Size:
    """How much of everything. windows: how often a rate is measured."""

    windows: int = 5
    requests: int = 3_000
    pods: int = 10_000
    watchers: int = 1_000
    events: int = 100


QUICK = Size(windows=2, requests=500, pods=500, watchers=100, events=50)


def target_of(site: Site) -> Target:
    """Its first API server, as the administrator whose certificate is in admin.conf."""
    context = kubeconfig.load(site.folder / "admin.conf").ssl_context()
    assert context is not None
    return Target(site.ports[0], context)


def measure(quick: bool) -> Iterator[Figure]:
    """All figures."""
    size = QUICK if quick else Size()
    with Site() as site:
        target, pid = target_of(site), site.servers[0].pid
        ask(target, "POST", f"{_NAMESPACE}/serviceaccounts", {"metadata": {"name": "default"}})
        yield Figure(PART, "start to ready, empty store", f"{_start(site, size.windows):.2f} s", "≤ 1.5 s")
        yield Figure(PART, "memory, empty (RSS / PSS)", f"{rss(pid)} / {pss(pid)} MB")
        numbers = count()
        yield from _requests(target, pid, size, numbers)
        yield from _long_list(target, pid, size)
        yield _fan_out(target, pid, size, numbers)
        yield Figure(PART, "memory at the end (RSS / PSS)", f"{rss(pid)} / {pss(pid)} MB")


def _start(site: Site, times: int) -> float:
    """Seconds from the start of a further server until it is ready: the best."""
    taken = []
    for _ in range(times):
        started = time.monotonic()
        index = site.add_server()
        taken.append(time.monotonic() - started)
        site.servers[index].stop()
    return min(taken)


def named(body: dict[str, Any], name: str) -> dict[str, Any]:
    """The same object under another name."""
    return {**body, "metadata": {**body["metadata"], "name": name}}


def _requests(target: Target, pid: int, size: Size, numbers: Iterator[int]) -> Iterator[Figure]:
    for connections, aim in ((1, ""), (32, "≥ 1,500/s")):
        many = size.requests // (4 if connections == 1 else 1)
        windows = []
        for _ in range(size.windows):
            bodies = [request("POST", _MAPS, named(_BARE, f"m{next(numbers)}")) for _ in range(many)]
            windows.append(_window(target, pid, bodies, connections))
        yield Figure(PART, f"creates, connections: {connections}", _told(windows), aim)
    for connections in (1, 32):
        asked = [request("GET", f"{_MAPS}/m0")] * size.requests
        windows = [_window(target, pid, asked, connections) for _ in range(size.windows)]
        yield Figure(PART, f"gets, connections: {connections}", _told(windows))


def _window(target: Target, pid: int, requests: list[bytes], connections: int) -> tuple[Load, float]:
    """(what came of it, µs of the server's CPU a request)."""
    before = list[float]()
    load = run(target, requests, connections, lambda: before.append(cpu_of(pid)))
    return load, (cpu_of(pid) - before[0]) / len(requests) * 1e6


def _told(windows: list[tuple[Load, float]]) -> str:
    load, cost = max(windows, key=lambda window: window[0].rate)
    times = f"{load.quantile(0.5):.1f} / {load.quantile(0.99):.1f} ms"
    return f"{load.rate:,.0f}/s, {times} (median / 99th), {cost:.0f} µs CPU each"


def _long_list(target: Target, pid: int, size: Size) -> Iterator[Figure]:
    load = run(target, [request("POST", _PODS, pod(f"p{n}")) for n in range(size.pods)], 32)
    yield Figure(PART, f"{size.pods:,} pods created, 32 connections", f"{load.rate:,.0f}/s")
    forget_peak(pid)
    before = _lag(target)
    best, cost, length = min(_list_once(target, pid) for _ in range(size.windows))
    told = f"{best:.2f} s, {length / 1e6:.1f} MB, {length / best / 1e6:.0f} MB/s, {cost * 1000:.0f} ms CPU"
    yield Figure(PART, f"list of {size.pods:,} pods", told)
    yield Figure(PART, "memory meanwhile, at most (RSS)", f"{peak(pid)} MB")
    after = _lag(target)
    held = next((bound for bound in after if after[bound] - before[bound] == after["+Inf"] - before["+Inf"]), "+Inf")
    yield Figure(PART, "event loop held meanwhile, at most", f"{held} s")


def _list_once(target: Target, pid: int) -> tuple[float, float, int]:
    """(seconds, seconds of the server's CPU, bytes)."""
    started = time.monotonic()
    with cpu(pid) as used:
        length = len(ask(target, "GET", "/api/v1/pods"))
        return time.monotonic() - started, used(), length


def _lag(target: Target) -> dict[str, float]:
    """Buckets of the loop's delays: bound in seconds → how many were at most that."""
    text = ask(target, "GET", "/metrics").decode()
    found = re.findall(r'fluyt_apiserver_loop_lag_seconds_bucket\{le="([^"]+)"\} ([0-9.]+)', text)
    return {bound: float(value) for bound, value in found}


def _fan_out(target: Target, pid: int, size: Size, numbers: Iterator[int]) -> Figure:
    """Many watches of one resource, while objects are created: in windows, the best rate counts."""
    since = json.loads(ask(target, "GET", _SECRETS))["metadata"]["resourceVersion"]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {}, "data": {"k": "dmFsdWU="}}
    best, cost = 0.0, 0.0
    with Watches(target, f"{_SECRETS}?watch=1&resourceVersion={since}", size.watchers) as watches:
        wanted = 0
        for _ in range(size.windows):
            bodies = iter([request("POST", _SECRETS, named(secret, f"s{next(numbers)}")) for _ in range(size.events)])
            wanted += size.events * size.watchers
            rate, each = _fan_out_window(target, pid, watches, bodies, size, wanted)
            best, cost = max((best, cost), (rate, each))
    value = f"{best:,.0f} events/s, {cost:.1f} µs CPU each (creates included)"
    return Figure(PART, f"watch fan-out: creates to {size.watchers:,} watchers", value, "≥ 50,000/s")


def _fan_out_window(
    target: Target, pid: int, watches: Watches, bodies: Iterator[bytes], size: Size, wanted: int
) -> tuple[float, float]:
    """(events a second, µs of CPU an event). Eight creates are in flight, from a thread of their own."""
    with ThreadPoolExecutor(1) as creator, cpu(pid) as used:
        started = time.perf_counter()
        creating = creator.submit(run, target, list(bodies), 8)
        watches.await_events(wanted)
        taken = time.perf_counter() - started
        creating.result()
        events = size.events * size.watchers
        return events / taken, used() / events * 1e6
