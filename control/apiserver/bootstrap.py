"""What every cluster has from its first moment: the default namespaces, and the Service that is the API itself.

Every server makes them at its start; whoever comes second finds them there.
"""

from __future__ import annotations

from typing import Final

from control.api.schema import Object
from control.api.status import StatusError
from control.apiserver.objects import StoredObjects
from control.apiserver.server import Server

NAMESPACES: Final = ("default", "kube-system", "kube-public", "kube-node-lease")


async def ensure_defaults(server: Server) -> None:
    """Make what is missing. StatusError 503, 504 when the store does not answer."""
    objects, caches = StoredObjects(server), server.resources
    for name in NAMESPACES:
        if caches.get("namespaces", "", name) is None:
            await _create(objects, "namespaces", _namespace(name))
    if caches.get("services", "default", "kubernetes") is None:
        await _create(objects, "services", _service(server))
    if (
        caches.get("services", "kube-system", "kube-dns") is None
        and server.settings.service_cluster_ip_range.num_addresses > 16
    ):
        await _create(objects, "services", _dns_service(server))
    # Admission looks at the caches: they must have what was just made.
    await server.feed.confirm()


async def _create(objects: StoredObjects, resource: str, obj: Object) -> None:
    try:
        await objects.create(resource, obj)
    except StatusError as problem:
        if problem.reason != "AlreadyExists" and not _ip_taken(problem):
            raise


def _ip_taken(problem: StatusError) -> bool:
    """Whether another server's `kubernetes` Service has the address: it is the same Service."""
    return problem.code == 422 and "already allocated" in problem.message


def _namespace(name: str) -> Object:
    return {"metadata": {"name": name}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}


def _dns_service(server: Server) -> Object:
    """The address that programs know as the cluster's DNS: the tenth of the range. It has no endpoints: every node's
    agent answers itself, until somebody gives the Service a selector.
    """
    ports = [{"name": "dns", "protocol": "UDP"}, {"name": "dns-tcp", "protocol": "TCP"}]
    return {
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": str(server.settings.service_cluster_ip_range[10]),
            "ports": [{**port, "port": 53, "targetPort": 53} for port in ports],
        },
    }


def _service(server: Server) -> Object:
    """Where pods find the API: the first address of the range."""
    ip = str(server.settings.service_cluster_ip_range[1])
    return {
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": ip,
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": server.port}],
        },
    }
