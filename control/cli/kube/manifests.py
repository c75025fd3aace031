"""Objects out of files, folders and standard input: YAML and JSON, several documents, Lists."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from control.api.schema import Object
from control.cli.kube import kubernetes_yaml
from kvstore.cli.exits import CommandError

_ENDINGS: Final = (".yaml", ".yml", ".json")


def read(names: Sequence[str], *, recursive: bool = False) -> list[Object]:
    """The objects of all files, in order; "-" is standard input. Raises CommandError."""
    found: list[Object] = []
    for name in names:
        for shown, text in _texts(name, recursive):
            found += [obj for document in _documents(text, shown) for obj in _flat(document, shown)]
    if not found:
        raise CommandError("no objects passed to apply or create: the files are empty", prefix="error: ")
    return found


def _texts(name: str, recursive: bool) -> Iterator[tuple[str, str]]:
    if name == "-":
        yield "standard input", _decoded(_standard_input(), "standard input")
        return
    if name.startswith(("http://", "https://")):
        raise CommandError(f"{name}: URLs are not fetched; pipe it in: curl -L {name} | fluyt kube … -f -")
    path = Path(name)
    try:
        if path.is_dir():
            files = path.rglob("*") if recursive else path.iterdir()
            for file in sorted(f for f in files if f.suffix in _ENDINGS and f.is_file()):
                yield str(file), _decoded(file.read_bytes(), str(file))
        else:
            yield name, _decoded(path.read_bytes(), name)
    except OSError as problem:
        raise CommandError(f"{problem.filename or name}: {problem.strerror}", prefix="error: ") from None


def _standard_input() -> bytes:
    # A shell's `<&-` leaves a program without one.
    if sys.stdin is None:
        raise CommandError("standard input is closed, and -f - reads it", prefix="error: ")
    return sys.stdin.buffer.read()


def _decoded(text: bytes, shown: str) -> str:
    """Of bytes, as what the locale says of standard input is none of YAML's business."""
    try:
        return text.decode()
    except UnicodeDecodeError as problem:
        raise CommandError(f"{shown} is no UTF-8 text: {problem}", prefix="error: ") from None


def _documents(text: str, shown: str) -> Iterator[Any]:
    try:
        for document in yaml.load_all(text, Loader=kubernetes_yaml.loader()):
            if document is not None:
                yield document
    except yaml.YAMLError as problem:
        where = " ".join(str(problem).split())
        raise CommandError(f"error parsing {shown}: {where}", prefix="error: ") from None


def _flat(document: Any, shown: str) -> Iterator[Object]:
    if not isinstance(document, dict):
        raise CommandError(f"error parsing {shown}: a document is no object", prefix="error: ")
    for field in ("apiVersion", "kind"):
        if not isinstance(document.get(field), str):
            raise CommandError(f"error validating {shown}: an object has no {field}", prefix="error: ")
    if document["kind"].endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _flat(item, shown)
        return
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        raise CommandError(f"error validating {shown}: a {document['kind']} has no metadata.name", prefix="error: ")
    yield document
