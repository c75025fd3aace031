"""Expectations by value: what shows a write, what does not, and how long anybody waits."""

from __future__ import annotations

from typing import Any

import pytest

from control.controllers.values.expectations import TIMEOUT, Expectation, Expectations

Object = dict[str, Any]


def _obj(revision: int, uid: str = "u", name: str = "p", **metadata: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "d", "uid": uid, "resourceVersion": str(revision), **metadata}}


@pytest.fixture
def expected() -> Expectations[str]:
    return Expectations()


def test_a_key_waits_until_the_view_shows_its_write(expected: Expectations[str]) -> None:
    expected.expect("k", "pods", _obj(5), Expectation("u", 5), None, 0.0)
    assert expected.wait("k", 1.0) == TIMEOUT - 1.0
    assert expected.saw("pods", None, _obj(4, uid="other", name="q")) == []
    assert expected.saw("pods", None, _obj(4)) == []
    assert expected.saw("pods", None, _obj(5)) == ["k"]
    assert expected.wait("k", 1.0) == 0.0


def test_something_later_shows_it_too(expected: Expectations[str]) -> None:
    expected.expect("k", "pods", _obj(5), Expectation("u", 5), _obj(3), 0.0)
    assert expected.saw("pods", _obj(3), _obj(9)) == ["k"]


def test_a_view_that_is_ahead_of_the_answer_is_not_waited_for(expected: Expectations[str]) -> None:
    expected.expect("k", "pods", _obj(5), Expectation("u", 5), _obj(5), 0.0)
    expected.expect("k", "pods", _obj(5), Expectation("u", gone=True), None, 0.0)
    assert expected.wait("k", 0.0) == 0.0


def test_made_and_gone_before_the_answer_came(expected: Expectations[str]) -> None:
    expected.saw("pods", _obj(6), None)
    expected.expect("k", "pods", _obj(5), Expectation("u", 5), None, 0.0)
    assert expected.wait("k", 0.0) == 0.0


@pytest.mark.parametrize("shown", [_obj(7, deletionTimestamp="now"), None, _obj(8, uid="new")])
def test_a_deletion_shows_as_its_beginning_its_end_or_a_namesake(
    expected: Expectations[str], shown: Object | None
) -> None:
    expected.expect("k", "pods", _obj(5), Expectation("u", gone=True), _obj(5), 0.0)
    assert expected.wait("k", 0.0)
    assert expected.saw("pods", _obj(5), shown) == ["k"]


def test_a_key_may_be_held_for_a_while(expected: Expectations[str]) -> None:
    expected.hold("k", 10.0)
    assert expected.wait("k", 9.0) == 1.0
    expected.expect("k", "pods", _obj(5), Expectation("u", 5), None, 9.0)
    assert expected.saw("pods", None, _obj(5)) == ["k"]
    assert expected.wait("k", 9.0) == 1.0
    assert expected.wait("k", 10.0) == 0.0


def test_all_writes_of_a_key_must_show(expected: Expectations[str]) -> None:
    for number in range(3):
        name = f"p{number}"
        expected.expect("k", "pods", _obj(5, name, name), Expectation(name, 5), None, 0.0)
    assert expected.saw("pods", None, _obj(5, "p0", "p0")) == []
    assert expected.saw("pods", None, _obj(5, "p1", "p1")) == []
    assert expected.saw("pods", None, _obj(5, "p2", "p2")) == ["k"]


def test_nobody_waits_for_ever(expected: Expectations[str]) -> None:
    expected.expect("k", "pods", _obj(5), Expectation("u", 5), None, 100.0)
    assert expected.wait("k", 100.0 + TIMEOUT - 1) == 1
    assert expected.wait("k", 100.0 + TIMEOUT) == 0.0
    assert expected.saw("pods", None, _obj(5)) == []


def test_an_object_made_in_the_place_of_ours_means_ours_is_gone(expected: Expectations[str]) -> None:
    expected.expect("k", "pods", _obj(5), Expectation("u", 5), None, 0.0)
    assert expected.saw("pods", None, _obj(9, uid="new")) == ["k"]
