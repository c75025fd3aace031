"""The OpenAPI documents of a catalogue, each built when it is first asked for and kept as bytes.

Building all of version 2 takes a noticeable part of a second: call it in a thread where a loop must not wait. Building
twice at once is harmless: the bytes are the same.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

from control.api.catalogue import Catalogue
from control.api.documents import Document, of_bytes, of_json
from control.api.kind import Kind
from control.api.openapi import gnostic
from control.api.openapi.dialect import V2, V3
from control.api.openapi.paths import paths_of
from control.api.openapi.schemas import Collector

TITLE: Final = "Kubernetes"

Json = dict[str, Any]


class OpenApi:
    """Documents of one catalogue; make a new one when it changes.

    version: of the server, as "v1.32.0". previous: of an earlier catalogue, whose documents of built-in groups serve.
    """

    def __init__(self, catalogue: Catalogue, version: str, previous: OpenApi | None = None) -> None:
        self._catalogue = catalogue
        self._info = {"title": TITLE, "version": version}
        self._documents: dict[str, Document] = previous.lasting() if previous is not None else {}

    def lasting(self) -> dict[str, Document]:
        """The documents so far of versions that have no custom kinds."""
        custom = {kind.path.strip("/") for kind in self._catalogue if kind.custom}
        return {path: document for path, document in self._documents.items() if path not in custom}

    @cached_property
    def index(self) -> Document:
        """GET /openapi/v3: where the documents are; the hash in the address lets clients cache them for ever."""
        paths = {path: {"serverRelativeURL": self._address(path)} for path in self._paths()}
        return of_json({"paths": paths})

    def document(self, path: str) -> Document | None:
        """GET /openapi/v3/<path>, path as "api/v1" or "apis/apps/v1"; None: there is no such group or version."""
        if path not in self._documents:
            if path not in self._paths():
                return None
            self._documents[path] = self._build(path)
        return self._documents[path]

    @cached_property
    def v2(self) -> Document:
        """GET /openapi/v2 as JSON."""
        return of_json(self._swagger)

    @cached_property
    def v2_protobuf(self) -> Document:
        """GET /openapi/v2 as protobuf (asked for as one of gnostic.ACCEPTED)."""
        return of_bytes(gnostic.encode(self._swagger), gnostic.CONTENT_TYPE)

    def _paths(self) -> dict[str, tuple[str, str]]:
        groups = [(group, version) for group in self._catalogue.groups() for version in self._catalogue.versions(group)]
        return {f"apis/{g}/{v}" if g else f"api/{v}": (g, v) for g, v in groups}

    def _address(self, path: str) -> str:
        document = self.document(path)
        return f"/openapi/v3/{path}?hash={document.hash if document else ''}"

    def _build(self, path: str) -> Document:
        collector = Collector(V3)
        paths = _all_paths(self._catalogue.kinds(*self._paths()[path]), collector)
        head: Json = {"openapi": "3.0.0", "info": self._info}
        return of_json(head | {"paths": paths, "components": {"schemas": collector.schemas}})

    @cached_property
    def _swagger(self) -> Json:
        collector = Collector(V2)
        paths = _all_paths(list(self._catalogue), collector)
        return {"swagger": "2.0", "info": self._info, "paths": paths, "definitions": collector.schemas}


def _all_paths(kinds: list[Kind], collector: Collector) -> dict[str, Json]:
    made: dict[str, Json] = {}
    for kind in kinds:
        made |= paths_of(kind, collector)
    return dict(sorted(made.items()))
