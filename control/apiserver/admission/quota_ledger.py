"""Reservations in the status of ResourceQuotas: each is a compare-and-swap in the store, many requests at a time.

Invariant: what this writes never brings status.used above what the quota allows, however many servers write: a
reservation holds only if the quota was as it was when the sum was made. While one write is under way, the requests that
come meanwhile are collected and go with the next one, so a thousand creates cost a few dozen writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from control.api import quota as quotas
from control.api.pod_resources import Amounts, added, amounts
from control.api.quantity import ZERO
from control.api.schema import Object
from control.api.status import StatusError
from control.apiserver.request import Caches, Objects

RESOURCE = "resourcequotas"
_Key = tuple[str, str]


@dataclass(slots=True)
class Request:
    """One reservation: amounts by quota name; the answer is "" or why not."""

    delta: Amounts
    answer: asyncio.Future[str]


@dataclass(slots=True)
class _Line:
    """What waits for one quota."""

    waiting: list[Request] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class QuotaLedger:
    """Reserves and gives back."""

    def __init__(self, caches: Caches, objects: Objects) -> None:
        self._caches = caches
        self._objects = objects
        self._lines: dict[_Key, _Line] = {}

    async def reserve(self, key: _Key, delta: Amounts) -> str:
        """ "": reserved; otherwise why it is too much. StatusErrors of the store. A quota that is gone allows all."""
        return await self._enter(key, Request(delta, asyncio.get_running_loop().create_future()))

    def give_back(self, key: _Key, delta: Amounts) -> None:
        """Take a reservation back, in the background; if that fails, the quota controller corrects it."""
        back = {name: -amount for name, amount in delta.items()}
        answer = self._enter(key, Request(back, asyncio.get_running_loop().create_future()))
        answer.add_done_callback(_read)

    def _enter(self, key: _Key, request: Request) -> asyncio.Future[str]:
        line = self._lines.setdefault(key, _Line())
        line.waiting.append(request)
        if line.task is None:
            line.task = asyncio.get_running_loop().create_task(self._work(key, line))
        return request.answer

    async def _work(self, key: _Key, line: _Line) -> None:
        """Until nobody waits: all who do, in one write."""
        while line.waiting:
            batch, line.waiting = line.waiting, []
            try:
                await self._write(key, batch)
            except Exception as problem:  # whatever it is, those who wait must hear of it
                for request in batch:
                    if not request.answer.done():
                        request.answer.set_exception(problem)
        del self._lines[key]

    async def _write(self, key: _Key, batch: list[Request]) -> None:
        answers: list[str] = []

        def change(quota: Object) -> Object | None:
            answers[:] = []  # tried again after a conflict
            changed, answers[:] = settle(quota, [r.delta for r in batch], self._count)
            return changed

        try:
            await self._objects.update(RESOURCE, *key, change)
        except StatusError as problem:
            if problem.code != 404:
                raise
            answers = [""] * len(batch)
        for request, answer in zip(batch, answers, strict=True):
            if not request.answer.done():
                request.answer.set_result(answer)

    def _count(self, quota: Object) -> Amounts:
        namespace = quota["metadata"].get("namespace", "")
        found = (
            (resource, obj)
            for resource in quotas.counted_resources(quota)
            for obj in self._caches.list(resource, namespace)
        )
        return quotas.namespace_usage(quota, found)


def settle(quota: Object, deltas: list[Amounts], count: Callable[[Object], Amounts]) -> tuple[Object | None, list[str]]:
    """The quota with all of the deltas that fit, in their order, and for each "" or why it does not fit. Pure.

    count: what is used now, for a quota whose status does not say it yet. None: nothing is to be written.
    """
    hard = amounts((quota.get("spec") or {}).get("hard"))
    status = quota.get("status") or {}
    used = {name: amount for name, amount in amounts(status.get("used")).items() if name in hard}
    if set(used) != set(hard):
        used = {**{name: amount for name, amount in count(quota).items() if name in hard}, **used}
    answers = []
    for delta in deltas:
        wanted = {name: amount for name, amount in delta.items() if name in hard}
        why = too_much(quota, wanted, used, hard)
        answers.append(why)
        if not why:
            used = {name: max(ZERO, amount) for name, amount in added(used, wanted).items()}
    texts = {"hard": _texts(hard), "used": _texts(used)}
    if {field: status.get(field) for field in texts} == texts:
        return None, answers
    return {**quota, "status": {**status, **texts}}, answers


def too_much(quota: Object, wanted: Amounts, used: Amounts, hard: Amounts) -> str:
    """Why a reservation does not fit, in Kubernetes' words; "" if it does. Pure."""
    exceeded = sorted(n for n, amount in wanted.items() if amount > ZERO and used.get(n, ZERO) + amount > hard[n])
    if not exceeded:
        return ""
    lists = [_pairs(exceeded, found) for found in (wanted, used, hard)]
    name = quota["metadata"]["name"]
    return f"exceeded quota: {name}, requested: {lists[0]}, used: {lists[1]}, limited: {lists[2]}"


def _pairs(names: list[str], found: Amounts) -> str:
    return ",".join(f"{name}={found.get(name, ZERO)}" for name in names)


def _texts(found: Mapping[str, object]) -> dict[str, str]:
    return {name: str(amount) for name, amount in found.items()}


def _read(answer: asyncio.Future[str]) -> None:
    """Take the exception of an answer that nobody waits for, so that asyncio does not complain of it."""
    if not answer.cancelled():
        answer.exception()
