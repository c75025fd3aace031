"""How much an image may be, so that a hostile or damaged archive costs an error and not the node."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes and counts. `reserve` is what must stay free on the disk."""

    unpacked: int = 64 * 2**30
    entries: int = 2_000_000
    layers: int = 256
    document: int = 8 * 2**20
    path: int = 4096
    reserve: int = 64 * 2**20


DEFAULT_BOUNDS = Bounds()
