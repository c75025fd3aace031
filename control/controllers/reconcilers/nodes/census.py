"""How many nodes there are, how many are not well, and when one was last emptied: asked with every look at a node.

Invariant: the answer is that of the view as it is now. What a node's own object says is worked out once for each of its
states (informers replace objects, they do not change them), so that asking costs a comparison a node: after the fall of
a thousand nodes it is asked thousands of times. Not asyncio, no clock: pure but for that memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from control.api.schema import Object
from control.controllers.values.observed import Observed

_NODES: Final = "nodes"


@dataclass(frozen=True, slots=True)
class Word:
    """What a node's object says: that it is not ready, and since when it is being emptied."""

    node: Object
    bad: bool
    emptied: datetime | None


@dataclass(frozen=True, slots=True)
class Tally:
    """bad: not ready, or silent for so long that they will be found not to be. emptied: when the last one began to."""

    total: int
    bad: int
    emptied: datetime | None


class Census:
    """read(node): what its object says, which must follow from nothing else."""

    def __init__(self, read: Callable[[Object], Word]) -> None:
        self._read = read
        self._words: dict[str, Word] = {}

    def tally(self, nodes: Iterable[Object]) -> Tally:
        """By what the objects say."""
        words, total, bad, latest = self._words, 0, 0, None
        for node in nodes:
            total += 1
            name = node["metadata"]["name"]
            word = words.get(name)
            if word is None or word.node is not node:
                word = words[name] = self._read(node)
            bad += word.bad
            if word.emptied is not None and (latest is None or word.emptied > latest):
                latest = word.emptied
        if len(words) > total:
            self._words = {name: word for node in nodes if (word := words.get(name := node["metadata"]["name"]))}
        return Tally(total, bad, latest)

    def with_silent(self, observed: Observed, grace: float) -> Tally:
        """Those, too, that say they are well and were not heard of for `grace` seconds."""
        said = self.tally(observed.all(_NODES))
        silent = sum(1 for name in _unheard(observed, observed.uptime - grace) if not self._words[name].bad)
        return Tally(said.total, said.bad + silent, said.emptied)


def _unheard(observed: Observed, since: float) -> Iterable[str]:
    """The nodes that were last heard of then or before. `heard` is in the order of its times (heartbeats.py)."""
    nodes, heard = observed.stores[_NODES].objects, observed.heard
    for name, at in heard.items():
        if at > since:
            break
        if ("", name) in nodes:
            yield name
