"""Credentials that change while they are used: files are looked at now and then, and read again when they changed.

Invariant: what cannot be read is not used; the credentials at hand are kept, and the files tried again.
Fault assumed: a reader between two writes of a renewal (a certificate without its key).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from control.client.config import Config
from control.client.errors import ConfigError

# Seconds between two looks; a look is a stat of each file.
_EVERY: Final = 5.0

log = logging.getLogger(__name__)


class Renewal:
    """Of one configuration."""

    def __init__(self, config: Config, now: Callable[[], float] = time.monotonic) -> None:
        self._origin, self._now = config.origin, now
        self._stamps = self._look()
        self._next = now() + _EVERY

    def newer(self) -> Config | None:
        """The configuration as the files now have it, if they changed since the last one that could be used."""
        if self._origin is None or self._now() < self._next:
            return None
        self._next = self._now() + _EVERY
        stamps = self._look()
        if stamps == self._stamps:
            return None
        try:
            config = self._origin.read()
            config.ssl_context()
        except (ConfigError, OSError) as problem:
            log.warning("changed credentials cannot be used yet: %s", problem)
            return None
        self._origin, self._stamps = config.origin or self._origin, stamps
        return config

    def _look(self) -> tuple[tuple[int, int], ...]:
        return tuple(_stamp(file) for file in self._origin.files) if self._origin is not None else ()


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_ino)
