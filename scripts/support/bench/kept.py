"""What is measured is kept as it comes: lines of JSON, of which tables and the page can be made later.

A file holds pieces, one for each run of scripts/bench that was told to keep there: a line with its plan and where it
ran, one for each value and each failure, and one that says that it came to its end. A line is written by one call
before the next measurement begins, so a run that is killed loses nothing but, at most, the end of its last line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from support.bench.contenders import ORDER
from support.bench.plan import Plan
from support.bench.results import Results

_END = {"complete": True}


@contextmanager
def keeping(results: Results, path: Path) -> Iterator[None]:
    """Append what the results are told in this block; they are complete when it comes to its end. OSError as open's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cut = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
    with path.open("ab", buffering=0) as file:
        if cut:
            file.write(b"\n")

        def keep(entry: dict[str, Any]) -> None:
            file.write(json.dumps(entry).encode() + b"\n")

        keep(results.head())
        results.listener = keep
        yield
        results.complete = True
        keep(_END)


def read(path: Path) -> list[Results]:
    """The pieces in a file. ValueError: a line is none that we write, and is not the cut end of a piece."""
    pieces: list[Results] = []
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except ValueError:
            if number == len(lines) or lines[number].startswith('{"plan"'):
                continue
            raise ValueError(f"{path}, line {number}: not JSON") from None
        try:
            _take(pieces, entry)
        except (KeyError, IndexError, TypeError):
            raise ValueError(f"{path}, line {number}: not of a run of this version of scripts/bench") from None
    if not pieces:
        raise ValueError(f"{path}: nothing was kept there")
    return pieces


def _take(pieces: list[Results], entry: dict[str, Any]) -> None:
    if "plan" in entry:
        asked = entry["plan"]
        plan = Plan(**{**asked, "contenders": tuple(asked["contenders"]), "rows": frozenset(asked["rows"])})
        pieces.append(Results(**{**entry, "plan": plan}))
    elif "value" in entry:
        pieces[-1].add(**entry)
    elif "reason" in entry:
        pieces[-1].fail(**entry)
    else:
        pieces[-1].complete = entry["complete"]


def together(pieces: Sequence[Results]) -> Results:
    """One of all: each piece's runs are runs of their own. ValueError: other sizes or another machine."""
    first = pieces[0]
    for piece in pieces[1:]:
        _compared(first.plan.sizes(), piece.plan.sizes())
        _compared(first.machine, piece.machine)
    titles = {name: title for piece in pieces for name, title in piece.titles.items()}
    names = tuple(sorted(titles, key=ORDER.index))
    whole = Results(
        replace(first.plan, contenders=names, rows=frozenset().union(*(piece.plan.rows for piece in pieces))),
        {name: titles[name] for name in names},
        " and ".join(dict.fromkeys(piece.date for piece in pieces)),
        max(piece.load for piece in pieces),
        first.machine,
        complete=all(piece.complete for piece in pieces),
    )
    offset = 0
    for piece in pieces:
        for entries, found in ((whole.values, piece.values), (whole.failures, piece.failures)):
            entries += [{**entry, "run": entry["run"] + offset} for entry in found]
        offset += piece.plan.runs
    return whole


def _compared(one: dict[str, Any], other: dict[str, Any]) -> None:
    for name in one.keys() | other.keys():
        if one.get(name) != other.get(name):
            raise ValueError(f"these cannot stand in one table: {name} {one.get(name)} and {other.get(name)}")
