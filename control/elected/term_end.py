"""How the work of a term ends: it is cancelled, or a write is refused because another leads."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


class FenceLost(Exception):
    """A write was refused because this term of leadership is over."""


def explain(ended: object, what: str) -> None:
    """Say why the work of a term ended; mistakes of ours are raised.

    ended: what its task came to. what: the program, for the log.
    """
    if isinstance(ended, BaseExceptionGroup):
        lost, other = ended.split(FenceLost)
        if other is not None:
            raise other
        if lost is not None:
            log.warning("%s: a write was refused, because the term is over", what)
        return
    log.warning("%s: the term is over; standing by", what)
