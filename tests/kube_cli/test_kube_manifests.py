"""What files and standard input may hold: keys that are no text, what is no text at all, no input."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from control.cli.kube import manifests
from control.cli.kube.kubernetes_yaml import key_text
from kvstore.cli.exits import CommandError

HEAD = "apiVersion: v1\nkind: ConfigMap\n"


def read(folder: Path, rest: str) -> dict[str, Any]:
    path = folder / "x.yaml"
    path.write_text(HEAD + rest)
    return manifests.read([str(path)])[0]


def test_keys_that_are_no_text(tmp_path: Path) -> None:
    found = read(tmp_path, "metadata: {name: a, labels: {1: a, 1.50: b}}\ndata:\n  8080: x\n  yes: y\n  ~key: z\n")
    assert found["metadata"]["labels"] == {"1": "a", "1.5": "b"}
    assert found["data"] == {"8080": "x", "true": "y", "~key": "z"}


def test_times_of_day_are_no_numbers(tmp_path: Path) -> None:
    """YAML 1.1 has 1:30 for 90; the server refused it, or took it for 90 where a number fits."""
    found = read(tmp_path, "metadata: {name: a}\ndata: {a: 1:30, b: 1:30.5, 22:22: c, n: 30, f: 1.5}\n")
    assert found["data"] == {"a": "1:30", "b": "1:30.5", "22:22": "c", "n": 30, "f": 1.5}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (0, "0"),
        (-7, "-7"),
        (False, "false"),
        (1.0, "1"),
        (0.1, "0.1"),
        (123456.7, "123456.7"),
        (1e6, "1e+06"),
        (1234567.5, "1.2345675e+06"),
        (1e-5, "1e-05"),
        (1e300, ".inf"),
        (float("-inf"), "-.inf"),
        (float("nan"), ".nan"),
    ],
)
def test_numbers_are_written_as_go_writes_them(key: float, text: str) -> None:
    assert key_text(key) == text


@pytest.mark.parametrize(("key", "told"), [("null", "null"), ("~", "null"), ("? [a]\n ", "")])
def test_keys_that_cannot_be(tmp_path: Path, key: str, told: str) -> None:
    with pytest.raises(CommandError, match=rf"error parsing .*x\.yaml: .*{told}.* line 5"):
        read(tmp_path, f"metadata: {{name: a}}\ndata:\n {key}: x\n")


def test_standard_input_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `fluyt kube apply -f - <&-`."""
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(CommandError, match="standard input is closed"):
        manifests.read(["-"])


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_standard_input_that_is_no_text(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """Whatever the locale makes of its bytes."""
    given = io.TextIOWrapper(io.BytesIO(b"a: \xff\xfe"), encoding, errors="surrogateescape")
    monkeypatch.setattr("sys.stdin", given)
    with pytest.raises(CommandError, match="standard input is no UTF-8 text"):
        manifests.read(["-"])


def test_a_file_of_a_folder_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff")
    with pytest.raises(CommandError, match=r"a\.yaml is no UTF-8 text"):
        manifests.read([str(tmp_path)])
