"""From a pod template to a pod, and telling whether two templates are the same.

Invariant: the hash of a template depends on its content alone, not on the order of keys, the process or the version of
Python, because names of ReplicaSets and ControllerRevisions are made of it and must be found again after a fail-over.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from control.api.copying import copied
from control.api.schema import Object
from control.controllers.values.objects import name_of, namespace_of, owner_reference

TEMPLATE_HASH: Final = "pod-template-hash"
# Letters and digits that spell no words; the same that generateName uses.
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
# A generated name must leave room for its suffix of five.
_LONGEST_PREFIX: Final = 58


def stable_hash(value: Any, collisions: int | None = None) -> str:
    """Ten letters that stand for a JSON value; another collision count gives others."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(f"{text}/{collisions or 0}".encode()).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:10])


def same_template(one: Object, other: Object) -> bool:
    """Whether two pod templates make the same pods; the hash label of a ReplicaSet's does not count."""
    return without_hash(one) == without_hash(other)


def without_hash(template: Object) -> Object:
    """The template without the label that carries its hash."""
    metadata = dict(template.get("metadata") or {})
    metadata["labels"] = {k: v for k, v in (metadata.get("labels") or {}).items() if k != TEMPLATE_HASH}
    # The API server writes null here for templates that came in as protobuf.
    metadata = {k: v for k, v in metadata.items() if v and k != "creationTimestamp"}
    return {"metadata": metadata, "spec": template.get("spec") or {}}


def pod_from(template: Object, owner: Object, *, name: str = "") -> Object:
    """A pod of that template, controlled by the owner; without a name the server makes one of the owner's."""
    metadata = template.get("metadata") or {}
    made: dict[str, Any] = {"namespace": namespace_of(owner), "ownerReferences": [owner_reference(owner)]}
    if name:
        made["name"] = name
    else:
        made["generateName"] = prefix_of(name_of(owner))
    for part in ("labels", "annotations"):
        if metadata.get(part):
            made[part] = dict(metadata[part])
    if metadata.get("finalizers"):
        made["finalizers"] = list(metadata["finalizers"])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": made, "spec": copied(template.get("spec") or {})}


def prefix_of(name: str) -> str:
    """The generateName of what belongs to an object of that name."""
    return f"{name[:_LONGEST_PREFIX]}-"
