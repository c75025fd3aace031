"""How long `fluyt up` waits: as long as things come, and without keeping the server from its work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from control.up.cluster import _agents_since
from control.up.ready import come, is_ready, pressures
from control.up.rows import Row


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


def test_a_node_that_was_ready_before_it_was_stopped_is_not_ready_yet() -> None:
    rows = [Row("m1-store", ("store",)), Row("n1-agent", ("agent",), stage=2)]
    since = _agents_since(rows, "2026-01-01T10:00:05Z")
    said = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T10:00:04Z"}
    node = {"status": {"conditions": [{"type": "DiskPressure", "status": "True"}, said]}}
    assert not is_ready(node, since("n1")), "its agent is started again, and has not said so yet"
    assert is_ready(node, since("n2")), "its agent runs"
    said["lastHeartbeatTime"] = "2026-01-01T10:00:05Z"
    assert is_ready(node, since("n1"))
    assert not is_ready({"status": {"conditions": [{**said, "status": "False"}]}}, "")
    assert not is_ready({}, "")
    of_simulated = _agents_since([Row("sim-agent", ("agent",), stage=2)], "2026-01-01T10:00:06Z")
    assert not is_ready(node, of_simulated("sim-17"))


def test_what_keeps_new_pods_from_a_node_is_told() -> None:
    ready, short = {"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "True"}
    assert pressures({"status": {"conditions": [ready, short, {"type": "PIDPressure", "status": "False"}]}}) == [
        "DiskPressure"
    ]
    assert pressures({}) == []
