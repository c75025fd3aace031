"""Copies of JSON values: the one way objects are copied in the control plane and by the agents.

`copy.deepcopy` keeps books about every part it has met, because it must cope with cycles and with any class. JSON has
neither, and an API server copies every object it changes a few times. So the copy is made by msgspec, in C: dicts and
lists are new, scalars are the same objects. Invariant: what is given holds dict, list, str, int, float, bool and None
only, as JSON has them; a part that occurs twice occurs as two copies afterwards.
"""

from __future__ import annotations

from typing import TypeVar, cast

from msgspec import to_builtins

T = TypeVar("T")


def copied(value: T) -> T:
    """The same JSON value, in dicts and lists of its own."""
    return cast(T, to_builtins(value))
