"""Image archives: what `docker save`, `podman save`, `skopeo` and `ctr images export` write. Reads them, trusts
nothing.

Two forms in one tar: docker-archive (manifest.json) and OCI layout (index.json, blobs/). Where both are there,
manifest.json says the names. Every blob that is named by its digest is checked against it; layers are checked
against the configuration's diff_ids while they are unpacked. Source: the OCI image specification (image-layout.md,
manifest.md), Docker's image spec 1.2.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

from node_agent.runtime.errors import BadArchive
from node_agent.runtime.image_store.bounds import Bounds

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_MAX_NESTING = 4


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """One image of an archive. `layers`: members of the archive, lowest first, beside the digest of their plain
    content.
    """

    id: str
    document: bytes
    layers: tuple[tuple[str, str], ...]
    names: tuple[str, ...]


class Archive:
    """An open archive; the file must be seekable and uncompressed (see store.py)."""

    def __init__(self, file: IO[bytes], bounds: Bounds) -> None:
        self._bounds = bounds
        try:
            self._tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115  closed with the file
            members = {member.name.removeprefix("./"): member for member in self._bounded(self._tar)}
        except (tarfile.TarError, ValueError, EOFError, OverflowError) as problem:
            raise BadArchive(f"not a tar archive: {problem}") from problem
        self._members = members

    def _bounded(self, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        for number, member in enumerate(tar):
            if number > self._bounds.entries:
                raise BadArchive(f"more than {self._bounds.entries} files")
            yield member

    @property
    def is_docker(self) -> bool:
        """Whether it has the form that `docker save` writes."""
        return "manifest.json" in self._members

    def images(self) -> list[ArchivedImage]:
        """Raises BadArchive."""
        if self.is_docker:
            return [self._from_manifest(entry) for entry in self._objects(self._json("manifest.json"))]
        if "index.json" in self._members:
            index = self._object(self._json("index.json"))
            return [image for entry in self._manifests(index) for image in self._from_index(entry, 0)]
        raise BadArchive("neither manifest.json (docker save) nor index.json (OCI layout) is in it")

    def layer(self, member: str) -> IO[bytes]:
        """The layer's tar, uncompressed. Raises BadArchive."""
        file = self._open(member)
        magic = file.read(4)
        file.seek(0)
        if magic.startswith(_GZIP):
            return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
        if magic == _ZSTD:
            raise BadArchive(f"layer {member} is compressed with zstd: save the image with gzip or without compression")
        return file

    # docker-archive

    def _from_manifest(self, entry: dict[str, Any]) -> ArchivedImage:
        document = self._blob(self._text(entry, "Config"))
        layers = entry.get("Layers") or []
        names = entry.get("RepoTags") or []
        if not all(isinstance(word, str) for word in (*layers, *names)):
            raise BadArchive("manifest.json: Layers and RepoTags must be lists of strings")
        return self._image(document, tuple(layers), tuple(names))

    # OCI layout

    def _from_index(self, descriptor: dict[str, Any], depth: int) -> list[ArchivedImage]:
        if depth > _MAX_NESTING:
            raise BadArchive("index.json: indexes are nested too deeply")
        manifest = self._object(self._parsed(self._described(descriptor)))
        names = _names_of(descriptor)
        if "manifests" in manifest:
            entry = self._for_this_machine(self._manifests(manifest))
            merged = {**(entry.get("annotations") or {}), **(descriptor.get("annotations") or {})}
            return self._from_index({**entry, "annotations": merged}, depth + 1)
        document = self._described(self._object(manifest.get("config")))
        layers = tuple(_blob_path(self._text(layer, "digest")) for layer in self._objects(manifest.get("layers") or []))
        return [self._image(document, layers, names)]

    def _for_this_machine(self, entries: list[dict[str, Any]]) -> dict[str, Any]:
        machine = _MACHINES.get(platform.machine(), platform.machine())
        present = [entry for entry in entries if _blob_path(str(entry.get("digest"))) in self._members]
        fitting = [each for each in present if (each.get("platform") or {}).get("architecture", machine) == machine]
        if not fitting:
            raise BadArchive(f"no image for {machine} is in it")
        return fitting[0]

    def _manifests(self, index: dict[str, Any]) -> list[dict[str, Any]]:
        return self._objects(index.get("manifests") or [])

    def _described(self, descriptor: dict[str, Any]) -> bytes:
        return self._blob(_blob_path(self._text(descriptor, "digest")))

    # both

    def _image(self, document: bytes, layers: tuple[str, ...], names: tuple[str, ...]) -> ArchivedImage:
        config = self._object(self._parsed(document))
        rootfs = config.get("rootfs")
        diffs = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        if not isinstance(diffs, list) or len(diffs) != len(layers):
            raise BadArchive(f"the configuration lists {len(diffs or ())} layers, the archive {len(layers)}")
        if len(layers) > self._bounds.layers:
            raise BadArchive(f"{len(layers)} layers; the most is {self._bounds.layers}")
        checked = tuple((member, _digest(diff)) for member, diff in zip(layers, diffs, strict=True))
        return ArchivedImage("sha256:" + hashlib.sha256(document).hexdigest(), document, checked, names)

    def _blob(self, path: str) -> bytes:
        data = self._read(path)
        folder, _, name = path.rpartition("/")
        named = name.removesuffix(".json")
        is_digest = folder == "blobs/sha256" or (len(named) == 64 and not folder)
        if is_digest and hashlib.sha256(data).hexdigest() != named:
            raise BadArchive(f"{path} is damaged: its digest is another one")
        return data

    def _read(self, path: str) -> bytes:
        with self._open(path) as file:
            data = file.read(self._bounds.document + 1)
        if len(data) > self._bounds.document:
            raise BadArchive(f"{path} is larger than {self._bounds.document} bytes")
        return data

    def _open(self, path: str) -> IO[bytes]:
        member = self._members.get(path)
        if member is None:
            raise BadArchive(f"{path} is missing")
        try:
            file = self._tar.extractfile(member)
        except (KeyError, RecursionError) as problem:
            raise BadArchive(f"{path} is a link that leads nowhere") from problem
        if file is None:
            raise BadArchive(f"{path} is no file")
        return file

    def _json(self, path: str) -> object:
        return self._parsed(self._read(path))

    @staticmethod
    def _parsed(data: bytes) -> object:
        try:
            return json.load(io.BytesIO(data))
        except (ValueError, RecursionError) as problem:
            raise BadArchive(f"a document in it is no JSON: {problem}") from problem

    @staticmethod
    def _object(value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise BadArchive("a document in it is no JSON object")
        return value

    def _objects(self, value: object) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            raise BadArchive("a document in it is no JSON list")
        return [self._object(each) for each in value]

    @staticmethod
    def _text(document: dict[str, Any], name: str) -> str:
        value = document.get(name)
        if not isinstance(value, str):
            raise BadArchive(f"a document in it lacks the string {name}")
        return value


def _digest(value: object) -> str:
    text = str(value)
    algorithm, _, digits = text.partition(":")
    if algorithm != "sha256" or len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise BadArchive(f"{text[:80]!r} is no sha256 digest")
    return text


def _blob_path(digest: str) -> str:
    return "blobs/sha256/" + _digest(digest).partition(":")[2]


def _names_of(descriptor: dict[str, Any]) -> tuple[str, ...]:
    annotations = descriptor.get("annotations") or {}
    found = [annotations.get(key) for key in _NAME_ANNOTATIONS] if isinstance(annotations, dict) else []
    return tuple(name for name in found if isinstance(name, str) and (":" in name or "/" in name))[:1]
