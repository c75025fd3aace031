"""fluyt image, on a node's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from runtime_conformance import image_tar as archives

from control.cli.image import image
from kvstore.cli.exits import CommandError
from node_agent.runtime.image_store.store import ImageStore


def fluyt(*arguments: object) -> str:
    result = CliRunner().invoke(image, [str(each) for each in arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def test_load_list_remove(tmp_path: Path) -> None:
    archive = archives.docker_archive(tmp_path / "a.tar", "web:1", [archives.layer(archives.entry("a", b"1"))])
    node = ("--root-dir", tmp_path / "node")
    assert fluyt("load", archive, *node) == "Loaded image: docker.io/library/web:1\n"
    rows = json.loads(fluyt("list", "-o", "json", *node))
    assert [row["names"] for row in rows] == [["docker.io/library/web:1"]]
    table = fluyt("list", *node).splitlines()
    assert table[1].split() == ["docker.io/library/web:1", rows[0]["id"][7:19], "1B"]
    record = tmp_path / "node" / "runtime" / "containers" / "c" / "record.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"image_id": rows[0]["id"]}))
    with pytest.raises(CommandError, match="used by a container"):
        fluyt("remove", "web:1", *node)
    record.unlink()
    assert "Removed: docker.io/library/web:1" in fluyt("remove", "web:1", *node)
    with pytest.raises(CommandError, match="is not there"):
        fluyt("remove", "web:1", *node)


@pytest.mark.parametrize("words", [("list",), ("remove", "web:1")])
def test_a_folder_that_was_mistyped_stays_as_it_is(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "node").mkdir()
    for wrong in ("nod", "node"):
        with pytest.raises(CommandError, match=f"{wrong} holds no images"):
            fluyt(*words, "--root-dir", tmp_path / wrong)
    assert [path.name for path in tmp_path.rglob("*")] == ["node"]
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="file/node holds no images"):
        fluyt(*words, "--root-dir", tmp_path / "file" / "node")


def test_refusals_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"missing\.tar: No such file"):
        fluyt("load", tmp_path / "missing.tar", "--root-dir", tmp_path)
    (tmp_path / "bad.tar").write_bytes(b"no tar")
    with pytest.raises(CommandError, match="not a tar archive"):
        fluyt("load", tmp_path / "bad.tar", "--root-dir", tmp_path)


def test_what_is_removed_stays_so(tmp_path: Path) -> None:
    """A pod that wanted it had it back from incoming/."""
    node = ("--root-dir", tmp_path / "node")
    store = ImageStore(tmp_path / "node" / "runtime")
    store.prepare()
    archives.docker_archive(store.incoming / "a.tar", "web:1", [archives.layer(archives.entry("a", b"1"))])
    store.load_incoming("web:1")
    fluyt("remove", "web:1", *node)
    assert store.load_incoming("web:1") == []


def test_nothing_is_removed_while_it_is_not_known_what_is_used(tmp_path: Path) -> None:
    """A container whose record could not be read had no image."""
    node = ("--root-dir", tmp_path / "node")
    fluyt("load", archives.docker_archive(tmp_path / "a.tar", "web:1", []), *node)
    (tmp_path / "node" / "runtime" / "containers" / "c" / "record.json").mkdir(parents=True)
    with pytest.raises(CommandError, match=r"record\.json: is a directory"):
        fluyt("remove", "web:1", *node)
    assert "web:1" in fluyt("list", *node)
