"""A closed loop of unary calls: so many clients, each of which asks again when it has its answer.

Invariant: every call that was sent is counted once, as an answer or as an error, even when the user stops the run: no
call is under way when run() returns, so that nothing is written after the keys were deleted. Faults assumed: members
die, change their leader, refuse; a client that met an error goes on after a pause. An error that comes before any
answer and that every call would meet ends the run.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kvstore.cli.bench.cures import hopeless, with_cure
from kvstore.cli.bench.figures import Measured
from kvstore.cli.bench.lines import Line
from kvstore.cli.exits import CommandError
from kvstore.cli.progress import bar
from kvstore.cli.signals import Stop
from kvstore.errors import Code, EtcdError
from kvstore.errors import error as known_error

# After an error, in seconds: a member that is away would else be asked a hundred thousand times a second.
_PAUSE = 0.05
_TICK = 0.1
_OLD_TOKEN = known_error("AUTH_OLD_REVISION").message


@dataclass(frozen=True)
class Extent:
    """When a load ends: after so many calls, or so many seconds (one of them is given). rate: calls a second, 0: any.

    timeout: seconds that one call may take. prefix: of the keys, for what is said of errors.
    """

    total: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    timeout: float = 5.0
    prefix: str = ""


class Work(Protocol):
    """What one client asks."""

    def request(self) -> tuple[str, bytes]:
        """The next call: path and message."""

    def answered(self, message: bytes) -> str:
        """Its answer; an error's text if it is not what it should be, else ''."""


class Load:
    """All clients of one run. stop: the user may end it early."""

    def __init__(self, extent: Extent, measured: Measured, stop: Stop) -> None:
        self.extent = extent
        self.measured = measured
        self._stop = stop
        self._begun = 0
        self._started = 0.0
        self._running = 0
        self._over = asyncio.get_running_loop().create_future()

    async def run(self, title: str, lines: list[Line], make: Callable[[int], Work], clients: int) -> None:
        """From the first call to the last answer. CommandError when no call can work."""
        workers = [Client(self, lines[n % len(lines)], make(n)) for n in range(clients)]
        self._running, self._started = clients, time.perf_counter()
        for worker in workers:
            worker.go_on()
        try:
            await self._watch_over(title, workers)
        finally:
            self._over.cancel()  # no client goes on, should this be cancelled
            self.measured.seconds = time.perf_counter() - self._started
        self._over.result()

    async def _watch_over(self, title: str, workers: Sequence[Client]) -> None:
        with bar(title, unit="calls" if self.extent.total else "seconds") as progress:
            while not self._over.done():
                await asyncio.wait([self._over], timeout=_TICK)
                progress(*self._progress(time.perf_counter()))
                if self._stop.came:
                    for worker in workers:
                        worker.wake()

    def _progress(self, now: float) -> tuple[float, float]:
        if self.extent.total:
            return len(self.measured.latencies) + self.measured.errors.total(), self.extent.total
        return min(now - self._started, self.extent.seconds), self.extent.seconds

    def turn(self) -> float | None:
        """Seconds until the next call may begin, which is counted; None when there is to be none."""
        now = time.perf_counter() - self._started
        due = self._begun / self.extent.rate if self.extent.rate else 0.0
        late = max(now, due) >= (self.extent.seconds or math.inf)
        if late or self._begun >= self.extent.total > 0 or self._stop.came or self._over.done():
            return None
        self._begun += 1
        return max(due - now, 0.0)

    def ended(self, problem: Exception | None = None) -> None:
        """One client has done its part, or found what ends the run for all."""
        self._running -= 1
        if self._over.done():
            return
        if problem is not None:
            self._over.set_exception(problem)
        elif not self._running:
            self._over.set_result(None)

    def give_up(self, code: int, text: str) -> CommandError | None:
        """What ends the run if this error makes it pointless."""
        if self.measured.latencies or not hopeless(code, text):
            return None
        return CommandError(with_cure(text, self.extent.prefix))


class Client:
    """One client; it is the listener of its one call."""

    def __init__(self, load: Load, line: Line, work: Work) -> None:
        self._load = load
        self._line = line
        self._work = work
        self._began = 0.0
        self._answer: bytes | None = None
        self._loop = asyncio.get_running_loop()
        # Its next call's time, or the end of the pause after an error.
        self._timer: asyncio.TimerHandle | None = None

    def go_on(self) -> None:
        """The next call, at its time, or the end."""
        self._timer = None
        wait = self._load.turn()
        if wait is None:
            self._load.ended()
        elif wait:
            self._timer = self._loop.call_later(wait, self._ask)
        else:
            self._ask()

    def wake(self) -> None:
        """The run was stopped: do not wait any longer for the next turn."""
        if self._timer is not None:
            self._timer.cancel()
            self.go_on()

    def _ask(self) -> None:
        self._timer = self._answer = None
        path, message = self._work.request()
        self._began = time.perf_counter()
        try:
            call = self._line.open(path, self, self._load.extent.timeout)
        except EtcdError as problem:
            self._failed(problem.code, problem.message)
            return
        call.send(message)
        call.half_close()

    def message(self, data: bytes) -> None:
        """The answer."""
        self._answer = data

    def finished(self, code: int, message: str) -> None:
        """The status."""
        took = time.perf_counter() - self._began
        if code or self._answer is None:
            self._failed(code, message or "an answer without a message")
            return
        try:
            wrong = self._work.answered(self._answer)
        except Exception as problem:
            self._load.ended(problem)
            return
        if wrong:
            self._failed(Code.OK, wrong)
            return
        self._load.measured.latencies.append(took)
        self.go_on()

    def _failed(self, code: int, text: str) -> None:
        self._load.measured.errors[text] += 1
        if (code == Code.UNAUTHENTICATED or text == _OLD_TOKEN) and self._line.log_in_again():
            code = Code.OK  # the next call has a new token
        pointless = self._load.give_up(code, text)
        if pointless is not None:
            self._load.ended(pointless)
            return
        self._timer = self._loop.call_later(_PAUSE, self.go_on)
