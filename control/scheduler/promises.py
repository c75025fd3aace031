"""Places that are kept for pods which wait: others are leaving them, or claims are being bound to volumes there.

What preemption promised follows `status.nominatedNodeName`: a new leader knows what the last one promised, and whose
nomination is taken away keeps no place. Pure. Every change answers whether a place, or a volume, is free by it that was
kept: somebody may have been waiting for that. What was chosen for their claims is in choices.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from control.scheduler.cycle import Reserved
from control.scheduler.pod import Pod
from control.scheduler.volumes import Awaited, Volumes


@dataclass(slots=True)
class Promise:
    """A pod for whom others were told to leave a node; or whose claims are being bound for it.

    victims: uids of those who were told, whether that can be seen of them yet or not.
    """

    pod: Pod
    node: str
    victims: frozenset[str] = frozenset()


class Promises:
    """Of both sorts, by the pod's uid: `made` by preemption, and `volumes_come`."""

    def __init__(self, volumes: Volumes) -> None:
        """volumes: where it is noted which of them are chosen."""
        self.made: dict[str, Promise] = {}
        self.volumes_come: dict[str, Promise] = {}
        self._volumes = volumes

    def reserved(self) -> list[Reserved]:
        """Who keeps a place where."""
        return [(p.pod, p.node) for promises in (self.made, self.volumes_come) for p in promises.values()]

    def make(self, pod: Pod, node: str, victims: Iterable[str] = ()) -> bool:
        """The pod gets a place there when these have left; one that it was promised elsewhere is free."""
        before = self.made.get(pod.uid)
        self.made[pod.uid] = Promise(pod, node, frozenset(victims))
        return before is not None and before.node != node

    def follow(self, pod: Pod, before: str) -> bool:
        """The pod was heard of. before: what it was nominated for when it was heard of last; only what changed since
        counts, because what was promised a moment ago is not in its status yet.
        """
        promise = self.made.get(pod.uid)
        if pod.nominated != before and not pod.nominated:
            return self.withdraw(pod.uid)
        if pod.nominated != before and (promise is None or promise.node != pod.nominated):
            return self.make(pod, pod.nominated)
        if promise is not None:
            promise.pod = pod
        return False

    def withdraw(self, uid: str) -> bool:
        """What preemption promised has no sense any more."""
        return self.made.pop(uid, None) is not None

    def only_told(self, uid: str, victims: Iterable[str]) -> None:
        """No others were told to leave after all."""
        promise = self.made.get(uid)
        if promise is not None:
            promise.victims = frozenset(victims)

    def await_volumes(self, pod: Pod, node: str, awaited: tuple[Awaited, ...]) -> None:
        """The pod keeps its place there, and its claims their volumes."""
        self._volumes.choose(pod, node, awaited)
        self.volumes_come[pod.uid] = Promise(pod, node)

    def choose_anew(self, uid: str) -> str:
        """The pod no longer waits for volumes on this node; "": it did not."""
        promise = self.volumes_come.pop(uid, None)
        self._volumes.chosen.let_go(uid)
        return promise.node if promise is not None else ""

    def end(self, uid: str, node: str = "") -> bool:
        """The pod is gone, or has this node."""
        made = self.made.pop(uid, None)
        kept = {made.node if made is not None else "", self.choose_anew(uid)}
        return bool(kept - {"", node})
