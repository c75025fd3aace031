"""From a data directory to a member that can run: founds a new one or opens what is there, and refuses what does not
fit.

Order of a founding: backend with the members in it, then the log, then the identity. A crash before the last leaves a
directory without an identity, which DataDir reports; nothing was acknowledged yet.

The founding is entry 1 of every log, of which only the position is there: the founders' membership is not in the log,
so nobody else could start from its first entry. A member that joins begins with an empty log at 0, without anybody who
votes; what it needs lies before the log of every leader, so it gets a snapshot first, however short the log is.

Raft starts with the membership that lies in the backend, in one transaction with the applied index; the one that the
log knows is of its snapshot, which may be older.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from kvstore.invariant import invariant
from kvstore.member.apply.state import State
from kvstore.member.cluster import Cluster, cluster_id, conf_state_of, member_id
from kvstore.member.config import Config, ConfigError
from kvstore.member.peers.joining import Joined
from kvstore.mvcc.types import Tables
from kvstore.pb.etcd_pb2 import Member
from kvstore.raft.config import Config as RaftConfig
from kvstore.raft.node import RawNode
from kvstore.raft.types import SnapshotMeta
from kvstore.storage.backend import Backend, open_synced
from kvstore.storage.data_dir import DataDir, Identity
from kvstore.storage.environment import readable
from kvstore.storage.errors import BackendDamaged
from kvstore.storage.log import Log

FOUNDING = 1
# Sequence numbers that one life of a member may use: 2^40, at 100,000 batches a second those of four months.
LIFE_SHIFT = 40


class MemberRemoved(ConfigError):
    """The data directory is of a member that was taken out of the cluster."""


@dataclass(slots=True)
class Opened:
    """Everything that lives in one data directory, open and consistent."""

    data_dir: DataDir
    member_id: int
    state: State
    log: Log
    raw: RawNode
    first_sequence: int
    snapshot_dir: Path

    def close(self) -> None:
        """Close what open_member opened; the state must have been committed."""
        self.log.close()
        self.state.backend.close()
        self.data_dir.close()


def open_member(config: Config, data_dir: DataDir, joined: Joined | None = None) -> Opened:
    """Open or found the member that the configuration describes, in its locked data directory.

    joined: the cluster that an empty directory is made for; None: the one that --initial-cluster founds.
    Raises ConfigError and kvstore.storage's errors, each one line.
    """
    identity = data_dir.identity()
    if identity is not None:
        return _reopen(config, data_dir, identity)
    return _found(config, data_dir) if joined is None else _join(config, data_dir, joined)


def _found(config: Config, data_dir: DataDir) -> Opened:
    founders = Cluster.founders(config.initial_cluster, config.initial_cluster_token)
    cluster = cluster_id(founders)
    mine = member_id(config.initial_advertise_peer_urls, config.initial_cluster_token)
    for member in founders.values():
        member.name = "" if mine != member.ID else config.name
    conf_state = conf_state_of(founders.values())
    state = _new_state(config, data_dir, cluster, founders.values(), SnapshotMeta(FOUNDING, FOUNDING, conf_state))
    return _new_log(config, data_dir, mine, state)


def _join(config: Config, data_dir: DataDir, joined: Joined) -> Opened:
    """The members are only there to be talked to until the snapshot brings the table."""
    state = _new_state(config, data_dir, joined.cluster_id, joined.members, SnapshotMeta())
    return _new_log(config, data_dir, joined.member_id, state)


def _new_state(
    config: Config, data_dir: DataDir, cluster: int, members: Iterable[Member], position: SnapshotMeta
) -> State:
    backend = Backend.open(data_dir.backend, fsync=not config.unsafe_no_fsync)
    state = State(backend, cluster, config)
    for member in members:
        state.cluster.put(member)
    state.set_conf_state(position.conf_state)
    state.applied_index, state.applied_term = position.index, position.term
    state.save_position()
    backend.commit()
    backend.sync()
    return state


def _new_log(config: Config, data_dir: DataDir, mine: int, state: State) -> Opened:
    cluster, fsync = state.cluster.id, not config.unsafe_no_fsync
    wal = Log.create(data_dir.log, metadata=f"{cluster:016x} {mine:016x}".encode(), fsync=fsync)
    if state.applied_index:
        wal.install_snapshot(state.position())
        wal.sync()
    data_dir.write_identity(Identity(cluster_id=cluster, member_id=mine, name=config.name))
    return _assemble(config, data_dir, mine, state, wal)


def _check_identity(config: Config, identity: Identity, cluster: Cluster) -> None:
    """The directory must be of the member that the flags describe, where they describe a new cluster.

    Once members came or went or moved, the flags of the founding say nothing any more.
    """
    if identity.member_id in cluster.removed:
        raise MemberRemoved(removed_text(identity.member_id, identity.cluster_id, config.data_dir))
    if config.initial_cluster_state != "new" or cluster.changed:
        return
    founders = Cluster.founders(config.initial_cluster, config.initial_cluster_token)
    wanted = cluster_id(founders)
    if wanted != identity.cluster_id:
        raise ConfigError(
            f"data directory {config.data_dir} belongs to cluster {identity.cluster_id:x}, but --initial-cluster and"
            f" --initial-cluster-token describe cluster {wanted:x}; use another --data-dir, or the flags it began with"
        )
    mine = member_id(config.initial_advertise_peer_urls, config.initial_cluster_token)
    if mine != identity.member_id:
        raise ConfigError(
            f"data directory {config.data_dir} belongs to member {identity.member_id:x} ({identity.name}), not to"
            f" {config.name}; use another --data-dir"
        )


def _reopen(config: Config, data_dir: DataDir, identity: Identity) -> Opened:
    # Looked at before anything is opened for writing: what is refused stays as it was, to the byte.
    with suppress(BackendDamaged), open_synced(data_dir.backend) as view:
        if view is not None:
            _check_identity(config, identity, Cluster(identity.cluster_id, cast(Tables, view)))
    backend = Backend.open(data_dir.backend, fsync=not config.unsafe_no_fsync)
    try:
        with readable(data_dir.backend / "data.mdb"):
            state = State(backend, identity.cluster_id, config)
        _check_identity(config, identity, state.cluster)
        wal = Log.open(data_dir.log, fsync=not config.unsafe_no_fsync)
        if not _joins(wal, state):
            # A crash between the two steps of installing a snapshot: the backend is new, the log does not know yet.
            wal.install_snapshot(state.position())
            wal.sync()
    except BaseException:
        backend.close()
        raise
    return _assemble(config, data_dir, identity.member_id, state, wal)


def _joins(wal: Log, state: State) -> bool:
    """Whether the log holds, or begins behind, the very entry that the backend stands at."""
    applied = state.applied_index
    if applied > wal.last_index():
        return False
    return applied < wal.first_index() - 1 or wal.term(applied) == state.applied_term


def _assemble(config: Config, data_dir: DataDir, mine: int, state: State, wal: Log) -> Opened:
    invariant(
        state.applied_index >= wal.first_index() - 1, "the log begins after what the backend holds: entries are missing"
    )
    raft_config = RaftConfig(
        id=mine,
        randrange=random.SystemRandom().randrange,
        election_ticks=config.election_timeout // config.heartbeat_interval,
        heartbeat_ticks=1,
        pre_vote=config.pre_vote,
    )
    raw = RawNode(raft_config, wal, applied=state.applied_index, conf_state=state.conf_state())
    # Sequences and read rounds of this life must not meet those of an earlier one. No clock: one that was set back
    # would let this life answer requests of an earlier one.
    first_sequence = data_dir.begin_life() << LIFE_SHIFT
    return Opened(data_dir, mine, state, wal, raw, first_sequence, data_dir.snapshots)


def removed_text(member: int, cluster: int, data_dir: str) -> str:
    """What a member says that was taken out of the cluster."""
    return (
        f"member {member:x} was permanently removed from cluster {cluster:x}; its data directory {data_dir} is of no"
        " use any more: remove it, and add a new member to let this machine join again"
    )
