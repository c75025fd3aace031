"""Eviction thresholds: "memory.available<100Mi,nodefs.available<10%" and what of it is crossed. Pure.

Source: "Node-pressure Eviction" in the Kubernetes documentation (signals, default thresholds, conditions).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from control.api.quantity import Quantity
from control.api.status import StatusError
from node_agent.node.facts import Pressure

# signal → (node condition, resource named in messages)
SIGNALS: Final[Mapping[str, tuple[str, str]]] = {
    "memory.available": ("MemoryPressure", "memory"),
    "nodefs.available": ("DiskPressure", "ephemeral-storage"),
    "nodefs.inodesFree": ("DiskPressure", "inodes"),
    "imagefs.available": ("DiskPressure", "ephemeral-storage"),
    "imagefs.inodesFree": ("DiskPressure", "inodes"),
    "pid.available": ("PIDPressure", "pids"),
}
_TERM = re.compile(r"^\s*([a-zA-Z.]+)\s*(<|=)\s*(\S+?)\s*$")


@dataclass(frozen=True, slots=True)
class Threshold:
    """The signal must not fall below `least` (bytes or a count) or `percent` of its capacity. grace: seconds that it
    may be below before pods are evicted; 0 for hard thresholds."""

    signal: str
    least: int = 0
    percent: float = 0.0
    grace: float = 0.0

    @property
    def condition(self) -> str:
        return SIGNALS[self.signal][0]

    @property
    def resource(self) -> str:
        return SIGNALS[self.signal][1]

    def bound(self, capacity: int) -> int:
        return self.least or int(capacity * self.percent / 100)


DEFAULT_HARD: Final = (
    Threshold("memory.available", least=100 << 20),
    Threshold("nodefs.available", percent=10),
    Threshold("nodefs.inodesFree", percent=5),
    Threshold("imagefs.available", percent=15),
)


def parse_thresholds(text: str, graces: Mapping[str, float] | None = None) -> tuple[Threshold, ...]:
    """Of a flag's value; "" is none. ValueError names the term that is wrong."""
    found = []
    for term in filter(None, (part.strip() for part in text.split(","))):
        match = _TERM.match(term)
        if match is None or match.group(1) not in SIGNALS:
            known = ", ".join(SIGNALS)
            raise ValueError(f"eviction threshold {term!r}: write <signal><<quantity or percent>; signals are {known}")
        found.append(_threshold(term, match.group(1), match.group(3), (graces or {}).get(match.group(1), 0.0)))
    return tuple(found)


def _threshold(term: str, signal: str, value: str, grace: float) -> Threshold:
    if value.endswith("%"):
        try:
            percent = float(value[:-1])
        except ValueError:
            percent = -1
        if not 0 <= percent <= 100:
            raise ValueError(f"eviction threshold {term!r}: a percentage is between 0% and 100%")
        return Threshold(signal, percent=percent, grace=grace)
    try:
        return Threshold(signal, least=Quantity.parse(value).ceil(), grace=grace)
    except StatusError as problem:
        raise ValueError(f"eviction threshold {term!r}: {problem}") from None


def measured(signal: str, now: Pressure) -> tuple[int, int]:
    """(what is available, capacity) of a signal."""
    return {
        "memory.available": (now.memory_available, now.memory_capacity),
        "nodefs.available": (now.disk_available, now.disk_capacity),
        "nodefs.inodesFree": (now.inodes_free, now.inodes),
        "imagefs.available": (now.image_available, now.image_capacity),
        "imagefs.inodesFree": (now.image_inodes_free, now.image_inodes),
        "pid.available": (now.pids_available, now.pids_capacity),
    }[signal]


def crossed(thresholds: Iterable[Threshold], now: Pressure) -> list[Threshold]:
    """Those whose signal is below its bound; what was not measured (capacity 0) is not."""
    found = []
    for threshold in thresholds:
        available, capacity = measured(threshold.signal, now)
        if capacity > 0 and available < threshold.bound(capacity):
            found.append(threshold)
    return found
