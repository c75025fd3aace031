"""Discovery: which groups, versions and resources there are, in the old form and in the aggregated one.

The old form is a document per group and version; the aggregated one holds everything in two, /api and /apis. Clients
ask for the latter by `Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList`.

Source: "API Discovery" in the API concepts of Kubernetes; k8s.io/api/apidiscovery.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

from control.api.catalogue import Catalogue
from control.api.documents import Document, of_json
from control.api.kind import SUBRESOURCES, Kind

Object = dict[str, Any]

GROUP: Final = "apidiscovery.k8s.io"
AGGREGATED_VERSIONS: Final = ("v2", "v2beta1")


class Discovery:
    """The discovery documents of a catalogue, each built when it is first asked for.

    server_address: host and port, for the old /api document.
    """

    def __init__(self, catalogue: Catalogue, server_address: str = "") -> None:
        self._catalogue = catalogue
        self._server_address = server_address
        self._versions: dict[tuple[str, str], Document] = {}
        self._aggregated: dict[tuple[bool, str], Document] = {}

    @cached_property
    def api(self) -> Document:
        """GET /api: versions of the core group."""
        return of_json(
            {
                "kind": "APIVersions",
                "versions": self._catalogue.versions(""),
                "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": self._server_address}],
            }
        )

    @cached_property
    def apis(self) -> Document:
        """GET /apis: all other groups."""
        groups = [_group(self._catalogue, name) for name in self._catalogue.groups() if name]
        return of_json({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})

    def group(self, name: str) -> Document | None:
        """GET /apis/<group>; None: there is no such group."""
        if not name or name not in self._catalogue.groups():
            return None
        return of_json({"kind": "APIGroup", "apiVersion": "v1", **_group(self._catalogue, name)})

    def version(self, group: str, version: str) -> Document | None:
        """GET /api/<version> (group "") or /apis/<group>/<version>; None: there is no such version."""
        if (group, version) not in self._versions:
            kinds = self._catalogue.kinds(group, version)
            if not kinds:
                return None
            self._versions[group, version] = of_json(_resource_list(kinds))
        return self._versions[group, version]

    def aggregated(self, *, core: bool, version: str = "v2") -> Document:
        """GET /api (core) or /apis as APIGroupDiscoveryList. version: one of AGGREGATED_VERSIONS."""
        if (core, version) not in self._aggregated:
            groups = [name for name in self._catalogue.groups() if (not name) == core]
            items = [_group_discovery(self._catalogue, name) for name in groups]
            api_version = f"{GROUP}/{version}"
            value = {"kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}, "items": items}
            content_type = f"application/json;g={GROUP};v={version};as=APIGroupDiscoveryList"
            self._aggregated[core, version] = of_json(value, content_type)
        return self._aggregated[core, version]


def _group(catalogue: Catalogue, name: str) -> Object:
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in catalogue.versions(name)]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _resource_list(kinds: list[Kind]) -> Object:
    resources = [entry for kind in kinds for entry in (_resource(kind), *_subresources(kind))]
    version = kinds[0].api_version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


def _resource(kind: Kind) -> Object:
    entry: Object = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": sorted(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    return entry


def _subresources(kind: Kind) -> list[Object]:
    entries = []
    for name in sorted(kind.subresources):
        api_version, body = kind.subresource_kind(name)
        group, version = split_api_version(api_version)
        entry: Object = {"name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced}
        if (group, version) != (kind.group, kind.version):
            entry |= {"group": group, "version": version}
        entries.append(entry | {"kind": body, "verbs": sorted(SUBRESOURCES[name].verbs)})
    return entries


def _group_discovery(catalogue: Catalogue, name: str) -> Object:
    metadata = {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None}
    versions = [_version_discovery(catalogue.kinds(name, version), version) for version in catalogue.versions(name)]
    return {"metadata": metadata, "versions": versions}


def _version_discovery(kinds: list[Kind], version: str) -> Object:
    return {"version": version, "resources": [_resource_discovery(kind) for kind in kinds], "freshness": "Current"}


def _resource_discovery(kind: Kind) -> Object:
    entry: Object = {
        "resource": kind.plural,
        "responseKind": _response_kind(kind.api_version, kind.name),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": sorted(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.subresources:
        entry["subresources"] = [_subresource_discovery(kind, name) for name in sorted(kind.subresources)]
    return entry


def _subresource_discovery(kind: Kind, name: str) -> Object:
    response = _response_kind(*kind.subresource_kind(name))
    return {"subresource": name, "responseKind": response, "verbs": sorted(SUBRESOURCES[name].verbs)}


def _response_kind(api_version: str, kind: str) -> Object:
    group, version = split_api_version(api_version)
    return {"group": group, "version": version, "kind": kind}


def split_api_version(api_version: str) -> tuple[str, str]:
    """("apps", "v1") of "apps/v1"; the core group is ""."""
    group, _, version = api_version.rpartition("/")
    return group, version
