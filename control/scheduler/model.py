"""What the scheduler knows, kept up to date change by change: the cluster, the pods that wait, who is promised a place.

Warm in every process, whether it leads or stands by. Pure: objects and the clock come in as arguments.
Invariants: a pod has a place in the cluster (its node, or the one it is assumed on), or is in the queue or in hand, or
is none of ours; what was assumed is believed until the API says otherwise, or the binding failed. A pod whose binding
nobody answered has both, its place and a turn to come.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Final

from control.api import meta
from control.api.schema import Object
from control.api.status import StatusError
from control.scheduler.cluster import Cluster
from control.scheduler.cycle import Decision, Diagnosis, Reserved, decide
from control.scheduler.explain import STILL_LEAVING
from control.scheduler.filters import OF_VOLUMES, VOLUME_BINDING
from control.scheduler.news import (
    NAMESPACE,
    NODE_GONE,
    PLACE_FREED,
    POD_CAME,
    POD_GONE,
    is_over,
    nominated,
    of_interest,
)
from control.scheduler.pod import Pod, Wanted, pod_of
from control.scheduler.preemption import Budgets, Plan, Search, leaves_by_preemption, search
from control.scheduler.promises import Promises
from control.scheduler.queue import SchedulingQueue
from control.scheduler.volumes import Awaited

log = logging.getLogger(__name__)

# Seconds that a pod keeps its place whose binding nobody answered: its news, if it is bound, comes within them.
IN_DOUBT: Final = 5.0


class Model:
    """Fed with changes; asked for the next pod and for decisions."""

    def __init__(self, names: frozenset[str]) -> None:
        """names: of schedulers (spec.schedulerName) whose pods are ours."""
        self.cluster = Cluster()
        self.queue = SchedulingQueue()
        self.promises = Promises(self.cluster.volumes)
        self._names = names
        self._assumed: dict[str, tuple[Pod, str]] = {}
        self._budgets: dict[tuple[str, str], Object] = {}
        self._turn = 0

    # ---- what happens

    def pod_changed(self, old: Object | None, new: Object | None, now: float) -> None:
        """A pod came, changed or went."""
        if new is None or is_over(new):
            if old is not None or new is not None:
                self._pod_gone(new or old or {}, now)
            return
        try:
            pod = pod_of(new)
        except (StatusError, KeyError, TypeError) as problem:
            log.warning("pod %s/%s cannot be understood: %s", meta.namespace(new), meta.name(new), problem)
            return
        if pod.node:
            self._pod_placed(pod, old, now)
        elif new["spec"].get("schedulerName", "default-scheduler") in self._names and not meta.is_deleting(new):
            self._pod_waits(pod, old, now)
        else:
            self.queue.remove(pod.uid)
            if self.promises.end(pod.uid):
                self._place_freed(pod.uid, now)

    def _pod_gone(self, pod: Object, now: float) -> None:
        uid = meta.uid(pod)
        had_place = uid in self.cluster.placed or bool((pod.get("spec") or {}).get("nodeName"))
        self.queue.remove(uid)
        self._assumed.pop(uid, None)
        self.cluster.remove_pod(uid)
        if self.promises.end(uid):
            self._place_freed(uid, now)
        elif had_place:
            self._news(POD_GONE, now)

    def _pod_placed(self, pod: Pod, old: Object | None, now: float) -> None:
        _, assumed = self._assumed.pop(pod.uid, (pod, ""))
        fresh = bool(assumed) or pod.uid not in self.cluster.placed
        self.queue.remove(pod.uid)
        self.cluster.add_pod(pod)
        if self.promises.end(pod.uid, pod.node) or assumed not in ("", pod.node):
            self._place_freed(pod.uid, now)
        relabelled = old is not None and meta.labels(old) != pod.labels
        if fresh or relabelled:
            self._news(POD_CAME, now)

    def _pod_waits(self, pod: Pod, old: Object | None, now: float) -> None:
        if self.promises.follow(pod, nominated(old)):
            self._place_freed(pod.uid, now)
        if pod.uid not in self._assumed or self.queue.holds(pod.uid):  # else it is bound, and this is an old view
            self.queue.put(pod, now)

    def node_changed(self, old: Object | None, new: Object | None, now: float) -> None:
        """A node came, changed or went. Heartbeats are no news."""
        if new is None:
            self.cluster.remove_node(meta.name(old or {}))
            self._news(NODE_GONE, now)
            return
        if old is not None and of_interest(old) == of_interest(new):
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
            self._news(NAMESPACE, now)

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
        self.queue.happened(lambda failed: bool(OF_VOLUMES & failed), now, concerns)

    def _news(self, plugins: frozenset[str] | None, now: float) -> None:
        """plugins: whose verdict may be another now; None: anybody's."""
        self.queue.happened(lambda failed: plugins is None or bool(plugins & failed), now)

    def _place_freed(self, uid: str, now: float) -> None:
        """What was kept for that pod is not any more; the pod itself knew of it."""
        self.cluster.version += 1
        self.queue.happened(lambda failed: bool(PLACE_FREED & failed), now, lambda pod: pod.uid != uid)

    # ---- what is decided

    def decide(self, pod: Pod, now: float = 0.0) -> Decision:
        """A node for a pod in hand. What it kept till now it may have again.

        now: for those who wait for what it does not take again; without, they wait out their backoff in any case.
        """
        self._turn += 1
        _, doubted = self._assumed.pop(pod.uid, (pod, ""))
        if doubted:  # nobody has heard of its binding
            self.cluster.remove_pod(pod.uid)
        kept = {doubted, self.promises.choose_anew(pod.uid)}
        decision = decide(self.cluster, pod, self._turn, self._reserved())
        if kept - {"", decision.node}:
            self._place_freed(pod.uid, now)
        return decision

    def _reserved(self) -> list[Reserved]:
        return self.promises.reserved()

    def preempt(self, pod: Pod, decision: Decision, now: float = 0.0) -> Search:
        """In steps: who would have to go for a pod that found no node. A pod that others are leaving for waits; what
        was promised to one for whom nobody can leave is free. now: as in decide().
        """
        assert decision.diagnosis is not None
        if self._still_leaving(pod, decision.diagnosis):
            return Plan("", refusal=STILL_LEAVING, stands=True)
        self._turn += 1
        budgets = Budgets(list(self._budgets.values()))
        plan = yield from search(self.cluster, pod, decision.diagnosis, budgets, self._turn, self._reserved)
        if not plan.node and self.promises.withdraw(pod.uid):
            self._place_freed(pod.uid, now)
        return plan

    def _still_leaving(self, pod: Pod, diagnosis: Diagnosis) -> bool:
        """Whether somebody of lower priority is on the way out where the pod is promised a place that it could take."""
        promise = self.promises.made.get(pod.uid)
        row = self.cluster.rows.get(promise.node) if promise is not None else None
        if promise is None or row is None or diagnosis.hopeless[row]:
            return False
        lower = (other for other in self.cluster.pods[row].values() if other.priority < pod.priority)
        return any(other.uid in promise.victims or leaves_by_preemption(other) for other in lower)

    def promise(self, pod: Pod, node: str, victims: Collection[Pod] = (), now: float = 0.0) -> None:
        """The pod gets a place there when these have left. now: as in decide()."""
        if self.promises.make(pod, node, (victim.uid for victim in victims)):
            self._place_freed(pod.uid, now)

    def preemption_failed(self, pod: Pod, told: Collection[Pod], now: float) -> None:
        """Of those who were to leave only these were told; without any, the promise is void. The pod is tried again."""
        if told:
            self.promises.only_told(pod.uid, (victim.uid for victim in told))
        elif self.promises.withdraw(pod.uid):
            self._place_freed(pod.uid, now)
        self.queue.retry(pod.uid, now)

    def await_volumes(self, pod: Pod, node: str, awaited: tuple[Awaited, ...], now: float) -> None:
        """The pod keeps its place there, and its claims their volumes, until it can be bound or is decided on anew."""
        self.promises.await_volumes(pod, node, awaited)
        self.queue.failed(pod.uid, {VOLUME_BINDING}, now)

    def try_again(self, pod: Pod, now: float) -> None:
        """What was to be written for the pod was not: after its backoff, unless that is under way already."""
        if self.queue.retry(pod.uid, now) and self.promises.choose_anew(pod.uid):
            self._place_freed(pod.uid, now)

    def start_over(self, pod: Pod, now: float) -> None:
        """What was under way for the pod, in whatever state it is, has ended for a reason that is not its own."""
        if not self.queue.holds(pod.uid):
            return
        if self.promises.choose_anew(pod.uid):
            self._place_freed(pod.uid, now)
        if pod.uid in self._assumed:
            self.binding_failed(pod, now)
        else:
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
        self._news(POD_GONE, now)

    def binding_in_doubt(self, pod: Pod, now: float) -> None:
        """Nobody answered, so it may be bound: it keeps its place until that is heard of, or until its next turn."""
        if pod.uid in self._assumed:
            self.queue.later(pod.uid, now + IN_DOUBT)

    def dropped(self, now: float) -> None:
        """A term is over: what was not bound is tried again, by us or by another leader. What was is heard of yet."""
        for pod in [pod for pod, _ in self._assumed.values() if self.queue.holds(pod.uid)] + self.queue.in_hand():
            self.start_over(pod, now)
        for uid in self.promises.made:
            self.promises.only_told(uid, ())  # from now on only what can be seen of them counts
        self._volume_news(now, lambda pod: pod.uid in self.promises.volumes_come)


def _understood(name: object, put: Callable[[], bool]) -> bool:
    """Whether it changed anything; what cannot be understood changes nothing."""
    try:
        return put()
    except (StatusError, KeyError, TypeError) as problem:
        log.warning("%s cannot be understood: %s", name, problem)
        return False
