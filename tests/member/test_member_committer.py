"""When the backend is committed: by requests, by bytes, sooner if it took long; and when no more is to be applied."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from kvstore.member.disk import committer as module
from kvstore.member.disk.committer import COMMIT_BYTES, COMMIT_REQUESTS, CROWDED_BYTES, FEWEST_REQUESTS, Committer


class Thread:
    """A sync that ends when the test says so."""

    def __init__(self, loop: object, name: str, work: object, done: Callable[[BaseException | None], None]) -> None:
        self.busy = False
        self.seconds = 0.0
        self.done = done

    def start(self) -> None:
        self.busy = True

    def end(self) -> None:
        self.busy = False
        self.done(None)

    def stop(self) -> None:
        """Nothing runs."""


class World:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.commits = 0
        self.cpu = self.cost = 0.0
        self.committer = Committer(
            loop,
            self,
            prepare=lambda: 1,
            durable=lambda index: None,
            failed=_raise,  # type: ignore[arg-type]
        )
        self.thread: Any = self.committer._thread

    def commit(self) -> None:
        self.commits += 1
        self.cpu += self.cost

    def sync(self) -> None:
        """The thread's."""


def _raise(problem: BaseException) -> None:
    raise problem


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(module, "SyncThread", Thread)
    made = World(SimpleNamespace(call_later=lambda seconds, work: SimpleNamespace(cancel=lambda: None)))  # type: ignore[arg-type]
    monkeypatch.setattr(module, "time", SimpleNamespace(thread_time=lambda: made.cpu))
    return made


def test_few_large_requests_are_committed_too(world: World) -> None:
    world.committer.applied(1, COMMIT_BYTES - 1)
    assert world.commits == 0
    world.committer.applied(1, 1)
    assert world.commits == 1


def test_nothing_more_is_applied_while_too_much_waits_for_the_disk(world: World) -> None:
    world.committer.applied(1, COMMIT_BYTES)
    world.committer.applied(3, CROWDED_BYTES - 1)
    assert (world.commits, world.committer.crowded) == (1, False)
    world.committer.applied(1, 1)
    assert world.committer.crowded
    world.thread.end()
    assert (world.commits, world.committer.crowded) == (2, False)


def test_a_commit_that_took_long_is_followed_by_smaller_ones(world: World) -> None:
    sizes = []
    world.cost = 0.05
    for _ in range(10):
        before = world.commits
        size = 0
        while world.commits == before:
            size += 1
            world.committer.applied(1)
        sizes.append(size)
        world.thread.end()
    assert sizes[0] == COMMIT_REQUESTS
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == FEWEST_REQUESTS


def test_commits_are_held_until_the_last_who_held_them_lets_go(world: World) -> None:
    """A defragmentation that is given up while a snapshot takes the backend's place."""
    world.committer.hold(True)
    world.committer.hold(True)
    world.committer.hold(False)
    world.committer.applied(COMMIT_REQUESTS)
    assert world.commits == 0
    world.committer.hold(False)
    assert world.commits == 1


def test_who_asked_while_commits_were_held_is_answered_without_another_request(world: World) -> None:
    told: list[bool] = []
    world.committer.hold(True)
    world.committer.flush(lambda: told.append(True))
    world.committer.hold(False)
    assert world.commits == 1
    world.thread.end()
    assert told == [True]


def test_letting_go_commits_nothing_if_nothing_waits(world: World) -> None:
    world.committer.hold(True)
    world.committer.hold(False)
    assert world.commits == 0


def test_letting_go_after_the_stop_commits_nothing(world: World) -> None:
    """A defragmentation that the stop cancels lets go a turn later, when the backend is closed or about to be."""
    world.committer.hold(True)
    world.committer.flush(lambda: None)
    world.committer.stop()
    world.committer.hold(False)
    world.committer.applied(COMMIT_REQUESTS)
    assert world.commits == 0
