"""A document that is served as it is: built once, kept as bytes, known by its hash.

Deterministic: the same content gives the same bytes, so every API server of a cluster gives the same ETag and a
client's cache holds whichever answers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Document:
    """content_type: for the header; hash: hex, without quotes."""

    body: bytes
    content_type: str
    hash: str

    @property
    def etag(self) -> str:
        """The ETag header's value."""
        return f'"{self.hash}"'


def of_json(value: Any, content_type: str = "application/json") -> Document:
    """A JSON document with its keys in the order they have."""
    return of_bytes(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), content_type)


def of_bytes(body: bytes, content_type: str) -> Document:
    """A document of those bytes."""
    return Document(body, content_type, hashlib.sha256(body).hexdigest()[:64].upper())
