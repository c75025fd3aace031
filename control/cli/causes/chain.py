"""Chains of causes: from each change of an object to what caused it, and so on back to a user's own write.

A record says: this write was made because of that object, as it was at that revision, by this rule. What made that
object be so is its own last write up to that revision: for a change of a spec its last write that was no status, since
statuses only report. Where records are missing (they expire), owners tell at least whose part an object is.

Invariant: following ends: each step goes to an older revision or stops, and there is a bound on the steps anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol

from control.api.catalogue import BUILTIN
from control.api.schema import Object
from control.api.status import StatusError

_DEEPEST: Final = 16


class Source(Protocol):
    """What is needed of control.client.client.Client."""

    async def causes(self, resource: str, name: str, namespace: str = "") -> Sequence[Object]: ...

    async def get(self, resource: str, name: str, namespace: str = "") -> Object: ...


@dataclass
class Step:
    """One write, and what caused it. revision "" and verb "": nothing is recorded, only that it was looked at.

    note: why the chain ends here, where it does not end with a user's write.
    """

    object: str
    revision: str = ""
    time: str = ""
    verb: str = ""
    subresource: str = ""
    user: str = ""
    rule: str = ""
    because: Step | None = None
    note: str = ""


@dataclass
class Happening:
    """What a container did. what: "started", "ended"."""

    container: str
    what: str
    time: str
    detail: str = ""


@dataclass
class Story:
    """What is known of one object. owner: that of the object it is a part of, where its own chains lead nowhere."""

    object: str
    steps: list[Step] = field(default_factory=list)
    containers: list[Happening] = field(default_factory=list)
    owner: Story | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain data, without what is empty."""
        found: dict[str, Any] = _bare(asdict(self))
        return found


async def explain(client: Source, resource: str, namespace: str, name: str, limit: int) -> Story:
    """The story of an object: the last `limit` of its changes. Raises StatusError when nothing is known of it."""
    return await _Explainer(client).story(resource, namespace, name, limit)


class _Explainer:
    """Asks for each object's records once."""

    def __init__(self, client: Source) -> None:
        self._client = client
        self._records: dict[str, Sequence[Object]] = {}

    async def story(self, resource: str, namespace: str, name: str, limit: int, depth: int = 0) -> Story:
        """See explain()."""
        place = f"{resource}/{namespace or '-'}/{name}"
        obj: Object | None = None
        try:
            obj = await self._client.get(resource, name, namespace)
        except StatusError as refused:
            records = await self._of(place)
            if refused.code != 404 or not records:
                raise
        records = await self._of(place)
        story = Story(place, [await self._step(place, record, 0) for record in records[-limit:]])
        if obj is None:
            story.note = "it is not there any more"
            return story
        story.containers = containers(obj)
        if not any(_ends_with_a_user(step) for step in story.steps) and depth < _DEEPEST:
            story.owner = await self._owner(obj, namespace, limit, depth)
        if not records:
            story.note = "nothing is recorded of it: causes are kept for some hours only"
        return story

    async def _owner(self, obj: Object, namespace: str, limit: int, depth: int) -> Story | None:
        for reference in obj["metadata"].get("ownerReferences") or []:
            kind = BUILTIN.by_kind(reference["apiVersion"], reference["kind"])
            if kind is not None and reference.get("controller"):
                where = namespace if kind.namespaced else ""
                try:
                    return await self.story(kind.resource, where, reference["name"], limit, depth + 1)
                except StatusError as refused:
                    return Story(f"{kind.resource}/{where or '-'}/{reference['name']}", note=refused.message)
        return None

    async def _step(self, place: str, record: Object, depth: int) -> Step:
        cause = record.get("cause") or {}
        step = Step(
            place,
            str(record.get("revision", "")),
            str(record.get("time", "")),
            str(record.get("verb", "")),
            str(record.get("subresource", "")),
            str(record.get("user", "")),
            str(cause.get("rule", "")),
        )
        if cause.get("object"):
            step.because = await self._because(step, str(cause["object"]), str(cause.get("revision", "")), depth)
        return step

    async def _because(self, effect: Step, place: str, revision: str, depth: int) -> Step:
        if depth >= _DEEPEST:
            return Step(place, revision, note="the chain goes on; it is cut here")
        try:
            records = await self._of(place)
        except StatusError as refused:
            return Step(place, revision, note=refused.message)
        record = responsible(records, revision, before=effect.revision, status=effect.subresource == "status")
        if record is None:
            return Step(place, revision, note="nothing is recorded of it that far back")
        return await self._step(place, record, depth + 1)

    async def _of(self, place: str) -> Sequence[Object]:
        if place not in self._records:
            parts = place.split("/")
            if len(parts) != 3:
                return []
            resource, namespace, name = parts
            self._records[place] = await self._client.causes(resource, name, "" if namespace == "-" else namespace)
        return self._records[place]


def responsible(records: Sequence[Object], revision: str, *, before: str, status: bool) -> Object | None:
    """The write that made an object what it was at a revision.

    before: the revision of the effect, which its cause precedes. status: whether the effect is a status, so that a
    status may be its cause. revision "": whatever was last.
    """
    newest = min(_number(revision) or _number(before) - 1, _number(before) - 1)
    past = [record for record in records if _number(str(record.get("revision", ""))) <= newest]
    real = past if status else [record for record in past if record.get("subresource") != "status"]
    chosen = real or past
    return chosen[-1] if chosen else None


def containers(obj: Object) -> list[Happening]:
    """When its containers started and ended, oldest first; nothing for what is no pod."""
    found: list[Happening] = []
    status = obj.get("status") or {}
    for entry in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        restarts = entry.get("restartCount") or 0
        for state in (entry.get("lastState") or {}, entry.get("state") or {}):
            found += _happenings(entry["name"], state, restarts)
    return sorted(found, key=lambda happening: happening.time)


def _happenings(name: str, state: Object, restarts: int) -> list[Happening]:
    running, ended, waiting = state.get("running"), state.get("terminated"), state.get("waiting")
    times = f"start {restarts + 1}" if restarts else ""
    if running and running.get("startedAt"):
        return [Happening(name, "started", running["startedAt"], times)]
    if ended:
        told = f"exit code {ended.get('exitCode', 0)}, {ended.get('reason', '')}".rstrip(", ")
        message = (ended.get("message") or "").strip()
        found = [Happening(name, "started", ended["startedAt"])] if ended.get("startedAt") else []
        detail = f"{told}: {message}" if message else told
        return [*found, Happening(name, "ended", ended.get("finishedAt") or "", detail)]
    if waiting and waiting.get("reason"):
        return [Happening(name, "waits", "", f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": "))]
    return []


def _ends_with_a_user(step: Step) -> bool:
    last = step
    while last.because is not None:
        last = last.because
    return bool(last.verb) and not last.note


def _number(revision: str) -> int:
    return int(revision) if revision.isdigit() else 0


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _bare(inner) for key, inner in value.items() if inner not in ("", None, [])}
    return [_bare(inner) for inner in value] if isinstance(value, list) else value
