"""Work queues: the deciding part by value, the shell with real time where it must."""

from __future__ import annotations

import asyncio
import random

import pytest

from control.client import QueueClosed, WorkQueue
from control.client.queue_core import QueueCore


def test_a_key_waits_once_and_is_at_one_worker() -> None:
    queue: QueueCore[str] = QueueCore(0.0)
    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert (queue.take(), len(queue)) == ("a", 1)
    queue.add("a")
    queue.add("a")
    assert (queue.take(), queue.take()) == ("b", None)
    queue.done("a")
    assert (queue.take(), queue.take()) == ("a", None)
    queue.done("a")
    queue.done("b")
    assert queue.idle


def test_the_earliest_delay_counts() -> None:
    queue: QueueCore[str] = QueueCore(0.0)
    queue.add_after("a", 10, 0.0)
    queue.add_after("a", 3, 0.0)
    queue.add_after("a", 5, 0.0)
    queue.add_after("b", 4, 0.0)
    assert queue.next_due() == 3
    queue.advance(2.9)
    assert queue.take() is None
    queue.advance(3.0)
    assert (queue.take(), queue.next_due()) == ("a", 4)
    queue.advance(100)
    assert (queue.take(), queue.take(), queue.next_due()) == ("b", None, None)


def test_no_delay_is_at_once() -> None:
    queue: QueueCore[str] = QueueCore(0.0)
    queue.add_after("a", 0, 0.0)
    assert queue.take() == "a"


def test_failures_in_a_row_wait_longer_and_longer() -> None:
    queue: QueueCore[str] = QueueCore(0.0)
    delays = [queue.add_rate_limited("a", now=n * 1e6) for n in range(20)]
    assert delays[:4] == [0.005, 0.01, 0.02, 0.04]
    assert delays[-1] == 1000.0
    assert queue.failures("a") == 20
    queue.forget("a")
    assert queue.add_rate_limited("a", now=1e9) == 0.005


def test_all_keys_share_a_bucket() -> None:
    queue: QueueCore[int] = QueueCore(0.0)
    delays = [queue.add_rate_limited(n, now=0.0) for n in range(102)]
    assert delays[99] == 0.005
    assert delays[100:] == pytest.approx([0.1, 0.2])
    assert queue.add_rate_limited(-1, now=60.0) == 0.005


def test_random_use_loses_nothing_and_repeats_nothing(seed: int) -> None:
    chance, now = random.Random(seed), 0.0
    queue: QueueCore[int] = QueueCore(now)
    owed: set[int] = set()
    at_work: list[int] = []
    for _ in range(3000):
        now += chance.random()
        key = chance.randrange(8)
        match chance.randrange(5):
            case 0:
                queue.add(key)
                owed.add(key)
            case 1:
                queue.add_after(key, chance.random() * 5, now)
                owed.add(key)
            case 2:
                queue.add_rate_limited(key, now)
                owed.add(key)
            case 3 if at_work:
                queue.done(at_work.pop(chance.randrange(len(at_work))))
            case _:
                queue.advance(now)
                taken = queue.take()
                if taken is not None:
                    assert taken not in at_work
                    at_work.append(taken)
                    owed.discard(taken)
    for key in at_work:
        queue.done(key)
    queue.advance(1e9)
    while (taken := queue.take()) is not None:
        queue.done(taken)
        owed.discard(taken)
    assert not owed
    assert queue.idle


def test_workers_share_the_keys() -> None:
    async def run() -> None:
        queue: WorkQueue[str] = WorkQueue()
        worked: list[str] = []
        at_once = set[str]()

        async def work() -> None:
            while True:
                async with queue.next() as key:
                    assert key not in at_once
                    at_once.add(key)
                    await asyncio.sleep(0)
                    worked.append(key)
                    at_once.discard(key)

        workers = [asyncio.create_task(work()) for _ in range(3)]
        for key in "abcabc":
            queue.add(key)
        queue.add_after("late", 0.02)
        queue.add_after("later", 0.03)
        queue.add_rate_limited("limited")
        while len(worked) < 6:
            await asyncio.sleep(0.001)
        assert worked[:3] == ["a", "b", "c"]
        assert worked[3:] == ["limited", "late", "later"]
        while not queue.idle:
            await asyncio.sleep(0.001)
        queue.close()
        ended = await asyncio.gather(*workers, return_exceptions=True)
        assert [type(e) for e in ended] == [QueueClosed] * 3

    asyncio.run(asyncio.wait_for(run(), 10))


def test_a_failing_worker_gives_its_key_back() -> None:
    async def run() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        with pytest.raises(RuntimeError):
            async with queue.next() as key:
                queue.add(key)
                raise RuntimeError
        async with queue.next() as key:
            assert key == "a"

    asyncio.run(asyncio.wait_for(run(), 10))


def test_a_worker_that_is_cancelled_while_it_waits_takes_nothing() -> None:
    async def run() -> None:
        queue: WorkQueue[str] = WorkQueue()

        async def work() -> str:
            async with queue.next() as key:
                return key

        first, second = asyncio.create_task(work()), asyncio.create_task(work())
        await asyncio.sleep(0)
        queue.add("a")
        first.cancel()
        assert await second == "a"

    asyncio.run(asyncio.wait_for(run(), 10))
