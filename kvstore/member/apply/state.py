"""The state machine of one member: the backend's tables and all that reads and writes them.

The applied index, its term and the membership are written into the same transaction as the data they speak of, so a
restart finds a state that is exactly that of one log index (etcd #13766 is what happens otherwise).
"""

from __future__ import annotations

from kvstore.auth.checks import Checks
from kvstore.auth.store import AuthStore
from kvstore.member.alarms import Alarms
from kvstore.member.apply.applier import Applier
from kvstore.member.apply.auth_applier import AuthApplier
from kvstore.member.cluster import Cluster
from kvstore.member.config import Config
from kvstore.member.tokens import open_tokens
from kvstore.mvcc.lease import Lessor, minimum_ttl
from kvstore.mvcc.meta import APPLIED_REQUESTS, CONF_STATE, Meta
from kvstore.mvcc.store import Store
from kvstore.mvcc.watch import WatchHub
from kvstore.pb import raft_pb2
from kvstore.raft import codec
from kvstore.raft.types import ConfState, SnapshotMeta
from kvstore.storage.backend import Backend


class State:
    """Store, watches, leases, members and alarms over one backend."""

    def __init__(self, backend: Backend, cluster_id: int, config: Config) -> None:
        self.backend = backend
        self.meta = Meta(backend)
        self._named = backend.table("meta")
        self.lessor = Lessor(backend, minimum_ttl(config.election_timeout / 1000))
        self.watches = WatchHub()
        self.store = Store(backend, self.lessor, self.watches, max_txn_ops=config.max_txn_ops)
        self.watches.bind(self.store)
        self.cluster = Cluster(cluster_id, backend)
        self.alarms = Alarms(backend)
        self.auth = AuthStore(backend)
        self.checks = Checks(self.auth, self.lessor)
        self.tokens = open_tokens(config.auth_token, config.auth_token_ttl)
        auth_applier = AuthApplier(self.auth, self.checks, self.tokens)
        self.applier = Applier(self.store, self.lessor, self.cluster, self.alarms, auth_applier)
        self.applied_index, self.applied_term = self.meta.applied
        # How many requests of the entry behind the applied index are applied, too; and what the tables say of that.
        self.applied_requests = self._saved_requests = self.meta.get(APPLIED_REQUESTS)
        self.saved_position = self.position()

    def save_position(self) -> int:
        """Write the applied index and term into the open transaction; returns the index."""
        self.meta.set_applied(self.applied_index, self.applied_term)
        if self.applied_requests != self._saved_requests:
            self.meta.set(APPLIED_REQUESTS, self.applied_requests)
            self._saved_requests = self.applied_requests
        # What becomes durable with this transaction; by then the membership may be a later one.
        self.saved_position = self.position()
        return self.applied_index

    def set_conf_state(self, conf_state: ConfState) -> None:
        """Remember the membership as of the applied index."""
        self._named.put(CONF_STATE, codec.conf_state_to_pb(conf_state).SerializeToString())

    def conf_state(self) -> ConfState:
        """The membership as of the applied index."""
        return codec.conf_state_from_pb(raft_pb2.ConfState.FromString(self._named.get(CONF_STATE) or b""))

    def position(self) -> SnapshotMeta:
        """The log position of this state."""
        return SnapshotMeta(self.applied_index, self.applied_term, self.conf_state())

    def reload(self) -> None:
        """The backend was replaced by a snapshot: read everything anew."""
        self.lessor.recover()
        self.store.reload()
        self.cluster.load()
        self.alarms.load()
        self.auth.load()
        # Whose tokens were invalidated by the entries that the snapshot stands for, is not known.
        self.tokens.provider.clear()
        self.watches.restored()
        self.applied_index, self.applied_term = self.meta.applied
        self.applied_requests = self._saved_requests = self.meta.get(APPLIED_REQUESTS)
