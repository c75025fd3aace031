"""The store against the model: random requests, every answer and the whole state compared, restarts in between."""

from __future__ import annotations

from harness.plan import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mvcc_pair import Pair, relative
from mvcc_requests import steps


@settings(max_examples=examples(250), deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(st.lists(steps, max_size=25), st.booleans())
def test_answers_and_state_are_the_models(sequence: list[object], restarts: bool) -> None:
    pair = Pair()
    for req in sequence:
        relative(req, pair.model.revision)
        pair.do(req)
        if restarts:
            pair.start()
            pair.compare_state()
    pair.compare_state()
    pair.compare_events()
    while not pair.store.compact_step(3):
        pair.compare_state()
    pair.compare_state()
    pair.compare_events()
    pair.start()
    pair.compare_state()
