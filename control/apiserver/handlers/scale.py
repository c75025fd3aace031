"""/scale: how many replicas, whatever kind of object it is.

Source: autoscaling/v1 Scale in the Kubernetes API reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from control.api.copying import copied
from control.api.kind import Kind
from control.api.schema import Object
from control.api.selectors import label_selector_of, selector_of_labels
from control.api.status import Cause, bad_request, conflict, invalid, no_such_path
from control.api.validate import check_body
from control.apiserver import conversion
from control.apiserver.answer import Answer
from control.apiserver.bodies import checked, read_object
from control.apiserver.call import Call
from control.apiserver.conditions import expected_revision, undo
from control.apiserver.handlers.get import find
from control.apiserver.handlers.patch import APPLY, patcher, read_patch
from control.apiserver.negotiate import form_of
from control.apiserver.rendering import show
from control.apiserver.request import Review
from control.apiserver.updating import Update, update_object

SCALE: Final = ("autoscaling/v1", "Scale")


def scale_kind(call: Call) -> Kind:
    """The kind of the Scale body."""
    kind = call.server.resources.catalogue.by_kind(*SCALE)
    assert kind is not None
    return kind


def scale_of(kind: Kind, obj: Object) -> Object:
    """The Scale that an object has."""
    places, metadata = kind.scale, obj["metadata"]
    if places is None:
        raise no_such_path()
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    scale: Object = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: metadata[field] for field in kept if field in metadata},
        "spec": {"replicas": dig(obj, places.spec) or 0},
        "status": {"replicas": dig(obj, places.status) or 0},
    }
    selector = _selector(dig(obj, places.selector)) if places.selector else ""
    if selector:
        scale["status"]["selector"] = selector
    return scale


def _selector(found: Any) -> str:
    if isinstance(found, str) or not found:
        return found or ""
    if "matchLabels" in found or "matchExpressions" in found:
        return str(label_selector_of(found))
    return str(selector_of_labels(found))


def dig(obj: Object, path: str) -> Any:
    """The value at a path as ".spec.replicas", None where it ends early."""
    at: Any = obj
    for part in path.strip(".").split("."):
        at = at.get(part) if isinstance(at, dict) else None
    return at


def bury(obj: Object, path: str, value: Any) -> None:
    """Set the value at a path, making what lies on the way."""
    *way, last = path.strip(".").split(".")
    at = obj
    for part in way:
        at = at.setdefault(part, {})
    at[last] = value


async def get(call: Call) -> Answer:
    """The Scale. StatusError 404."""
    cached = await find(call, call.namespace, call.info.name)
    scale = scale_of(call.of, conversion.from_stored(call.of, cached.object()))
    return show(scale_kind(call), scale, form_of(call.headers.get("accept", "")))


async def update(call: Call) -> Answer:
    """PUT: the Scale afterwards. StatusError 404, 409, 422."""
    dry_run = call.dry_run
    body = await read_object(call, scale_kind(call), *SCALE)
    return await _change(call, lambda _: copied(body), expected_revision(call.of, body, "scale"), dry_run)


async def patch(call: Call) -> Answer:
    """PATCH: likewise."""
    dry_run, value, kind = call.dry_run, await read_patch(call), scale_kind(call)
    if call.content_type == APPLY:
        return await _change(call, lambda scale: checked(call, kind, _applied(scale, value), (), *SCALE), 0, dry_run)
    change = patcher(call.content_type, kind, value)
    return await _change(call, lambda scale: checked(call, kind, change(scale), (), *SCALE), 0, dry_run)


def _applied(scale: Object, config: Any) -> Object:
    """Server-side apply of a Scale has one field to own."""
    if not isinstance(config, dict):
        raise bad_request("a Scale object is expected")
    replicas = (config.get("spec") or {}).get("replicas")
    return {**scale, "spec": {"replicas": replicas if replicas is not None else scale["spec"]["replicas"]}}


async def _change(call: Call, change: Callable[[Object], Object], expected: int, dry_run: bool) -> Answer:
    review: Review | None = None

    async def make(old: Object) -> Object:
        nonlocal review
        before = scale_of(call.of, old)
        after = change(copied(before))
        given = after.get("metadata", {}).get("resourceVersion")
        if not expected and given not in (None, "", before["metadata"]["resourceVersion"]):
            raise conflict(call.of.resource, call.info.name)
        review = Review(call.user, call.info, call.of, "UPDATE", after, before, {}, dry_run, call.warnings)
        check_body(scale_kind(call), after)
        await call.server.security.admission.mutate(review)
        await call.server.security.admission.validate(review)
        bury(old, _places(call.of), _replicas(call.info.name, review.object or after))
        return old

    update = Update(make, "", expected, admit=False, dry_run=dry_run)
    try:
        obj = await update_object(call, call.namespace, call.info.name, update)
    except BaseException:
        if review is not None:
            await undo(review)
        raise
    return show(scale_kind(call), scale_of(call.of, obj), form_of(call.headers.get("accept", "")))


def _places(kind: Kind) -> str:
    if kind.scale is None:
        raise no_such_path()
    return kind.scale.spec


def _replicas(name: str, scale: Object) -> int:
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        message = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid("Scale.autoscaling", name, [Cause("FieldValueInvalid", message, "spec.replicas")])
    return int(replicas)
