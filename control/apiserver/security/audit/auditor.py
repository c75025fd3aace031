"""The server's Audit: policy, events and file put together."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from control.api.copying import copied
from control.api.schema import Json, Object
from control.apiserver.request import Headers, RequestInfo, User
from control.apiserver.security.audit.events import begin_event, completed, staged, without_managed_fields
from control.apiserver.security.audit.log_file import AuditFile
from control.apiserver.security.audit.policy import DEFAULT, Policy, read_policy

_STDOUT = Path("/dev/stdout")


class Sink(Protocol):
    """Where events go; never blocks."""

    def write(self, event: Object) -> None: ...


class Auditor:
    """Decides per request, and writes its events."""

    def __init__(self, policy: Policy, sink: Sink, clock: Callable[[], float] = time.time) -> None:
        self._policy = policy
        self._sink = sink
        self._clock = clock

    def begin(
        self, info: RequestInfo, user: User, headers: Headers, source: str, received: float
    ) -> AuditedRequest | None:
        """None: the policy's level is None."""
        level, omitted = self._policy.decide(info, user)
        if level == "None":
            return None
        audit_id = _requested_id(headers) or str(uuid.uuid4())
        event = begin_event(audit_id, level, info, user, headers, source, received)
        if "RequestReceived" not in omitted:
            self._sink.write(staged(event, "RequestReceived", received))
        return AuditedRequest(event, level, omitted, self._policy.omit_managed_fields, self._sink, self._clock)


class AuditedRequest:
    """One request's entry."""

    def __init__(
        self,
        event: Object,
        level: str,
        omitted: frozenset[str],
        omit_managed_fields: bool,
        sink: Sink,
        clock: Callable[[], float],
    ) -> None:
        self._event = event
        self._level = level
        self._omitted = omitted
        self._shown = without_managed_fields if omit_managed_fields else _as_it_is
        self._sink = sink
        self._clock = clock

    def request_object(self, body: Json) -> None:
        """The body as it came; kept as a copy, for admission changes it."""
        if body is not None and self._level in ("Request", "RequestResponse"):
            self._event["requestObject"] = copied(self._shown(body) if isinstance(body, dict) else body)

    def done(self, code: int, response: Object | None, annotations: Mapping[str, str]) -> None:
        """The request has been answered (a stream: has begun)."""
        if "ResponseComplete" in self._omitted:
            return
        event = completed(self._event, self._clock(), code, response, annotations)
        if response is not None and self._level == "RequestResponse":
            event["responseObject"] = self._shown(response)
        self._sink.write(event)


def open_auditor(
    path: Path, policy: Path | None, max_megabytes: int = 100, max_backups: int = 0, max_days: int = 0
) -> tuple[Auditor, AuditFile]:
    """--audit-log-path (- is standard output) and the flags beside it. OSErrors; ValueError names the policy file."""
    chosen = _load_policy(policy) if policy is not None else DEFAULT
    if str(path) == "-":
        file = AuditFile(_STDOUT, 0)
    else:
        file = AuditFile(path, max_megabytes << 20, max_backups, timedelta(days=max_days))
    return Auditor(chosen, file), file


def _load_policy(path: Path) -> Policy:
    import yaml  # only where there is a policy

    try:
        return read_policy(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValueError) as problem:
        raise ValueError(f"{path}: {problem}") from None


def _requested_id(headers: Headers) -> str:
    """Source: the header Audit-ID, by which requests are followed through several servers."""
    found = headers.get("audit-id", "")
    return found if 0 < len(found) <= 64 and found.isascii() and found.isprintable() else ""


def _as_it_is(obj: Object) -> Object:
    return obj
