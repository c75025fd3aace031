"""Schedules of CronJobs: five fields, or @hourly, @daily, @weekly, @monthly, @yearly, or "@every 1h30m".

The calendar is the library croniter's; its own additions (seconds, years, L, #, hashes) are refused here, because
Kubernetes refuses them. When clocks change, a time that they leap over is not due that day, and a time that comes twice
is due twice.

Source: "Schedule syntax" of Kubernetes' CronJob documentation; for changes of clocks, the library robfig/cron.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, CroniterError, croniter

_FIELD = re.compile(r"[0-9A-Za-z*/,?-]+", re.ASCII)
_MACROS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Of each field: the least number, the greatest, and names of numbers.
_BOUNDS: Final[tuple[tuple[int, int, Mapping[str, int]], ...]] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)}),
    (0, 6, {name: number for number, name in enumerate(_DAYS)}),
)
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
        due = croniter(self.fields, start)
        try:
            found: datetime = due.get_next(datetime)
            # croniter gives the end of the leap for a time within it.
            while not croniter.match(self.fields, found.replace(tzinfo=None)):
                found = due.get_next(datetime)
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
    for field, bounds in zip(fields, _BOUNDS, strict=True):
        _check(field, *bounds)
    joined = " ".join(field.replace("?", "*") for field in fields)
    try:
        croniter(joined, _TRIED_FROM)
    except (CroniterError, ValueError, KeyError) as error:
        raise ValueError(f"failed to parse schedule: {error}") from None
    return Schedule(joined)


def _check(field: str, least: int, most: int, names: Mapping[str, int]) -> None:
    """The words of a refusal are those of the library that Kubernetes reads schedules with."""
    if not _FIELD.fullmatch(field):
        raise ValueError(f"failed to parse {field!r}: a field has numbers, names, '*', ',', '-' and '/'")
    for part in filter(None, field.split(",")):
        span, *steps = part.split("/")
        if len(steps) > 1:
            raise ValueError(f"too many slashes: {part}")
        ends = [str(least), str(most)] if span in ("*", "?") else span.split("-")
        if len(ends) > 2:
            raise ValueError(f"too many hyphens: {part}")
        first = _number(ends[0], names)
        last = most if steps and len(ends) == 1 else _number(ends[-1], names)
        _check_span(part, first, last, least, most)
        if steps and _number(steps[0], {}) == 0:
            raise ValueError(f"step of range should be a positive number: {part}")


def _check_span(part: str, first: int, last: int, least: int, most: int) -> None:
    if first < least:
        raise ValueError(f"beginning of range ({first}) below minimum ({least}): {part}")
    if last > most:
        raise ValueError(f"end of range ({last}) above maximum ({most}): {part}")
    if first > last:
        raise ValueError(f"beginning of range ({first}) beyond end of range ({last}): {part}")


def _number(text: str, names: Mapping[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not text.isdigit():
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)
