"""Which services a member serves on its client port."""

from __future__ import annotations

from kvstore.member.member import Member
from kvstore.services import cluster, health, http
from kvstore.services.access import guard
from kvstore.services.auth import AuthService
from kvstore.services.election import ElectionService
from kvstore.services.kv import KvService
from kvstore.services.lease import LeaseService
from kvstore.services.lock import LockService
from kvstore.services.maintenance import MaintenanceService
from kvstore.services.watch import WatchService
from kvstore.wire.server import GrpcServer


def register_all(server: GrpcServer, member: Member) -> None:
    """Put every service of the store on the server."""
    KvService(member).register(server)
    WatchService(member).register(server)
    LeaseService(member).register(server)
    MaintenanceService(member).register(server)
    AuthService(member).register(server)
    LockService(member).register(server)
    ElectionService(member).register(server)
    cluster.register(server, member)
    health.register(server, member)
    guard(server, member)
    http.register(server, member)
