"""Which Python .venv is made with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import interpreter

ROOT = Path(__file__).resolve().parent.parent.parent
VERSION = list(sys.version_info[:2])
NAME = "python{}.{}".format(*VERSION)


def fake(folder: Path, seconds: float, *, usable: bool = True, version: list[int] = VERSION) -> str:
    """An interpreter that claims to have taken so long."""
    folder.mkdir()
    path = folder / NAME
    answer = json.dumps([usable, str(path), version, seconds])
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("times", "chosen"),
    [
        ({"own": 4.0, "other": 3.0}, "other"),
        ({"own": 4.0, "other": 3.9}, "own"),
        ({"own": 4.0, "other": 5.0}, "own"),
        ({"own": 4.0}, "own"),
        ({"other": 3.0}, "own"),
        ({}, "own"),
    ],
)
def test_another_is_taken_where_that_is_worth_it(times: dict[str, float], chosen: str) -> None:
    path, why = interpreter.best("own", times)
    assert path == chosen
    assert bool(why) == (chosen != "own")
    assert not why or ("1.33 times" in why and "FLUYT_PYTHON" in why)


def test_only_what_makes_a_venv_of_the_same_version_takes_part(tmp_path: Path) -> None:
    good = [fake(tmp_path / "slow", 4.0), fake(tmp_path / "quick", 3.0)]
    bad = [
        fake(tmp_path / "in-a-venv", 1.0, usable=False),
        fake(tmp_path / "newer", 1.0, version=[VERSION[0], VERSION[1] + 1]),
        str(tmp_path / "missing"),
        "/bin/false",
        "/bin/echo",
    ]
    assert interpreter.measure([bad[0], good[0], *bad[1:], good[1]]) == dict(zip(good, (4.0, 3.0), strict=True))


def test_a_link_is_the_same_interpreter(tmp_path: Path) -> None:
    one = fake(tmp_path / "one", 4.0)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / NAME).symlink_to(one)
    assert interpreter.measure([one, str(tmp_path / "two" / NAME)]) == {one: 4.0}


def test_the_path_is_searched_for_the_same_version(tmp_path: Path) -> None:
    one, two = fake(tmp_path / "one", 4.0), fake(tmp_path / "two", 3.0)
    found = interpreter.named_alike(os.pathsep.join(str(tmp_path / folder) for folder in ("two", "none", "one", "two")))
    assert found[:2] == [two, one]


def test_this_interpreter_measures_itself() -> None:
    ((path, seconds),) = interpreter.measure([os.path.realpath(sys.executable)]).items()
    assert os.path.samefile(path, sys.executable)
    assert seconds > 0


def test_who_is_asked_for_is_taken(tmp_path: Path) -> None:
    assert interpreter.choose({"FLUYT_PYTHON": "/opt/mine", "PATH": str(tmp_path)}) == ("/opt/mine", "")


def test_a_wrong_path_is_one_line(tmp_path: Path) -> None:
    for name in ("scripts/venv", "pyproject.toml", "scripts/support/interpreter.py", "scripts/support/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    asked = subprocess.run(
        [sys.executable, str(tmp_path / "scripts/venv")],
        env={**os.environ, "FLUYT_PYTHON": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 1
    assert asked.stderr.splitlines()[-1] == (
        f"scripts/venv: can't run {tmp_path / 'none'}: No such file or directory; FLUYT_PYTHON names it"
    )
