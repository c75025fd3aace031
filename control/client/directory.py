"""From the names people and programs use for resources to kinds: the built-in ones at once, others by discovery.

What the server was asked is remembered; a name that is not there is asked for again, since custom resources come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from control.api.catalogue import BUILTIN
from control.api.kind import Kind
from control.api.schema import Object
from control.api.status import StatusError

Fetch = Callable[[str, str], Awaitable[Object]]

_AGGREGATED = "g=apidiscovery.k8s.io;as=APIGroupDiscoveryList"
_ACCEPT = f"application/json;v=v2;{_AGGREGATED},application/json;v=v2beta1;{_AGGREGATED},application/json"


class Directory:
    """The kinds that a server serves. fetch(path, accept): a GET."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._kinds: list[Kind] = []
        self._asking = asyncio.Lock()

    async def find(self, resource: str) -> Kind:
        """The kind of "pods", "deployments.apps" or "deployments.v1.apps". Raises StatusError 404, Unreachable."""
        return self._known(resource) or await self._asked(lambda kind: _called(kind, resource), resource)

    async def of_object(self, api_version: str, kind: str) -> Kind:
        """The kind of an object. Raises StatusError 404, Unreachable."""
        found = BUILTIN.by_kind(api_version, kind)
        wanted = (api_version, kind)
        return found or await self._asked(lambda k: (k.api_version, k.name) == wanted, f"{kind} of {api_version}")

    async def all(self) -> list[Kind]:
        """Every kind of the server, as it serves them now, core first; of each group the preferred version first."""
        async with self._asking:
            self._kinds = await self._discover()
        return list(self._kinds)

    def _known(self, resource: str) -> Kind | None:
        return BUILTIN.by_resource(resource) or next((k for k in self._kinds if _called(k, resource)), None)

    async def _asked(self, fits: Callable[[Kind], bool], shown: str) -> Kind:
        for kinds in (self._kinds, await self.all()):
            for kind in kinds:
                if fits(kind):
                    return kind
        raise StatusError(404, "NotFound", f'the server doesn\'t have a resource type "{shown}"')

    async def _discover(self) -> list[Kind]:
        kinds: list[Kind] = []
        for path in ("/api", "/apis"):
            answer = await self._fetch(path, _ACCEPT)
            if answer.get("kind") == "APIGroupDiscoveryList":
                kinds += _aggregated(answer)
            else:
                kinds += await self._one_by_one(path, answer)
        return kinds

    async def _one_by_one(self, path: str, answer: Object) -> list[Kind]:
        """Discovery of servers before Kubernetes 1.26: a document for each version."""
        if path == "/api":
            versions = [("", version) for version in answer.get("versions", ())]
        else:
            versions = [(g["name"], v["version"]) for g in answer.get("groups", ()) for v in g.get("versions", ())]
        kinds: list[Kind] = []
        for group, version in versions:
            document = await self._fetch(
                f"{path}/{group}/{version}" if group else f"{path}/{version}", "application/json"
            )
            kinds += _of_document(group, version, document)
        return kinds


def _called(kind: Kind, resource: str) -> bool:
    return resource in (kind.resource, f"{kind.plural}.{kind.version}.{kind.group}", f"{kind.plural}.{kind.version}")


def _aggregated(answer: Object) -> Iterator[Kind]:
    for group in answer.get("items", ()):
        name = (group.get("metadata") or {}).get("name", "")
        for version in group.get("versions", ()):
            for entry in version.get("resources", ()):
                own = entry.get("responseKind") or {}
                yield Kind(
                    group=name,
                    version=version["version"],
                    name=own.get("kind", ""),
                    plural=entry["resource"],
                    type="",
                    namespaced=entry.get("scope") == "Namespaced",
                    short_names=tuple(entry.get("shortNames") or ()),
                    categories=tuple(entry.get("categories") or ()),
                    subresources=tuple(sub["subresource"] for sub in entry.get("subresources") or ()),
                    verbs=tuple(entry.get("verbs") or ()),
                    singular_name=entry.get("singularResource", ""),
                )


def _of_document(group: str, version: str, document: Object) -> Iterator[Kind]:
    entries: list[dict[str, Any]] = document.get("resources") or []
    for entry in entries:
        if "/" in entry["name"]:
            continue
        below = f"{entry['name']}/"
        yield Kind(
            group=group,
            version=version,
            name=entry["kind"],
            plural=entry["name"],
            type="",
            namespaced=bool(entry.get("namespaced")),
            short_names=tuple(entry.get("shortNames") or ()),
            categories=tuple(entry.get("categories") or ()),
            subresources=tuple(e["name"].removeprefix(below) for e in entries if e["name"].startswith(below)),
            verbs=tuple(entry.get("verbs") or ()),
            singular_name=entry.get("singularName", ""),
        )
