"""Fair queues by value and by random runs; then the asynchronous shell."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter

import pytest

from control.api.status import StatusError
from control.apiserver.request import RequestInfo, User
from control.apiserver.security.fair_queue import FairQueue, Flow
from control.apiserver.security.limits import RequestLimits

GREEDY, MODEST, NODE = Flow("greedy"), Flow("modest"), Flow("system:node:n1", system=True)


def filled(seats: int, count: int) -> tuple[FairQueue[int], int]:
    """A queue in which one flow asked for `count` seats; (it, how many it got)."""
    queue: FairQueue[int] = FairQueue(seats)
    return queue, sum(queue.ask(GREEDY, number) is True for number in range(count))


def test_one_flow_never_holds_all_seats() -> None:
    queue, got = filled(10, 50)
    assert got == 6
    assert queue.waiting == 44
    assert [queue.ask(MODEST, number) for number in range(3)] == [True, True, False]
    assert queue.ask(NODE, 9) is True


def test_seats_go_round_the_flows() -> None:
    queue, got = filled(5, 50)
    assert got == 3
    assert queue.ask(MODEST, 100) is True
    assert queue.ask(NODE, 99) is True  # the system's share
    assert queue.ask(MODEST, 101) is False
    granted = [number for _ in range(4) for number in queue.release(GREEDY)]
    assert granted.index(101) <= 1


def test_ordinary_users_leave_room_for_the_system() -> None:
    queue: FairQueue[str] = FairQueue(10)
    running = sum(queue.ask(Flow(f"user{number}"), "x") is True for number in range(50))
    assert running == 8
    assert queue.ask(NODE, "node") is True


def test_a_full_line_refuses_its_own_flow_only() -> None:
    queue: FairQueue[int] = FairQueue(1, queue_length=2)
    assert [queue.ask(GREEDY, number) for number in range(4)] == [True, False, False, None]
    assert queue.ask(MODEST, 9) is False
    assert queue.ask(MODEST, 10) is False


def test_all_lines_together_are_bounded() -> None:
    queue: FairQueue[int] = FairQueue(1, queue_length=10, total=15)
    answers = [queue.ask(Flow(str(number % 5)), number) for number in range(40)]
    assert answers.count(False) == 15
    assert answers.count(None) == 24


def test_a_waiter_may_give_up() -> None:
    queue, _ = filled(1, 3)
    assert queue.cancel(GREEDY, 1) is True
    assert queue.cancel(GREEDY, 1) is False
    assert queue.release(GREEDY) == [2]
    assert queue.release(GREEDY) == []
    assert (queue.running, queue.waiting) == (0, 0)


def test_random_runs_lose_nobody(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(30):
        queue: FairQueue[int] = FairQueue(chance.randint(1, 8), chance.randint(1, 20), chance.randint(1, 60))
        flows = [Flow(str(number), chance.random() < 0.3) for number in range(5)]
        running: list[Flow] = []
        waiting: dict[int, Flow] = {}
        for number in range(400):
            if chance.random() < 0.6:
                flow = chance.choice(flows)
                answer = queue.ask(flow, number)
                running += [flow] if answer else []
                waiting |= {number: flow} if answer is False else {}
            elif running:
                for granted in queue.release(running.pop(chance.randrange(len(running)))):
                    running.append(waiting.pop(granted))
            elif waiting:
                raise AssertionError("somebody waits while nobody runs")
            if waiting and chance.random() < 0.1:
                gone = chance.choice(list(waiting))
                assert queue.cancel(waiting.pop(gone), gone)
            assert (queue.running, queue.waiting) == (len(running), len(waiting))
        while running:
            for granted in queue.release(running.pop()):
                running.append(waiting.pop(granted))
        assert not waiting


# ---- the shell ----

GREEDY_USER, MODEST_USER = User("greedy"), User("modest")
GET, CREATE = RequestInfo("get", "", resource="pods"), RequestInfo("create", "", resource="pods")


async def work(limits: RequestLimits, user: User, info: RequestInfo, done: Counter[str]) -> None:
    async with limits.admit(user, info):
        await asyncio.sleep(0)
    done[user.name] += 1


def test_a_flood_does_not_starve_the_others() -> None:
    """While one user has a hundred requests under way all the time, another's run beside every few of them."""

    async def run() -> list[int]:
        limits = RequestLimits(reads=4, writes=1)
        done: Counter[str] = Counter()
        stop = asyncio.Event()

        async def flood() -> None:
            while not stop.is_set():
                await work(limits, GREEDY_USER, GET, done)

        flooders = [asyncio.create_task(flood()) for _ in range(100)]
        await asyncio.sleep(0.01)
        waited = []
        for _ in range(20):
            before = done["greedy"]
            await work(limits, MODEST_USER, GET, done)
            waited.append(done["greedy"] - before)
        stop.set()
        await asyncio.gather(*flooders)
        assert limits.waiting == limits.running == 0
        return waited

    assert max(asyncio.run(run())) <= 12


def test_slow_writes_do_not_keep_reads_out() -> None:
    async def run() -> None:
        limits = RequestLimits(reads=1, writes=1)
        async with limits.admit(GREEDY_USER, CREATE), limits.admit(GREEDY_USER, GET):
            pass

    asyncio.run(run())


def test_who_waits_too_long_is_told_to_come_back() -> None:
    async def run() -> None:
        limits = RequestLimits(reads=1, writes=1, patience=0.01)
        async with limits.admit(GREEDY_USER, GET):
            with pytest.raises(StatusError) as refused:
                async with limits.admit(MODEST_USER, GET):
                    pass
            assert (refused.value.code, refused.value.retry_after) == (429, 1)
        async with limits.admit(MODEST_USER, GET):
            pass
        assert limits.running == limits.waiting == 0

    asyncio.run(run())


def test_masters_and_health_checks_wait_for_nobody() -> None:
    async def run() -> None:
        limits = RequestLimits(reads=1, writes=1, patience=0)
        healthz = RequestInfo("get", "/healthz")
        async with limits.admit(GREEDY_USER, GET):
            async with limits.admit(User("root", groups=("system:masters",)), GET):
                pass
            async with limits.admit(GREEDY_USER, healthz):
                pass

    asyncio.run(run())


def test_watches_hold_no_seat_and_are_counted_by_user() -> None:
    async def run() -> None:
        limits = RequestLimits(reads=1, writes=1, long_running_per_user=3)
        watch = RequestInfo("watch", "", resource="pods")
        opened = [limits.admit(GREEDY_USER, watch) for _ in range(3)]
        for context in opened:
            await context.__aenter__()
        with pytest.raises(StatusError, match="3 watches"):
            async with limits.admit(GREEDY_USER, watch):
                pass
        async with limits.admit(MODEST_USER, watch), limits.admit(GREEDY_USER, GET):
            pass
        for context in opened:
            await context.__aexit__(None, None, None)
        async with limits.admit(GREEDY_USER, watch):
            pass

    asyncio.run(run())


def test_cancelled_waiters_leave_their_seats(seed: int) -> None:
    async def run() -> None:
        chance = random.Random(seed)
        limits = RequestLimits(reads=2, writes=1)
        done: Counter[str] = Counter()
        users = itertools.cycle([User(str(number)) for number in range(7)])
        tasks = [asyncio.create_task(work(limits, next(users), GET, done)) for _ in range(300)]
        for task in chance.sample(tasks, 150):
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limits.running == limits.waiting == 0
        async with limits.admit(MODEST_USER, GET):
            pass

    asyncio.run(run())
