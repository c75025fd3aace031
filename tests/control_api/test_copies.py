"""Copies of JSON values."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from control.api.copying import copied

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
JSON = st.recursive(SCALARS, lambda below: st.lists(below) | st.dictionaries(st.text(), below), max_leaves=30)


def _parts(value: Any) -> list[Any]:
    """The dicts and lists in a value."""
    if not isinstance(value, dict | list):
        return []
    below = value.values() if isinstance(value, dict) else value
    return [value, *(part for each in below for part in _parts(each))]


@given(JSON)
def test_a_copy_is_equal_of_the_same_types_and_order_and_shares_no_part_that_can_change(value: Any) -> None:
    copy = copied(value)
    assert repr(copy) == repr(value)
    assert not {id(part) for part in _parts(copy)} & {id(part) for part in _parts(value)}


def test_texts_are_shared_so_that_copies_cost_little_memory() -> None:
    text = "a text that nobody interned " * 3
    assert copied({text: [text]})[text][0] is text


def test_a_part_that_stands_twice_is_two_parts_of_the_copy() -> None:
    shared: dict[str, Any] = {"cpu": "1"}
    copy = copied({"limits": shared, "requests": shared})
    copy["limits"]["cpu"] = "2"
    assert copy["requests"] == {"cpu": "1"} == shared
