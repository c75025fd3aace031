"""Copies of the backend, and copies that become the backend."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kvstore.storage import Backend, BackendDamaged, open_view

SMALL = {"map_bytes": 1 << 26, "headroom_bytes": 1 << 16}


def filled(path: Path, value: bytes, count: int = 100) -> Backend:
    backend = Backend.open(path, **SMALL)
    for number in range(count):
        backend.table("keys").put(b"%04d" % number, value)
    backend.table("meta").put(b"applied", value)
    backend.commit()
    backend.sync()
    return backend


def test_a_copy_holds_the_last_commit_and_can_be_looked_into(tmp_path: Path) -> None:
    backend = filled(tmp_path / "backend", b"old")
    backend.table("meta").put(b"applied", b"open")
    size = backend.copy_to(tmp_path / "copy")
    assert size == (tmp_path / "copy").stat().st_size
    assert not (tmp_path / "copy.tmp").exists()
    with open_view(tmp_path / "copy") as view:
        assert view.table("meta").get(b"applied") == b"old"
        assert len(list(view.table("keys").scan())) == 100
        assert list(view.table("absent").scan()) == []
    backend.close()


def test_a_received_copy_becomes_the_backend(tmp_path: Path) -> None:
    source = filled(tmp_path / "source", b"new", 50)
    source.copy_to(tmp_path / "received")
    source.close()
    backend = filled(tmp_path / "backend", b"old")
    keys, extra = backend.table("keys"), backend.table("extra")
    keys.put(b"uncommitted", b"x")
    backend.replace_with(tmp_path / "received")
    assert not (tmp_path / "received").exists()
    assert (keys.get(b"0000"), keys.get(b"uncommitted"), len(list(keys.scan()))) == (b"new", None, 50)
    assert not backend.needs_sync
    for number in range(3):
        extra.put(b"a", b"%d" % number)
        backend.commit()
        backend.sync()
    backend.close()
    again = Backend.open(tmp_path / "backend", **SMALL)
    assert (again.table("keys").get(b"0000"), again.table("extra").get(b"a")) == (b"new", b"2")
    again.close()


def test_the_old_state_is_read_until_the_new_one_is_taken_over(tmp_path: Path) -> None:
    """The half that waits for the disk is a thread's; meanwhile the loop goes on, and commits nothing."""
    source = filled(tmp_path / "source", b"new")
    source.copy_to(tmp_path / "received")
    source.close()
    backend = filled(tmp_path / "backend", b"old")
    keys, found = backend.table("keys"), []
    backend.give_up_shrinking()
    thread = threading.Thread(target=lambda: found.append(backend.put_in_place(tmp_path / "received")))
    thread.start()
    thread.join()
    keys.put(b"late", b"x")
    backend.commit()
    assert (keys.get(b"0000"), keys.get(b"late"), backend.needs_sync) == (b"old", b"x", False)
    assert backend.size_in_use() > 0
    backend.take_over(found[0]).retire()
    assert (keys.get(b"0000"), keys.get(b"late")) == (b"new", None)
    keys.put(b"later", b"y")
    backend.commit()
    backend.sync()
    backend.close()
    again = Backend.open(tmp_path / "backend", **SMALL)
    assert (again.table("keys").get(b"0000"), again.table("keys").get(b"later")) == (b"new", b"y")
    again.close()


def test_readers_keep_the_old_state_through_a_replacement(tmp_path: Path) -> None:
    source = filled(tmp_path / "source", b"new")
    source.copy_to(tmp_path / "received")
    source.close()
    backend = filled(tmp_path / "backend", b"old")
    entered, replaced = threading.Event(), threading.Event()
    seen: list[bytes | None] = []

    def look() -> None:
        with backend.read() as view:
            entered.set()
            replaced.wait(10)
            seen.extend(value for _, value in view.table("keys").scan())

    thread = threading.Thread(target=look)
    thread.start()
    entered.wait(10)
    old = backend._environment
    backend.replace_with(tmp_path / "received")
    for number in range(100):
        backend.table("keys").put(b"%04d" % number, b"newer")
    backend.commit()
    backend.sync()
    replaced.set()
    thread.join()
    assert seen == [b"old"] * 100
    assert old._readers == 0
    assert backend.table("keys").get(b"0000") == b"newer"
    backend.close()


@pytest.mark.parametrize("content", [None, b"", b"not a backend" * 1000])
def test_what_is_no_backend_is_not_taken(tmp_path: Path, content: bytes | None) -> None:
    backend = filled(tmp_path / "backend", b"old")
    if content is not None:
        (tmp_path / "received").write_bytes(content)
    backend.table("keys").put(b"uncommitted", b"x")
    with pytest.raises(BackendDamaged, match="fetch the snapshot again"):
        backend.replace_with(tmp_path / "received")
    assert backend.table("keys").get(b"uncommitted") == b"x"
    backend.commit()
    backend.close()


def test_copy_and_replace_give_back_free_pages(tmp_path: Path) -> None:
    backend = filled(tmp_path / "backend", bytes(3000), 1000)
    keys = backend.table("keys")
    for number in range(990):
        keys.delete(b"%04d" % number)
    backend.commit()
    backend.sync()
    before = backend.size()
    backend.copy_to(tmp_path / "compact")
    backend.replace_with(tmp_path / "compact")
    assert backend.size() * 10 < before
    assert len(list(keys.scan())) == 10
    backend.close()
