"""What the scheduler knows, kept up to date change by change: the cluster, the pods that wait, who is promised a place.

Warm in every process, whether it leads or stands by. Pure: objects and the clock come in as arguments.
Invariants: a pod has a place in the cluster (its node, or the one it is assumed on), or is in the queue or in hand, or
is none of ours; what was assumed is believed until the API says otherwise, or the binding failed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from control.api import meta
from control.api.schema import Object
from control.api.status import StatusError
from control.scheduler.cluster import Cluster
from control.scheduler.cycle import Decision, Reserved, decide
from control.scheduler.filters import VOLUME_BINDING
from control.scheduler.pod import Pod, Wanted, pod_of
from control.scheduler.preemption import Budgets, Plan, Search, search
from control.scheduler.queue import SchedulingQueue
from control.scheduler.volumes import Awaited

log = logging.getLogger(__name__)

OVER: Final = ("Succeeded", "Failed")
# What may help whom: a change → the filters whose verdict it may turn.
_POD_GONE: Final = frozenset({"NodeResourcesFit", "NodePorts", "PodTopologySpread", "InterPodAffinity"})
_POD_CAME: Final = frozenset({"PodTopologySpread", "InterPodAffinity"})
_NAMESPACE: Final = frozenset({"InterPodAffinity"})


@dataclass(slots=True)
class Promise:
    """A pod for whom others were told to leave a node; or whose claims are being bound for it, to these volumes."""

    pod: Pod
    node: str
    volumes: tuple[str, ...] = ()


class Model:
    """Fed with changes; asked for the next pod and for decisions."""

    def __init__(self, names: frozenset[str]) -> None:
        """names: of schedulers (spec.schedulerName) whose pods are ours."""
        self.cluster = Cluster()
        self.queue = SchedulingQueue()
        self.promised: dict[str, Promise] = {}
        self._volumes_come: dict[str, Promise] = {}
        self._names = names
        self._assumed: dict[str, tuple[Pod, str]] = {}
        self._budgets: dict[tuple[str, str], Object] = {}
        self._turn = 0

    # ---- what happens

    def pod_changed(self, old: Object | None, new: Object | None, now: float) -> None:
        """A pod came, changed or went."""
        if new is None or _is_over(new):
            if old is not None or new is not None:
                self._pod_gone(meta.uid(new or old or {}), now)
            return
        try:
            pod = pod_of(new)
        except (StatusError, KeyError, TypeError) as problem:
            log.warning("pod %s/%s cannot be understood: %s", meta.namespace(new), meta.name(new), problem)
            return
        if pod.node:
            self._pod_placed(pod, old, now)
        elif new["spec"].get("schedulerName", "default-scheduler") in self._names and not meta.is_deleting(new):
            if pod.uid not in self._assumed:
                self.queue.put(pod, now)
        else:
            self.queue.remove(pod.uid)

    def _pod_gone(self, uid: str, now: float) -> None:
        self.queue.remove(uid)
        self._assumed.pop(uid, None)
        self.promised.pop(uid, None)
        self._choose_anew(uid)
        if uid in self.cluster.placed:
            self.cluster.remove_pod(uid)
            self._news(_POD_GONE, now)
        else:
            self.cluster.remove_pod(uid)

    def _pod_placed(self, pod: Pod, old: Object | None, now: float) -> None:
        fresh = pod.uid not in self.cluster.placed
        self.queue.remove(pod.uid)
        self._assumed.pop(pod.uid, None)
        self.promised.pop(pod.uid, None)
        self._choose_anew(pod.uid)
        self.cluster.add_pod(pod)
        relabelled = old is not None and meta.labels(old) != pod.labels
        if fresh or relabelled:
            self._news(_POD_CAME, now)

    def node_changed(self, old: Object | None, new: Object | None, now: float) -> None:
        """A node came, changed or went. Heartbeats are no news."""
        if new is None:
            self.cluster.remove_node(meta.name(old or {}))
            return
        if old is not None and _of_interest(old) == _of_interest(new):
            return
        try:
            self.cluster.put_node(new)
        except (StatusError, KeyError, TypeError) as problem:
            log.warning("node %s cannot be understood: %s", meta.name(new), problem)
            return
        self._news(None, now)

    def namespace_changed(self, old: Object | None, new: Object | None, now: float) -> None:
        """The labels of a namespace matter to affinity terms."""
        before = meta.labels(old) if old is not None else None
        after = meta.labels(new) if new is not None else None
        if before != after:
            self.cluster.put_namespace(meta.name(new or old or {}), after)
            self._news(_NAMESPACE, now)

    def budget_changed(self, old: Object | None, new: Object | None, now: float) -> None:
        """A PodDisruptionBudget came, changed or went."""
        if new is None:
            self._budgets.pop(meta.key(old or {}), None)
        else:
            self._budgets[meta.key(new)] = new

    def claim_changed(self, old: Object | None, new: Object | None, now: float) -> None:
        """A claim came, changed or went: its pods may have been waiting for that."""
        namespace, name = key = meta.key(new or old or {})
        if _understood(key, lambda: self.cluster.volumes.put_claim(key, new)):
            uses = (Wanted(name, ephemeral=False), Wanted(name, ephemeral=True))
            self._volume_news(now, lambda pod: pod.namespace == namespace and any(w in pod.claims for w in uses))

    def volume_changed(self, old: Object | None, new: Object | None, now: float) -> None:
        """A persistent volume came, changed or went."""
        name = meta.name(new or old or {})
        if _understood(name, lambda: self.cluster.volumes.put_volume(name, new)):
            self._volume_news(now, lambda pod: self.cluster.volumes.concerns(name, pod))

    def class_changed(self, old: Object | None, new: Object | None, now: float) -> None:
        """A storage class came, changed or went."""
        if self.cluster.volumes.put_class(meta.name(new or old or {}), new):
            self._volume_news(now, lambda pod: bool(pod.claims))

    def _volume_news(self, now: float, concerns: Callable[[Pod], bool]) -> None:
        self.cluster.version += 1
        self.queue.happened(lambda failed: VOLUME_BINDING in failed, now, concerns)

    def _news(self, plugins: frozenset[str] | None, now: float) -> None:
        """plugins: whose verdict may be another now; None: anybody's."""
        self.queue.happened(lambda failed: plugins is None or bool(plugins & failed), now)

    # ---- what is decided

    def decide(self, pod: Pod) -> Decision:
        """A node for a pod in hand."""
        self._turn += 1
        self._choose_anew(pod.uid)
        return decide(self.cluster, pod, self._turn, self._reserved())

    def _reserved(self) -> list[Reserved]:
        return [(p.pod, p.node) for promises in (self.promised, self._volumes_come) for p in promises.values()]

    def preempt(self, pod: Pod, decision: Decision) -> Search:
        """In steps: who would have to go for a pod that found no node. A pod that others are leaving for waits."""
        assert decision.diagnosis is not None
        promise = self.promised.get(pod.uid)
        if promise is not None and self._leaving(promise):
            return Plan("")
        self._turn += 1
        budgets = Budgets(list(self._budgets.values()))
        return (yield from search(self.cluster, pod, decision.diagnosis, budgets, self._turn, self._reserved))

    def _leaving(self, promise: Promise) -> bool:
        """Whether somebody of lower priority is on the way out there."""
        row = self.cluster.rows.get(promise.node)
        others = self.cluster.pods[row].values() if row is not None else ()
        return any(other.priority < promise.pod.priority and meta.is_deleting(other.object) for other in others)

    def promise(self, pod: Pod, node: str) -> None:
        """The pod gets a place there when others have left."""
        self.promised[pod.uid] = Promise(pod, node)

    def await_volumes(self, pod: Pod, node: str, awaited: tuple[Awaited, ...], now: float) -> None:
        """The pod keeps its place there, and its claims their volumes, until it can be bound or is decided on anew."""
        chosen = {entry.volume.name: entry.claim.key for entry in awaited if entry.volume is not None}
        self.cluster.volumes.chosen.update(chosen)
        self._volumes_come[pod.uid] = Promise(pod, node, tuple(chosen))
        self.queue.failed(pod.uid, {VOLUME_BINDING}, now)

    def _choose_anew(self, uid: str) -> None:
        promise = self._volumes_come.pop(uid, None)
        for name in promise.volumes if promise is not None else ():
            self.cluster.volumes.chosen.pop(name, None)

    def try_again(self, pod: Pod, now: float) -> None:
        """What was to be written for the pod was not: after its backoff."""
        self._choose_anew(pod.uid)
        self.queue.failed(pod.uid, (), now)

    # ---- what is assumed

    def assume(self, pod: Pod, node: str) -> None:
        """The pod counts as placed while it is being bound."""
        self._assumed[pod.uid] = (pod, node)
        self.cluster.add_pod(pod, node)

    def bound(self, pod: Pod) -> None:
        """The binding was acknowledged; the pod with its node will be heard of. It is not in hand any more."""
        self.queue.remove(pod.uid)

    def binding_failed(self, pod: Pod, now: float) -> None:
        """The pod is where it was: without a node, to be tried again."""
        if self._assumed.pop(pod.uid, None) is None:
            return  # its end, or its node, was heard of meanwhile
        self.cluster.remove_pod(pod.uid)
        self.queue.failed(pod.uid, (), now)
        self._news(_POD_GONE, now)

    def dropped(self, now: float) -> None:
        """A term is over: what was not bound is tried again, by us or by another leader."""
        for pod, _ in list(self._assumed.values()):
            self.binding_failed(pod, now)
        self._volume_news(now, lambda pod: pod.uid in self._volumes_come)


def _understood(name: object, put: Callable[[], bool]) -> bool:
    """Whether it changed anything; what cannot be understood changes nothing."""
    try:
        return put()
    except (StatusError, KeyError, TypeError) as problem:
        log.warning("%s cannot be understood: %s", name, problem)
        return False


def _is_over(pod: Mapping[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") in OVER


def _of_interest(node: Object) -> tuple[Any, ...]:
    status, spec = node.get("status") or {}, node.get("spec") or {}
    return (
        status.get("allocatable"),
        status.get("capacity"),
        status.get("images"),
        spec.get("unschedulable"),
        spec.get("taints"),
        meta.labels(node),
    )
