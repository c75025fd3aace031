"""What an ordinary run leaves to scripts/soak, and in which order it takes its files.

A test that is made once for each of several stores or programs says little more the second time where its subject is
ours: SECOND_OPINIONS names such repetitions. Files go to the workers in turn, so the longest come first; a file that
begins last ends last.
"""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

import pytest


class SecondOpinion(NamedTuple):
    """Below `folder`, tests for the parameter `value` are scripts/soak's; not those in `files` or with such `names`."""

    folder: str
    value: str
    files: Container[str] = ()
    names: Container[str] = ()


SECOND_OPINIONS = (
    # The command line has one client: a comparison with etcdctl on etcd itself stays.
    SecondOpinion("cli", "etcd-3.5", files={"test_cli_against_etcdctl.py", "test_cli_auth.py"}),
    # What other people's clients do at etcd is known once it is known.
    SecondOpinion("clients_elsewhere", "etcd-3.5"),
    # The older kubectl reads in ways of its own (tables, discovery, explain); what it writes are the same requests.
    SecondOpinion(
        "e2e_kubectl",
        "1.20",
        files={"test_kubectl_reading.py"},
        names={"test_apply_twice_changes_nothing", "test_edit", "test_rollout", "test_three_kinds_of_patches"},
    ),
    SecondOpinion("backup", "etcdctl-3.5"),
)

# Seconds that files took, one at a time; what is not here is short.
LONGEST: dict[str, int] = {}


def is_second_opinion(item: pytest.Item) -> bool:
    """Whether the test repeats, for another program, what the run says already."""
    values = getattr(item, "callspec", None) and item.callspec.params.values()  # type: ignore[attr-defined]
    return bool(values) and any(
        item.path.parent.name == each.folder
        and each.value in values
        and item.path.name not in each.files
        and getattr(item, "originalname", "") not in each.names
        for each in SECOND_OPINIONS
    )


def longest_first(items: list[pytest.Item]) -> None:
    """Put the files that take longest to the front; tests of a file stay together and in their order."""
    items.sort(key=lambda item: -LONGEST.get(f"{item.path.parent.name}/{item.path.name}", 0))
