"""Simulated time: one heap of events for a whole cluster, and an asyncio loop for each life of each member.

A *life* is one run of one member's process. Everything it schedules dies with it. A loop does not know that its clock
is not a real one: the member's own code, its tasks and futures included, runs on it unchanged, so the order of
everything is decided by the heap, and the heap by the seed.

A callback that blocked (an fsync on the loop) keeps its loop busy for that long. A paused life sees nothing until it
is resumed, and then everything at once, as after SIGCONT.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections import deque
from collections.abc import Callable, Coroutine
from heapq import heappop, heappush
from typing import Any

# Between two turns of one loop: seconds, small enough to count for nothing, large enough for others to come between.
TURN_SECONDS = 20e-6


class PowerCut(BaseException):
    """The machine, or the process, ends in the middle of this call."""


class Handle:
    """What call_soon and call_later give."""

    __slots__ = ("args", "callback", "is_cancelled", "moment")

    def __init__(self, moment: float, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.moment = moment
        self.callback = callback
        self.args = args
        self.is_cancelled = False

    def cancel(self) -> None:
        """It will not run."""
        self.is_cancelled = True

    def cancelled(self) -> bool:
        """As asyncio.Handle's."""
        return self.is_cancelled

    def when(self) -> float:
        """As asyncio.TimerHandle's."""
        return self.moment


class World:
    """The clock, the heap, the dice and the trace of one run."""

    def __init__(self, seed: int, trace_lines: int = 60) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.now = 0.0
        self.wall_offset = 1_700_000_000.0
        self.events = 0
        self.trace: deque[str] = deque(maxlen=trace_lines)
        self.life: Life | None = None  # whose code runs at the moment
        self.on_death: Callable[[Life], None] = lambda life: None
        self._heap: list[Event] = []
        # A loop's next turn, which mostly is the very next event, waits here and not in the heap.
        self._turn: Event | None = None
        self._number = 0
        self._lines = hashlib.blake2b(digest_size=8)

    def at(self, moment: float, life: Life | None, work: Callable[..., Any], *args: Any) -> None:
        """Run work(*args) at that moment, if the life has not ended by then."""
        self._number += 1
        heappush(self._heap, (moment, self._number, life, work, args))

    def soon(self, life: Life, turn: Callable[[], None]) -> None:
        """A loop's next turn."""
        self._number += 1
        event = (self.now + TURN_SECONDS, self._number, life, turn, ())
        if self._turn is None:
            self._turn = event
        else:
            heappush(self._heap, event)

    @property
    def digest(self) -> int:
        """Of all lines of the trace: it tells two runs apart."""
        return int.from_bytes(self._lines.digest(), "big")

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        line = f"{self.now:12.4f} {text}"
        self.trace.append(line)
        self._lines.update(line.encode())

    def _next(self, until: float) -> Event | None:
        """The next event up to that moment."""
        turn, heap = self._turn, self._heap
        if turn is not None and (not heap or turn < heap[0]):
            if turn[0] > until:
                return None
            self._turn = None
            return turn
        return heappop(heap) if heap and heap[0][0] <= until else None

    def run(self, until: float, stop: Callable[[], bool] | None = None) -> bool:
        """Run to that moment, or until stop() holds (asked after every event); whether it held."""
        while (event := self._next(until)) is not None:
            moment, _, life, work, args = event
            if life is not None:
                if life.dead:
                    continue
                if life.busy_until > moment:
                    self.at(life.busy_until, life, work, *args)
                    continue
            if moment > self.now:
                self.now = moment
            self.events += 1
            if life is None:
                self._be(None)
                work(*args)
            else:
                self._run_in(life, work, args)
            if stop is not None and stop():
                self._be(None)
                return True
        self._be(None)
        self.now = max(self.now, until)
        return False

    def _be(self, life: Life | None) -> None:
        """From now on it is the code of this life that runs."""
        if life is not self.life:
            self.life = life
            asyncio._set_running_loop(life.loop if life is not None else None)

    def enter(self, life: Life, work: Callable[..., Any], *args: Any) -> None:
        """Run work in the life now: what another process, a client or the operator does to it."""
        if not life.dead:
            outer = self.life
            try:
                self._run_in(life, work, args)
            finally:
                self._be(outer)

    def _run_in(self, life: Life, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Run work in the life, which is still the current one afterwards."""
        if life is not self.life:
            self._be(life)
        life.spent = 0.0
        try:
            work(*args)
        except PowerCut:
            life.cut = True
        if life.cut:
            self._be(None)
            life.cut = False
            self.on_death(life)
        elif life.spent:
            life.busy_until = max(life.busy_until, self.now + life.spent)


# When, its number, in whose life, what, with what.
Event = tuple[float, int, "Life | None", Callable[..., Any], tuple[Any, ...]]


class Life:
    """One run of one member's process."""

    __slots__ = ("busy_until", "cut", "dead", "loop", "member", "offset", "spent", "tasks", "world")

    def __init__(self, world: World, member: int, offset: float) -> None:
        """offset: what this life's monotonic clock is ahead of the world's, in seconds."""
        self.world = world
        self.member = member
        self.offset = offset
        self.dead = False
        self.cut = False  # the machine ended in the middle of what runs now
        self.busy_until = 0.0
        self.spent = 0.0
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.loop = SimLoop(self)

    def end(self) -> None:
        """Nothing of this life runs any more; coroutines end without a trace."""
        self.dead = True
        for task in self.tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            # It may be the one that is running, and its clean-up may touch the dead disk.
            with contextlib.suppress(PowerCut, RuntimeError, ValueError):
                task.get_coro().close()  # type: ignore[union-attr]
        self.tasks.clear()


class SimLoop(asyncio.AbstractEventLoop):
    """The event loop of one life."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._world = life.world
        self._soon: list[Handle] = []
        self._turn_due = False
        self.problems: list[BaseException] = []

    def time(self) -> float:
        """Seconds of the life's monotonic clock."""
        return self._world.now + self._life.offset + self._life.spent

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        """In the next turn."""
        handle = Handle(0.0, callback, args)
        self._soon.append(handle)
        if not self._turn_due:
            self._turn_due = True
            self._world.soon(self._life, self._turn)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        """After `delay` seconds."""
        handle = Handle(self.time() + delay, callback, args)
        world = self._world
        world.at(world.now + delay if delay > 0.0 else world.now, self._life, self._fire, handle)
        return handle

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        """At a moment of time()."""
        return self.call_later(when - self.time(), callback, *args)

    def _turn(self) -> None:
        self._turn_due = False
        soon, self._soon = self._soon, []
        life = self._life
        for handle in soon:
            if not handle.is_cancelled:
                try:
                    handle.callback(*handle.args)
                except PowerCut:
                    raise
                except Exception as problem:
                    self._problem(problem)
            if life.dead or life.cut:
                return

    def _fire(self, handle: Handle) -> None:
        if not handle.is_cancelled:
            try:
                handle.callback(*handle.args)
            except PowerCut:
                raise
            except Exception as problem:
                self._problem(problem)

    def _problem(self, problem: Exception) -> None:
        """asyncio would log it and go on; a member whose callbacks fail is one whose bugs go unseen."""
        if isinstance(problem, AssertionError):
            raise problem
        raise AssertionError(f"a callback of member {self._life.member} raised {problem!r}") from problem

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], *, name: Any = None, context: Any = None) -> Any:  # type: ignore[override]
        """A task of this life."""
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name)
        self._life.tasks[task] = None
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._life.tasks.pop(task, None)
        if task.cancelled():
            return
        problem = task.exception()
        if isinstance(problem, PowerCut):
            raise problem
        if isinstance(problem, AssertionError):
            raise problem
        if problem is not None:
            raise AssertionError(f"a task of member {self._life.member} raised {problem!r}") from problem

    def run_in_executor(self, executor: Any, work: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """A thread: the work happens whole, some time from now."""
        future = self.create_future()
        world = self._world

        def run() -> None:
            try:
                result = work(*args)
            except Exception as problem:
                if not future.done():
                    future.set_exception(problem)
                return
            if not future.done():
                future.set_result(result)

        world.at(world.now + world.random.uniform(0.0001, 0.01), self._life, run)
        return future

    def get_debug(self) -> bool:
        """Futures ask."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What asyncio would have logged."""
        problem = context.get("exception")
        if problem is not None and not self._life.dead and not isinstance(problem, PowerCut):
            raise AssertionError(f"unheard: {context.get('message')}: {problem!r}")

    def is_running(self) -> bool:
        """Between turns too: nothing here waits."""
        return True

    def is_closed(self) -> bool:
        """Never; the life ends instead."""
        return False
