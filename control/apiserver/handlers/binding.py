"""POST of a Binding: the scheduler's word on where a pod runs.

Source: "Binding" in the Kubernetes API reference; messages as kube-apiserver's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from control.api import meta
from control.api.schema import Object
from control.api.status import Cause, conflict, invalid, success
from control.apiserver.answer import Answer, json_answer
from control.apiserver.bodies import read_object
from control.apiserver.call import Call
from control.apiserver.conditions import undo
from control.apiserver.request import Review
from control.apiserver.updating import Update, update_object

BINDING: Final = ("v1", "Binding")


async def create(call: Call) -> Answer:
    """A Status, 201. StatusError 409: the pod is bound already or going; 404: there is no such pod."""
    dry_run = call.dry_run
    kind = call.server.resources.catalogue.by_kind(*BINDING)
    assert kind is not None
    body = await read_object(call, kind, *BINDING)
    name = call.info.name or meta.name(body)
    _check(body, name)
    review = Review(call.user, call.info, call.of, "CREATE", body, dry_run=dry_run, warnings=call.warnings)
    try:
        await call.server.security.admission.mutate(review)
        await call.server.security.admission.validate(review)
        binding = review.object or body

        async def make(pod: Object) -> Object:
            return bound(pod, binding)

        await update_object(call, call.namespace, name, Update(make, "binding", raw=True, dry_run=dry_run))
    except BaseException:
        await undo(review)
        raise
    return json_answer(success(), 201)


def _check(binding: Object, name: str) -> None:
    target = binding.get("target") or {}
    causes = []
    if target.get("kind") not in (None, "", "Node", "Minion"):
        message = f'Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"'
        causes.append(Cause("FieldValueNotSupported", message, "target.kind"))
    if not target.get("name"):
        causes.append(Cause("FieldValueRequired", "Required value", "target.name"))
    if causes:
        raise invalid("Binding", name, causes)


def bound(pod: Object, binding: Object) -> Object:
    """The pod on its node. StatusError 409."""
    metadata, name = pod["metadata"], pod["metadata"]["name"]
    given, node = meta.metadata(binding), binding["target"]["name"]
    uid, revision = given.get("uid"), given.get("resourceVersion")
    if uid and uid != metadata["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
        raise conflict("pods/binding", name, why)
    if revision and revision != metadata["resourceVersion"]:
        raise conflict("pods/binding", name)
    if metadata.get("deletionTimestamp"):
        raise conflict("pods/binding", name, f"pod {name} is being deleted, cannot be assigned to a host")
    spec = pod["spec"]
    if spec.get("nodeName"):
        raise conflict("pods/binding", name, f'pod {name} is already assigned to node "{spec["nodeName"]}"')
    if spec.get("schedulingGates"):
        raise conflict("pods/binding", name, f"pod {name} has non-empty .spec.schedulingGates")
    spec["nodeName"] = node
    for annotation, value in (given.get("annotations") or {}).items():
        meta.set_annotation(pod, annotation, value)
    status = pod.setdefault("status", {})
    conditions = status.get("conditions") or []
    status["conditions"] = meta.set_condition(conditions, "PodScheduled", "True", datetime.now(UTC))
    return pod
