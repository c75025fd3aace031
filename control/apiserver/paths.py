"""From an HTTP request line to what it is about.

Source: "API Concepts" of the Kubernetes documentation; Kubernetes' RequestInfo, as RBAC rules are written against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qs

from control.api.status import StatusError, bad_request
from control.apiserver.request import RequestInfo

_VERBS: Final = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# What may follow a namespace's name without being a resource in it.
_NAMESPACE_SUBRESOURCES: Final = frozenset({"status", "finalize"})
_MOST_PARAMETERS: Final = 200
TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})


def parse(method: str, path: str, query_string: bytes) -> RequestInfo:
    """What a request is about; a path that has not the form of a resource gives one without `resource`."""
    query = parse_query(query_string)
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:
        return _resource(method, path, query, "", parts[1], parts[2:])
    if parts[:1] == ["apis"] and len(parts) > 3:
        return _resource(method, path, query, parts[1], parts[2], parts[3:])
    return RequestInfo(method.lower(), path, method, query=query)


def parse_query(query_string: bytes) -> Mapping[str, Sequence[str]]:
    """The parameters. StatusError 400 for what is no query string."""
    if not query_string:
        return {}
    try:
        return parse_qs(
            query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS
        )
    except ValueError as problem:
        raise bad_request(f"the query string cannot be read: {problem}") from None


def _resource(
    method: str, path: str, query: Mapping[str, Sequence[str]], group: str, version: str, parts: list[str]
) -> RequestInfo:
    verb = _VERBS.get(method, method.lower())
    if parts[0] == "watch" and len(parts) > 1:
        parts, verb = parts[1:], "watch"
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:
            parts = parts[2:]
    resource, name, subresource = (*parts[:3], "", "", "")[:3]
    rest = "/".join(parts[3:])
    if rest and subresource == "proxy" and path.endswith("/"):
        rest += "/"
    if not name:
        verb, name = _collection_verb(verb, query)
    return RequestInfo(verb, path, method, group, version, resource, subresource, namespace, name, rest, query)


def _collection_verb(verb: str, query: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """(verb, name) of a request to a collection; a list of one name is about that name."""
    name = ""
    if verb in ("get", "watch"):
        verb = "watch" if verb == "watch" or flag(query, "watch") else "list"
        name = _named(query.get("fieldSelector", [""])[0])
    elif verb == "delete":
        verb = "deletecollection"
    return verb, name


def _named(selector: str) -> str:
    """The name that a field selector asks for, when it does by metadata.name=."""
    for part in selector.split(","):
        field, equals, value = part.partition("=")
        if field == "metadata.name" and equals:
            return value.removeprefix("=")
    return ""


def flag(query: Mapping[str, Sequence[str]], name: str) -> bool:
    """A boolean parameter; "" counts as true, as in Go's forms a bare name does for the API server."""
    values = query.get(name)
    return values is not None and (values[0] in TRUE or values[0] == "")


def number(info: RequestInfo, name: str) -> int | None:
    """A whole number parameter that may not be negative; None without it. StatusError 400 for anything else."""
    text = info.parameter(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise _bad(name, text)
    return int(text)


def _bad(name: str, text: str) -> StatusError:
    return bad_request(f"{name}: Invalid value: {text!r}: must be a whole number that is not negative")
