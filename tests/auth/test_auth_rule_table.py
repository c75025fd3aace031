"""Every method of the API has a rule of its own, or is root's on purpose."""

from __future__ import annotations

from kvstore.pb import etcd_pb2
from kvstore.services.access import RULES

_PACKAGES = {"Lock": "v3lockpb", "Election": "v3electionpb"}
ROOTS = {
    "/etcdserverpb.Cluster/MemberAdd",
    "/etcdserverpb.Cluster/MemberRemove",
    "/etcdserverpb.Cluster/MemberUpdate",
    "/etcdserverpb.Cluster/MemberPromote",
    "/etcdserverpb.Maintenance/Defragment",
    "/etcdserverpb.Maintenance/Hash",
    "/etcdserverpb.Maintenance/HashKV",
    "/etcdserverpb.Maintenance/Snapshot",
    "/etcdserverpb.Maintenance/MoveLeader",
    "/etcdserverpb.Maintenance/Downgrade",
}


# Who serves one of these gives it a rule: OWN, with checks.read() in the service, or it stays root's.


def test_no_method_is_forgotten() -> None:
    paths = {
        f"/{_PACKAGES.get(service.name, 'etcdserverpb')}.{service.name}/{method.name}"
        for service in etcd_pb2.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    ruled = {path for path in RULES if not path.startswith("/grpc.health.")}
    assert paths - ruled <= ROOTS
    assert ruled <= paths
    assert not ruled & ROOTS
