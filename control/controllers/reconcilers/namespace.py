"""Namespace: when one is deleted, all that is in it goes first; what still remains is said in its status.

Invariants: the finalizer goes only after the server itself, asked for every resource, said that nothing is left;
resources of custom kinds count, also those that no informer follows. Faults assumed: servers that lag behind each other
in what they serve. Source: "Namespaces", and the conditions of NamespaceStatus in the API reference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from control.api.schema import Object
from control.controllers.values.actions import NOTHING, Action, Decision, Delete, Key, Read, Update, UpdateStatus
from control.controllers.values.conditions import Condition, set_condition
from control.controllers.values.objects import (
    cause,
    finalizers,
    is_deleting,
    name_of,
    namespace_of,
    same_status,
    spec_of,
    status_of,
    uid_of,
    with_status,
)
from control.controllers.values.observed import Observed

RESOURCE: Final = "namespaces"
FINALIZER: Final = "kubernetes"
# Deletes in one pass.
_BATCH: Final = 500
# Seconds until the server is asked again though nothing changed in the view.
_AGAIN: Final = 5.0
# Kept by the server, not followed by us.
_UNSEEN: Final = ("events",)

Content = Mapping[str, Sequence[Object]]


def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
    """Empty a namespace that is being deleted, and let it go when it is empty."""
    namespace = observed.get(RESOURCE, "", key.name)
    if namespace is None or not is_deleting(namespace) or FINALIZER not in (spec_of(namespace).get("finalizers") or ()):
        return NOTHING
    content, failure = _seen(observed, key.name), observed.failure
    if not content:
        questions = [Read(resource, key.name, limit=_BATCH) for resource in (*_resources(observed), *_UNSEEN)]
        if any(question not in observed.answers for question in questions):
            return Decision(reads=questions)
        content = {question.resource: items for question in questions if (items := _items(observed, question))}
        refusals = [observed.answers[question].message for question in questions if _unanswered(observed, question)]
        if not content and not refusals:
            return Decision([_let_go(namespace)])
        failure = failure or "; ".join(refusals[:1])
    status = _report(namespace, content, failure, now)
    return Decision([*_delete(namespace, content), *status], requeue_after=_AGAIN)


def _resources(observed: Observed) -> list[str]:
    """Every resource whose objects are in namespaces, pods first: they use what is deleted after them."""
    found = {kind.resource for kind in observed.kinds.values() if kind.namespaced}
    return sorted(found, key=lambda resource: (resource != "pods", resource))


def _seen(observed: Observed, name: str) -> Content:
    """What the view shows of the namespace."""
    followed = [resource for resource in _resources(observed) if resource in observed.stores]
    return {resource: found for resource in followed if (found := observed.in_namespace(resource, name))}


def _items(observed: Observed, question: Read) -> list[Object]:
    answer = observed.answers[question].object
    return list(answer.get("items") or ()) if answer is not None else []


def _unanswered(observed: Observed, question: Read) -> bool:
    """The server could not say.

    That it does not know a resource which discovery names is no answer: another server may serve it already. If its
    definition has gone, discovery will say so soon.
    """
    answer = observed.answers[question]
    return answer.object is None and not (question.resource in _UNSEEN and answer.code in (404, 405))


def _delete(namespace: Object, content: Content) -> list[Action]:
    because = cause(RESOURCE, namespace, "namespace deletion: its content goes first")
    name = name_of(namespace)
    actions: list[Action] = [
        Delete(resource, name, name_of(obj), uid_of(obj), because, propagation="Background")
        for resource, objects in content.items()
        for obj in objects
        if not is_deleting(obj)
    ]
    return actions[:_BATCH]


def _let_go(namespace: Object) -> Update:
    spec = spec_of(namespace)
    kept = [finalizer for finalizer in spec.get("finalizers") or () if finalizer != FINALIZER]
    done = {**namespace, "spec": {**spec, "finalizers": kept}}
    return Update(RESOURCE, done, cause(RESOURCE, namespace, "namespace deletion: it is empty"), "finalize")


def _report(namespace: Object, content: Content, failure: str, now: datetime) -> list[Action]:
    status = {**status_of(namespace), "phase": "Terminating"}
    status["conditions"] = _conditions(status_of(namespace).get("conditions") or [], content, failure, now)
    if same_status(status, status_of(namespace)):
        return []
    rule = f"namespace deletion: {sum(map(len, content.values()))} objects remain"
    return [UpdateStatus(RESOURCE, with_status(namespace, status), cause(RESOURCE, namespace, rule))]


def _conditions(before: list[Condition], content: Content, failure: str, now: datetime) -> list[Condition]:
    conditions = before
    for kind, status, reason, message in _sayings(content, failure):
        conditions = set_condition(conditions, kind, status, now, reason=reason, message=message)
    return conditions


def _sayings(content: Content, failure: str) -> Iterator[tuple[str, str, str, str]]:
    yield (
        "NamespaceDeletionDiscoveryFailure",
        "False",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    )
    yield (
        "NamespaceDeletionGroupVersionParsingFailure",
        "False",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    )
    if failure:
        text = f"Failed to delete all resource types, 1 remaining: {failure}"
        yield "NamespaceDeletionContentFailure", "True", "ContentDeletionFailed", text
    else:
        text = "All content successfully deleted, may be waiting on finalization"
        yield "NamespaceDeletionContentFailure", "False", "ContentDeleted", text
    yield _remaining(content)
    yield _holding(content)


def _remaining(content: Content) -> tuple[str, str, str, str]:
    parts = [
        f"{_dotted(resource)} has {len(objects)} resource instances" for resource, objects in sorted(content.items())
    ]
    if not parts:
        return "NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed"
    text = f"Some resources are remaining: {', '.join(parts)}"
    return "NamespaceContentRemaining", "True", "SomeResourcesRemain", text


def _dotted(resource: str) -> str:
    """As Kubernetes writes a resource there: with the dot, also without a group."""
    return resource if "." in resource else f"{resource}."


def _holding(content: Content) -> tuple[str, str, str, str]:
    counts = Counter(name for objects in content.values() for obj in objects for name in finalizers(obj))
    if not counts:
        text = "All content-preserving finalizers finished"
        return "NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers", text
    parts = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(counts.items()))
    text = f"Some content in the namespace has finalizers remaining: {parts}"
    return "NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", text


def wake(resource: str, old: Object | None, new: Object | None, observed: Observed) -> Iterator[Key]:
    """The namespace itself; and that of an object which changed in a namespace that is being deleted."""
    obj: Any = new if new is not None else old
    name = name_of(obj) if resource == RESOURCE else namespace_of(obj)
    namespace = observed.get(RESOURCE, "", name) if name else None
    if namespace is not None and is_deleting(namespace):
        yield Key("", name)
