"""The requests of one log entry, applied a few at a time, so that no entry holds the loop.

Between two requests of an entry everything is as between two entries, except that the applied index is still that of
the entry before: how many requests of the next one are applied stands beside it (`State.applied_requests`), so the
tables may be committed there, and after a restart those requests are passed over.
Within a request only large deletes stop (mvcc/large_delete.py): reads of the present must wait for their end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from types import GeneratorType
from typing import Any

from kvstore.errors import EtcdError
from kvstore.invariant import InvariantViolation
from kvstore.member.apply.applier import SLICE_KEYS, Applier
from kvstore.member.consensus.proposals import Proposal
from kvstore.member.requests import RequestKind
from kvstore.mvcc.results import PutResult, TxnResult

log = logging.getLogger(__name__)

Late = Callable[[], bool]
"""Whether the turn of the loop has lasted long enough."""

# Between two looks at the clock: requests that are applied one by one, and such as may be applied in runs.
_STRIDE = 16
_RUN = 64

_PUT, _TXN = int(RequestKind.PUT), int(RequestKind.TXN)

_UNANSWERED = "answering a request failed; it was applied"


@dataclass(slots=True)
class Foreseen:
    """What a batch of our own puts will lead to, and the answers that say so, made while the disks work on it."""

    index: int  # the entry's, as is the term
    term: int
    first: int  # revision of its first put
    answer: Callable[[], None]  # gives all the answers, at once


def foresee(applier: Applier, mine: Sequence[Proposal], index: int, term: int) -> Foreseen | None:
    """None unless every request of the batch is a plain put, which nothing can refuse as far as is known now."""
    first = applier.foreseen
    if not first or len(mine) > _RUN:
        return None
    waiters = [proposal[3] for proposal in mine]
    waiter = type(waiters[0])
    prepare = getattr(waiter, "prepare_run", None)
    if prepare is None or any(type(one) is not waiter for one in waiters):
        return None
    return Foreseen(index, term, first, prepare(waiters, first))


class BatchApply:
    """One entry. done: its requests that are applied. work: roughly how many rows were written, for the commit."""

    __slots__ = ("_answered", "_applier", "_large", "_mine", "_requests", "done", "work")

    def __init__(
        self,
        applier: Applier,
        requests: Sequence[tuple[int, bytes]],
        mine: Sequence[Proposal] | None,
        done: int,
        *,
        answered: bool = False,
    ) -> None:
        """requests: kinds and bodies, or `mine`: our own, which are to be answered, unless they are `answered`.

        done: applied before a restart.
        """
        self._applier = applier
        self._requests = requests
        self._mine = mine
        self._answered = answered
        self._large: Generator[None, None, Any] | None = None
        self.done = done
        self.work = 0

    def step(self, late: Late) -> bool:
        """Apply until it is late; True when nothing is left. Hot."""
        if self._large is not None and not self._go_on(self._large, late):
            return False
        count = len(self._requests if self._mine is None else self._mine)
        while self.done < count:
            before = self.done
            until = min(before + _RUN, count)
            self._large = self._others(until) if self._mine is None else self._own(self._mine, until)
            self.work += self.done - before
            if self._large is not None and not self._go_on(self._large, late):
                return False
            if late():
                break
        return self.done == count

    def give_up(self, problem: EtcdError) -> None:
        """Nothing more of it will be applied here: tell those who wait for the rest."""
        if self._mine is not None and not self._answered:
            for proposal in self._mine[self.done :]:
                _answer(proposal.done, problem)

    def _others(self, until: int) -> Generator[None, None, Any] | None:
        """Apply what nobody here waits for, up to that position or the next large delete, which is returned."""
        requests, applier = self._requests, self._applier
        for _ in range(_STRIDE):
            if self.done == until:
                break
            kind, body = requests[self.done]
            if kind == _PUT and (count := applier.put_run(requests, self.done, until)):
                self.done += count
                continue
            if kind == _TXN and (results := applier.swap_run(requests, self.done, until)):
                self.done += len(results)
                continue
            result = applier.apply(kind, body)
            if type(result) is GeneratorType:
                return result
            self.done += 1
        return None

    def _own(self, mine: Sequence[Proposal], until: int) -> Generator[None, None, Any] | None:
        """The same with our own requests, and answer them."""
        applier = self._applier
        for _ in range(_STRIDE):
            if self.done == until:
                break
            kind, body, request, done, _ = mine[self.done]
            if kind == _PUT and self._own_puts(mine, until):
                continue
            if kind == _TXN and (results := applier.swap_run(mine, self.done, until)):
                self._answer_run(mine, results)
                continue
            result = applier.apply(kind, body, request)
            if type(result) is GeneratorType:
                return result
            _answer(done, result)
            self.done += 1
        return None

    def _own_puts(self, mine: Sequence[Proposal], until: int) -> bool:
        """Apply and answer the plain puts that come next, or the first of them; False if there is none. Hot.

        Where it is known what they lead to they are answered first, and clients go on meanwhile. They are told the
        truth: these puts are committed, all before them is applied, and nobody looks at the state until they are too.
        """
        applier, start = self._applier, self.done
        if self._answered:
            self._as_told(mine, len(mine), applier.revision + 1)
            return True
        waiter = type(mine[start].done)
        answer_run = getattr(waiter, "answer_run", None)
        if answer_run is None:
            count = applier.put_run(mine, start, until)
            first = applier.revision - count + 1
            self._answer_run(mine, [PutResult(main, None) for main in range(first, first + count)])
            return count > 0
        waiters = [proposal[3] for proposal in mine[start:until]]
        if len(set(map(type, waiters))) > 1:
            waiters = list(takewhile(lambda one: type(one) is waiter, waiters))
        end = start + len(waiters)
        if first := applier.foreseen:
            answer_run(waiters, first, at_once=True)
            self._as_told(mine, end, first)
            return True
        count = applier.put_run(mine, start, end)
        if count:
            self.done += count
            answer_run(waiters[:count], applier.revision - count + 1, at_once=False)
        return count > 0

    def _as_told(self, mine: Sequence[Proposal], end: int, first: int) -> None:
        """Apply puts whose clients know already that theirs are the revisions from `first` on."""
        applier, count = self._applier, end - self.done
        while self.done < end:
            self.done += applier.put_run(mine, self.done, end) or self._put(mine[self.done])
        if applier.revision != first + count - 1:
            raise InvariantViolation("every plain put takes a revision of its own")

    def _put(self, proposal: Proposal) -> int:
        """One that no run takes, though it is as plain as they are."""
        self._applier.apply(proposal.kind, proposal.body)
        return 1

    def _answer_run(self, mine: Sequence[Proposal], results: Sequence[PutResult | TxnResult]) -> None:
        """These are the results of the next requests, which are applied."""
        start = self.done
        self.done += len(results)
        for proposal, result in zip(mine[start : self.done], results, strict=True):
            try:
                proposal[3](result, None)
            except Exception:
                log.exception(_UNANSWERED)

    def _go_on(self, large: Generator[None, None, Any], late: Late) -> bool:
        """A large delete until it is late; True when it has ended."""
        while True:
            try:
                next(large)
            except StopIteration as end:
                self._ended(end.value)
                return True
            self.work += SLICE_KEYS
            if late():
                return False

    def _ended(self, result: Any) -> None:
        self._large = None
        if self._mine is not None:
            _answer(self._mine[self.done].done, result)
        self.done += 1


def _answer(done: Callable[[Any, EtcdError | None], None], result: Any) -> None:
    try:
        if isinstance(result, EtcdError):
            done(None, result)
        else:
            done(result, None)
    except Exception:
        log.exception(_UNANSWERED)
