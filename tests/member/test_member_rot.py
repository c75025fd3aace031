"""A member whose backend's file is damaged: it says so in one line before anything is served, or is none the worse."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from test_member_bootstrap import open_at

from kvstore.pb import etcd_pb2 as pb
from kvstore.storage import BackendDamaged

PAGE = 4096
SAFE = {"unsafe_no_fsync": False}


def founded(folder: Path) -> Path:
    """A member that stopped in peace; its backend's file."""
    member = open_at(folder, **SAFE)
    for number in range(50):
        member.state.store.put(pb.PutRequest(key=b"%d" % number, value=bytes(300)))
    member.state.save_position()
    member.state.backend.commit()
    member.close()
    (data,) = folder.rglob("data.mdb")
    return data


def test_a_file_that_was_cut_short_is_refused_in_one_line(tmp_path: Path) -> None:
    """Not ended by SIGBUS, which is what looking into it would do."""
    data = founded(tmp_path / "a")
    os.truncate(data, data.stat().st_size // 2)
    with pytest.raises(BackendDamaged) as refused:
        open_at(tmp_path / "a", **SAFE)
    assert "\n" not in str(refused.value)
    assert "restore the backend" in str(refused.value)


def test_a_meta_page_that_rotted_is_refused(tmp_path: Path) -> None:
    data = founded(tmp_path / "a")
    damaged = bytearray(data.read_bytes())
    for page in (0, 1):
        damaged[page * PAGE + 16 + 24 + 48 + 40] ^= 4  # the root of the table of tables
    data.write_bytes(damaged)
    with pytest.raises(BackendDamaged, match="does not match its checksum; restore the backend"):
        open_at(tmp_path / "a", **SAFE)


def test_a_commit_whose_pages_were_lost_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    """The machine stopped before a commit was synced: its meta page is on the disk, what it points to is not."""
    folder = tmp_path / "a"
    founded(folder)
    member = open_at(folder, **SAFE)
    (data,) = folder.rglob("data.mdb")
    backend = member.state.backend
    before, mark = data.read_bytes(), (data.parent / "synced").read_bytes()
    member.state.store.put(pb.PutRequest(key=b"lost", value=b"v"))
    backend.commit()
    after = bytearray(data.read_bytes())
    member.close()
    for at in range(2 * PAGE, len(after), PAGE):
        if after[at : at + PAGE] != before[at : at + PAGE]:
            after[at : at + PAGE] = bytes(PAGE)
    data.write_bytes(after)
    (data.parent / "synced").write_bytes(mark)
    again = open_at(folder, **SAFE)
    assert again.state.store.range(pb.RangeRequest(key=b"1")).count == 1
    assert again.state.store.range(pb.RangeRequest(key=b"lost")).count == 0
    again.close()
