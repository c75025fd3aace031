"""Server-side apply by random managers with random configurations: what must hold whatever they do."""

from __future__ import annotations

import copy
import random
from typing import Any

from control.api.patches import apply, managed, views
from control.api.patches.structured import compare, fields_of, merge
from control.api.status import StatusError

SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "n": {"type": "integer"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "hosts": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "whole": {"type": "array", "items": {"type": "integer"}},
                "parts": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "properties": {
                            "name": {"type": "string"},
                            "size": {"type": "integer"},
                            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                        },
                    },
                },
            },
        },
    },
}
VIEW = views.structural(SCHEMA)


def some(rng: random.Random, choices: str) -> list[str]:
    return rng.sample(list(choices), rng.randrange(len(choices) + 1))


def part(rng: random.Random, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name}
    if rng.random() < 0.5:
        found["size"] = rng.randrange(3)
    if rng.random() < 0.5:
        found["tags"] = some(rng, "xyz") or ["x"]
    return found


def config(rng: random.Random) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "n": rng.randrange(3),
        "labels": {key: rng.choice("12") for key in some(rng, "abc")} or {"a": "1"},
        "hosts": some(rng, "pqr") or ["p"],
        "whole": [rng.randrange(2)],
        "parts": [part(rng, name) for name in some(rng, "uvw")] or [part(rng, "u")],
    }
    return {"apiVersion": "e/v1", "spec": {key: spec[key] for key in rng.sample(list(spec), rng.randrange(1, 6))}}


def write(manager: str, step: int, force: bool = False) -> apply.Write:
    return apply.Write(VIEW, manager, "e/v1", f"2026-01-01T00:{step // 60:02d}:{step % 60:02d}Z", force=force)


def everything(value: dict[str, Any]) -> set[tuple[str, ...]]:
    bare = copy.deepcopy(value)
    bare.get("metadata", {}).pop("managedFields", None)
    return set(compare({}, bare, VIEW).added.paths())


def check(stored: dict[str, Any], wanted: dict[str, Any], manager: str, step: int) -> None:
    assert merge(stored, wanted, VIEW) == stored, "it has all that was applied"
    assert apply.apply(stored, wanted, write(manager, step + 1)) == stored, "applying it again changes nothing"
    entries = managed.read(stored["metadata"]["managedFields"])
    there = everything(stored)
    for entry in entries.values():
        assert set(entry.fields.paths()) <= there, f"{entry.manager} owns only what is there"
    own = entries[manager, managed.APPLY, "", ""].fields
    assert set(own.paths()) == set((fields_of(wanted, VIEW) - apply.UNOWNED).paths())


def test_appliers(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(25):
        stored: dict[str, Any] | None = None
        for step in range(8):
            manager, wanted = rng.choice(["one", "two", "three"]), config(rng)
            try:
                new = apply.apply(stored, wanted, write(manager, step))
            except StatusError as refusal:
                assert stored is not None
                unforced = {cause.message for cause in refusal.causes}
                assert f'conflict with "{manager}"' not in unforced, "nobody conflicts with themselves"
                new = apply.apply(stored, wanted, write(manager, step, force=True))
            stored = new
            check(stored, wanted, manager, step)


def test_who_applies_nothing_leaves_what_others_have(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(25):
        first, second = config(rng), config(rng)
        base = apply.apply(None, first, write("one", 0))
        both = apply.apply(base, second, write("two", 1, force=True))
        alone = apply.apply(both, {"apiVersion": "e/v1"}, write("one", 2))
        kept = managed.read(both["metadata"]["managedFields"])["two", managed.APPLY, "", ""].fields
        assert set(kept.paths()) <= everything(alone)
        assert merge(alone, second, VIEW) == alone
        gone = apply.apply(alone, {"apiVersion": "e/v1"}, write("two", 3))
        assert "spec" not in gone
        assert "managedFields" not in gone.get("metadata", {})


def test_updates_take_and_free(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(25):
        stored = apply.apply(None, config(rng), write("one", 0))
        new = config(rng)
        new["metadata"] = {"managedFields": stored["metadata"]["managedFields"]}
        changed = apply.track(stored, new, write("writer", 1))
        there = everything(changed)
        entries = managed.read(changed["metadata"].get("managedFields"))
        for entry in entries.values():
            assert set(entry.fields.paths()) <= there
        owned = {path for entry in entries.values() for path in entry.fields.paths()}
        difference = compare(without(stored), without(changed), VIEW)
        assert set((difference.changed - apply.UNOWNED).paths()) <= owned


def without(value: dict[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in value.items() if key != "metadata"}
