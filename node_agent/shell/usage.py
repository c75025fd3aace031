"""What containers and the node use, sampled when somebody asks; rates are those between two samples.

Nothing runs while nobody asks. A sample is kept for a few seconds, so that many askers cost one look.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from node_agent.machine.facts import meminfo
from node_agent.pod import labels
from node_agent.runtime.interface import Runtime
from node_agent.runtime.types import ContainerStats

_FRESH = 3.0  # seconds that a sample answers for
_FIRST_SPAN = 0.5
_RATE_SPAN = 8.0  # the least time between two samples that a rate is taken from


@dataclass(frozen=True, slots=True)
class Used:
    """One container's figures. nanocores: CPU per second in 10⁻⁹ of a processor."""

    stats: ContainerStats
    nanocores: int


@dataclass(frozen=True, slots=True)
class Sample:
    """by pod uid. node_*: of the whole machine."""

    at: float
    pods: dict[str, list[Used]] = field(default_factory=dict)
    node_cpu_nanoseconds: int = 0
    node_nanocores: int = 0
    memory: dict[str, int] = field(default_factory=dict)


class UsageMeter:
    """Of one node. whole_machine: whether the node is the machine, and its figures are the node's."""

    def __init__(self, runtime: Runtime, node: str, now: Callable[[], float], whole_machine: bool = True) -> None:
        self._runtime, self._node, self._now = runtime, node, now
        self._whole_machine = whole_machine
        self._last: Sample | None = None
        self._bases: dict[str, tuple[float, int]] = {}  # container (or "" the node) → (time, CPU nanoseconds)
        self._rates: dict[str, int] = {}
        self._lock = asyncio.Lock()
        self._fresh = False  # whether the last sample held something that was never seen before

    async def sample(self) -> Sample:
        """Raises RuntimeFault."""
        async with self._lock:
            if self._last is not None and 0 <= self._now() - self._last.at < _FRESH:
                return self._last
            self._last = await self._take()
            if self._fresh:
                # A rate needs two looks; who asks for the first time waits a moment for the second.
                await asyncio.sleep(_FIRST_SPAN)
                self._last = await self._take()
            return self._last

    async def _take(self) -> Sample:
        self._fresh = False
        stats = [s for s in await self._runtime.stats() if s.labels.get(labels.NODE) == self._node]
        pods: dict[str, list[Used]] = {}
        for each in stats:
            rate = self._rate(each.id, each.at, each.cpu_nanoseconds)
            pods.setdefault(each.labels.get(labels.POD_UID, ""), []).append(Used(each, rate))
        known = {each.id for each in stats} | {""}
        self._bases = {key: base for key, base in self._bases.items() if key in known}
        self._rates = {key: rate for key, rate in self._rates.items() if key in known}
        if self._whole_machine:
            cpu, memory = _machine_cpu(), meminfo()
        else:
            cpu, memory = sum(s.cpu_nanoseconds for s in stats), {}
        return Sample(self._now(), pods, cpu, self._rate("", self._now(), cpu), memory)

    def _rate(self, key: str, at: float, cpu: int) -> int:
        """Nanoseconds of CPU per second since a sample long enough ago."""
        base = self._bases.get(key)
        if base is None or cpu < base[1]:
            self._bases[key] = (at, cpu)
            self._fresh = True
            return self._rates.setdefault(key, 0)
        span = at - base[0]
        if span > 0 and (span >= _RATE_SPAN or self._rates.get(key, 0) == 0):
            self._rates[key] = int((cpu - base[1]) / span)
        if span >= _RATE_SPAN:
            self._bases[key] = (at, cpu)
        return self._rates.get(key, 0)


def _machine_cpu() -> int:
    """Nanoseconds that the machine's processors were busy since its start."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    except OSError:
        return 0
    busy = sum(int(words[i]) for i in (0, 1, 2, 5, 6, 7) if i < len(words))
    return busy * 1_000_000_000 // _TICKS


_TICKS = os.sysconf("SC_CLK_TCK")
