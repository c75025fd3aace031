"""Named points in the code where a test can make a process die, wait or fail (after etcd's gofail).

    FLUYT_FAILPOINTS="log-before-sync=panic;apply-before-batch=3*off->sleep(200);backend-before-mark=10%error(EIO)"

    points := point (";" point)*          point := name "=" term ("->" term)*
    term   := [count "*" | percent "%"] action
    action := "panic" | "sleep(" ms ")" | "error" ["(" errno name ")"] | "print" | "off"

A term with a count holds for so many passes, then the next one does; one with a percentage holds that often, else the
next does. `panic` is SIGKILL: nothing is flushed, closed or said. `error` is an OSError (EIO unless named).

Off, a point costs one test of an empty dict: `if armed: hit("name")`. POINTS says which there are; a name that is not
in it is refused, by configure() and by hit().
"""

from __future__ import annotations

import errno
import logging
import os
import random
import re
import signal
import time
from dataclasses import dataclass

from kvstore.invariant import invariant

log = logging.getLogger(__name__)

VARIABLE = "FLUYT_FAILPOINTS"

# name → where the process is then
POINTS = {
    "log-before-write": "before a record is written to the log",
    "log-after-write": "after it, before anything is synced",
    "log-before-sync": "before the log's fdatasync",
    "log-after-sync": "after it, before anybody was told",
    "log-before-roll": "before the next segment begins",
    "log-before-name": "a new segment is durable but has no name yet",
    "log-before-unlink": "before superfluous segments are removed",
    "log-after-unlink": "after it, before the directory is synced",
    "backend-before-commit": "before the backend's transaction is committed",
    "backend-after-commit": "after it, before it is synced",
    "backend-before-mark": "the backend is synced, its mark does not say so yet",
    "backend-after-mark": "after the mark was written",
    "backend-before-rename": "before another backend takes the place of this one",
    "backend-after-rename": "after it, before the mark names its transaction",
    "apply-before-batch": "before the requests of an entry are applied",
    "apply-after-batch": "after they were applied and answered",
    "apply-before-compact": "before a compaction is taken note of",
    "apply-before-grant": "before a lease is granted",
    "apply-mid-revoke": "a lease is gone, its keys are not",
    "compact-before-slice": "before compacted revisions are removed from the tables, or the next slice of them",
    "compact-after-finish": "after the last slice",
    "lease-before-expire": "before leases that ran out are proposed for revocation",
    "retain-before-cut": "before the log is cut below the backend's position",
    "snapshot-before-copy": "before the backend is copied for a follower",
    "snapshot-before-send": "before the copy is sent",
    "snapshot-received": "a snapshot is whole and durable on the follower, Raft does not know yet",
    "snapshot-before-install": "before it takes the place of the backend",
    "snapshot-mid-install": "the backend is the snapshot's, the log does not know yet",
}

_TERM = re.compile(r"(?:(\d+)\*|(\d+(?:\.\d+)?)%)?(panic|sleep|error|print|off)(?:\(([^)]*)\))?")


class FailpointError(ValueError):
    """FLUYT_FAILPOINTS cannot be understood; the message is one line."""


@dataclass(slots=True)
class Term:
    """left: passes that it still holds for, None for all. chance: that it holds. argument: ms, or an errno."""

    action: str
    left: int | None
    chance: float
    argument: int


# Point → its terms. Empty in production; read, never replaced, by whoever tests it.
armed: dict[str, list[Term]] = {}


def configure(text: str) -> None:
    """Arm exactly the points that the text names; "" disarms all. Raises FailpointError."""
    found: dict[str, list[Term]] = {}
    for point in filter(None, (p.strip() for p in text.split(";"))):
        name, equals, terms = point.partition("=")
        if not equals or name not in POINTS:
            raise FailpointError(f"{VARIABLE}: {point!r}: no such point; there are: {', '.join(POINTS)}")
        found[name] = [_term(part.strip(), point) for part in terms.split("->")]
    armed.clear()
    armed.update(found)
    if armed:
        log.warning("failpoints are armed: %s", text)


def _term(text: str, point: str) -> Term:
    match = _TERM.fullmatch(text)
    if match is None:
        raise FailpointError(f"{VARIABLE}: {point!r}: {text!r} is no term such as panic, sleep(100), 2*error(EIO)")
    count, percent, action, argument = match.groups()
    return Term(
        action, int(count) if count else None, float(percent) / 100 if percent else 1.0, _argument(action, argument)
    )


def _argument(action: str, text: str | None) -> int:
    if action == "sleep":
        if not (text or "").isdigit():
            raise FailpointError(f"{VARIABLE}: sleep takes milliseconds, as in sleep(100)")
        return int(text or 0)
    if action == "error":
        number = getattr(errno, text or "EIO", None)
        if not isinstance(number, int):
            raise FailpointError(f"{VARIABLE}: {text!r} is no errno such as EIO or ENOSPC")
        return number
    if text is not None:
        raise FailpointError(f"{VARIABLE}: {action} takes no argument")
    return 0


def hit(name: str) -> None:
    """The code is at this point. Call it behind `if armed`. Raises OSError if the point is armed with an error."""
    invariant(name in POINTS, f"{name} is not in the table of failpoints")
    terms = armed.get(name)
    if terms is not None:
        for term in terms:
            if term.left != 0 and (term.chance >= 1.0 or random.random() < term.chance):
                if term.left is not None:
                    term.left -= 1
                _act(term, name)
                return


def _act(term: Term, name: str) -> None:
    if term.action == "panic":
        os.kill(os.getpid(), signal.SIGKILL)
    elif term.action == "sleep":
        time.sleep(term.argument / 1000)
    elif term.action == "error":
        raise OSError(term.argument, f"{os.strerror(term.argument)} (failpoint {name})")
    elif term.action == "print":
        log.warning("failpoint %s", name)
