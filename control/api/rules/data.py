"""Rules for what only holds data: ConfigMaps, Secrets, Events, Leases, Namespaces, Bindings.

Source: these kinds in Kubernetes' API reference; "Types of Secret" of its documentation.
"""

from __future__ import annotations

import base64
import json
from typing import Final

from control.api import names
from control.api.fielderrors import forbidden, invalid, required
from control.api.rules.checks import Causes, at_least, named, unchanged
from control.api.schema import Object
from control.api.status import Cause

MAX_BYTES: Final = 1024 * 1024
_NEEDED: Final = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
}
_TOKEN: Final = "kubernetes.io/service-account-token"
_ACCOUNT: Final = "kubernetes.io/service-account.name"


def _keys(obj: Object, field: str) -> Causes:
    for key in obj.get(field, {}):
        yield from named(names.config_key, key, f"{field}[{key}]")


def _too_big(field: str) -> Cause:
    return Cause("FieldValueTooLong", f"Too long: may not be more than {MAX_BYTES} bytes", field)


def _base64_size(text: str) -> int:
    return len(text) * 3 // 4 - text.count("=", -2)


def check_config_map(obj: Object) -> Causes:
    texts, binary = obj.get("data", {}), obj.get("binaryData", {})
    yield from _keys(obj, "data")
    yield from _keys(obj, "binaryData")
    for key in binary:
        if key in texts:
            yield invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    size = sum(len(text.encode()) for text in texts.values()) + sum(map(_base64_size, binary.values()))
    if size > MAX_BYTES:
        yield _too_big("")


def check_frozen(new: Object, old: Object) -> Causes:
    """ConfigMaps and Secrets that were made immutable."""
    if not old.get("immutable"):
        return
    words = "field is immutable when `immutable` is set"
    for field in ("immutable", "data", "binaryData"):
        if new.get(field) != old.get(field):
            yield forbidden(field, words)


def check_secret(obj: Object) -> Causes:
    data, kind = obj.get("data", {}), obj.get("type", "")
    yield from _keys(obj, "data")
    if sum(map(_base64_size, data.values())) > MAX_BYTES:
        yield _too_big("data")
    for key in _NEEDED.get(kind, ()):
        if key not in data:
            yield required(f"data[{key}]")
    if kind in ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"):
        yield from _is_json(data, _NEEDED[kind][0])
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
        yield required("data[username]")
        yield required("data[password]")
    if kind == _TOKEN and not obj.get("metadata", {}).get("annotations", {}).get(_ACCOUNT):
        yield required(f"metadata.annotations[{_ACCOUNT}]")


def _is_json(data: Object, key: str) -> Causes:
    """The value itself is never shown: it is secret."""
    if key not in data:
        return
    try:
        json.loads(base64.b64decode(data[key]))
    except ValueError:
        yield invalid(f"data[{key}]", "<secret contents redacted>", "must be JSON")


def check_secret_update(new: Object, old: Object) -> Causes:
    yield from unchanged(new.get("type"), old.get("type"), "type")
    yield from check_frozen(new, old)


def check_event(obj: Object) -> Causes:
    """An event lives in the namespace of what it is about; those about cluster-wide objects in any."""
    namespace = obj.get("metadata", {}).get("namespace", "")
    about = obj.get("involvedObject", {})
    given = about.get("namespace", "")
    if given and given != namespace:
        yield invalid("involvedObject.namespace", given, "does not match event.namespace")
    if not given and namespace not in ("default", "kube-system"):
        yield invalid("involvedObject.namespace", given, "does not match event.namespace")


def check_new_event(obj: Object) -> Causes:
    """events.k8s.io is stricter with what it takes."""
    for field in ("reportingController", "reportingInstance", "action", "reason"):
        if not obj.get(field):
            yield required(field)
    if obj.get("type") not in ("Normal", "Warning"):
        yield invalid("type", obj.get("type", ""), "has invalid value: it must be Normal or Warning")
    if len(obj.get("note", "").encode()) > 1024:
        yield invalid("note", "", "can have at most 1024 bytes")


def check_lease(obj: Object) -> Causes:
    spec = obj.get("spec", {})
    yield from at_least(spec, "spec", 1, "leaseDurationSeconds")
    yield from at_least(spec, "spec", 0, "leaseTransitions")


def check_namespace(obj: Object) -> Causes:
    for index, finalizer in enumerate(obj.get("spec", {}).get("finalizers", ())):
        if "/" not in finalizer and finalizer != "kubernetes":
            words = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid(f"spec.finalizers[{index}]", finalizer, words)


def check_binding(obj: Object) -> Causes:
    target = obj.get("target", {})
    if target.get("kind") not in (None, "", "Node"):
        yield invalid("target.kind", target["kind"], 'must be "Node" or empty')
    if not target.get("name"):
        yield required("target.name")
