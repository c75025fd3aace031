"""What becomes of an event: a new object, a higher count on one that is there, or nothing. Pure.

Three rules, with Kubernetes' numbers (its events design, "EventCorrelator"):
1. ten different messages about one object for one reason within ten minutes are one event from then on, whose message
   begins "(combined from similar events): ";
2. an event that says what an earlier one said is a higher `count` and a later `lastTimestamp` on that one;
3. one source may say 25 things about one object, and one more every five minutes; the rest is dropped.

Invariant: memory is bounded: the 4,096 series, groups and sources used last are remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Generic, TypeVar

from control.api.meta import timestamp
from control.api.schema import Object

REMEMBERED: Final = 4096
SIMILAR: Final = 10
SIMILAR_SECONDS: Final = 600.0
BURST: Final = 25.0
REFILL_SECONDS: Final = 300.0
COMBINED: Final = "(combined from similar events): "
_LONGEST_MESSAGE: Final = 1024

V = TypeVar("V")
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """event: the whole event as it is now. patch: what changed of the one that is there; None: it is new."""

    key: Key
    namespace: str
    name: str
    event: Object
    patch: Object | None


@dataclass(slots=True)
class _Series:
    event: Object
    count: int = 1


@dataclass(slots=True)
class _Group:
    last: float
    messages: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class _Recent(Generic[V]):
    """The values used last, by key."""

    def __init__(self) -> None:
        self._values: OrderedDict[Key, V] = OrderedDict()

    def get(self, key: Key) -> V | None:
        found = self._values.get(key)
        if found is not None:
            self._values.move_to_end(key)
        return found

    def set(self, key: Key, value: V) -> V:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > REMEMBERED:
            self._values.popitem(last=False)
        return value

    def drop(self, key: Key) -> None:
        self._values.pop(key, None)


class EventSeries:
    """The events of one source."""

    def __init__(self, component: str, host: str = "") -> None:
        """component: as "deployment-controller". host: the node it runs on, for agents."""
        self._source = {"component": component, **({"host": host} if host else {})}
        self._series: _Recent[_Series] = _Recent()
        self._groups: _Recent[_Group] = _Recent()
        self._buckets: _Recent[_Bucket] = _Recent()

    def take(self, about: Object, kind: str, reason: str, message: str, now: float) -> Write | None:
        """The write that an event is. about: an ObjectReference; now: Unix time in seconds. None: dropped."""
        message = _cut(message)
        similar = (*_identity(about), kind, reason)
        key, message = self._grouped(similar, message, now)
        if not self._allowed(_identity(about), now):
            return None
        series = self._series.get(key)
        if series is None:
            event = self._event(about, kind, reason, message, now)
            self._series.set(key, _Series(event))
            return _write(key, event, None)
        series.count += 1
        patch = {"count": series.count, "lastTimestamp": _time(now), "message": message}
        series.event = {**series.event, **patch}
        return _write(key, series.event, patch)

    def forget(self, key: Key) -> None:
        """The series' object could not be written: the next event of it is a new one."""
        self._series.drop(key)

    def _grouped(self, similar: Key, message: str, now: float) -> tuple[Key, str]:
        group = self._groups.get(similar)
        if group is None or now - group.last > SIMILAR_SECONDS:
            group = self._groups.set(similar, _Group(now))
        group.last = now
        if len(group.messages) < SIMILAR:
            group.messages.add(message)
        if len(group.messages) < SIMILAR:
            return (*similar, message), message
        return similar, _cut(COMBINED + message)

    def _allowed(self, about: Key, now: float) -> bool:
        bucket = self._buckets.get(about) or self._buckets.set(about, _Bucket(BURST, now))
        bucket.tokens = min(BURST, bucket.tokens + max(now - bucket.at, 0.0) / REFILL_SECONDS)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _event(self, about: Object, kind: str, reason: str, message: str, now: float) -> Object:
        namespace = about.get("namespace") or "default"
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{about.get('name', '')}.{int(now * 1e9):x}", "namespace": namespace},
            "involvedObject": about,
            "reason": reason,
            "message": message,
            "source": self._source,
            "firstTimestamp": _time(now),
            "lastTimestamp": _time(now),
            "count": 1,
            "type": kind,
            "reportingComponent": self._source["component"],
            "reportingInstance": self._source.get("host", ""),
        }


def _identity(about: Object) -> Key:
    fields = ("kind", "namespace", "name", "uid", "fieldPath", "apiVersion")
    return tuple(str(about.get(name, "")) for name in fields)


def _write(key: Key, event: Object, patch: Object | None) -> Write:
    return Write(key, event["metadata"]["namespace"], event["metadata"]["name"], event, patch)


def _cut(message: str) -> str:
    return message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 1] + "…"


def _time(now: float) -> str:
    return timestamp(datetime.fromtimestamp(now, UTC))
