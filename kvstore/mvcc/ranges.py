"""Range: every option of etcd's RangeRequest, at once or in slices.

Keys and revisions come from a view pinned at one main revision; values are read only of what is answered. A limit
without filter, sorted by key, touches no more keys than it returns. In slices the caller may write in between: the
answer stays that of the pinned revision.
Source: etcd v3 API, RangeRequest; the order of checks and cuts follows etcd's apply.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from kvstore.errors import error
from kvstore.invariant import invariant
from kvstore.pb.etcd_pb2 import RangeRequest

from .encoding import HEADER, HEADER_SIZE, value_of
from .keyspace import Keyspace
from .pinned import PinnedView
from .results import RangeResult
from .rows import read_rows, without_value
from .types import main_of, pack

_ALL_AT_ONCE = 1 << 62

Pair = tuple[bytes, int]  # key, packed revision


def read_range(keyspace: Keyspace, req: RangeRequest, current: int) -> RangeResult:
    """The whole answer. current: the main revision that "now" means (inside a transaction, its own).

    Raises COMPACTED, FUTURE_REVISION.
    """
    revision = _resolve(keyspace, req.revision, current)
    if not req.range_end and not _selects(req):
        return _read_one(keyspace, req, revision, current)
    kvs: list[bytes] = []
    for part in read_slices(keyspace, req, current, _ALL_AT_ONCE):
        kvs += part.kvs
    return RangeResult(current, kvs, part.more, part.count)


def read_slices(
    keyspace: Keyspace, req: RangeRequest, current: int, budget: int, max_bytes: int = _ALL_AT_ONCE
) -> Iterator[RangeResult]:
    """The answer in parts, none of which looks at more than `budget` keys or changes.

    In key order a part also ends with the key-value that brings it to `max_bytes`.

    The last one carries `more` and `count`. The store may be written between two parts. Raises COMPACTED (also later,
    when a compaction passes the revision that is read) and FUTURE_REVISION.
    """
    view = PinnedView(keyspace, _resolve(keyspace, req.revision, current))
    # Hot: of the present nothing has changed yet, and nobody has to look (which would end a batch of rows).
    changed = view.revision < max(current, keyspace.revision) or keyspace.unfinished
    while changed and not view.refresh(budget):
        yield RangeResult(current, [], False, 0)
    count = view.count(req.key, req.range_end)
    if req.count_only:
        yield RangeResult(current, [], False, count)
        return
    answer = (
        _selected(keyspace, view, req, count, budget)
        if _selects(req)
        else _by_key(keyspace, view, req, count, budget, max_bytes)
    )
    for kvs, more in answer:
        yield RangeResult(current, kvs, bool(more), 0 if more is None else count)


def range_size(keyspace: Keyspace, req: RangeRequest) -> int:
    """About how many keys and changes an answer touches: what tells a small range from one that needs slices."""
    size = 0 if req.count_only else _looked_at(req, keyspace.index.count(req.key, req.range_end))
    since = keyspace.revision - req.revision if 0 < req.revision < keyspace.revision and req.range_end else 0
    return size + since


def _resolve(keyspace: Keyspace, wanted: int, current: int) -> int:
    if wanted > current:
        raise error("FUTURE_REVISION")
    revision = wanted if wanted > 0 else current
    if revision < keyspace.compacted:
        raise error("COMPACTED")
    return revision


def _selects(req: RangeRequest) -> bool:
    """Whether keys have to be looked into to tell which ones are answered, and in which order."""
    return req.sort_target != RangeRequest.KEY or _filters(req)


def _filters(req: RangeRequest) -> bool:
    return bool(req.min_mod_revision or req.max_mod_revision or req.min_create_revision or req.max_create_revision)


def _looked_at(req: RangeRequest, count: int) -> int:
    """How many of the range's keys, from the first on, can be part of the answer.

    With another sort target than KEY, but no order and no filter, etcd sorts only the first limit + 1 keys.
    """
    by_key = req.sort_target == RangeRequest.KEY
    if req.limit <= 0 or _filters(req) or not (by_key or req.sort_order == RangeRequest.NONE):
        return count
    return min(count, req.limit if by_key else req.limit + 1)


def _read_one(keyspace: Keyspace, req: RangeRequest, revision: int, current: int) -> RangeResult:
    if revision == current:  # hot: a plain get
        found = keyspace.index.revisions.get(req.key, 0)
    else:
        found = keyspace.revision_at(req.key, pack(revision + 1))
    if not found:
        return RangeResult(current, [], False, 0)
    return RangeResult(current, [] if req.count_only else [_kv(keyspace, found, req.key, req.keys_only)], False, 1)


def _kv(keyspace: Keyspace, revision: int, key: bytes, keys_only: bool) -> bytes:
    record = keyspace.record(revision)
    return without_value(key, revision, record) if keys_only else record[HEADER_SIZE:]


# A part of an answer: key-values, and None for "more" until the last part says it.
_Parts = Iterator[tuple[list[bytes], bool | None]]


def _by_key(keyspace: Keyspace, view: PinnedView, req: RangeRequest, count: int, budget: int, max_bytes: int) -> _Parts:
    """Keys in order, either way; a limit stops the walk."""
    left = req.limit if 0 < req.limit < count else count
    more = left < count
    key, range_end, reverse = req.key, req.range_end, req.sort_order == RangeRequest.DESCEND
    while True:
        keys, revisions = view.page(key, range_end, min(left, budget), reverse=reverse)
        kvs = read_rows(keyspace, keys, revisions, max_bytes, keys_only=req.keys_only)
        left -= len(kvs)
        if not left:
            yield kvs, more
            return
        invariant(kvs, "the range holds fewer keys than were counted in it")
        yield kvs, None
        last = keys[len(kvs) - 1]
        key, range_end = (key, last) if reverse else (last + b"\0", range_end)
        yield from _refreshed(view, budget)


def _selected(keyspace: Keyspace, view: PinnedView, req: RangeRequest, count: int, budget: int) -> _Parts:
    """Filter and sort first, then cut; only what is left is read."""
    rows: list[tuple[int | bytes, Pair]] = []
    key, wanted = req.key, _looked_at(req, count)
    for done in range(0, wanted, budget):
        pairs = list(islice(view.pairs(key, req.range_end), min(budget, wanted - done)))
        rows += [(_sort_value(keyspace, req, pair), pair) for pair in pairs if _passes(keyspace, req, pair)]
        key = pairs[-1][0] + b"\0"
        if done + budget < wanted:
            yield [], None
            yield from _refreshed(view, budget)
    rows.sort(key=_first, reverse=req.sort_order == RangeRequest.DESCEND)
    more = 0 < req.limit < len(rows)
    del rows[req.limit if more else len(rows) :]
    for start in range(0, len(rows), budget):
        if start:
            yield [], None
            yield from _refreshed(view, budget)
        kvs = [_kv(keyspace, revision, name, req.keys_only) for _, (name, revision) in rows[start : start + budget]]
        if start + budget >= len(rows):
            yield kvs, more
            return
        yield kvs, None
    yield [], more


def _refreshed(view: PinnedView, budget: int) -> _Parts:
    while not view.refresh(budget):
        yield [], None


def _first(row: tuple[int | bytes, Pair]) -> int | bytes:
    return row[0]


def _passes(keyspace: Keyspace, req: RangeRequest, pair: Pair) -> bool:
    mod = main_of(pair[1])
    if mod < req.min_mod_revision or (req.max_mod_revision and mod > req.max_mod_revision):
        return False
    if not (req.min_create_revision or req.max_create_revision):
        return True
    create: int = HEADER.unpack_from(keyspace.record(pair[1]))[2]
    return create >= req.min_create_revision and not (req.max_create_revision and create > req.max_create_revision)


def _sort_value(keyspace: Keyspace, req: RangeRequest, pair: Pair) -> int | bytes:
    target = req.sort_target
    if target == RangeRequest.KEY:
        return pair[0]
    if target == RangeRequest.MOD:
        return main_of(pair[1])
    record = keyspace.record(pair[1])
    if target == RangeRequest.VALUE:
        return value_of(record[HEADER_SIZE:])
    _, _, create, version, _, _ = HEADER.unpack_from(record)
    return int(create if target == RangeRequest.CREATE else version)
