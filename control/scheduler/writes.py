"""The scheduler's writes: bindings, conditions of pods that wait, and what preemption asks for. Every one says why."""

from __future__ import annotations

from typing import Any, Final

from control.api import meta
from control.api.schema import Object
from control.api.status import StatusError
from control.api.volume_binding import BY_CONTROLLER, SELECTED_NODE
from control.client.cause import Cause
from control.client.client import Client
from control.elected.term_end import FenceLost
from control.scheduler.pod import Pod
from control.scheduler.preemption import BY_PREEMPTION, DISRUPTION_TARGET
from control.scheduler.volumes import Claim, Volume

UNSCHEDULABLE: Final = "Unschedulable"
GATED: Final = "SchedulingGated"


class Writes:
    """Writes of one term, through its fenced client. All raise StatusError, Unreachable, FenceLost."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def bind(self, pod: Pod, node: str, feasible: int, nodes: int) -> None:
        """Give the pod its node."""
        binding: Object = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        cause = Cause.of("pods", pod.object, f"scheduled: best of {feasible} of {nodes} nodes")
        try:
            await self._client.create(
                "pods", binding, namespace=pod.namespace, name=pod.name, subresource="binding", cause=cause
            )
        except StatusError as refused:
            raise _lost_or(refused) from None

    async def select_node(self, claim: Claim, node: str, pod: Pod) -> None:
        """Note on a claim where its volume is wanted; only on that very claim."""
        patch: Object = {"metadata": {"uid": claim.uid, "annotations": {SELECTED_NODE: node}}}
        cause = Cause.of("pods", pod.object, f"scheduled: its volume is wanted on {node}")
        try:
            await self._client.patch(
                "persistentvolumeclaims", claim.name, patch, namespace=claim.namespace, cause=cause
            )
        except StatusError as refused:
            raise _lost_or(refused) from None

    async def give_volume(self, volume: Volume, claim: Claim, pod: Pod) -> None:
        """The volume is for that claim; 409 if it is not any more as it was seen. The volume controller binds both."""
        reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.namespace}
        reference |= {"name": claim.name, "uid": claim.uid}
        metadata = {"uid": volume.uid, "resourceVersion": volume.version, "annotations": {BY_CONTROLLER: "yes"}}
        patch: Object = {"metadata": metadata, "spec": {"claimRef": reference}}
        cause = Cause.of("pods", pod.object, f"scheduled: given to claim {claim.namespace}/{claim.name}")
        try:
            await self._client.patch("persistentvolumes", volume.name, patch, cause=cause)
        except StatusError as refused:
            raise _lost_or(refused) from None

    async def waits(self, pod: Pod, message: str, now: str, *, nominated: str | None = None) -> None:
        """The condition that says why the pod has no node; nothing is written if it says so already.

        nominated: the node it is promised; "": none any more; None: that is left as it is.
        """
        status = pod.object.get("status") or {}
        condition = meta.condition(pod.object, "PodScheduled") or {}
        same = condition.get("status") == "False" and condition.get("message") == message
        if same and nominated in (None, status.get("nominatedNodeName") or ""):
            return
        entry = {
            "type": "PodScheduled",
            "status": "False",
            "reason": UNSCHEDULABLE,
            "message": message,
            "lastProbeTime": None,
            "lastTransitionTime": condition.get("lastTransitionTime") if condition.get("status") == "False" else now,
        }
        patch: dict[str, Any] = {"conditions": [entry]}
        if nominated is not None:
            patch["nominatedNodeName"] = nominated or None
        await self._patch_status(pod, patch, Cause.of("pods", pod.object, "no node fits"))

    async def preempt(self, victim: Pod, winner: Pod, now: str) -> None:
        """A pod must leave for a more important one."""
        cause = Cause.of("pods", winner.object, "preemption")
        scheduler = winner.object["spec"].get("schedulerName") or "default-scheduler"
        entry = {
            "type": DISRUPTION_TARGET,
            "status": "True",
            "reason": BY_PREEMPTION,
            "message": f"{scheduler}: preempting to accommodate a higher priority pod",
            "lastProbeTime": None,
            "lastTransitionTime": now,
        }
        await self._patch_status(victim, {"conditions": [entry]}, cause)
        try:
            await self._client.delete("pods", victim.name, namespace=victim.namespace, uid=victim.uid, cause=cause)
        except StatusError as refused:
            if refused.code != 404:
                raise _lost_or(refused) from None

    async def _patch_status(self, pod: Pod, status: Object, cause: Cause) -> None:
        patch = {"metadata": {"uid": pod.uid}, "status": status}
        try:
            await self._client.patch(
                "pods",
                pod.name,
                patch,
                namespace=pod.namespace,
                kind="strategic",
                subresource="status",
                cause=cause,
            )
        except StatusError as refused:
            if refused.code != 404:
                raise _lost_or(refused) from None


def _lost_or(refused: StatusError) -> Exception:
    causes = (refused.details or {}).get("causes") or ()
    if any(cause.get("reason") == "FenceLost" for cause in causes):
        return FenceLost(refused.message)
    return refused
