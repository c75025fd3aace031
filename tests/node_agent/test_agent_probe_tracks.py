"""What results of probes add up to, and back-off delays: by value."""

from __future__ import annotations

from typing import Any

from node_agent.pod.backoff import Backoff
from node_agent.pod.probes import Track, due, probed, recall, tracks_of

Object = dict[str, Any]
EXEC: Object = {"exec": {"command": ["true"]}}


def results(track: Track, text: str) -> str:
    """Feed + and -; the verdicts after each, ? for none."""
    shown = {None: "?", True: "+", False: "-"}
    found = ""
    for result in text:
        track.take(result == "+")
        found += shown[track.verdict]
    return found


def test_readiness_needs_its_thresholds_both_ways() -> None:
    track = Track("readiness", {"successThreshold": 2, "failureThreshold": 3})
    assert results(track, "+-++") == "???+"
    assert results(track, "--+") == "+++"
    assert results(track, "---") == "++-"
    assert results(track, "+") == "-"
    assert results(track, "+") == "+"


def test_liveness_has_its_last_word_on_a_container() -> None:
    track = Track("liveness", {"failureThreshold": 2})
    assert results(track, "-+--") == "?++-"
    assert track.suspended


def test_startup_gates_the_others() -> None:
    tracks = tracks_of({"startupProbe": {"failureThreshold": 2}, "livenessProbe": EXEC, "readinessProbe": EXEC})
    assert [t.kind for t in due(tracks)] == ["startup"]
    assert (probed(tracks).started, probed(tracks).ready) == (False, False)
    tracks["startup"].take(True)
    assert [t.kind for t in due(tracks)] == ["liveness", "readiness"]
    assert (probed(tracks).started, probed(tracks).ready) == (True, False)
    tracks["readiness"].take(True)
    assert probed(tracks).ready


def test_a_startup_probe_that_fails_for_good() -> None:
    tracks = tracks_of({"startupProbe": {"failureThreshold": 1, "terminationGracePeriodSeconds": 5}})
    tracks["startup"].take(False)
    found = probed(tracks)
    assert (found.kill, found.kill_grace) == ("startup", 5.0)
    assert list(due(tracks)) == []


def test_without_probes_a_running_container_is_ready() -> None:
    found = probed(tracks_of({}))
    assert (found.started, found.ready, found.kill) == (True, True, "")


def test_a_restarted_agent_goes_on_from_the_last_status_of_the_same_container() -> None:
    container: Object = {"startupProbe": EXEC, "readinessProbe": EXEC, "livenessProbe": EXEC}
    status = {"containerID": "docker://abc", "started": True, "ready": True}
    tracks = tracks_of(container)
    recall(tracks, status, "abc")
    assert probed(tracks).ready
    assert [t.kind for t in due(tracks)] == ["liveness", "readiness"]
    other = tracks_of(container)
    recall(other, status, "def")
    assert not probed(other).started


def test_back_off() -> None:
    back = Backoff()
    now, delays = 0.0, []
    for _ in range(8):
        back.advance("k", now)
        delays.append(back.delay("k", now))
        now += delays[-1]
    assert delays == [10, 20, 40, 80, 160, 300, 300, 300]
    assert back.delay("k", now + 600) == 300
    assert back.delay("k", now + 901) == 0
    assert back.delay("other", now) == 0
    back.clear("k")
    assert back.delay("k", now) == 0
