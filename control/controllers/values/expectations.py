"""Waiting for the view to show our own writes, so that no reconciler decides twice on the same state.

After a write the shell expects to see its effect: an object at that revision or later, or gone. Until then, or until
the expectation is too old, the key that wrote is not looked at again. Informers may drop intermediate states (a list
after an outage), so "seen and gone again" counts as seen.

Invariants: a key with open expectations is not reconciled; an expectation lives at most TIMEOUT seconds, so a lost
event delays a key but never stops it. Pure: the clock comes in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from control.api.schema import Object
from control.controllers.values.objects import is_deleting, name_of, namespace_of, uid_of

K = TypeVar("K", bound=Hashable)
Place = tuple[str, str, str]

TIMEOUT: Final = 30.0
_GONE_KEPT: Final = 4096
_HELD_KEPT: Final = 10_000


def revision_of(obj: Object) -> int:
    """Its resourceVersion as a number; 0 when it is none."""
    text = str(obj["metadata"].get("resourceVersion", ""))
    return int(text) if text.isascii() and text.isdigit() else 0


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a write will look like. revision: at least that; gone: deleted, or on its way."""

    uid: str
    revision: int = 0
    gone: bool = False

    def met_by(self, obj: Object | None) -> bool:
        """Whether the object in that place now (None: none) shows the write or something later."""
        if obj is None:
            return self.gone
        if uid_of(obj) != self.uid:
            return self.gone or revision_of(obj) > self.revision
        return is_deleting(obj) if self.gone else revision_of(obj) >= self.revision


@dataclass(slots=True)
class Expectations(Generic[K]):
    """The open expectations of one controller's keys."""

    _by_key: dict[K, dict[Place, Expectation]] = field(default_factory=dict)
    _by_place: dict[Place, set[K]] = field(default_factory=dict)
    _until: dict[K, float] = field(default_factory=dict)
    _held: dict[K, float] = field(default_factory=dict)
    _gone: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def expect(
        self, key: K, resource: str, place: Object, wanted: Expectation, seen: Object | None, now: float
    ) -> None:
        """Note what a key's write will look like; `seen`: the object as the view has it already."""
        if wanted.met_by(seen) or wanted.uid in self._gone:
            return
        where = (resource, namespace_of(place), name_of(place))
        self._by_key.setdefault(key, {})[where] = wanted
        self._by_place.setdefault(where, set()).add(key)
        self._until[key] = now + TIMEOUT

    def hold(self, key: K, until: float) -> None:
        """Do not look at the key before then: it may have written something that cannot be named."""
        self._held[key] = until
        if len(self._held) > _HELD_KEPT:
            # Keys of objects that are gone are never asked for again; those held longest ago go.
            for old in sorted(self._held, key=self._held.__getitem__)[: _HELD_KEPT // 2]:
                del self._held[old]

    def saw(self, resource: str, old: Object | None, new: Object | None) -> list[K]:
        """Take note of a change in the view; the keys whose last expectation it met."""
        changed = new if new is not None else old
        if changed is None:
            return []
        if new is None:
            self._note_gone(uid_of(changed))
        if not self._by_place:
            return []
        where = (resource, namespace_of(changed), name_of(changed))
        return [key for key in list(self._by_place.get(where, ())) if self._meets(key, where, new)]

    def _meets(self, key: K, where: Place, new: Object | None) -> bool:
        wanted = self._by_key[key][where]
        if not (wanted.met_by(new) or wanted.uid in self._gone):
            return False
        self._close(key, where)
        return key not in self._by_key

    def _note_gone(self, uid: str) -> None:
        self._gone[uid] = None
        if len(self._gone) > _GONE_KEPT:
            self._gone.popitem(last=False)

    def _close(self, key: K, where: Place) -> None:
        places = self._by_key[key]
        del places[where]
        self._by_place[where].discard(key)
        if not self._by_place[where]:
            del self._by_place[where]
        if not places:
            del self._by_key[key]
            del self._until[key]

    def wait(self, key: K, now: float) -> float:
        """Seconds for which the key must not be looked at; 0: none. What has waited too long is given up."""
        held = max(0.0, self._held.get(key, now) - now)
        if not held:
            self._held.pop(key, None)
        until = self._until.get(key)
        if until is not None and now >= until:
            for where in list(self._by_key[key]):
                self._close(key, where)
            return held
        return held if until is None else max(held, until - now)
