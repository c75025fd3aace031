"""Swaps (swap.py) of one log entry, applied many at a time: the puts of those that put are one run (put_run.py).

The compares of each are evaluated when the puts of those before it are in the index, so the answers are those of the
same transactions one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .keyspace import Keyspace
from .put_run import put_run
from .results import PutResult, TxnResult
from .swap import PUT_OP, Swap, chosen, read_swap, run_swap
from .types import EventSink


def swap_run(
    keyspace: Keyspace, sink: EventSink, requests: Iterable[Sequence[Any]], kind: int, most: int
) -> list[TxnResult]:
    """Apply the swaps that the requests begin with, or the first of these; a result for each.

    requests: each begins with its kind and its encoded body, then perhaps the Swap read from that; a TxnRequest is of
    `kind`. most: about how many.
    """
    swaps = _swaps(iter(requests), kind)
    results: list[TxnResult] = []
    while True:
        asked: list[tuple[bool, Swap]] = []
        first = keyspace.revision + 1
        count = put_run(keyspace, sink, _puts(keyspace, swaps, asked), PUT_OP, most)
        for main, (succeeded, _) in zip(range(first, first + count), asked, strict=False):
            results.append(TxnResult(succeeded, [PutResult(main, None)], main, True))
        if len(asked) == count:
            return results
        results.append(run_swap(keyspace, sink, asked[count][1]))


def _swaps(requests: Iterator[Sequence[Any]], kind: int) -> Iterator[Swap]:
    for request in requests:
        if request[0] != kind:
            return
        swap = request[2] if len(request) > 2 else read_swap(request[1])
        if not isinstance(swap, Swap):
            return
        yield swap


def _puts(keyspace: Keyspace, swaps: Iterator[Swap], asked: list[tuple[bool, Swap]]) -> Iterator[tuple[int, bytes]]:
    """The put of each swap, up to one that puts nothing. asked: every swap looked at, and whether its compares hold."""
    for swap in swaps:
        succeeded, op = chosen(keyspace, swap)
        asked.append((succeeded, swap))
        if op is None or op[0] != PUT_OP:
            return
        yield PUT_OP, op[2]
