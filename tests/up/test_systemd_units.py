"""The units in docs/systemd: every flag exists, every file they name is one that `fluyt credentials` makes."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click
import pytest

from control.up.machines import make_master, make_node
from kvstore.cli.main import cli

UNITS = Path(__file__).resolve().parents[2] / "docs" / "systemd"
ROLES = ("store", "apiserver", "controllers", "scheduler", "agent")


def command_of(role: str, etc: Path, name: str, *, signing: bool = False) -> list[str]:
    """ExecStart with the variables of machine.env, for credentials in that folder. signing: as the comment says."""
    text = (UNITS / f"fluyt-{role}.service").read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    pairs = re.findall(r"^(\w+)=(.*)$", (UNITS / "machine.env").read_text(), re.MULTILINE)
    for variable, value in {**dict(pairs), "NAME": name}.items():
        line = line.replace(f"${{{variable}}}", value)
    (flags,) = re.findall(r"^# (--cluster-signing.*)$", (UNITS / "machine.env").read_text(), re.MULTILINE)
    line = line.replace("$SIGNING", flags if signing else dict(pairs)["SIGNING"])
    assert "$" not in line
    return shlex.split(line.replace("/etc/fluyt", str(etc)))


@pytest.mark.parametrize("signing", [False, True])
@pytest.mark.parametrize("role", ROLES)
def test_what_a_unit_starts(role: str, signing: bool, tmp_path: Path) -> None:
    name, make = ("n1", make_node) if role == "agent" else ("m1", partial(make_master, signing=signing))
    etc = make(tmp_path, name, ["https://10.0.0.1:6443"], ["10.0.0.1"], datetime.now(UTC))
    program, found, *flags = command_of(role, etc, name, signing=signing)
    assert (Path(program).name, found) == ("fluyt", role)
    command = cli.get_command(click.Context(cli), role)
    assert command is not None
    command.make_context(role, list(flags), auto_envvar_prefix=None)
    named = [word.partition("=")[2] for word in flags if str(etc) in word]
    assert named
    assert [path for path in named if not Path(path).is_file()] == []


def test_there_is_a_unit_for_each_part() -> None:
    assert {path.name for path in UNITS.glob("*.service")} == {f"fluyt-{role}.service" for role in ROLES}


def test_containers_are_not_killed_with_their_agent() -> None:
    text = (UNITS / "fluyt-agent.service").read_text()
    assert "KillMode=process" in text
    assert "Delegate=yes" in text
