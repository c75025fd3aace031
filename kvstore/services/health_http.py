"""/health, /livez and /readyz, for load balancers, supervisors and people (etcd: server/etcdserver/api/etcdhttp).

/health: no alarm, a leader, and a read that works; ?serializable=true asks this member alone, ?exclude=NOSPACE
overlooks an alarm. /livez and /readyz run named checks, each also at a path of its own; ?exclude=NAME leaves one out,
?verbose lists them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from urllib.parse import parse_qs

from kvstore.errors import EtcdError
from kvstore.member.member import Member
from kvstore.pb import etcd_pb2 as pb
from kvstore.wire.http import HttpRequest, HttpResponse

# Hears why a check failed; empty if it did not.
Verdict = Callable[[str], None]
Check = Callable[[Verdict], None]
_NOSNIFF = ("X-Content-Type-Options", "nosniff")


class HealthPages:
    """The pages of one member, and what they counted."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self.successes = self.failures = 0
        # Per (page, check): how often it went well and ill, and how it went last.
        self.outcomes: Counter[tuple[str, str, str]] = Counter()
        self.latest: dict[tuple[str, str], bool] = {}
        self.pages: dict[str, dict[str, Check]] = {
            "/livez": {"serializable_read": self._serializable_read},
            "/readyz": {
                "data_corruption": self._no_corruption,
                "serializable_read": self._serializable_read,
                "linearizable_read": self._linearizable_read,
                "non_learner": self._no_learner,
            },
        }

    def takes(self, path: str) -> bool:
        """Whether the path is one of these pages."""
        page, name = _split(path)
        return path == "/health" or (page in self.pages and (not name or name in self.pages[page]))

    def serve(self, request: HttpRequest, headers: tuple[tuple[str, str], ...]) -> None:
        """Answer, perhaps later."""
        if request.path == "/health":
            self._health(request, headers)
            return
        page, name = _split(request.path)
        query = parse_qs(request.query, keep_blank_values=True)
        checks = self.pages[page]
        names = [name] if name else [known for known in checks if known not in query.get("exclude", [])]
        _Run(self, page, names, lambda failed, text: _answer(request, headers, failed, text, "verbose" in query)).go()

    # ---- /health ----

    def _health(self, request: HttpRequest, headers: tuple[tuple[str, str], ...]) -> None:
        query = parse_qs(request.query)
        serializable = query.get("serializable", [""])[0] == "true"

        def verdict(reason: str) -> None:
            body = json.dumps({"health": "false" if reason else "true", "reason": reason}, separators=(",", ":"))
            if reason:
                self.failures += 1
                request.respond(HttpResponse(503, body.encode() + b"\n", headers=(_NOSNIFF, *headers)))
            else:
                self.successes += 1
                request.respond(HttpResponse(200, body.encode(), headers=headers))

        excluded = set(query.get("exclude", []))
        alarms = [pb.AlarmType.Name(alarm.alarm) for alarm in self._member.alarms.active()]
        raised = next((name for name in alarms if name not in excluded), "")
        if raised:
            verdict(f"ALARM {raised}")
        elif serializable:
            self._serializable_read(lambda reason: verdict(reason and f"RANGE ERROR:{reason}"))
        elif not self._member.leader_id:
            verdict("RAFT NO LEADER")
        else:
            self._linearizable_read(lambda reason: verdict(reason and f"RANGE ERROR:{reason}"))

    # ---- checks ----

    def _no_corruption(self, verdict: Verdict) -> None:
        verdict("alarm activated: CORRUPT" if self._member.alarms.corrupt else "")

    def _no_learner(self, verdict: Verdict) -> None:
        verdict("member is a learner" if self._member.is_learner else "")

    def _serializable_read(self, verdict: Verdict) -> None:
        try:
            self._member.store.range(pb.RangeRequest(key=b"\0", range_end=b"\0", keys_only=True, limit=1))
        except EtcdError as problem:
            verdict(problem.message)
        else:
            verdict("")

    def _linearizable_read(self, verdict: Verdict) -> None:
        def done(problem: EtcdError | None) -> None:
            verdict(problem.message if problem is not None else "")

        try:
            self._member.linearizable(done)
        except EtcdError as problem:
            verdict(problem.message)


class _Run:
    """The checks of one request, one after the other."""

    def __init__(self, pages: HealthPages, page: str, names: list[str], done: Callable[[bool, str], None]) -> None:
        """done(whether any failed, a line for each)."""
        self._pages = pages
        self._page = page
        self._names = names
        self._done = done
        self._lines: list[str] = []
        self._failed = False

    def go(self) -> None:
        """The next check."""
        if len(self._lines) == len(self._names):
            self._done(self._failed, "".join(self._lines))
        else:
            self._pages.pages[self._page][self._names[len(self._lines)]](self._verdict)

    def _verdict(self, reason: str) -> None:
        name = self._names[len(self._lines)]
        self._pages.outcomes[self._page[1:], name, "error" if reason else "success"] += 1
        self._pages.latest[self._page[1:], name] = not reason
        self._failed = self._failed or bool(reason)
        self._lines.append(f"[-]{name} failed: {reason}\n" if reason else f"[+]{name} ok\n")
        self.go()


def _answer(request: HttpRequest, headers: tuple[tuple[str, str], ...], failed: bool, text: str, verbose: bool) -> None:
    if failed:
        request.respond(HttpResponse(503, text.encode() + b"\n", headers=(_NOSNIFF, *headers)))
    else:
        request.respond(HttpResponse(200, (text if verbose else "").encode() + b"ok\n", headers=(_NOSNIFF, *headers)))


def _split(path: str) -> tuple[str, str]:
    """/readyz/data_corruption → (/readyz, data_corruption)."""
    _, page, *rest = path.split("/", 2)
    return f"/{page}", rest[0] if rest else ""
