"""How long a job waits before it makes pods again after failures: as a whole; with a limit for each index, by index.

Invariant: with a limit for each index no index waits for another one's failures. Source: "Jobs: Pod backoff failure
policy, Backoff limit per index" in Kubernetes' documentation; for the times, its job controller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from control.api.schema import Object
from control.controllers.reconcilers.job.tally import Tally, failures_of, last_failures, per_index_limit
from control.controllers.values.objects import created_at, parse_time, status_of
from control.controllers.values.pods import condition


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds until pods may be made again: of the job; of those indexes that must wait."""

    job: float = 0.0
    indexes: dict[int, float] = field(default_factory=dict)

    @property
    def soonest(self) -> float | None:
        """Seconds until the next pod may be made that may not be made now; None: there is none."""
        return min((wait for wait in (self.job, *self.indexes.values()) if wait), default=None)


def waits(found: Tally, now: datetime) -> Waits:
    """Who must wait for how long."""
    if per_index_limit(found.job) is None:
        return Waits(job=_of_job(found, now))
    by_index = {index: _of_index(found.job, pod, now) for index, pod in last_failures(found).items()}
    return Waits(indexes={index: wait for index, wait in by_index.items() if wait})


def _of_job(found: Tally, now: datetime) -> float:
    """After the failures since the last success."""
    last_good = max(map(_ended, found.ended_well), default=None)
    bad = [moment for moment in map(_ended, found.ended_badly) if last_good is None or moment > last_good]
    return _left(len(bad), max(bad), now) if bad else 0.0


def _of_index(job: Object, last: Object, now: datetime) -> float:
    """After all failures of an index, of which its last failed pod tells; also those that its limit does not count."""
    return _left(sum(failures_of(job, last)), _ended(last), now)


def _left(failures: int, last: datetime, now: datetime) -> float:
    """10, 20, 40 … up to 600 seconds after the last one."""
    delay = min(10.0 * 2.0 ** min(failures - 1, 10), 600.0)
    return max(0.0, delay - (now - last).total_seconds())


def _ended(pod: Object) -> datetime:
    """When a pod's last container ended; when it was deleted, or failed to run at all, as near as its object tells."""
    moments = [
        parse_time(((entry.get("state") or {}).get("terminated") or {}).get("finishedAt"))
        for entry in status_of(pod).get("containerStatuses") or ()
    ]
    known = [moment for moment in moments if moment is not None]
    if known:
        return max(known)
    turned = parse_time((condition(pod, "Ready") or {}).get("lastTransitionTime"))
    return turned or parse_time(pod["metadata"].get("deletionTimestamp")) or created_at(pod)
