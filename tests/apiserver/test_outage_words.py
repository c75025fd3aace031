"""Of what a failing store means: only what was certainly not done asks to be done again."""

from __future__ import annotations

import pytest

from control.apiserver.outage import status_of
from kvstore.client import MaybeApplied, Unreachable


def test_what_may_have_been_done_does_not_ask_to_be_repeated() -> None:
    unknown = status_of(MaybeApplied("no answer in time"))
    assert (unknown.code, unknown.retry_after) == (504, 0)


@pytest.mark.parametrize("problem", [Unreachable({"m1": "refused"})])
def test_what_was_not_done_does(problem: Unreachable) -> None:
    refused = status_of(problem)
    assert (refused.code, refused.retry_after) == (503, 1)
