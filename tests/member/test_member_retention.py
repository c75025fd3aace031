"""What happens to a member whose log refuses to be cut."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from kvstore.member.apply.retention import Retention
from kvstore.raft.types import SnapshotMeta
from kvstore.storage.errors import NoSpace, StorageError, StorageFailed


class FullOrBroken:
    """A log that is to be cut, and refuses."""

    size = 0

    def __init__(self, problem: StorageError) -> None:
        self.problem = problem

    def first_index(self) -> int:
        return 1

    def set_snapshot(self, position: SnapshotMeta) -> None:
        raise self.problem


@pytest.mark.parametrize(("problem", "told"), [(StorageFailed("the disk refused"), True), (NoSpace("full"), False)])
def test_a_log_that_cannot_be_cut_is_told_to_the_member_unless_it_is_only_full(
    problem: StorageError, told: bool
) -> None:
    """A commit of the backend may end after the log's disk has failed: nobody else would hear of it."""
    failures: list[StorageError] = []
    state = SimpleNamespace(saved_position=SnapshotMeta(10, 1))
    retention = Retention(cast(Any, FullOrBroken(problem)), cast(Any, state), 5, failures.append)
    retention.durable(10)
    retention.give_back()
    assert failures == ([problem, problem] if told else [])
