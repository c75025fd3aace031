"""The paths of a kind and what each method does there.

kubectl finds a kind's schema by the extension on its paths, and learns from a patch's parameters whether the server
validates fields and dry-runs; generators of clients make methods of the operation ids.
"""

from __future__ import annotations

from typing import Any, Final

from control.api.kind import SUBRESOURCES, Kind
from control.api.openapi import parameters
from control.api.openapi.schemas import GVK, Collector

Json = dict[str, Any]

_METHODS: Final = {"list": "get", "deletecollection": "delete", "connect": "get"}
_VERBS: Final = {"get": "read", "post": "create", "put": "replace"}
_COLLECTION: Final = {"list": "list", "post": "create", "deletecollection": "deletecollection"}
_ITEM: Final = {"get": "get", "put": "update", "patch": "patch", "delete": "delete"}
_PATCHES: Final = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_WRITES: Final = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
_CONNECTS: Final = frozenset({"exec", "attach", "portforward", "proxy"})


def paths_of(kind: Kind, collector: Collector) -> dict[str, Json]:
    """All paths of a kind, those of its subresources among them."""
    made: dict[str, Json] = {}
    collection = {action: verb for action, verb in _COLLECTION.items() if verb in kind.verbs}
    item = {action: verb for action, verb in _ITEM.items() if verb in kind.verbs}
    made[_url(kind)] = _item(kind, collection, collector)
    if kind.namespaced and "list" in kind.verbs:
        made[f"{kind.path}/{kind.plural}"] = _item(kind, {"list": "list"}, collector, everywhere=True)
    if item:
        made[_url(kind) + "/{name}"] = _item(kind, item, collector, named=True)
    for subresource in kind.subresources:
        made |= _subresource(kind, subresource, collector)
    return made


def _url(kind: Kind) -> str:
    return f"{kind.path}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{kind.path}/{kind.plural}"


def _subresource(kind: Kind, name: str, collector: Collector) -> dict[str, Json]:
    url = f"{_url(kind)}/{{name}}/{name}"
    verbs = SUBRESOURCES[name].verbs
    if name in _CONNECTS:
        made = {url: _item(kind, {"connect": "get"}, collector, named=True, subresource=name)}
        if name == "proxy":
            made[url + "/{path}"] = _item(kind, {"connect": "get"}, collector, named=True, subresource=name, rest=True)
        return made
    actions = {action: verb for action, verb in {**_ITEM, "post": "create"}.items() if verb in verbs}
    return {url: _item(kind, actions, collector, named=True, subresource=name)}


def _item(
    kind: Kind,
    actions: dict[str, str],
    collector: Collector,
    *,
    named: bool = False,
    everywhere: bool = False,
    subresource: str = "",
    rest: bool = False,
) -> Json:
    dialect = collector.dialect
    where = (("name", named), ("namespace", kind.namespaced and not everywhere), ("path", rest))
    shared = [parameters.path(name, kind.name, dialect) for name, on in where if on]
    made: Json = {}
    for action in actions:
        suffix = "ForAllNamespaces" if everywhere else "WithPath" if rest else ""
        made[_METHODS.get(action, action)] = _operation(kind, action, subresource, suffix, collector)
    return made | {"parameters": [*shared, parameters.pretty(dialect)]}


def _operation(kind: Kind, action: str, subresource: str, suffix: str, collector: Collector) -> Json:
    api_version, name = kind.subresource_kind(subresource) if subresource else (kind.api_version, kind.name)
    group, _, version = api_version.rpartition("/")
    operation: Json = {
        "tags": [_tag(kind)],
        "description": _describe(kind, action, subresource),
        "operationId": _operation_id(kind, action, subresource, suffix),
        "parameters": parameters.query(action, collector.dialect),
    }
    body = _body(kind, subresource, action, collector)
    if collector.dialect.version == 3:
        _contents_v3(operation, action, body, _answer(kind, subresource, action, collector), collector)
    else:
        _contents_v2(operation, action, body, _answer(kind, subresource, action, collector), collector)
    return operation | {
        "x-kubernetes-action": action,
        GVK: {"group": group, "version": version, "kind": name},
    }


def _body(kind: Kind, subresource: str, action: str, collector: Collector) -> str:
    if action in ("delete", "deletecollection"):
        return collector.body("meta.v1.DeleteOptions", kind.group, kind.version)
    if action == "patch":
        return collector.patch()
    return _own(kind, subresource, collector) if action in ("post", "put") else ""


def _answer(kind: Kind, subresource: str, action: str, collector: Collector) -> str:
    if action in ("delete", "deletecollection"):
        return collector.body("meta.v1.Status", "", "v1")
    if action == "list":
        return collector.list(kind)
    return "" if action == "connect" or subresource == "log" else _own(kind, subresource, collector)


def _own(kind: Kind, subresource: str, collector: Collector) -> str:
    own = SUBRESOURCES[subresource] if subresource else None
    if own is None or not own.kind:
        return collector.kind(kind)
    group, _, version = own.api_version.rpartition("/")
    return collector.body(f"{group.split('.')[0] or 'core'}.{version}.{own.kind}", group, version)


def _contents_v3(operation: Json, action: str, body: str, answer: str, collector: Collector) -> None:
    if body:
        types = _PATCHES if action == "patch" else _WRITES
        content = {media: {"schema": collector.dialect.ref(body)} for media in types}
        operation["requestBody"] = {"content": content}
        if action in ("post", "put", "patch"):
            operation["requestBody"]["required"] = True
    schema = collector.dialect.ref(answer) if answer else {"type": "string"}
    media = "application/json" if answer else "*/*"
    operation["responses"] = {"200": {"description": "OK", "content": {media: {"schema": schema}}}}


def _contents_v2(operation: Json, action: str, body: str, answer: str, collector: Collector) -> None:
    operation["consumes"] = list(_PATCHES if action == "patch" else ("*/*",))
    operation["produces"] = list(_WRITES) if answer else ["*/*"]
    if body:
        parameter: Json = {"name": "body", "in": "body", "schema": collector.dialect.ref(body)}
        if action in ("post", "put", "patch"):
            parameter["required"] = True
        operation["parameters"] = [parameter, *operation["parameters"]]
    schema = collector.dialect.ref(answer) if answer else {"type": "string"}
    operation["responses"] = {"200": {"description": "OK", "schema": schema}}
    operation["schemes"] = ["https"]


def _tag(kind: Kind) -> str:
    return f"{kind.group.split('.')[0] or 'core'}_{kind.version}"


def _describe(kind: Kind, action: str, subresource: str) -> str:
    what = f"{subresource} of the specified {kind.name}" if subresource else kind.name
    return f"{_VERBS.get(action, action)} {what}"


def _operation_id(kind: Kind, action: str, subresource: str, suffix: str) -> str:
    group = "".join(part.capitalize() for part in (kind.group.removesuffix(".k8s.io") or "core").split("."))
    verb = {"connect": "connectGet", "deletecollection": "deleteCollection"}.get(action, _VERBS.get(action, action))
    scope = "Namespaced" if kind.namespaced and suffix != "ForAllNamespaces" else ""
    return f"{verb}{group}{kind.version.capitalize()}{scope}{kind.name}{subresource.capitalize()}{suffix}"
