"""The traces: commands, `----`, and everything that has to come out of them. FLUYT_REWRITE=1 writes down what does
come out.

A rewritten trace is a change of behaviour: read it before it is committed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from raft_interaction import Interaction

TRACES = sorted((Path(__file__).parent / "traces").glob("*.txt"))
RULE = "----"


def blocks(text: str) -> list[tuple[list[str], list[str]]]:
    """(command and comment lines, output lines) of every block; blocks are parted by empty lines."""
    found = []
    for block in text.strip().split("\n\n"):
        lines = block.splitlines()
        at = lines.index(RULE) if RULE in lines else len(lines)
        found.append((lines[:at], lines[at + 1 :]))
    return found


def play(text: str) -> str:
    """The trace with the output that its commands have now."""
    interaction = Interaction()
    played = []
    for commands, _ in blocks(text):
        lines = [line for line in commands if not line.startswith("#")]
        out = [line for command in lines for line in interaction.run(command)]
        if lines and "ok" in out and len(out) > 1:
            out = [line for line in out if line != "ok"] or ["ok"]
        played.append("\n".join([*commands, RULE, *out] if lines else commands))
    return "\n\n".join(played) + "\n"


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_trace(path: Path) -> None:
    text = path.read_text()
    played = play(text)
    if os.environ.get("FLUYT_REWRITE"):
        path.write_text(played)
    else:
        assert played == text


def test_a_wrong_trace_fails() -> None:
    text = "add-nodes 1\n----\nok\n\ncampaign 1\n----\ndropped\n"
    assert play(text) != text


def test_traces_use_every_command() -> None:
    """What no trace uses has no business in the runner."""
    known = {name[3:].replace("_", "-") for name in dir(Interaction) if name.startswith("do_")}
    used = {
        line.split()[0]
        for path in TRACES
        for commands, _ in blocks(path.read_text())
        for line in commands
        if not line.startswith("#")
    }
    assert used == known
