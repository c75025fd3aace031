"""The query and path parameters of requests, by the kind of action they belong to.

Source: the parameters in the API reference of Kubernetes 1.32.
"""

from __future__ import annotations

from typing import Any, Final

from control.api.openapi.dialect import Dialect

Json = dict[str, Any]

_LIST: Final = {
    "allowWatchBookmarks": ("boolean", "send bookmarks while watching"),
    "continue": ("string", "the token of the previous page"),
    "fieldSelector": ("string", "only objects whose fields match"),
    "labelSelector": ("string", "only objects whose labels match"),
    "limit": ("integer", "objects in one answer at most"),
    "resourceVersion": ("string", "the revision to read or to watch from"),
    "resourceVersionMatch": ("string", "how resourceVersion applies to a list: NotOlderThan or Exact"),
    "sendInitialEvents": ("boolean", "begin a watch with the objects that are there"),
    "timeoutSeconds": ("integer", "how long the call may take"),
    "watch": ("boolean", "stream changes instead of listing"),
}
_WRITE: Final = {
    "dryRun": ("string", "All: check everything, write nothing"),
    "fieldManager": ("string", "the name of the owner of the fields this request sets"),
    "fieldValidation": ("string", "what unknown or duplicate fields cause: Ignore, Warn or Strict"),
}
_DELETE: Final = {
    "dryRun": _WRITE["dryRun"],
    "gracePeriodSeconds": ("integer", "seconds before the object is deleted"),
    "ignoreStoreReadErrorWithClusterBreakingPotential": ("boolean", "delete even what cannot be read"),
    "orphanDependents": ("boolean", "deprecated: use propagationPolicy"),
    "propagationPolicy": ("string", "what becomes of dependents: Orphan, Background or Foreground"),
}

BY_ACTION: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "get": {},
    "list": _LIST,
    "post": _WRITE,
    "put": _WRITE,
    "patch": _WRITE | {"force": ("boolean", "take fields from their owners; for apply only")},
    "delete": _DELETE,
    "deletecollection": _DELETE | {name: _LIST[name] for name in _LIST if name not in ("allowWatchBookmarks", "watch")},
    "connect": {},
}

_PATH: Final = {
    "name": "name of the {kind}",
    "namespace": "the object's namespace, as for teams and projects",
    "path": "the rest of the path, for the proxied server",
}


def query(action: str, dialect: Dialect) -> list[Json]:
    """The query parameters of an action, sorted by name."""
    found = BY_ACTION[action]
    return [_parameter(name, "query", *found[name], dialect) for name in sorted(found)]


def path(name: str, kind: str, dialect: Dialect) -> Json:
    """A parameter of the path itself: name, namespace or path."""
    return _parameter(name, "path", "string", _PATH[name].format(kind=kind), dialect) | {"required": True}


def pretty(dialect: Dialect) -> Json:
    """The parameter that all requests have."""
    return _parameter("pretty", "query", "string", "true: indent the answer", dialect)


def _parameter(name: str, where: str, type_: str, description: str, dialect: Dialect) -> Json:
    head: Json = {"name": name, "in": where, "description": description}
    typed: Json = {"type": type_, "uniqueItems": True}
    return head | ({"schema": typed} if dialect.version == 3 else typed)
