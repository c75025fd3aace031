"""The store against the model: random requests, every answer and the whole state compared, restarts in between."""

from __future__ import annotations

from harness.plan import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mvcc_pair import Pair, relative
from mvcc_requests import steps


@settings(max_examples=examples(250), deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(st.lists(steps, max_size=25), st.sampled_from([None, (), (1,), (1, 2), (99, 99)]))
def test_answers_and_state_are_the_models(sequence: list[object], restarts: tuple[int, ...] | None) -> None:
    """restarts: whether there is one after each request, and how many keys are then learned each time."""
    pair = Pair()
    for req in sequence:
        relative(req, pair.model.revision)
        pair.do(req)
        if restarts is not None:
            pair.start()
            for most in restarts:
                pair.store.learn(most)
            pair.compare_state()
    pair.compare_state()
    pair.compare_events()
    while not pair.store.compact_step(3):
        pair.compare_state()
    pair.compare_state()
    pair.compare_events()
    pair.start()
    pair.compare_state()


@settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(st.lists(steps, min_size=5, max_size=15), st.lists(steps, max_size=15), st.integers(1, 3))
def test_what_is_learned_while_requests_come_is_what_they_left(
    before: list[object], after: list[object], most: int
) -> None:
    pair = Pair()
    for req in before:
        relative(req, pair.model.revision)
        pair.do(req)
    pair.start()
    for req in after:
        pair.store.learn(most)
        relative(req, pair.model.revision)
        pair.do(req)
    pair.compare_state()
    turns = 0
    while not pair.store.learn(most):
        turns += 1
        assert turns <= 20
    pair.compare_state()
