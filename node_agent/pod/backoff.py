"""Exponential delays between attempts: 10 s, 20 s … 5 min, forgotten after 10 min without a failure. Pure.

As Kubernetes counts: the first failure is retried at once, then each attempt doubles what the next one has to wait
since the last end.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Delays by key. initial, longest, forget: seconds; 0 <= initial <= longest."""

    initial: float = 10.0
    longest: float = 300.0
    forget: float = 600.0
    _entries: dict[str, tuple[float, float]] = field(default_factory=dict)  # key → (delay, when it was set)

    def delay(self, key: str, now: float) -> float:
        """What the key has to wait since its last end, in seconds."""
        delay, when = self._entries.get(key, (0.0, now))
        return 0.0 if now - when > self.forget + delay else delay

    def advance(self, key: str, now: float) -> None:
        """An attempt is made now: the next one waits twice as long."""
        delay = self.delay(key, now)
        self._entries[key] = (min(max(delay * 2, self.initial), self.longest), now)

    def clear(self, key: str) -> None:
        self._entries.pop(key, None)

    def clear_all(self, prefix: str) -> None:
        """Forget every key that begins so: the pod is gone."""
        for key in [key for key in self._entries if key.startswith(prefix)]:
            del self._entries[key]

    def recall(self, key: str, attempts: int, when: float) -> None:
        """After a restart of the agent: the key has failed that often, last at `when`. Nothing if more is known."""
        if attempts > 0 and key not in self._entries:
            delay = self.initial * 2 ** min(attempts - 1, 16)
            self._entries[key] = (min(delay, self.longest), when)
