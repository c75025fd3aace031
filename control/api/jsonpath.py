"""The JSONPath of printer columns: ".spec.replicas", ".status.conditions[?(@.type=='Ready')].status", ".a['b.c'][0]".

Understood: fields (a dot in a name is written "\\."), ['name'] and unions of them, [index], [start:end:step], [*], .*,
recursive descent (..name), and filters [?(@.path op value)] with == != < <= > >=, or a bare path for "has it".

Parsing raises ValueError with the place; evaluating never fails: what is not there gives no values.

Source: "JSONPath Support" of the kubectl documentation; the validation of additionalPrinterColumns.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

Step = Callable[[Any], Iterator[Any]]
Compiled = tuple[Step, ...]

_NAME = re.compile(r"(?:\\.|[^.\[\]\\'\"(){}\s])+")
_QUOTED = re.compile(r"'((?:\\.|[^'\\])*)'|\"((?:\\.|[^\"\\])*)\"")
_SLICE = re.compile(r"(-?\d*):(-?\d*)(?::(-?\d+))?")
_FILTER = re.compile(r"\?\(\s*@(?P<path>[^=!<>]*?)\s*(?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>.+?))?\s*\)")
_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_MAX_LENGTH: Final = 1024


@lru_cache(2048)
def compile_path(text: str) -> Compiled:
    """The steps of a path; it may stand in braces. ValueError: it cannot be parsed."""
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"a path may have {_MAX_LENGTH} letters")
    bare = text.strip()
    if bare.startswith("{") and bare.endswith("}"):
        bare = bare[1:-1]
    return tuple(_steps(bare.removeprefix("$")))


def find(path: Compiled, value: Any) -> list[Any]:
    """All values at the path, in order."""
    found = [value]
    for step in path:
        found = [entry for each in found for entry in step(each)]
    return found


def first(text: str, value: Any) -> Any:
    """The first value at the path; None: there is none."""
    return next(iter(find(compile_path(text), value)), None)


def is_simple(text: str) -> bool:
    """Whether the path is only fields below each other, as ".spec.replicas": where one can also write."""
    return bool(re.fullmatch(r"(\.[A-Za-z0-9_\-]+)+", text))


def _steps(text: str) -> Iterator[Step]:
    at = 0
    while at < len(text):
        deep = text.startswith("..", at)
        if deep:
            yield _descend
            at += 2
        elif text[at] == ".":
            at += 1
        elif text[at] != "[" and at:
            raise ValueError(f"expected '.' or '[' at position {at} of {text!r}")
        if at >= len(text):
            if text in (".", ""):
                return
            raise ValueError(f"{text!r} ends with a dot")
        step, at = _bracket(text, at) if text[at] == "[" else _field(text, at)
        yield step


def _field(text: str, at: int) -> tuple[Step, int]:
    match = _NAME.match(text, at)
    if match is None:
        raise ValueError(f"expected a field's name at position {at} of {text!r}")
    name = re.sub(r"\\(.)", r"\1", match.group())
    return (_every if name == "*" else _member((name,))), match.end()


def _bracket(text: str, at: int) -> tuple[Step, int]:
    end = _closing(text, at)
    inner = text[at + 1 : end].strip()
    return _inside(inner, text), end + 1


def _closing(text: str, at: int) -> int:
    """The position of the bracket that closes the one at that place, quotes and inner brackets passed over."""
    depth, index = 0, at
    while index < len(text):
        letter = text[index]
        if letter in "'\"":
            match = _QUOTED.match(text, index)
            if match is None:
                break
            index = match.end()
            continue
        depth += (letter == "[") - (letter == "]")
        if not depth:
            return index
        index += 1
    raise ValueError(f"the bracket at position {at} of {text!r} is never closed")


def _inside(inner: str, text: str) -> Step:
    if inner == "*":
        return _every
    if re.fullmatch(r"-?\d+", inner, re.ASCII):
        return _element(int(inner))
    if match := _SLICE.fullmatch(inner):
        return _slice(*(int(part) if part else None for part in match.groups()))
    if inner.startswith("?"):
        return _filter(inner, text)
    names = [_unquoted(match) for match in _QUOTED.finditer(inner)]
    if names and not re.sub(r"[\s,]", "", _QUOTED.sub("", inner)):
        return _member(tuple(names))
    raise ValueError(f"cannot read [{inner}] in {text!r}")


def _unquoted(match: re.Match[str]) -> str:
    return re.sub(r"\\(.)", r"\1", match[1] if match[1] is not None else match[2])


def _filter(inner: str, text: str) -> Step:
    match = _FILTER.fullmatch(inner)
    if match is None:
        raise ValueError(f"cannot read the filter [{inner}] in {text!r}")
    path = compile_path(match["path"])
    if match["op"] is None:
        return lambda value: (entry for entry in _entries(value) if find(path, entry))
    wanted, compare = _literal(match["value"], text), _OPERATORS[match["op"]]
    return lambda value: (entry for entry in _entries(value) if _holds(find(path, entry), compare, wanted))


def _literal(text: str, whole: str) -> Any:
    if match := _QUOTED.fullmatch(text):
        return _unquoted(match)
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise ValueError(f"cannot read the value {text!r} in {whole!r}") from None


def _holds(found: list[Any], compare: Callable[[Any, Any], bool], wanted: Any) -> bool:
    try:
        return bool(found) and compare(found[0], wanted)
    except TypeError:
        return False


def _entries(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _every(value: Any) -> Iterator[Any]:
    yield from _entries(value)


def _descend(value: Any) -> Iterator[Any]:
    yield value
    for entry in _entries(value):
        yield from _descend(entry)


def _member(names: tuple[str, ...]) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict):
            yield from (value[name] for name in names if name in value)

    return step


def _element(index: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _slice(start: int | None, end: int | None, step_width: int | None) -> Step:
    if step_width is not None and step_width <= 0:
        raise ValueError("a slice's step must be positive")

    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from value[start:end:step_width]

    return step
