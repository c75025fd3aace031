"""What clients keep of objects, and what the collector does about them."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from control.client.collector import settle
from control.client.objects import slim


def test_the_bookkeeping_of_managers_is_not_kept() -> None:
    obj = {"metadata": {"name": "a", "managedFields": [{"manager": "x"}]}, "spec": {"managedFields": 1}}
    assert slim(obj) == {"metadata": {"name": "a"}, "spec": {"managedFields": 1}}
    assert slim({"metadata": None}) == {"metadata": None}
    assert slim({}) == {}


@pytest.fixture
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_objects_that_come_by_the_thousand_do_not_have_all_others_looked_at(collector: None) -> None:
    """As many as ten thousand pods have: the youngest are looked at now and then, never everything."""
    settle()
    looks = [generation["collections"] for generation in gc.get_stats()]
    kept = [{"metadata": {"labels": {"n": [number]}}} for number in range(30_000)]
    young, middle, old = (
        generation["collections"] - before for generation, before in zip(gc.get_stats(), looks, strict=True)
    )
    assert len(kept) == 30_000
    assert (old, middle) == (0, 0)
    assert 0 < young < 20
    assert gc.get_freeze_count() > 1000
