"""From a data directory to a member that can run: founds a new one or opens what is there, and refuses what does not
fit.

Order of a founding: backend with the members in it, then the log, then the identity. A crash before the last leaves a
directory without an identity, which DataDir reports; nothing was acknowledged yet.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

from kvstore.invariant import invariant
from kvstore.member.cluster import Cluster, cluster_id, member_id
from kvstore.member.config import Config, ConfigError
from kvstore.member.state import State
from kvstore.raft.config import Config as RaftConfig
from kvstore.raft.node import RawNode
from kvstore.raft.types import SnapshotMeta
from kvstore.storage.backend import Backend
from kvstore.storage.data_dir import DataDir, Identity
from kvstore.storage.log import Log


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


def open_member(config: Config, data_dir: DataDir) -> Opened:
    """Open or found the member that the configuration describes, in its locked data directory.

    Raises ConfigError and kvstore.storage's errors, each one line.
    """
    identity = data_dir.identity()
    if identity is None:
        return _found(config, data_dir)
    _check_identity(config, identity)
    return _reopen(config, data_dir, identity)


def _found(config: Config, data_dir: DataDir) -> Opened:
    if config.initial_cluster_state == "existing":
        raise ConfigError(
            "--initial-cluster-state existing needs a member that was added before; joining is not supported yet"
        )
    founders = Cluster.founders(config.initial_cluster, config.initial_cluster_token)
    cluster = cluster_id(founders)
    mine = member_id(config.initial_advertise_peer_urls, config.initial_cluster_token)
    fsync = not config.unsafe_no_fsync
    backend = Backend.open(data_dir.backend, fsync=fsync)
    state = State(backend, cluster, config)
    for member in founders.values():
        member.name = "" if mine != member.ID else config.name
        state.cluster.put(member)
    state.set_conf_state(state.cluster.conf_state())
    backend.commit()
    backend.sync()
    wal = Log.create(data_dir.log, metadata=f"{cluster:016x} {mine:016x}".encode(), fsync=fsync)
    wal.set_snapshot(SnapshotMeta(0, 0, state.cluster.conf_state()))
    wal.sync()
    data_dir.write_identity(Identity(cluster_id=cluster, member_id=mine, name=config.name))
    return _assemble(config, data_dir, mine, state, wal)


def _check_identity(config: Config, identity: Identity) -> None:
    """The directory must be of the member that the flags describe, where they describe a new cluster."""
    if config.initial_cluster_state != "new":
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
    backend = Backend.open(data_dir.backend, fsync=not config.unsafe_no_fsync)
    try:
        state = State(backend, identity.cluster_id, config)
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
    raw = RawNode(raft_config, wal, applied=state.applied_index)
    # Sequences and read rounds of this life must not meet those of an earlier one.
    first_sequence = time.time_ns()
    return Opened(data_dir, mine, state, wal, raw, first_sequence, data_dir.snapshots)
