"""Schedules of CronJobs: five fields, or @hourly, @daily, @weekly, @monthly, @yearly, or "@every 1h30m".

The calendar is the library croniter's; its own additions (seconds, years, L, #, hashes) are refused here, because
Kubernetes refuses them.

Source: "Schedule syntax" of Kubernetes' CronJob documentation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, CroniterError, croniter

_FIELD = re.compile(r"[0-9A-Za-z*/,?-]+", re.ASCII)
_NAME = re.compile(r"[A-Za-z]+", re.ASCII)
_MACROS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS: Final = frozenset(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])
_DAYS: Final = frozenset(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])
_NAMES: Final = (frozenset[str](), frozenset[str](), frozenset[str](), _MONTHS, _DAYS)
_EVERY = re.compile(r"@every\s+((?:\d{1,6}[hms])+)", re.ASCII)
_UNITS: Final = {"h": 3600, "m": 60, "s": 1}
_TRIED_FROM: Final = datetime(2024, 1, 1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is due. fields: the five fields of cron; interval: of "@every", instead of them."""

    fields: str = ""
    interval: timedelta = timedelta()

    def after(self, moment: datetime, zone: str = "") -> datetime | None:
        """The first time after an aware moment, on the clocks of an IANA zone ("" is the moment's own).

        None: it is never due, as on 31 February.
        """
        if self.interval:
            return moment + self.interval
        start = moment.astimezone(ZoneInfo(zone)) if zone else moment
        try:
            found: datetime = croniter(self.fields, start).get_next(datetime)
        except CroniterBadDateError:
            return None
        return found


@lru_cache(1024)
def parse_schedule(text: str) -> Schedule:
    """The schedule of a text. ValueError: it is none; the message says why."""
    bare = text.strip()
    if match := _EVERY.fullmatch(bare):
        seconds = sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)([hms])", match[1]))
        if seconds < 1:
            raise ValueError("@every needs at least one second")
        return Schedule(interval=timedelta(seconds=seconds))
    if bare.startswith("@"):
        if bare not in _MACROS:
            raise ValueError(f"unrecognized descriptor: {bare}")
        return Schedule(_MACROS[bare])
    fields = bare.split()
    if len(fields) != 5:
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: {fields}")
    for field, names in zip(fields, _NAMES, strict=True):
        _check(field, names)
    joined = " ".join(field.replace("?", "*") for field in fields)
    try:
        croniter(joined, _TRIED_FROM)
    except (CroniterError, ValueError, KeyError) as error:
        raise ValueError(f"failed to parse schedule: {error}") from None
    return Schedule(joined)


def _check(field: str, names: frozenset[str]) -> None:
    if not _FIELD.fullmatch(field):
        raise ValueError(f"failed to parse {field!r}: a field has numbers, names, '*', ',', '-' and '/'")
    for name in _NAME.findall(field):
        if name.lower() not in names:
            raise ValueError(f"failed to parse int from {name}")
