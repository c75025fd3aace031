"""What was decided for claims and cannot be heard of yet: which volume one gets, or near which node it is to be made.

Pods may share a claim: what was chosen for the first that asked counts for all, or each would give it a volume, and
all but one of these are lost. Pure. Invariants: a choice stands while a pod waits for it, and until a change of its
claim or its volume is heard of, for from then on the API says what is so; a volume is chosen for one claim at most.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Choice:
    """volume: its name; "" if it is to be made. pods: uids of those who wait for it."""

    node: str
    volume: str
    pods: set[str] = field(default_factory=set)


class Choices:
    """Of claims, by uid."""

    def __init__(self) -> None:
        self.volumes: dict[str, str] = {}  # name → claim
        self._claims: dict[str, _Choice] = {}
        self._pods: dict[str, list[str]] = {}  # uid → claims

    def volume_of(self, claim: str) -> str:
        """The volume that the claim gets; "" if none was chosen."""
        found = self._claims.get(claim)
        return found.volume if found is not None else ""

    def node_of(self, claim: str) -> str:
        """The node near which the claim's volume is to be made; "" if none was chosen."""
        found = self._claims.get(claim)
        return found.node if found is not None and not found.volume else ""

    def choose(self, pod: str, node: str, claims: Iterable[tuple[str, str]]) -> None:
        """The pod waits on that node for claims that get these volumes: pairs (claim, volume or "")."""
        self.let_go(pod)
        for claim, volume in claims:
            choice = self._claims.setdefault(claim, _Choice(node, volume))
            choice.pods.add(pod)
            self._pods.setdefault(pod, []).append(claim)
            if choice.volume:
                self.volumes[choice.volume] = claim

    def let_go(self, pod: str) -> None:
        """The pod no longer waits. What others wait for, too, stands."""
        for claim in self._pods.pop(pod, ()):
            choice = self._claims.get(claim)
            if choice is not None:
                choice.pods.discard(pod)
                if not choice.pods:
                    self.heard_of_claim(claim)

    def heard_of_claim(self, claim: str) -> None:
        """The claim has changed."""
        choice = self._claims.pop(claim, None)
        if choice is not None:
            self.volumes.pop(choice.volume, None)

    def heard_of_volume(self, volume: str) -> None:
        """The volume has changed."""
        self.heard_of_claim(self.volumes.get(volume, ""))
