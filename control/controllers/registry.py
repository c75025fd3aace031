"""Every controller there is, under the names kube-controller-manager's --controllers knows, as a table.

Source: kube-controller-manager --help, "controllers"; flags --concurrent-…-syncs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from control.controllers.reconcilers import (
    certificates,
    cronjob,
    disruption,
    garbagecollector,
    namespace,
    replicaset,
    resourcequota,
    serviceaccount,
    ttlafterfinished,
    volumebinder,
    volumeprotection,
)
from control.controllers.reconcilers.autoscaler import reconciler as horizontalpodautoscaler
from control.controllers.reconcilers.autoscaler.reconciler import Autoscaler
from control.controllers.reconcilers.daemonset import reconciler as daemonset
from control.controllers.reconcilers.daemonset.wakes import wake_nodes
from control.controllers.reconcilers.deployment import reconciler as deployment
from control.controllers.reconcilers.deployment.wakes import wake_pods as wake_deployments
from control.controllers.reconcilers.job import reconciler as job
from control.controllers.reconcilers.nodes import addresses as nodeipam
from control.controllers.reconcilers.nodes import lifecycle as nodelifecycle
from control.controllers.reconcilers.nodes import podgc, tainteviction
from control.controllers.reconcilers.nodes.heartbeats import LEASES
from control.controllers.reconcilers.services import endpoints, endpointslice, endpointslicemirroring
from control.controllers.reconcilers.services.pods import SERVICES, wake_services
from control.controllers.reconcilers.statefulset import reconciler as statefulset
from control.controllers.reconcilers.statefulset.claims import CLAIMS, wake_sets
from control.controllers.values.controller import (
    EVERYTHING,
    Controller,
    controller_or_selectors,
    its_controller,
    itself,
)

DEPLOYMENTS: Final = "deployments.apps"
SETS: Final = "replicasets.apps"
STATEFUL_SETS: Final = "statefulsets.apps"
DAEMON_SETS: Final = "daemonsets.apps"
JOBS: Final = "jobs.batch"
REVISIONS: Final = "controllerrevisions.apps"
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Settings:
    """What the flags of `fluyt controllers` say. workers: controller → keys side by side, for those that differ.

    root_ca: PEM for kube-root-ca.crt, "" for none. cluster_cidr: ranges of pods' addresses, none: no node gets one.
    signer: who signs certificates, None: nobody here.
    """

    root_ca: str = ""
    cluster_cidr: Sequence[Network] = ()
    node_mask_sizes: Sequence[int] = ()
    terminated_pods: int = podgc.THRESHOLD
    nodes: nodelifecycle.Limits = field(default_factory=nodelifecycle.Limits)
    autoscaler: horizontalpodautoscaler.Settings = field(default_factory=horizontalpodautoscaler.Settings)
    quota_resync: float = 300.0
    signer: certificates.Authority | None = None
    workers: Mapping[str, int] = field(default_factory=dict)


def controllers(settings: Settings) -> list[Controller]:
    """All of them, as the settings say."""
    made = [*_workloads(), *_batch(), *_services(), *_nodes(settings), *_cluster(settings), *_storage()]
    made += _certificates(settings)
    return [_with_workers(controller, settings.workers) for controller in made]


def _with_workers(controller: Controller, workers: Mapping[str, int]) -> Controller:
    return replace(controller, workers=workers.get(controller.name, controller.workers))


def _workloads() -> list[Controller]:
    return [
        Controller(
            "deployment-controller",
            DEPLOYMENTS,
            deployment.reconcile,
            {
                DEPLOYMENTS: itself,
                SETS: controller_or_selectors("Deployment", DEPLOYMENTS),
                "pods": wake_deployments,
            },
        ),
        Controller(
            "replicaset-controller",
            SETS,
            replicaset.reconcile,
            {SETS: itself, "pods": controller_or_selectors("ReplicaSet", SETS)},
        ),
        Controller(
            "statefulset-controller",
            STATEFUL_SETS,
            statefulset.reconcile,
            {
                STATEFUL_SETS: itself,
                "pods": controller_or_selectors("StatefulSet", STATEFUL_SETS),
                REVISIONS: its_controller("StatefulSet"),
                CLAIMS: wake_sets,
            },
        ),
        Controller(
            "daemonset-controller",
            DAEMON_SETS,
            daemonset.reconcile,
            {
                DAEMON_SETS: itself,
                "pods": controller_or_selectors("DaemonSet", DAEMON_SETS),
                REVISIONS: its_controller("DaemonSet"),
                "nodes": wake_nodes,
            },
            workers=2,
        ),
    ]


def _batch() -> list[Controller]:
    return [
        Controller(
            "job-controller",
            JOBS,
            job.reconcile,
            {JOBS: itself, "pods": controller_or_selectors("Job", JOBS)},
        ),
        Controller(
            "cronjob-controller",
            cronjob.RESOURCE,
            cronjob.reconcile,
            {cronjob.RESOURCE: itself, JOBS: its_controller("CronJob")},
        ),
        Controller(
            "ttl-after-finished-controller",
            ttlafterfinished.RESOURCE,
            ttlafterfinished.reconcile,
            {ttlafterfinished.RESOURCE: itself},
        ),
    ]


def _services() -> list[Controller]:
    return [
        Controller(
            "endpoints-controller",
            SERVICES,
            endpoints.reconcile,
            {SERVICES: endpoints.wake, "pods": wake_services, endpoints.RESOURCE: itself},
            keys=endpoints.keys,
        ),
        Controller(
            "endpointslice-controller",
            SERVICES,
            endpointslice.reconcile,
            {SERVICES: itself, "pods": wake_services, endpointslice.RESOURCE: its_controller("Service")},
            reads=frozenset({"nodes"}),
        ),
        Controller(
            "endpointslice-mirroring-controller",
            endpoints.RESOURCE,
            endpointslicemirroring.reconcile,
            {endpoints.RESOURCE: itself, SERVICES: itself, endpointslice.RESOURCE: its_controller("Endpoints")},
        ),
        Controller(
            "disruption-controller",
            disruption.RESOURCE,
            disruption.reconcile,
            {
                disruption.RESOURCE: itself,
                "pods": disruption.wake_pods,
                DEPLOYMENTS: disruption.wake_controllers,
                SETS: disruption.wake_controllers,
                STATEFUL_SETS: disruption.wake_controllers,
                "replicationcontrollers": disruption.wake_controllers,
            },
        ),
    ]


def _nodes(settings: Settings) -> list[Controller]:
    lifecycle = nodelifecycle.NodeLifecycle(settings.nodes)
    found = [
        Controller(
            "node-lifecycle-controller",
            nodelifecycle.NODES,
            lifecycle.reconcile,
            {"nodes": lifecycle.wake, LEASES: lifecycle.wake, "pods": lifecycle.wake},
        ),
        Controller(
            "taint-eviction-controller",
            tainteviction.RESOURCE,
            tainteviction.reconcile,
            {"pods": tainteviction.wake, "nodes": tainteviction.wake},
        ),
        Controller(
            "pod-garbage-collector-controller",
            podgc.RESOURCE,
            podgc.reconciler(settings.terminated_pods),
            {"pods": podgc.wake, "nodes": podgc.wake},
            workers=1,
            keys=lambda _: [podgc.KEY],
        ),
    ]
    if settings.cluster_cidr:
        found.append(
            Controller(
                "node-ipam-controller",
                nodeipam.RESOURCE,
                nodeipam.reconciler(settings.cluster_cidr, settings.node_mask_sizes),
                {"nodes": nodeipam.wake},
                workers=1,
                keys=lambda _: [nodeipam.KEY],
            )
        )
    return found


def _cluster(settings: Settings) -> list[Controller]:
    scaler = Autoscaler(settings.autoscaler)
    wakes = {"namespaces": serviceaccount.wake}
    found = [
        Controller(
            "garbage-collector-controller",
            "pods",
            garbagecollector.reconcile,
            {EVERYTHING: garbagecollector.wake},
            workers=20,
            keys=garbagecollector.keys,
        ),
        Controller(
            "namespace-controller", namespace.RESOURCE, namespace.reconcile, {EVERYTHING: namespace.wake}, workers=10
        ),
        Controller(
            "serviceaccount-controller",
            "namespaces",
            serviceaccount.reconcile,
            {**wakes, serviceaccount.ACCOUNTS: serviceaccount.wake},
        ),
        Controller(
            "resourcequota-controller",
            resourcequota.RESOURCE,
            resourcequota.reconcile,
            {EVERYTHING: resourcequota.wake},
            resync=settings.quota_resync,
        ),
        Controller(
            "horizontal-pod-autoscaler-controller",
            horizontalpodautoscaler.RESOURCE,
            scaler.reconcile,
            {horizontalpodautoscaler.RESOURCE: itself},
            keys=scaler.keys,
            resync=300.0,
            reads=frozenset({"pods", DEPLOYMENTS, SETS, STATEFUL_SETS, "replicationcontrollers"}),
        ),
    ]
    if settings.root_ca:
        found.append(
            Controller(
                "root-ca-certificate-publisher-controller",
                "namespaces",
                serviceaccount.root_ca(settings.root_ca),
                {**wakes, serviceaccount.CONFIG_MAPS: serviceaccount.wake},
            )
        )
    return found


def _certificates(settings: Settings) -> list[Controller]:
    requests, name = certificates.RESOURCE, "certificatesigningrequest-{}-controller"
    found = [Controller(name.format("cleaner"), requests, certificates.clean, {requests: itself})]
    if settings.signer is not None:
        for role, make in (("approving", certificates.approving), ("signing", certificates.signing)):
            found.append(Controller(name.format(role), requests, make(settings.signer), {requests: itself}))
    return found


def _storage() -> list[Controller]:
    return [
        Controller(
            "persistentvolume-binder-controller",
            volumebinder.CLAIMS,
            volumebinder.reconcile_claim,
            {
                volumebinder.CLAIMS: itself,
                volumebinder.VOLUMES: volumebinder.wake_claims,
                volumebinder.CLASSES: volumebinder.wake_class,
            },
            workers=1,
        ),
        Controller(
            "persistentvolume-phase-controller",
            volumebinder.VOLUMES,
            volumebinder.reconcile_volume,
            {volumebinder.VOLUMES: itself, volumebinder.CLAIMS: volumebinder.wake_volumes},
            workers=1,
        ),
        Controller(
            "persistentvolumeclaim-protection-controller",
            volumebinder.CLAIMS,
            volumeprotection.reconcile_claim,
            {volumebinder.CLAIMS: itself, "pods": volumeprotection.wake_claims},
        ),
        Controller(
            "persistentvolume-protection-controller",
            volumebinder.VOLUMES,
            volumeprotection.reconcile_volume,
            {volumebinder.VOLUMES: itself},
        ),
    ]
