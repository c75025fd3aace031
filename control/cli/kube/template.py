"""JSONPath templates: text with {paths}, {"text"}, {range …}{end}. Pure.

Source: "JSONPath Support" of the kubectl documentation. Paths themselves are control/api/jsonpath's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from control.api import jsonpath

_QUOTED = re.compile(r"""\s*(?:"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)')\s*""", re.DOTALL)


@dataclass(frozen=True)
class _Text:
    text: str


@dataclass(frozen=True)
class _Path:
    path: jsonpath.Compiled


@dataclass(frozen=True)
class _Range:
    path: jsonpath.Compiled
    body: tuple[_Part, ...]


_Part = _Text | _Path | _Range


def render(template: str, value: Any) -> str:
    """The template filled in. A template without braces is one path. ValueError: it cannot be read."""
    if "{" not in template:
        template = "{" + (template if template[:1] in ".[$" else "." + template) + "}"
    parts, rest = _parse(list(_pieces(template)))
    if rest:
        raise ValueError("{end} without {range}")
    return "".join(_fill(parts, value))


def _pieces(template: str) -> Iterator[tuple[str, str]]:
    """("text", …) and ("brace", …) in turn; a brace inside quotes or brackets does not close."""
    at = 0
    while at < len(template):
        start = template.find("{", at)
        if start < 0:
            yield "text", template[at:]
            return
        if start > at:
            yield "text", template[at:start]
        end = _closing(template, start + 1)
        yield "brace", template[start + 1 : end]
        at = end + 1


def _closing(template: str, at: int) -> int:
    quote = ""
    while at < len(template):
        letter = template[at]
        if letter == "\\":
            at += 1
        elif quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter == "}":
            return at
        at += 1
    raise ValueError("unclosed {")


def _parse(pieces: list[tuple[str, str]]) -> tuple[tuple[_Part, ...], list[tuple[str, str]]]:
    """The parts up to an {end} or the end, and what follows that {end}."""
    parts: list[_Part] = []
    while pieces:
        kind, text = pieces.pop(0)
        if kind == "text":
            parts.append(_Text(text))
            continue
        words = text.strip()
        if words == "end":
            return tuple(parts), [("end", ""), *pieces]
        if words.startswith(("range ", "range\t")):
            body, rest = _parse(pieces)
            if not rest:
                raise ValueError("{range} without {end}")
            parts.append(_Range(_compiled(words[6:].strip()), body))
            pieces = rest[1:]
        elif quoted := _QUOTED.fullmatch(text):
            parts.append(_Text(_unescaped(quoted.group(1) if quoted.group(1) is not None else quoted.group(2))))
        else:
            parts.append(_Path(_compiled(words)))
    return tuple(parts), []


def _compiled(path: str) -> jsonpath.Compiled:
    return jsonpath.compile_path("" if path == "@" else path.removeprefix("@"))


def _unescaped(text: str) -> str:
    escapes = {"n": "\n", "t": "\t", "r": "\r"}
    return re.sub(r"\\(.)", lambda match: escapes.get(match.group(1), match.group(1)), text)


def _fill(parts: tuple[_Part, ...], value: Any) -> Iterator[str]:
    for part in parts:
        match part:
            case _Text(text):
                yield text
            case _Path(path):
                yield " ".join(_shown(found) for found in jsonpath.find(path, value))
            case _Range(path, body):
                for found in jsonpath.find(path, value):
                    yield from _fill(body, found)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
