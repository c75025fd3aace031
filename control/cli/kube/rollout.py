"""`fluyt kube rollout`: status of a rollout until it is done, and restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

from control.api.meta import timestamp
from control.api.schema import Object
from control.api.status import StatusError
from control.cli.kube.following import follow
from control.cli.kube.grammar import Duration, KubeCommand, KubeGroup
from control.cli.kube.selecting import Found
from control.cli.kube.session import Session, run
from control.cli.kube.targets import Target, one, resolve
from kvstore.cli.exits import CommandError

_RESTARTED = "kubectl.kubernetes.io/restartedAt"

rollout = KubeGroup(
    "rollout",
    lazy={
        "status": ("control.cli.kube.rollout:status", "Follow a rollout until it is done."),
        "restart": ("control.cli.kube.rollout:restart", "Replace all pods, one after the other."),
    },
    help="Follow or restart the rollout of a deployment, daemonset or statefulset.",
)


@click.command("status", cls=KubeCommand, examples="fluyt kube rollout status deployment/web --timeout=60s")
@click.argument("words", nargs=-1, metavar="TYPE NAME | TYPE/NAME")
@click.option("-w", "--watch", type=bool, default=True, help="Until it is done.  [default: true]")
@click.option("--timeout", type=Duration(), default=0.0, help="Give up after this; 0: never.")
@click.pass_context
def status(ctx: click.Context, /, words: tuple[str, ...], watch: bool, timeout: float) -> None:
    """Follow a rollout until it is done; exit code 1 when it fails."""
    run(ctx, lambda session: _status(session, words, watch, timeout))


async def _status(session: Session, words: tuple[str, ...], watch: bool, timeout: float) -> None:
    target = await one(session.client.directory, words, "fluyt kube rollout status deployment/web")
    progress = _PROGRESS.get(target.kind.resource)
    if progress is None:
        raise CommandError(f"no status viewer has been implemented for {target.kind.name}", prefix="error: ")
    found = Found(target.kind, target.name, session.namespace)

    def judge(obj: Object | None) -> bool | None:
        if obj is None:
            raise StatusError(404, "NotFound", f'{target.kind.resource} "{target.name}" not found')
        done, text = progress(obj)
        click.echo(text)
        return True if done or not watch else None

    try:
        async with asyncio.timeout(timeout or None):
            await follow(session.client, found, judge)
    except TimeoutError:
        raise CommandError("timed out waiting for the condition", prefix="error: ") from None


def _deployment(obj: Object) -> tuple[bool, str]:
    """(done, what to say). Raises CommandError when it has failed."""
    name, spec, seen = obj["metadata"]["name"], obj.get("spec") or {}, obj.get("status") or {}
    if seen.get("observedGeneration", 0) < obj["metadata"].get("generation", 0):
        return False, "Waiting for deployment spec update to be observed..."
    for entry in seen.get("conditions") or []:
        if entry.get("type") == "Progressing" and entry.get("reason") == "ProgressDeadlineExceeded":
            raise CommandError(f'deployment "{name}" exceeded its progress deadline', prefix="error: ")
    wanted, updated = spec.get("replicas", 1), seen.get("updatedReplicas", 0)
    total, available = seen.get("replicas", 0), seen.get("availableReplicas", 0)
    before = f'Waiting for deployment "{name}" rollout to finish: '
    if updated < wanted:
        return False, f"{before}{updated} out of {wanted} new replicas have been updated..."
    if total > updated:
        return False, f"{before}{total - updated} old replicas are pending termination..."
    if available < updated:
        return False, f"{before}{available} of {updated} updated replicas are available..."
    return True, f'deployment "{name}" successfully rolled out'


def _daemonset(obj: Object) -> tuple[bool, str]:
    name, seen = obj["metadata"]["name"], obj.get("status") or {}
    if seen.get("observedGeneration", 0) < obj["metadata"].get("generation", 0):
        return False, "Waiting for daemon set spec update to be observed..."
    wanted, updated = seen.get("desiredNumberScheduled", 0), seen.get("updatedNumberScheduled", 0)
    available, before = seen.get("numberAvailable", 0), f'Waiting for daemon set "{name}" rollout to finish: '
    if updated < wanted:
        return False, f"{before}{updated} out of {wanted} new pods have been updated..."
    if available < wanted:
        return False, f"{before}{available} of {wanted} updated pods are available..."
    return True, f'daemon set "{name}" successfully rolled out'


def _statefulset(obj: Object) -> tuple[bool, str]:
    spec, seen = obj.get("spec") or {}, obj.get("status") or {}
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        raise CommandError("rollout status is only available for RollingUpdate strategy type", prefix="error: ")
    if seen.get("observedGeneration", 0) < obj["metadata"].get("generation", 0):
        return False, "Waiting for statefulset spec update to be observed..."
    wanted, ready = spec.get("replicas", 1), seen.get("readyReplicas", 0)
    if ready < wanted:
        return False, f"Waiting for {wanted - ready} pods to be ready..."
    partition, updated = (strategy.get("rollingUpdate") or {}).get("partition", 0), seen.get("updatedReplicas", 0)
    if partition:
        if updated < wanted - partition:
            return False, (
                f"Waiting for partitioned roll out to finish: {updated} out of {wanted - partition} "
                f"new pods have been updated..."
            )
        return True, f"partitioned roll out complete: {updated} new pods have been updated..."
    if seen.get("updateRevision") != seen.get("currentRevision"):
        return False, (
            f"waiting for statefulset rolling update to complete {updated} pods at revision "
            f"{seen.get('updateRevision')}..."
        )
    return True, f"statefulset rolling update complete {seen.get('currentReplicas', 0)} pods at revision " + str(
        seen.get("currentRevision", "")
    )


_PROGRESS: dict[str, Callable[[Object], tuple[bool, str]]] = {
    "deployments.apps": _deployment,
    "daemonsets.apps": _daemonset,
    "statefulsets.apps": _statefulset,
}


@click.command("restart", cls=KubeCommand, examples="fluyt kube rollout restart deployment/web")
@click.argument("words", nargs=-1, metavar="TYPE NAME… | TYPE/NAME…")
@click.pass_context
def restart(ctx: click.Context, /, words: tuple[str, ...]) -> None:
    """Replace all pods, as the update strategy has it."""
    run(ctx, lambda session: _restart_all(session, words))


async def _restart_all(session: Session, words: tuple[str, ...]) -> None:
    for target in await resolve(session.client.directory, words):
        if target.kind.resource not in _PROGRESS or not target.name:
            raise CommandError(f"{target.shown}: only named deployments, daemonsets and statefulsets restart")
        await _restart(session, target)
        click.echo(f"{target.shown} restarted")


async def _restart(session: Session, target: Target) -> None:
    annotation: dict[str, Any] = {_RESTARTED: timestamp(datetime.now(UTC))}
    patch = {"spec": {"template": {"metadata": {"annotations": annotation}}}}
    await session.client.patch(target.kind.resource, target.name, patch, namespace=session.namespace)
