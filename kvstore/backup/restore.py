"""A new data directory from a snapshot file: all data, a new cluster around it.

Every member of the new cluster is restored from the same file with the same --initial-cluster and token, each with its
own name. Their logs begin behind entry 1 of term 1, whose effect is the snapshot, so they agree from the first moment.
Invariants: the directory appears whole, by one rename, or not at all; the file is checked before anything is made.
Faults assumed: a crash at any point (a folder named after the target with `.restoring-` may then be left, and can be
removed); a file that is damaged or none of etcd's.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kvstore.backup import reading, snapshot_file
from kvstore.member.cluster import Cluster, cluster_id, member_id
from kvstore.member.config import Config, ConfigError
from kvstore.mvcc.meta import CONF_STATE, Meta
from kvstore.raft import codec
from kvstore.raft.types import ConfState, SnapshotMeta
from kvstore.storage import Backend, DataDir, Identity, Log
from kvstore.storage.bolt import BoltFile
from kvstore.storage.durable import make_directory, sync_directory

# The one entry that all members of a restored cluster are taken to have applied.
INDEX = TERM = 1
_COMMIT_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Restored:
    """What was made; the revision is the one that the store stands at."""

    cluster_id: int
    member_id: int
    revision: int


def restore(
    snapshot: str | os.PathLike[str], config: Config, *, skip_hash_check: bool = False, bump: int = 0
) -> Restored:
    """Make config.data_dir for member config.name of config.initial_cluster.

    bump: revisions to skip, so that clients never see one go back; what came before counts as compacted.
    Raises ConfigError, StorageError (BoltDamaged for the file), OSError; then nothing was made.
    """
    config.validate()
    target = Path(config.data_dir)
    _refuse_occupied(target)
    if not skip_hash_check:
        snapshot_file.verify_checksum(snapshot)
    with snapshot_file.opened(snapshot) as bolt:
        make_directory(target.parent)
        making = Path(tempfile.mkdtemp(prefix=f"{target.name}.restoring-", dir=target.parent))
        try:
            restored = _fill(making, bolt, config, bump)
            os.rename(making, target)
            sync_directory(target.parent)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
    return restored


def _refuse_occupied(target: Path) -> None:
    try:
        occupied = target.exists() and any(target.iterdir())
    except OSError:
        occupied = True
    if occupied:
        raise ConfigError(f'data-dir "{target}" not empty or could not be read')


def _fill(folder: Path, bolt: BoltFile, config: Config, bump: int) -> Restored:
    founders = Cluster.founders(config.initial_cluster, config.initial_cluster_token)
    cluster = cluster_id(founders)
    mine = member_id(config.initial_advertise_peer_urls, config.initial_cluster_token)
    data_dir = DataDir.open(folder)
    try:
        backend = Backend.open(data_dir.backend)
        try:
            revision = reading.load(bolt, backend, _Commits(backend).row, bump)
            members = Cluster(cluster, backend)
            for founder in founders.values():
                members.put(founder)
            state = members.conf_state()
            Meta(backend).set_applied(INDEX, TERM)
            backend.table("meta").put(CONF_STATE, codec.conf_state_to_pb(state).SerializeToString())
            backend.commit()
            backend.sync()
        finally:
            backend.close()
        _begin_log(data_dir, cluster, mine, state)
        data_dir.write_identity(Identity(cluster_id=cluster, member_id=mine, name=config.name))
    finally:
        data_dir.close()
    return Restored(cluster, mine, revision)


def _begin_log(data_dir: DataDir, cluster: int, mine: int, state: ConfState) -> None:
    log = Log.create(data_dir.log, metadata=f"{cluster:016x} {mine:016x}".encode())
    try:
        log.install_snapshot(SnapshotMeta(INDEX, TERM, state))
        log.sync()
    finally:
        log.close()


class _Commits:
    """Ends the backend's transaction every so many rows: LMDB keeps a transaction's dirty pages in memory."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._rows = 0

    def row(self) -> None:
        """One more row was written."""
        self._rows += 1
        if self._rows >= _COMMIT_ROWS:
            self._rows = 0
            self._backend.commit()
            self._backend.sync()
