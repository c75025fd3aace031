"""Is there an order of a history's operations that respects real time and that the model would answer in the same way?

Wing and Gong's search (1993) with Lowe's memory of configurations (2017): take, one after another, an operation that
began before every operation not yet taken had ended, whose answer the model gives in the present state; go back when
there is none; never visit the same (operations taken, state) twice. Operations of unknown outcome may be taken, at any
time after their start, or left out.

The search is exponential at worst. With unique values, parts of few keys and some thousand operations it is quick; it
gives up at its time limit and then says *unknown*, which is not a pass. It is pure: the clock comes in as an argument.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from linearizability.model import Model, Outcome, State, outcome
from linearizability.operations import Operation
from linearizability.partition import partition

# Steps between two looks at the clock.
_STRIDE = 4096


class Verdict(enum.Enum):
    """What a check found."""

    LINEARIZABLE = "linearizable"
    ILLEGAL = "illegal"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Step:
    """One operation in a found order, and the state after it."""

    operation: Operation
    state: State


@dataclass(frozen=True, slots=True)
class Part:
    """The verdict on one part. order: a whole linearization, or the longest beginning of one that was found.

    stuck: the operation that ended first among those that could not be taken after that beginning.
    """

    keys: tuple[bytes, ...]
    operations: tuple[Operation, ...]
    verdict: Verdict
    order: tuple[Step, ...]
    stuck: Operation | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict on a whole history: illegal if any part is, else unknown if any part is."""

    parts: tuple[Part, ...]

    @property
    def verdict(self) -> Verdict:
        """Of all parts together."""
        found = {part.verdict for part in self.parts}
        return next((v for v in (Verdict.ILLEGAL, Verdict.UNKNOWN) if v in found), Verdict.LINEARIZABLE)

    @property
    def bad(self) -> list[Part]:
        """The parts that are not linearizable, as far as is known."""
        return [part for part in self.parts if part.verdict is not Verdict.LINEARIZABLE]


def check(history: Sequence[Operation], clock: Callable[[], float], seconds: float = math.inf) -> Result:
    """The verdict on a history; `seconds` by `clock` (which returns seconds) is the limit for all of it."""
    deadline = clock() + seconds
    return Result(tuple(check_part(keys, ops, clock, deadline) for keys, ops in partition(history)))


def check_part(
    keys: tuple[bytes, ...], operations: Sequence[Operation], clock: Callable[[], float], deadline: float
) -> Part:
    """The verdict on one part, reached before `clock()` passes `deadline`."""
    search = _Search(Model(keys), operations)
    for steps, finished in enumerate(search.run()):
        if finished:
            break
        if steps % _STRIDE == 0 and clock() > deadline:
            return Part(keys, tuple(operations), Verdict.UNKNOWN, search.best(), search.stuck())
    verdict = Verdict.LINEARIZABLE if search.found else Verdict.ILLEGAL
    return Part(keys, tuple(operations), verdict, search.best(), None if search.found else search.stuck())


# A configuration: how many of the finished operations (in the order of their starts) are taken without a gap, which
# others after those, which of the pending ones, and the state. Together they are all that the future depends on.
_Configuration = tuple[int, int, int, State]


@dataclass(frozen=True, slots=True)
class _Trail:
    """The last step on the way to a configuration, and the way before it."""

    step: Step
    before: _Trail | None


@dataclass(slots=True)
class _Frame:
    """One configuration, how it was reached, and what has not been tried from here."""

    configuration: _Configuration
    trail: _Trail | None
    choices: Iterator[tuple[Operation, _Configuration]]


@dataclass(slots=True)
class _Search:
    """Depth-first, on a stack of its own."""

    model: Model
    operations: Sequence[Operation]
    found: bool = False
    _finished: list[Operation] = field(default_factory=list)
    _pending: list[Operation] = field(default_factory=list)
    _outcomes: list[Outcome | None] = field(default_factory=list)
    _seen: set[_Configuration] = field(default_factory=set)
    _stack: list[_Frame] = field(default_factory=list)
    _best: _Frame | None = None
    _depth: int = -1

    def __post_init__(self) -> None:
        by_start = sorted(self.operations, key=lambda o: o.start)
        self._finished = [o for o in by_start if not o.pending]
        self._outcomes = [outcome(o.response) if o.response else None for o in self._finished]
        # A read of unknown outcome says nothing.
        self._pending = [o for o in by_start if o.pending and o.request.writes]

    def run(self) -> Iterator[bool]:
        """Search; yields False after each step and True at the end."""
        self._push((0, 0, 0, self.model.initial()), None)
        while self._stack and not self.found:
            following = next(self._stack[-1].choices, None)
            if following is None:
                self._stack.pop()
            else:
                operation, configuration = following
                if configuration not in self._seen:
                    self._push(configuration, operation)
            yield False
        yield True

    def _push(self, configuration: _Configuration, taken: Operation | None) -> None:
        low, window, _, state = configuration
        trail = _Trail(Step(taken, state), self._stack[-1].trail) if taken is not None else None
        frame = _Frame(configuration, trail, self._choices(configuration))
        self._seen.add(configuration)
        self._stack.append(frame)
        depth = low + window.bit_count()
        if depth > self._depth:
            self._depth, self._best = depth, frame
        self.found = low == len(self._finished)

    def _choices(self, configuration: _Configuration) -> Iterator[tuple[Operation, _Configuration]]:
        """What may be taken next: what ends soonest first, what may never have happened last."""
        low, window, unknown, state = configuration
        finished = self._finished
        open_now, horizon = self._open(low, window)
        steps = [(place, *self.model.step(state, finished[place].request)) for place in open_now]
        fitting = [(place, after) for place, after, said in steps if self._outcomes[place] in (said, None)]
        # What changes nothing and is answered right may be taken at once: no later order needs it untaken.
        idle = [place for place, after in fitting if after == state and self._outcomes[place] is not None]
        for place, following in [(idle[0], state)] if idle else fitting:
            taken = window | (1 << (place - low))
            shift = _trailing_ones(taken)
            yield finished[place], (low + shift, taken >> shift, unknown, following)
        if idle:
            return
        for number, operation in enumerate(self._pending):
            if operation.start > horizon:
                break
            if not unknown >> number & 1:
                following, _ = self.model.step(state, operation.request)
                if following != state:
                    yield operation, (low, window, unknown | 1 << number, following)

    def _open(self, low: int, window: int) -> tuple[list[int], float]:
        """Finished operations that no other one precedes, by their ends; and the first of those ends."""
        horizon = math.inf
        found: list[int] = []
        for place in range(low, len(self._finished)):
            operation = self._finished[place]
            if operation.start > horizon:
                break
            if not window >> (place - low) & 1:
                found.append(place)
                horizon = min(horizon, operation.end)
        found = [place for place in found if self._finished[place].start <= horizon]
        return sorted(found, key=lambda place: self._finished[place].end), horizon

    def best(self) -> tuple[Step, ...]:
        """The longest beginning of a linearization so far."""
        steps: list[Step] = []
        trail = self._best.trail if self._best else None
        while trail is not None:
            steps.append(trail.step)
            trail = trail.before
        return tuple(reversed(steps))

    def stuck(self) -> Operation | None:
        """What could not be taken after it, and had to be."""
        if self._best is None:
            return None
        low, window, _, _ = self._best.configuration
        open_now, _ = self._open(low, window)
        return self._finished[open_now[0]] if open_now else None


def _trailing_ones(bits: int) -> int:
    """How many of the lowest bits are set without a gap."""
    return (~bits & (bits + 1)).bit_length() - 1
