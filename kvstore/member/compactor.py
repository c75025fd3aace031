"""Automatic compaction (etcd's --auto-compaction-mode): which revision may go now. Pure: times come in.

periodic: keep the history of the last `retention` (etcd samples the revision ten times a period, at most hourly).
revision: keep the last `retention` revisions, looked at every five minutes.
"""

from __future__ import annotations

import re
from collections import deque

from kvstore.member.config import ConfigError

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|ns|m|s)")
REVISION_INTERVAL = 300.0


def parse_duration(text: str, flag: str) -> float:
    """Seconds in a Go duration such as 1h30m. Raises ConfigError."""
    parts = _DURATION.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text:
        raise ConfigError(f"--{flag}: {text!r} is not a duration such as 30m, 1h or 1h30m")
    return sum(float(n) * _UNITS[u] for n, u in parts)


def parse_retention(mode: str, text: str) -> float:
    """Seconds (periodic; a bare number counts hours) or revisions; 0 turns it off. Raises ConfigError."""
    if text.isdigit():
        return int(text) * (3600.0 if mode == "periodic" else 1.0)
    if mode == "revision":
        raise ConfigError(f"--auto-compaction-retention: {text!r} is not a number of revisions")
    return parse_duration(text, "auto-compaction-retention")


class Compactor:
    """Says which revision to compact to."""

    def __init__(self, mode: str, retention: float) -> None:
        self._mode = mode
        self._retention = retention
        period = min(retention, 3600.0)
        self.interval = REVISION_INTERVAL if mode == "revision" else max(period / 10, 0.1)
        self._samples: deque[tuple[float, int]] = deque()
        self._last = 0

    def due(self, now: float, revision: int) -> int:
        """Called every `interval` seconds on the leader: the revision to compact to, or 0."""
        if not self._retention:
            return 0
        target = self._by_revision(revision) if self._mode == "revision" else self._by_time(now, revision)
        if target <= self._last:
            return 0
        self._last = target
        return target

    def forget(self) -> None:
        """Not the leader any more: samples grow old elsewhere."""
        self._samples.clear()

    def _by_revision(self, revision: int) -> int:
        return max(revision - int(self._retention), 0)

    def _by_time(self, now: float, revision: int) -> int:
        self._samples.append((now, revision))
        target = 0
        while self._samples and self._samples[0][0] <= now - self._retention:
            target = self._samples.popleft()[1]
        return target
