"""Whatever a client sends, a write's stages end in an object or a StatusError, never in another exception.

Each round takes an example and puts junk into some of its places: values of other types, odd strings, missing and extra
fields, whole parts of other examples. FLUYT_SEED repeats a run.
"""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any, Final

import pytest
from control_api.examples_of_kinds import ENTROPY, NOW, created, example, file_of

from control.api.catalogue import BUILTIN
from control.api.convert import convert
from control.api.crd import kinds_of, status_of, warnings_of
from control.api.decode import IGNORE, STRICT, decode
from control.api.defaults import apply_defaults
from control.api.kind import Kind
from control.api.prepare import identify, prepare_create, prepare_update
from control.api.status import StatusError
from control.api.table import table
from control.api.validate import check_body, check_create, check_update

STORED = [kind for kind in BUILTIN if kind.stored]
BODIES = [kind for kind in (*BUILTIN, *BUILTIN.bodies) if not kind.stored]
ROUNDS = 60
JUNK: Final[list[Any]] = [
    None, "", " ", "x", "X" * 300, "a/b/c", "..", "-1", "50%", "1e3", "5Gi", "\u0000", "ä", "None",
    "2026-01-02T03:04:05Z",
    "10.0.0.1", "fd::1", "*",
    0, 1, -1, 80, 65536, 2**31, -(2**63), 2**70, 1.5, True, False, [], {}, [None], [{}], [[]],
    {"": ""},
    {"a": None}, {"name": "x"}, ["x", "x"], [{"name": "x"}, {"name": "x"}], {"type": "x"},
    {"key": "a", "operator": "In"},
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values within."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, entry in entries for place in places(entry, (*path, key)))]


def spoiled(obj: dict[str, Any], chance: random.Random, donors: list[dict[str, Any]]) -> dict[str, Any]:
    """A copy with one to three places changed."""
    found = deepcopy(obj)
    for _ in range(chance.randint(1, 3)):
        path = chance.choice(places(found)[1:] or [("spec",)])
        at: Any = found
        for step in path[:-1]:
            at = at[step]
        match chance.randrange(4):
            case 0 if isinstance(at, dict):
                at.pop(path[-1], None)
            case 1 if isinstance(at, dict):
                donor = chance.choice(donors)
                at[chance.choice(list(donor) or ["x"])] = deepcopy(chance.choice(list(donor.values()) or [1]))
            case _:
                at[path[-1]] = deepcopy(chance.choice(JUNK))
    return found


def donors_of(kind: Kind) -> list[dict[str, Any]]:
    """All objects within some examples: fields that belong elsewhere."""
    parts = []
    for source in (kind, BUILTIN["pods"], BUILTIN["services"]):
        root = example(source)
        for path in places(root):
            at: Any = root
            for step in path:
                at = at[step]
            if isinstance(at, dict):
                parts.append(at)
    return parts


def expect_refusal(error: StatusError) -> None:
    assert error.code in (400, 422), error
    assert error.to_status()["message"]


def stored_or_refused(kind: Kind, value: Any) -> dict[str, Any] | None:
    try:
        obj = decode(kind, value, validation=IGNORE).object
        assert decode(kind, obj, validation=STRICT).object == obj
        identify(kind, obj, namespace="default" if kind.namespaced else "")
        apply_defaults(kind, obj)
        prepare_create(kind, obj, now=NOW, entropy=ENTROPY)
        check_create(kind, obj)
    except StatusError as error:
        expect_refusal(error)
        return None
    return obj


@pytest.mark.parametrize("kind", STORED, ids=file_of)
def test_creation(kind: Kind, seed: int) -> None:
    chance = random.Random(f"{seed} {file_of(kind)}")
    base, donors = example(kind), donors_of(kind)
    for _ in range(ROUNDS):
        value = spoiled(base, chance, donors)
        obj = stored_or_refused(kind, value)
        if obj is None:
            continue
        again = apply_defaults(kind, decode(kind, obj, validation=STRICT).object)
        assert again == obj, value
        table(kind, [obj], now=NOW)
        if kind.storage_version:
            assert convert(convert(obj, kind.storage_version), kind.api_version) == obj, value


@pytest.mark.parametrize("kind", STORED, ids=file_of)
def test_changes(kind: Kind, seed: int) -> None:
    chance = random.Random(f"{seed} {file_of(kind)} changes")
    old, donors = created(kind, example(kind)), donors_of(kind)
    for _ in range(ROUNDS):
        value = spoiled(old, chance, donors)
        subresource = chance.choice(["", *(name for name in kind.subresources if name in ("status", "finalize"))])
        try:
            new = identify(
                kind, decode(kind, value, validation=IGNORE).object, namespace=old["metadata"].get("namespace", "")
            )
            new = prepare_update(kind, new, old, subresource=subresource)
            check_update(kind, new, old, subresource)
        except StatusError as error:
            expect_refusal(error)
            continue
        assert new["metadata"]["uid"] == old["metadata"]["uid"]
        if subresource == "status":
            assert {**new, "status": 0, "metadata": 0} == {**old, "status": 0, "metadata": 0}


@pytest.mark.parametrize("kind", BODIES, ids=file_of)
def test_bodies(kind: Kind, seed: int) -> None:
    chance = random.Random(f"{seed} {file_of(kind)}")
    base, donors = example(kind), donors_of(kind)
    for _ in range(ROUNDS // 3):
        try:
            check_body(
                kind, apply_defaults(kind, decode(kind, spoiled(base, chance, donors), validation=IGNORE).object)
            )
        except StatusError as error:
            expect_refusal(error)


def test_definitions_and_their_objects(seed: int) -> None:
    """What passes as a definition can be served, and its objects are judged without a crash."""
    chance = random.Random(seed)
    kind = BUILTIN["customresourcedefinitions.apiextensions.k8s.io"]
    base = example(kind)
    schema = base["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schemas = [part for part in donors_of(kind) if "type" in part] + [{"items": schema, "type": "array"}]
    ship = {"metadata": {"name": "a", "namespace": "default"}, "spec": {"cargo": "grain", "masts": 3}}
    served = 0
    for _ in range(400):
        value = deepcopy(base)
        version = value["spec"]["versions"][0]
        version["schema"]["openAPIV3Schema"] = spoiled(schema, chance, schemas)
        definition = stored_or_refused(kind, value)
        if definition is None:
            continue
        served += 1
        warnings_of(definition)
        definition["status"] = status_of(definition, BUILTIN, NOW)
        for custom in kinds_of(definition):
            obj = stored_or_refused(custom, spoiled(ship, chance, schemas))
            if obj is not None:
                table(custom, [obj], now=NOW)
    assert served > 20
