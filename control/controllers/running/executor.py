"""Doing what reconcilers decide, through the API server: in order, neighbours of a kind side by side.

Invariants: every write goes through one client, which carries the fence of the term; after a failure nothing but
statuses is written in the same pass; never more requests are under way than there is room for. Faults: refusals,
conflicts, outages; a write that may have arrived is not repeated before the view was looked at again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from control.api.schema import Object
from control.api.status import StatusError
from control.client.client import Client
from control.client.errors import Unreachable
from control.controllers.values.actions import (
    Action,
    Answer,
    Create,
    Delete,
    Event,
    Patch,
    Read,
    Update,
    UpdateStatus,
)
from control.controllers.values.objects import name_of, namespace_of
from control.elected.term_end import FenceLost

# Seconds to wait after a write of which nobody knows whether it arrived: the view will tell.
UNCERTAIN: Final = 1.0
Tell = Callable[[Event], None]
Done = Callable[[Action, Object], None]


@dataclass(slots=True)
class Outcome:
    """How a pass went. failure: the first refusal's message; stale: the view was behind, nothing is wrong.

    retry_after: seconds to wait at least before the next pass.
    """

    failure: str = ""
    stale: bool = False
    retry_after: float = 0.0
    # (resource, namespace, name) → (revision it had, metadata our write made), for a later write in the same pass.
    written: dict[tuple[str, str, str], tuple[str, Object]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.failure and not self.stale


class Executor:
    """Writes through a fenced client. done(action, answer) is called after each write that was made."""

    def __init__(self, client: Client, tell: Tell, room: asyncio.Semaphore) -> None:
        """room: for as many requests as may be under way at a time."""
        self._client = client
        self._tell = tell
        self._room = room

    async def read(self, question: Read) -> Answer:
        """Ask the server. Raises Unreachable, and StatusError for refusals that say nothing about the object."""
        try:
            if question.name:
                found = await self._client.get(question.resource, question.name, question.namespace)
            else:
                found = await self._client.list(
                    question.resource,
                    question.namespace,
                    label_selector=question.label_selector,
                    limit=question.limit,
                )
        except StatusError as refused:
            return Answer(None, refused.code, refused.message)
        return Answer(found)

    async def run(self, actions: Sequence[Action], done: Done) -> Outcome:
        """Do the actions. Raises FenceLost when the term is over."""
        outcome = Outcome()
        for kind, group in groupby(actions, type):
            todo = list(group)
            if not outcome.ok and kind is not UpdateStatus:
                continue
            if kind is Create:
                await self._slow_start(todo, outcome, done)
            elif kind is Delete:
                await self._together(todo, outcome, done)
            else:
                for action in todo:
                    if outcome.ok or kind is UpdateStatus:
                        await self._one(action, outcome, done)
        return outcome

    async def _slow_start(self, actions: Sequence[Action], outcome: Outcome, done: Done) -> None:
        """1, 2, 4 … at once: a quota that is used up costs one refusal, not hundreds."""
        size = 1
        while actions and outcome.ok:
            batch, actions = actions[:size], actions[size:]
            await self._together(batch, outcome, done)
            size *= 2

    async def _together(self, actions: Sequence[Action], outcome: Outcome, done: Done) -> None:
        results = await asyncio.gather(
            *(self._one(action, outcome, done) for action in actions), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _one(self, action: Action, outcome: Outcome, done: Done) -> None:
        try:
            async with self._room:
                answer = await self._send(action, outcome)
        except StatusError as refused:
            self._refused(action, refused, outcome)
        except Unreachable as outage:
            outcome.stale = True
            outcome.retry_after = max(outcome.retry_after, UNCERTAIN if outage.maybe_applied else 0.0)
        else:
            self._note(action, answer, outcome)
            done(action, answer)
            self._told(action, name_of(answer) or _name(action))

    async def _send(self, action: Action, outcome: Outcome) -> Object:
        client = self._client
        match action:
            case Create(resource, obj):
                return await client.create(resource, obj, cause=action.cause)
            case Update(resource, obj, subresource=subresource):
                return await client.update(
                    resource, _based(resource, obj, outcome), subresource=subresource, cause=action.cause
                )
            case UpdateStatus(resource, obj):
                return await client.update(
                    resource, _status_based(resource, obj, outcome), subresource="status", cause=action.cause
                )
            case Patch(resource, namespace, name, patch, kind=kind, subresource=subresource):
                return await client.patch(
                    resource, name, patch, namespace=namespace, kind=kind, subresource=subresource, cause=action.cause
                )
            case Delete(resource, namespace, name, uid):
                return await client.delete(
                    resource,
                    name,
                    namespace=namespace,
                    propagation=action.propagation,
                    uid=uid,
                    grace=action.grace,
                    cause=action.cause,
                )

    def _refused(self, action: Action, refused: StatusError, outcome: Outcome) -> None:
        reasons = {cause.reason for cause in refused.causes}
        if "FenceLost" in reasons:
            raise FenceLost(refused.message) from None
        if isinstance(action, Delete) and refused.code == 404:
            return
        if refused.code in (404, 409) or "NamespaceTerminating" in reasons:
            # Somebody was faster, and the view will show it. Of a namespace that goes nothing is left to do.
            outcome.stale = True
            return
        outcome.failure = outcome.failure or refused.message
        outcome.retry_after = max(outcome.retry_after, float(refused.retry_after))
        told = action.tell
        if told is not None and told.failed:
            text = told.failed_message.format(name=_name(action), error=refused.message)
            self._tell(Event(told.about, told.failed, text, "Warning"))

    def _told(self, action: Action, name: str) -> None:
        told = action.tell
        if told is not None and told.done:
            self._tell(Event(told.about, told.done, told.done_message.format(name=name)))

    def _note(self, action: Action, answer: Object, outcome: Outcome) -> None:
        before = ""
        if isinstance(action, (Update, UpdateStatus)):
            before = str(action.object["metadata"].get("resourceVersion", ""))
        if not isinstance(action, (Create, Delete)):
            outcome.written[(action.resource, *_place(action))] = (before, answer.get("metadata") or {})


def _written(resource: str, obj: Object, outcome: Outcome) -> Object:
    """The metadata of the object as this very pass made it, which the view could not know yet; {} if it did not."""
    before, after = outcome.written.get((resource, namespace_of(obj), name_of(obj)), ("", {}))
    mine = str(obj["metadata"].get("resourceVersion", ""))
    return after if before in ("", mine) else {}


def _based(resource: str, obj: Object, outcome: Outcome) -> Object:
    """The object on top of what this pass wrote to it before."""
    after = _written(resource, obj, outcome)
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(after["resourceVersion"])}} if after else obj


def _status_based(resource: str, obj: Object, outcome: Outcome) -> Object:
    """The same for a status. It takes annotations and labels along, so they must be those that were just written."""
    after = _written(resource, obj, outcome)
    return {**obj, "metadata": after} if after else obj


def _place(action: Action) -> tuple[str, str]:
    if isinstance(action, (Patch, Delete)):
        return action.namespace, action.name
    return namespace_of(action.object), name_of(action.object)


def _name(action: Action) -> str:
    return _place(action)[1]
