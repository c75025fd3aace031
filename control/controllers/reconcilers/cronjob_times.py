"""The times of a schedule: the last one that is due, how many were missed, and the next.

Invariant: finding them takes a bounded number of steps, also after the cluster was off for a year.
Source: "CronJob: Schedule; Deadline for delayed Job start" in Kubernetes' documentation.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from control.api.cron import Schedule

# More missed times than that are worth an event.
TOO_MANY: Final = 100


def due(
    schedule: Schedule, zone: str, since: datetime, now: datetime, deadline: int | None
) -> tuple[datetime | None, int]:
    """The last scheduled time after `since` up to now, if any, and how many were missed if that is too many (else 0).

    deadline: seconds; what should have begun longer ago is not looked at.
    """
    earliest = since if deadline is None else max(since, now - timedelta(seconds=deadline))
    if schedule.interval:
        return _of_interval(schedule.interval, since, now)
    first = schedule.after(earliest, zone)
    if first is None or first > now:
        return None, 0
    last = _last(schedule, zone, first, now)
    return last, _missed(schedule, zone, first, now)


def _of_interval(interval: timedelta, since: datetime, now: datetime) -> tuple[datetime | None, int]:
    count = (now - since) // interval
    return (since + count * interval if count > 0 else None), (count if count > TOO_MANY else 0)


def _last(schedule: Schedule, zone: str, first: datetime, now: datetime) -> datetime:
    """The last time up to now, looked for in windows before now that double until one holds a time."""
    window = timedelta(minutes=1)
    while now - window > first:
        found = schedule.after(now - window, zone)
        if found is not None and found <= now:
            return _forward(schedule, zone, found, now)
        window *= 2
    return _forward(schedule, zone, first, now)


def _forward(schedule: Schedule, zone: str, found: datetime, now: datetime) -> datetime:
    while (following := schedule.after(found, zone)) is not None and following <= now:
        found = following
    return found


def _missed(schedule: Schedule, zone: str, first: datetime, now: datetime) -> int:
    count, found = 1, schedule.after(first, zone)
    while found is not None and found <= now:
        count += 1
        if count > TOO_MANY:
            return count
        found = schedule.after(found, zone)
    return 0


def next_after(schedule: Schedule, zone: str, since: datetime, now: datetime) -> datetime | None:
    """The next time after now; None: there is none."""
    if schedule.interval:
        return since + (max((now - since) // schedule.interval, 0) + 1) * schedule.interval
    return schedule.after(now, zone)


@lru_cache(maxsize=256)
def is_zone(name: str) -> bool:
    """Whether it is a time zone of the IANA database."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return False
    return True
