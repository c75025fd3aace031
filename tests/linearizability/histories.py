"""Histories to judge the judges by: made by hand, and made by chance with a store that cannot be wrong."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from linearizability.model import Model
from linearizability.operations import PENDING, Compare, Kv, Op, Operation, Request, Response, get, put, swap
from linearizability.serial import Event


def call(
    client: int, start: float, end: float, request: Request, *shown: Sequence[tuple[bytes, int]], ok: bool = True
) -> Operation:
    """A finished call that touches one key; shown: for each operation the (value, version) that it saw, or nothing."""
    key = request.ops[0].key
    results = tuple(tuple(Kv(key, value, version) for value, version in cells) for cells in shown)
    return Operation(client, start, end, request, Response(results, ok))


def lost(client: int, start: float, request: Request) -> Operation:
    """A call whose outcome is unknown."""
    return Operation(client, start, PENDING, request)


@dataclass
class Store:
    """One thing at a time, with revisions: what is asked of it is answered right."""

    keys: tuple[bytes, ...]
    revision: int = 1

    def __post_init__(self) -> None:
        self.kvs: dict[bytes, Kv] = {}
        self.stored: dict[int, list[Event]] = {}
        self._model = Model(self.keys)
        self._state = self._model.initial()

    def run(self, request: Request) -> tuple[Response, int]:
        """The answer, and the revision of its header."""
        before = dict(self.kvs)
        self._state, (succeeded, shown) = self._model.step(self._state, request)
        branch = request.success if succeeded else request.failure
        results = tuple(tuple(before[key] for key, _, _ in cells) for cells in shown)
        changed: dict[bytes, Kv | None] = {}
        for op, result in zip(branch, results, strict=True):
            if op.kind == "put":
                changed[op.key] = self._put(op, result)
            elif op.kind == "delete":
                changed.update({kv.key: None for kv in result})
        if changed:
            self.revision += 1
            self.stored[self.revision] = [Event(key, self.revision, kv) for key, kv in changed.items()]
        for key, kv in changed.items():
            if kv is None:
                del self.kvs[key]
            else:
                self.kvs[key] = kv
        return Response(results, succeeded), self.revision

    def _put(self, op: Op, replaced: tuple[Kv, ...]) -> Kv:
        revision = self.revision + 1
        if not replaced:
            return Kv(op.key, op.value, 1, revision, revision)
        return replace(replaced[0], value=op.value, version=replaced[0].version + 1, mod_revision=revision)


def made_by_chance(
    chance: random.Random,
    calls: int,
    clients: int = 5,
    keys: tuple[bytes, ...] = (b"a", b"b"),
    unknown: float = 0.1,
) -> tuple[list[Operation], Store]:
    """A linearizable history: each call takes effect at a moment between its start and its end.

    Some calls are of unknown outcome; half of those never happen. A client goes on under another number after one.
    """
    store = Store(keys)
    moments: list[tuple[float, int]] = []
    spans: list[tuple[int, float, float, Request]] = []
    free = [0.0] * clients
    for number in range(calls):
        client = min(range(clients), key=lambda c: free[c])
        start = free[client] + chance.random()
        end = start + chance.random() * 3
        free[client] = end
        spans.append((client, start, end, _request(chance, keys, b"%d" % number)))
        moments.append((chance.uniform(start, end), number))
    history: list[Operation | None] = [None] * calls
    for _, number in sorted(moments):
        client, start, end, request = spans[number]
        if chance.random() >= unknown:
            response, revision = store.run(request)
            history[number] = Operation(client, start, end, request, response, revision)
            continue
        if chance.random() < 0.5:
            store.run(request)
        history[number] = lost(client, start, request)
    return [operation for operation in history if operation is not None], store


def _request(chance: random.Random, keys: tuple[bytes, ...], value: bytes) -> Request:
    key = chance.choice(keys)
    kind = chance.randrange(6)
    if kind <= 1:
        return put(key, value)
    if kind == 2:
        return get(key)
    if kind == 3:
        return Request((Op("delete", key),))
    if kind == 4:
        return swap(key, b"%d" % chance.randrange(max(int(value), 1)), value)
    absent = tuple(Compare(key, "version", "=", 0) for key in keys)
    return Request(tuple(Op("put", key, value=value + b"-" + key) for key in keys), absent, (Op("get", b"", b"\xff"),))
