"""A program behind the shim: what it said last is heard, however late we listen, and however slow others are."""

from __future__ import annotations

import os
from collections.abc import Callable

from node_agent.runtime.process.shim.poller import Poller
from node_agent.runtime.process.shim.program import Program


class Idle(Poller):
    """Whose timers run when the test says so, and which never reads: its process gets no turn."""

    def __init__(self) -> None:
        self.timers: list[Callable[[], None]] = []

    def on_readable(self, descriptor: int, act: Callable[[], None] | None) -> None: ...

    def on_writable(self, descriptor: int, act: Callable[[], None] | None) -> None: ...

    def forget(self, descriptor: int) -> None: ...

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        self.timers.append(act)


def ended_program(poller: Idle, said: bytes) -> tuple[Program, list[object]]:
    """One that has said that and ended, and what is heard of it."""
    program, heard = Program(poller, terminal=False, stdin=False), list[object]()
    program.on_output = lambda stream, data: heard.append((stream, data))
    program.on_end = heard.append

    def child(streams: tuple[int, int, int]) -> None:
        os.write(streams[1], said)
        os._exit(3)

    program.start(child)
    program.watch()
    return program, heard


def test_last_words_are_heard_though_time_is_over() -> None:
    poller = Idle()
    program, heard = ended_program(poller, b"x" * 60_000)
    program.reaped(os.waitpid(program.pid, 0)[1])
    assert heard == []
    (over,) = poller.timers
    over()
    assert heard == [("stdout", b"x" * 60_000), 3]


def test_who_is_slow_hears_them_too() -> None:
    poller = Idle()
    program, heard = ended_program(poller, b"last words")
    program.pause(True)
    program.reaped(os.waitpid(program.pid, 0)[1])
    poller.timers.pop()()
    assert heard == [], "it waits for who does not read"
    program.pause(False)
    poller.timers.pop()()
    assert heard == [("stdout", b"last words"), 3]
