"""Request bodies as JSON values: from JSON or YAML bytes, with the paths of keys that stand twice in one object.

Faults assumed: anything. A body that is no document is a StatusError 400, never another exception: wrong UTF-8, half
a document, lone surrogates, NaN, nesting deeper than MAX_DEPTH, YAML aliases that multiply.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar, Final

import orjson
import yaml

from control.api.schema import Json
from control.api.status import StatusError, bad_request

MAX_DEPTH: Final = 128
_TAG: Final = "tag:yaml.org,2002:"
_INT: Final = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]+|0|[1-9][0-9_]*)$", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", re.ASCII)


def read_json(body: bytes) -> tuple[Json, list[str]]:
    """(value, paths of duplicate keys). StatusError (400): no JSON."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the body is no JSON: {error}") from None
    _check_shape(value, len(body))
    if len(orjson.dumps(value)) == len(body.strip()):
        return value, []  # as compact as Go writes it, and nothing was lost on the way: no key stood twice
    return value, _duplicates(body)


def read_yaml(body: bytes) -> tuple[Json, list[str]]:
    """(value, paths of duplicate keys) of one YAML document, which may also be JSON. StatusError (400): no YAML."""
    if body.lstrip()[:1] == b"{":
        with contextlib.suppress(orjson.JSONDecodeError):
            orjson.loads(body)
            return read_json(body)
    try:
        text = body.decode("utf-8")
        _check_depth(text)
        value = _Loader(text).get_single_data()
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise bad_request(f"the body is no YAML: {error}") from None
    _check_shape(value, len(body) + 2)
    return value, _paths(value)


def _check_depth(text: str) -> None:
    """Refuse deep nesting before the document is composed: libyaml's composer recurses in C, and would crash."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _too_deep()
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _too_deep() -> StatusError:
    return bad_request(f"the body is nested deeper than {MAX_DEPTH} levels")


def _check_shape(value: Json, size: int) -> None:
    """Refuse what later, recursive readers could not hold: too deep, aliases that multiply, infinite numbers."""
    level, seen = [value], 0
    for _ in range(MAX_DEPTH):
        level = [child for entry in level for child in _children(entry)]
        seen += len(level)
        if not level:
            return
        if seen > size:
            raise bad_request("the body's aliases make it bigger than a body may be")
        if any(isinstance(entry, float | int) and not _is_number(entry) for entry in level):
            raise bad_request("the body has a number that JSON does not know")
    raise _too_deep()


def _is_number(value: float | int) -> bool:
    """Whether JSON's writer takes it. Integers of more than 64 bits come from YAML only."""
    return math.isfinite(value) if isinstance(value, float) else -(2**63) <= value < 2**64


def _children(value: Json) -> Iterable[Json]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


class _Seen(dict[str, Any]):
    """An object of which some keys came twice."""

    twice: tuple[str, ...] = ()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    marked = _Seen(found)
    marked.twice = tuple(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
    return marked


def _duplicates(body: bytes) -> list[str]:
    marked: list[dict[str, Any]] = []

    def noted(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = _pairs(pairs)
        if type(found) is _Seen:
            marked.append(found)
        return found

    value = json.loads(body, object_pairs_hook=noted)
    return _paths(value) if marked else []


def _paths(value: Json, at: str = "") -> list[str]:
    """The paths of all keys that stand twice."""
    if isinstance(value, list):
        return [path for index, entry in enumerate(value) for path in _paths(entry, f"{at}[{index}]")]
    if not isinstance(value, dict):
        return []
    start = f"{at}." if at else ""
    own = [f"{start}{key}" for key in value.twice] if isinstance(value, _Seen) else []
    return own + [path for key, entry in value.items() for path in _paths(entry, f"{start}{key}")]


_KNOWN: Final = frozenset({None, *(f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str", "merge"))})


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: keys are strings, dates and 12:30 stay text, duplicate keys are marked."""

    yaml_constructors: ClassVar[dict[Any, Any]] = {
        tag: constructor for tag, constructor in yaml.CSafeLoader.yaml_constructors.items() if tag in _KNOWN
    }
    yaml_implicit_resolvers: dict[Any, Any] = {
        letter: [pair for pair in pairs if pair[0].removeprefix(_TAG) not in ("timestamp", "int", "float")]
        for letter, pairs in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    loader.flatten_mapping(node)
    return _pairs([(_key(loader, key), loader.construct_object(value, deep=True)) for key, value in node.value])


def _sequence(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return [loader.construct_object(entry, deep=True) for entry in node.value]


def _key(loader: _Loader, node: yaml.Node) -> str:
    key = loader.construct_object(node, deep=True)
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, str | int | float):
        return str(key)
    raise yaml.constructor.ConstructorError(None, None, "a key must be a string", node.start_mark)


_Loader.add_constructor(f"{_TAG}map", _mapping)
_Loader.add_constructor(f"{_TAG}seq", _sequence)
_Loader.add_implicit_resolver(f"{_TAG}int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+0123456789."))
