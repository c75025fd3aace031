"""Sets of field paths: their JSON, and the algebra, against sets of tuples for random trees."""

from __future__ import annotations

import random
from typing import Any

import pytest

from control.api.patches.fieldsets import (
    EMPTY,
    LEAF,
    FieldSet,
    Path,
    key_edge,
    known,
    of_paths,
    parse,
    serialise,
    text,
)


def tree(rng: random.Random, depth: int = 3) -> FieldSet:
    children = {}
    for edge in rng.sample(["f:a", "f:b", 'k:{"n":"x"}', 'v:"y"', "i:0"], rng.randrange(4)) if depth else []:
        node = tree(rng, depth - 1)
        children[edge] = node if node else LEAF
    return FieldSet(rng.random() < 0.3, children)


def rooted(rng: random.Random) -> FieldSet:
    return FieldSet(False, tree(rng).children)


def members(fields: FieldSet) -> set[Path]:
    return set(fields.paths())


def test_algebra_is_that_of_sets(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(300):
        one, two = rooted(rng), rooted(rng)
        assert members(one | two) == members(one) | members(two)
        assert members(one - two) == members(one) - members(two)
        assert members(one & two) == members(one) & members(two)
        cut = {path for path in members(one) if not any(path[: len(p)] == p for p in members(two))}
        assert members(one.without_trees(two)) == cut
        assert not (one - one)
        assert parse(serialise(one)) == one
        assert all(one.has(path) for path in members(one))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}},
        {"f:spec": {"f:containers": {'k:{"name":"x"}': {".": {}, "f:image": {}}}}},
        {"f:finalizers": {'v:"a"': {}}, "f:list": {"i:0": {}}},
    ],
)
def test_round_trip(fields: dict[str, Any]) -> None:
    assert serialise(parse(fields)) == fields


def test_keys_have_one_form() -> None:
    written = {"f:ports": {'k:{ "protocol":"TCP", "containerPort":80 }': {}}}
    assert serialise(parse(written)) == {"f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {}}}


def test_what_changes_nothing_returns_the_same_set(seed: int) -> None:
    """So what is known of it stays known, and most managers' sets are not touched by a write."""
    rng = random.Random(seed)
    for _ in range(300):
        one, two = rooted(rng), rooted(rng)
        assert (one - two is one) == (not members(one) & members(two))
        assert (one | two is one) == (members(two) <= members(one))
        assert (one | two) | two == two | one


def test_sets_that_are_remembered_are_nobody_elses_to_change() -> None:
    fields = {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}}
    shown = serialise(known(fields))
    shown["f:metadata"]["f:labels"]["f:mine"] = {}
    fields["f:metadata"]["f:labels"]["f:yours"] = {}
    assert serialise(known({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}})) == {
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}}
    }
    assert known(fields) == parse(fields)


def test_an_edge_is_remembered_with_the_type_of_its_value() -> None:
    edges = [key_edge({"n": value}) for value in (1, True, "1", 1.0, None, 1, True)]
    assert edges == [f'k:{{"n":{text}}}' for text in ("1", "true", '"1"', "1.0", "null", "1", "true")]


def test_text() -> None:
    path = ("f:spec", "f:containers", 'k:{"containerPort":80,"protocol":"TCP"}', 'v:"x"', "i:3")
    assert text(path) == '.spec.containers[containerPort=80,protocol="TCP"][="x"][3]'


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"f:a": value}
    return value


@pytest.mark.parametrize("fields", [[], {"x:a": {}}, {"k:{": {}}, {"f:a": 1}, {"a": {}}, deep(10_000)])
def test_malformed(fields: Any) -> None:
    with pytest.raises(ValueError, match="fieldsV1"):
        parse(fields)


def test_of_paths() -> None:
    assert members(of_paths("a", "a.b", "c")) == {("f:a",), ("f:a", "f:b"), ("f:c",)}
    assert not EMPTY
