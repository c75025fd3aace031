"""Pods to their workers: what the API server and the folder of static pods say, against what runs on the node.

Invariants: one worker per pod uid; a pod that is of no source any more is wound up, also when it is found only in the
runtime (the agent was away when it was deleted); nothing is wound up before the sources have been heard completely.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from node_agent.node.admission import admit, victims
from node_agent.pod import spec
from node_agent.pod.actions import Verdict
from node_agent.pod.restart import backoff_key
from node_agent.pod.security import ignored
from node_agent.pod.spec import Object
from node_agent.pod.status import Place, rejected_status
from node_agent.shell.context import Context
from node_agent.shell.starter import Starter
from node_agent.shell.view import Seen
from node_agent.shell.worker import Worker

log = logging.getLogger(__name__)


class Dispatch:
    """The pods of one node. node(): the Node object as it is known; pressures(): node conditions that hold."""

    def __init__(
        self,
        context: Context,
        node: Callable[[], Object],
        pressures: Callable[[], frozenset[str]],
        remember: Callable[[Object], None] = lambda pod: None,
        forget: Callable[[str], None] = lambda uid: None,
        last_known: Callable[[str], Object | None] = lambda uid: None,
    ) -> None:
        """remember(pod), forget(uid), last_known(uid): the checkpoint of pods."""
        self.context = context
        self.starter = Starter(context)
        self.workers: dict[str, Worker] = {}
        self._node, self._pressures = node, pressures
        self._remember, self._forget, self._last_known = remember, forget, last_known
        self._refused: set[str] = set()
        self._waiting: dict[str, Object] = {}  # same name as a pod that is being wound up
        self._api_heard = False

    # ---- news ----

    def changed(self, old: Object | None, new: Object | None) -> None:
        """A subscriber of the informer of this node's pods; mirrors are others' business."""
        pod = new if new is not None else old
        if pod is None or spec.is_mirror(pod):
            return
        if old is not None and (new is None or spec.uid(new) != spec.uid(old)):
            self.removed(old)
        if new is not None:
            self.desired(new)

    def desired(self, pod: Object) -> None:
        """The pod is wanted here, as it is now."""
        uid = spec.uid(pod)
        worker = self.workers.get(uid)
        if worker is not None:
            self._remember(pod)
            worker.update(pod)
        elif uid in self._refused:
            if spec.deleting(pod):
                self._begin(pod)
        elif self._same_name(pod):
            self._waiting[uid] = pod
        else:
            self._first(pod)

    def _same_name(self, pod: Object) -> bool:
        """A static pod's successor, or one made anew after a forced deletion, waits for the end of the first."""
        key = (spec.namespace(pod), spec.name(pod))
        return any((spec.namespace(w.pod), spec.name(w.pod)) == key for w in self.workers.values())

    def _first(self, pod: Object) -> None:
        """A pod that has no worker yet: taken, unless the node has no place for it."""
        known = bool(self.context.view.of(spec.uid(pod)).containers)
        if not known and not spec.deleting(pod) and not spec.terminal(pod):
            verdict = self._admit(pod)
            if verdict is not None:
                self._refuse(pod, verdict)
                return
        self._begin(pod)

    def _begin(self, pod: Object) -> None:
        uid = spec.uid(pod)
        self._refused.discard(uid)
        self._remember(pod)
        self._prepare(pod)
        worker = self.workers[uid] = Worker(self.context, self.starter, pod, self._gone)
        worker.wake()

    def _prepare(self, pod: Object) -> None:
        """Back-offs go on as before a restart of the agent; what a new pod asks for in vain is told."""
        seen = self.context.view.of(spec.uid(pod)).containers
        for container in spec.every_container(pod):
            for last in seen.get(container["name"], ())[:1]:
                if last.ended:
                    key = backoff_key(pod, container)
                    self.context.restarts.recall(key, last.attempt, last.started or last.finished)
        if not seen and not spec.deleting(pod) and not spec.terminal(pod):
            for what in ignored(pod):
                self.context.events.warning(pod, "NotEnforced", f"this agent does not enforce the {what} of the pod")

    def removed(self, pod: Object) -> None:
        """The pod is gone from its source."""
        uid = spec.uid(pod)
        self._refused.discard(uid)
        self._waiting.pop(uid, None)
        worker = self.workers.get(uid)
        if worker is not None:
            worker.vanish(pod)
        else:
            self.context.api.forget(uid)

    def heard(self) -> None:
        """All sources have been heard once: what runs here and is of none of them is wound up."""
        self._api_heard = True
        for uid, seen in list(self.context.view.seen.items()):
            if uid not in self.workers:
                self.orphan(uid, seen)

    def orphan(self, uid: str, seen: Seen) -> None:
        """Wind up what the runtime has of a pod that nobody wants."""
        log.info("pod %s_%s(%s) is not wanted any more", seen.name, seen.namespace, uid)
        pod = self._last_known(uid) or _stranger(uid, seen)
        self._begin(pod)
        self.workers[uid].vanish(pod)

    def stirred(self, uid: str) -> None:
        """Something of that pod changed in the runtime or its probes."""
        worker = self.workers.get(uid)
        if worker is not None:
            worker.wake()
        elif self._api_heard and uid in self.context.view.seen and uid not in self._refused:
            self.orphan(uid, self.context.view.of(uid))

    def _gone(self, worker: Worker) -> None:
        self.workers.pop(worker.uid, None)
        self.context.api.forget(worker.uid)
        self._forget(worker.uid)
        for uid, pod in list(self._waiting.items()):
            if not self._same_name(pod):
                del self._waiting[uid]
                self._first(pod)

    # ---- admission ----

    def active(self) -> Iterable[Object]:
        """The pods that hold resources of the node."""
        return [w.pod for w in self.workers.values() if not spec.terminal(w.pod) and w.verdict is None]

    def _admit(self, pod: Object) -> Verdict | None:
        others = list(self.active())
        allocatable = self.context.node.allocatable
        verdict = admit(pod, others, self._node(), allocatable, self._pressures())
        if verdict is None or not verdict.reason.startswith("OutOf"):
            return verdict
        displaced = victims(pod, others, allocatable)
        for other in displaced:
            message = "Preempted in order to admit critical pod"
            self.context.events.warning(other, "Preempting", message)
            self.workers[spec.uid(other)].condemn(Verdict("Preempting", message))
        return None if displaced else verdict

    def _refuse(self, pod: Object, verdict: Verdict) -> None:
        self._refused.add(spec.uid(pod))
        self.context.events.warning(pod, verdict.reason, verdict.message)
        place = Place(self.context.runtime_name, self.context.node.ips)
        status = rejected_status(pod, verdict, place, self.context.now())
        self.context.api.report(pod, status, f"{verdict.reason}: {verdict.message}")

    async def stop(self) -> None:
        """Let go of all pods; what runs goes on."""
        await asyncio.gather(*(worker.stop() for worker in self.workers.values()))


def _stranger(uid: str, seen: Seen) -> Object:
    """A Pod object for what is known by its labels only."""
    names = {c.name for c in seen.every_container()}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": seen.name, "namespace": seen.namespace, "uid": uid},
        "spec": {"containers": [{"name": name} for name in sorted(names)]},
        "status": {},
    }
