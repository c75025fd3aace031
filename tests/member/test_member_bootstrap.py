"""From a data directory to a member: founding, opening, refusing, and finishing what a crash interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvstore.member.bootstrap import Opened, open_member
from kvstore.member.config import Config, ConfigError
from kvstore.pb import etcd_pb2 as pb
from kvstore.raft.types import Entry, HardState
from kvstore.storage.data_dir import DataDir
from kvstore.storage.errors import DataDirError

PEERS = {"a": ["http://127.0.0.1:1"], "b": ["http://127.0.0.1:2"], "c": ["http://127.0.0.1:3"]}


def config_at(path: Path, **changes: object) -> Config:
    settings: dict[str, object] = {
        "name": "a",
        "data_dir": str(path),
        "initial_advertise_peer_urls": PEERS["a"],
        "initial_cluster": dict(PEERS),
        "unsafe_no_fsync": True,
    }
    config = Config(**(settings | changes))  # type: ignore[arg-type]
    config.validate()
    return config


def open_at(path: Path, **changes: object) -> Opened:
    data_dir = DataDir.open(path)
    try:
        return open_member(config_at(path, **changes), data_dir)
    except BaseException:
        data_dir.close()
        raise


def save(opened: Opened) -> None:
    opened.state.save_position()
    opened.state.backend.commit()
    opened.state.backend.sync()
    opened.close()


def test_a_founder_knows_everybody_and_finds_the_same_again(tmp_path: Path) -> None:
    first = open_at(tmp_path / "a")
    names = {member.name for member in first.state.cluster.members.values()}
    voters = first.raw.conf_state.voters
    assert len(voters) == 3
    assert first.member_id in voters
    assert names == {"a", ""}, "the others' names are not known before they publish them"
    first.state.store.put(pb.PutRequest(key=b"k", value=b"v"))
    save(first)
    again = open_at(tmp_path / "a")
    assert again.member_id == first.member_id
    assert again.raw.conf_state.voters == voters
    assert again.state.store.range(pb.RangeRequest(key=b"k")).count == 1
    assert again.first_sequence > first.first_sequence
    again.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"initial_cluster_token": "another"}, "belongs to cluster"),
        ({"name": "b", "initial_advertise_peer_urls": PEERS["b"]}, "belongs to member"),
    ],
)
def test_a_directory_of_another_cluster_or_member_is_refused_unchanged(
    tmp_path: Path, change: dict[str, object], says: str
) -> None:
    open_at(tmp_path / "a").close()
    before = (tmp_path / "a" / "identity.json").read_bytes()
    with pytest.raises(ConfigError, match=says):
        open_at(tmp_path / "a", **change)
    assert (tmp_path / "a" / "identity.json").read_bytes() == before
    open_at(tmp_path / "a").close()


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    opened = open_at(tmp_path / "a")
    with pytest.raises(DataDirError):
        open_at(tmp_path / "a")
    opened.close()


@pytest.mark.parametrize("log_term", [1, 2])
@pytest.mark.parametrize("log_last", [2, 5])
def test_a_snapshot_that_was_half_installed_is_finished(tmp_path: Path, log_term: int, log_last: int) -> None:
    """The backend stands at entry 3 of term 2; the log may end before it, or hold other entries there."""
    opened = open_at(tmp_path / "a")
    base = opened.log.last_index()
    entries = [Entry(log_term, base + index, 0, b"") for index in range(1, log_last + 1)]
    opened.log.append(entries, HardState(term=2, vote=0, commit=base))
    opened.state.applied_index, opened.state.applied_term = base + 3, 2
    save(opened)
    again = open_at(tmp_path / "a")
    assert again.log.term(base + 3) == 2
    assert again.raw.applied_index == base + 3
    keeps = log_term == 2 and log_last == 5
    assert again.log.last_index() == base + (5 if keeps else 3), "entries that join the backend stay, others go"
    again.close()
