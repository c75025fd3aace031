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


def swap_run(keyspace: Keyspace, sink: EventSink, requests: Iterable[Sequence[Any]], kind: int) -> list[TxnResult]:
    """Apply the swaps that the requests begin with; a result for each.

    requests: each begins with its kind and its encoded body, then perhaps the Swap read from that; a TxnRequest is of
    `kind`.
    """
    swaps = _swaps(iter(requests), kind)
    results: list[TxnResult] = []
    while True:
        held: list[bool] = []
        waiting: list[Swap] = []  # the one that is no part of this run, and ends it
        before = keyspace.revision
        count = put_run(keyspace, sink, _puts(keyspace, swaps, held, waiting), PUT_OP)
        for main in range(before + 1, before + count + 1):
            results.append(TxnResult(held[main - before - 1], [PutResult(main, None)], main, True))
        if not waiting:
            return results
        results.append(run_swap(keyspace, sink, waiting[0]))


def _swaps(requests: Iterator[Sequence[Any]], kind: int) -> Iterator[Swap]:
    for request in requests:
        if request[0] != kind:
            return
        swap = request[2] if len(request) > 2 else read_swap(request[1])
        if not isinstance(swap, Swap):
            return
        yield swap


def _puts(
    keyspace: Keyspace, swaps: Iterator[Swap], held: list[bool], waiting: list[Swap]
) -> Iterator[tuple[int, bytes]]:
    """The put of each swap, up to one that puts nothing, or whose put the run has not taken."""
    for swap in swaps:
        succeeded, op = chosen(keyspace, swap)
        waiting.append(swap)
        if op is None or op[0] != PUT_OP:
            return
        held.append(succeeded)
        yield PUT_OP, op[2]
        waiting.clear()
