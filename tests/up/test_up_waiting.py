"""How long `fluyt up` waits: as long as things come, and without keeping the server from its work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from control.up.ready import come


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def wait(time: Time, answers: Iterator[int], takes: float = 0.0) -> bool:
    """With a patience of 60 seconds."""

    def missing() -> int:
        time.now += takes
        return next(answers)

    return come(missing, lambda: None, 60.0, lambda: time.now, time.sleep)


def test_a_thousand_nodes_may_take_long_as_long_as_they_come() -> None:
    time = Time()
    assert wait(time, iter(range(1000, -1, -1)), takes=0.5)
    assert time.now > 600


def test_patience_ends_when_nothing_comes() -> None:
    time = Time()

    def stuck() -> Iterator[int]:
        yield from (3, 2)
        while True:
            yield 2 + len(time.slept) % 2  # up and down is no progress

    assert not wait(time, stuck())
    assert 60 < time.now < 61


def test_a_question_that_takes_long_is_asked_less_often() -> None:
    time = Time()
    assert wait(time, iter((2, 1, 0)), takes=0.25)
    assert time.slept == [1.0, 1.0]
    time = Time()
    assert wait(time, iter((1, 0)))
    assert time.slept == [0.02]


def test_what_ends_a_process_ends_the_waiting() -> None:
    def check() -> None:
        raise RuntimeError("it ended")

    with pytest.raises(RuntimeError, match="it ended"):
        come(lambda: 1, check, 60.0, lambda: 0.0, lambda _: None)
