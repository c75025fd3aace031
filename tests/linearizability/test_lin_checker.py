"""The search: histories known to be good and bad, chance against brute force, bounds of time."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Sequence

import pytest

from linearizability.checker import Result, Verdict, check
from linearizability.histories import call, lost, made_by_chance
from linearizability.model import Model, outcome
from linearizability.operations import Compare, Op, Operation, Request, delete, get, put, swap
from linearizability.partition import partition
from linearizability.serial import resolve

A, B = b"a", b"b"


def judge(*history: Operation) -> Verdict:
    """The verdict, without a limit of time."""
    return check(history, time.monotonic).verdict


# (name, history) that some order explains.
GOOD: list[tuple[str, list[Operation]]] = [
    ("nothing at all", []),
    ("one after the other", [call(1, 0, 1, put(A, b"1"), []), call(1, 2, 3, get(A), [(b"1", 1)])]),
    ("a read beside a write sees the old", [call(1, 0, 9, put(A, b"1"), []), call(2, 1, 2, get(A), [])]),
    ("a read beside a write sees the new", [call(1, 0, 9, put(A, b"1"), []), call(2, 1, 2, get(A), [(b"1", 1)])]),
    (
        "two writes that overlap, either may be the last",
        [
            call(1, 0, 5, put(A, b"1"), [(b"2", 1)]),
            call(2, 0, 5, put(A, b"2"), []),
            call(3, 6, 7, get(A), [(b"1", 2)]),
        ],
    ),
    ("an unknown write that happened", [lost(1, 0, put(A, b"1")), call(2, 5, 6, get(A), [(b"1", 1)])]),
    ("an unknown write that did not", [lost(1, 0, put(A, b"1")), call(2, 5, 6, get(A), [])]),
    (
        "an unknown write that happens later",
        [
            lost(1, 0, put(A, b"1")),
            call(2, 5, 6, get(A), []),
            call(2, 7, 8, put(A, b"2"), []),
            call(2, 9, 10, get(A), [(b"1", 2)]),
        ],
    ),
    (
        "an unknown delete",
        [call(1, 0, 1, put(A, b"1"), []), lost(2, 2, delete(A)), call(3, 5, 6, put(A, b"2"), [])],
    ),
    (
        "a swap of two, one wins",
        [
            call(1, 0, 1, put(A, b"0"), []),
            call(2, 2, 5, swap(A, b"0", b"x"), [(b"0", 1)]),
            call(3, 2, 5, swap(A, b"0", b"y"), [(b"x", 2)], ok=False),
        ],
    ),
    (
        "ends and starts at the same moment: no order is implied",
        [call(1, 0, 1, put(A, b"1"), []), call(2, 1, 2, get(A), [])],
    ),
]

# (name, history) that no order explains.
BAD: list[tuple[str, list[Operation]]] = [
    ("a stale read", [call(1, 0, 1, put(A, b"1"), []), call(2, 2, 3, get(A), [])]),
    (
        "a read goes back",
        [
            call(1, 0, 9, put(A, b"1"), []),
            call(2, 1, 2, get(A), [(b"1", 1)]),
            call(3, 3, 4, get(A), []),
        ],
    ),
    ("a value that nobody wrote", [call(1, 0, 1, put(A, b"1"), []), call(2, 2, 3, get(A), [(b"x", 1)])]),
    ("an unknown write seen before it was asked for", [call(2, 0, 1, get(A), [(b"1", 1)]), lost(1, 2, put(A, b"1"))]),
    (
        "an unknown write that happened and then did not",
        [lost(1, 0, put(A, b"1")), call(2, 5, 6, get(A), [(b"1", 1)]), call(2, 7, 8, get(A), [])],
    ),
    (
        "applied twice: the version shows it",
        [call(1, 0, 1, put(A, b"1"), []), call(1, 2, 3, get(A), [(b"1", 2)])],
    ),
    (
        "an unknown write that happened twice",
        [
            lost(1, 0, put(A, b"1")),
            call(2, 2, 3, put(A, b"2"), [(b"1", 1)]),
            call(2, 4, 5, get(A), [(b"1", 3)]),
        ],
    ),
    (
        "an acknowledged write is lost",
        [
            call(1, 0, 1, put(A, b"1"), []),
            call(2, 2, 3, put(A, b"2"), []),
        ],
    ),
    (
        "two swaps of one value both win",
        [
            call(1, 0, 1, put(A, b"0"), []),
            call(2, 2, 5, swap(A, b"0", b"x"), [(b"0", 1)]),
            call(3, 2, 5, swap(A, b"0", b"y"), [(b"0", 1)]),
        ],
    ),
    (
        "a deleted key comes back",
        [
            call(1, 0, 1, put(A, b"1"), []),
            call(1, 2, 3, delete(A), [(b"1", 1)]),
            call(1, 4, 5, get(A), [(b"1", 1)]),
        ],
    ),
]


@pytest.mark.parametrize(("name", "history"), GOOD, ids=[name for name, _ in GOOD])
def test_good(name: str, history: list[Operation]) -> None:
    """Accepted, with an order that holds every finished call."""
    result = check(history, time.monotonic)
    assert result.verdict is Verdict.LINEARIZABLE
    assert sum(not s.operation.pending for p in result.parts for s in p.order) == sum(not o.pending for o in history)


@pytest.mark.parametrize(("name", "history"), BAD, ids=[name for name, _ in BAD])
def test_bad(name: str, history: list[Operation]) -> None:
    """Refused, with the call that did not fit."""
    result = check(history, time.monotonic)
    assert result.verdict is Verdict.ILLEGAL
    assert all(part.stuck is not None for part in result.bad)


def two_keys(left: bytes, right: bytes) -> Request:
    """Both keys in one transaction."""
    return Request((Op("put", A, value=left), Op("put", B, value=right)))


def test_a_transaction_over_two_keys_is_one_thing() -> None:
    """A reader of both keys must not see one without the other, even though each key alone is fine."""
    write = call(1, 0, 9, two_keys(b"1", b"1"), [], [])
    both = call(2, 1, 2, get(A, b"c"), [])
    torn = Operation(2, 1, 2, Request((Op("get", A), Op("get", B))), call(0, 0, 0, get(A), [(b"1", 1)], []).response)
    assert judge(write, both) is Verdict.LINEARIZABLE
    assert judge(write, torn) is Verdict.ILLEGAL


def test_keys_without_a_common_transaction_are_judged_apart() -> None:
    """Parts: by the points, transactions and ranges that join keys."""
    history = [
        call(1, 0, 1, put(A, b"1"), []),
        call(1, 2, 3, put(B, b"1"), []),
        call(1, 4, 5, put(b"x1", b"1"), []),
        call(1, 6, 7, put(b"x2", b"1"), []),
        call(1, 8, 9, get(b"x", b"y"), []),
        call(1, 10, 11, Request((Op("get", b"c"),), (Compare(b"d", "version", "=", 0),)), []),
    ]
    assert [keys for keys, _ in partition(history)] == [(A,), (B,), (b"c", b"d"), (b"x1", b"x2")]


def test_a_search_that_takes_too_long_is_unknown() -> None:
    """Never a pass; a good part beside it does not hide it, a bad part outweighs it."""
    hard = [call(n, 0, 100, put(A, b"%d" % n), [(b"never", 7)]) for n in range(9)]
    hard += [lost(100 + n, 0, put(A, b"u%d" % n)) for n in range(16)]
    ticks = itertools.count()
    slow = check([*hard, *GOOD[1][1]], lambda: float(next(ticks)), 1.0)
    assert slow.verdict is Verdict.UNKNOWN
    bad = [call(1, 0, 1, put(B, b"1"), []), call(2, 2, 3, get(B), [])]
    parts = check(bad, time.monotonic).parts + slow.parts
    assert Result(parts).verdict is Verdict.ILLEGAL


def brute_force(history: Sequence[Operation]) -> bool:
    """Every permutation of every subset that leaves out only what may never have happened."""
    keys = tuple(sorted({op.key for o in history for op in o.request.ops if not op.end}))
    pending = [o for o in history if o.pending]
    finished = [o for o in history if not o.pending]
    for size in range(len(pending) + 1):
        for some in itertools.combinations(pending, size):
            if any(explains(order, Model(keys)) for order in itertools.permutations([*finished, *some])):
                return True
    return False


def explains(order: Sequence[Operation], model: Model) -> bool:
    """Whether that very order respects time and gives the answers."""
    newest = -math.inf
    state = model.initial()
    for operation in order:
        if operation.end < newest:
            return False
        newest = max(newest, operation.start)
        state, answer = model.step(state, operation.request)
        if operation.response is not None and answer != outcome(operation.response):
            return False
    return True


def spoil(chance: random.Random, history: list[Operation]) -> list[Operation]:
    """Answers of two calls of one kind exchanged, or one call moved in time: often wrong, not always."""
    spoiled = list(history)
    answered = [i for i, o in enumerate(spoiled) if o.response is not None]
    if not answered:
        return spoiled
    place = chance.choice(answered)
    one = spoiled[place]
    others = [i for i in answered if spoiled[i].request.ops[0].kind == one.request.ops[0].kind]
    other = chance.choice(others)
    end = max(one.end, spoiled[other].end)
    spoiled[place] = Operation(one.client, one.start, end, one.request, spoiled[other].response)
    return spoiled


def test_chance_against_brute_force(seed: int) -> None:
    """600 small histories, good ones and spoiled ones: the search and the enumeration agree on each."""
    chance = random.Random(seed)
    found = {True: 0, False: 0}
    for _ in range(600):
        history, _ = made_by_chance(chance, calls=chance.randrange(2, 6), clients=3, keys=(A, B), unknown=0.25)
        history = [o for o in history if all(not op.end for op in o.request.ops)] or history[:0]
        if history and chance.random() < 0.7:
            history = spoil(chance, history)
        expected = brute_force(history)
        assert (judge(*history) is Verdict.LINEARIZABLE) == expected, history
        found[expected] += 1
    assert min(found.values()) > 50, found


def test_thousands_of_calls_take_seconds(seed: int) -> None:
    """Ten clients, three keys in one part, one in fifty of unknown outcome: 3,000 calls are judged in ten seconds.

    Doubt is resolved first by the store's history, as in the tests of real clusters.
    """
    history, store = made_by_chance(random.Random(seed), 3000, clients=10, keys=(b"a", b"b", b"c"), unknown=0.02)
    assert check(resolve(history, store.stored), time.monotonic, 10.0).verdict is Verdict.LINEARIZABLE


def test_a_stale_read_after_a_thousand_calls_is_found(seed: int) -> None:
    """All orders have to be tried before the answer is no."""
    history, _ = made_by_chance(random.Random(seed), 1000, clients=4, keys=(A,), unknown=0.0)
    end = max(o.end for o in history)
    stale = call(99, end + 1, end + 2, get(A), [(b"from long ago", 1)])
    assert check([*history, stale], time.monotonic, 20.0).verdict is Verdict.ILLEGAL
