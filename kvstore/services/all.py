"""Which services a member serves on its client port."""

from __future__ import annotations

from kvstore.member.member import Member
from kvstore.services import health, http, learner_guard, range_stream
from kvstore.services.access import guard
from kvstore.services.auth import AuthService
from kvstore.services.cluster import ClusterService
from kvstore.services.election import ElectionService
from kvstore.services.kv import KvService
from kvstore.services.lease import LeaseService
from kvstore.services.lock import LockService
from kvstore.services.maintenance import MaintenanceService
from kvstore.services.watch import WatchService
from kvstore.wire.server import GrpcServer


def register_all(server: GrpcServer, member: Member, metrics: GrpcServer | None = None) -> None:
    """Put every service of the store on the server; metrics: the server of --listen-metrics-urls."""
    kv = KvService(member)
    kv.register(server)
    range_stream.register(server, member)
    WatchService(member).register(server)
    LeaseService(member).register(server)
    MaintenanceService(member).register(server)
    AuthService(member).register(server)
    LockService(member).register(server)
    ElectionService(member).register(server)
    ClusterService(member).register(server)
    health.register(server, member)
    guard(server, member, kv.judges)
    learner_guard.guard(server, member)
    http.register(server, member, metrics)
