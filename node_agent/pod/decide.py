"""decide(): what is to be done now so that what runs of a pod becomes what the pod asks for. Pure.

The order, as Kubernetes documents it: a sandbox; init containers one after the other (a sidecar counts as done when it
has started); then all containers. Containers that end are started again by the restart policy with growing delays. When
the sandbox is lost everything begins anew in another one. A pod that is deleted, has failed by a rule of the node or
has run to its end is wound up: containers first, sidecars after them in reverse order, then the sandbox.

decide() looks at one moment. It is asked again after every action, on news from the runtime, the probes or the API
server, and at Plan.again. The same input gives the same plan, and a plan that was carried out is not asked for twice.
"""

from __future__ import annotations

from node_agent.pod import spec
from node_agent.pod.actions import Action, Event, Kill, Plan, RunSandbox, Start, StopSandbox, Verdict
from node_agent.pod.backoff import Backoff
from node_agent.pod.observed import Container, Failure, Observed, State
from node_agent.pod.restart import backoff_key, crash_loop, earliest, policy_of, wants_restart
from node_agent.pod.spec import Object
from node_agent.pod.wind_up import wind_up

LIVENESS_EVENT = "Container {name} failed {probe} probe, will be restarted"


def decide(pod: Object, observed: Observed, backoff: Backoff, now: float, verdict: Verdict | None = None) -> Plan:
    """What to do about the pod at `now` (seconds since 1970).

    verdict: the node has decided before that the pod has failed (refused, evicted, out of time).
    """
    if spec.deleting(pod):
        return wind_up(pod, observed, "pod is being deleted", None)
    late = verdict or _deadline(pod, observed, now)
    if late is not None:
        return wind_up(pod, observed, late.message, late)
    if spec.terminal(pod) or _completed(pod, observed):
        return wind_up(pod, observed, "pod has run to its end", None)
    return _run(pod, observed, backoff, now)


def _deadline(pod: Object, observed: Observed, now: float) -> Verdict | None:
    """What ended in time is not late, however long its sidecars take and whenever it is looked at again."""
    until = _deadline_time(pod)
    if until is None or now < until or spec.terminal(pod):
        return None
    if _completed(pod, observed) and _last_end(pod, observed) < until:
        return None
    return Verdict("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


def _deadline_time(pod: Object) -> float | None:
    limit, started = spec.spec(pod).get("activeDeadlineSeconds"), spec.status(pod).get("startTime")
    return spec.seconds_of(started) + float(limit) if limit is not None and started else None


def _last_end(pod: Object, observed: Observed) -> float:
    """When the last of those that run to an end did so, in seconds since 1970."""
    ends = (observed.current(c["name"]) for c in spec.every_container(pod) if not spec.is_sidecar(c))
    return max((end.finished for end in ends if end is not None), default=0.0)


def _completed(pod: Object, observed: Observed) -> bool:
    """Whether every container has come to an end that the restart policy leaves alone."""
    if not _begun(pod, observed):
        return _init_failed(pod, observed)
    ends = [observed.current(c["name"]) for c in spec.containers(pod)]
    if spec.restart_policy(pod) == "Never" and _sandbox_lost(observed):
        return not any(end is not None and end.running for end in ends)
    return all(end and end.ended and not wants_restart(spec.restart_policy(pod), end) for end in ends)


def _sandbox_lost(observed: Observed) -> bool:
    return observed.sandbox is None or not observed.sandbox.ready


def _init_failed(pod: Object, observed: Observed) -> bool:
    if spec.restart_policy(pod) != "Never":
        return False
    ends = (observed.here(c["name"]) for c in spec.init_containers(pod) if not spec.is_sidecar(c))
    return any(end is not None and end.ended and end.exit_code != 0 for end in ends)


def _begun(pod: Object, observed: Observed) -> bool:
    """Whether the current sandbox (or, once it is gone, the last one) has come past its init containers."""
    return any(observed.current(c["name"]) is not None for c in spec.containers(pod))


def _run(pod: Object, observed: Observed, backoff: Backoff, now: float) -> Plan:
    sandbox = observed.sandbox
    if sandbox is None or not sandbox.ready:
        return _new_sandbox(pod, observed, now)
    strays = _strays(observed)
    if strays:
        return Plan(tuple(_kill(pod, c, why) for c, why in strays if c.id not in observed.killing))
    return _Rounds(pod, observed, backoff, now).plan()


def _new_sandbox(pod: Object, observed: Observed, now: float) -> Plan:
    actions: list[Action] = [
        _kill(pod, c, "its sandbox is gone") for c in observed.running() if c.id not in observed.killing
    ]
    if observed.running():
        return Plan(tuple(actions), waiting=_all_waiting(pod))
    last = observed.sandbox
    failure = observed.sandbox_failure
    if failure is not None and failure.retry > now:
        return Plan(again=failure.retry, waiting=_all_waiting(pod))
    events: tuple[Event, ...] = ()
    if last is not None:
        actions.append(StopSandbox(last.id))
        events = (Event("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."),)
    attempt = last.attempt + 1 if last else 0
    actions.append(RunSandbox(attempt, "pod sandbox changed" if last else "pod was bound to this node"))
    return Plan(tuple(actions), events if failure is None else (), waiting=_all_waiting(pod))


def _all_waiting(pod: Object) -> dict[str, tuple[str, str]]:
    waiting = {c["name"]: ("PodInitializing", "") for c in spec.init_containers(pod)}
    reason = "PodInitializing" if waiting else "ContainerCreating"
    return waiting | {c["name"]: (reason, "") for c in spec.containers(pod)}


def _strays(observed: Observed) -> list[tuple[Container, str]]:
    """Containers that must not run: of older sandboxes, or beside a newer one of their name."""
    sandbox = observed.sandbox
    found = []
    for container in observed.running():
        if sandbox and container.sandbox and container.sandbox != sandbox.id:
            found.append((container, "its sandbox is gone"))
        elif container is not observed.current(container.name):
            found.append((container, "a newer one of its name is there"))
    return found


def _kill(pod: Object, container: Container, because: str, event: str = "", grace: float | None = None) -> Kill:
    return Kill(
        container.id,
        container.name,
        spec.grace_period(pod) if grace is None else grace,
        because,
        event or f"Stopping container {container.name}",
    )


class _Rounds:
    """One look at the containers of a ready sandbox; collects the plan."""

    def __init__(self, pod: Object, observed: Observed, backoff: Backoff, now: float) -> None:
        self.pod, self.observed, self.backoff, self.now = pod, observed, backoff, now
        self.actions: list[Action] = []
        self.times: list[float] = []
        self.waiting: dict[str, tuple[str, str]] = {}

    def plan(self) -> Plan:
        past_init = any(self.observed.here(c["name"]) for c in spec.containers(self.pod))
        ready = self.sidecars() if past_init else self.init()
        for container in spec.containers(self.pod):
            if ready:
                self.keep(container, init=False)
            elif self.observed.here(container["name"]) is None:
                self.waiting[container["name"]] = ("PodInitializing", "")
        for container in spec.ephemeral_containers(self.pod):
            if self.observed.current(container["name"]) is None:
                self.start(container, "ephemeral container was added", "ContainerCreating")
        deadline = _deadline_time(self.pod)
        if deadline is not None:
            self.times.append(deadline)
        return Plan(tuple(self.actions), again=min(self.times, default=None), waiting=self.waiting)

    def init(self) -> bool:
        """Bring the init containers on, in their order; whether the containers may start."""
        blocked = False
        for container in spec.init_containers(self.pod):
            name = container["name"]
            if blocked:
                self.waiting.setdefault(name, ("PodInitializing", ""))
                if spec.is_sidecar(container) and self.observed.here(name):
                    self.keep(container, init=True)
                continue
            current = self.observed.here(name)
            if current and current.ended and current.exit_code == 0 and not spec.is_sidecar(container):
                continue
            self.keep(container, init=True)
            started = current is not None and current.running and self.observed.probed(name).started
            blocked = not (spec.is_sidecar(container) and started)
        return not blocked

    def sidecars(self) -> bool:
        """Init containers are behind us: only those that stay are looked after."""
        for container in spec.init_containers(self.pod):
            if spec.is_sidecar(container):
                self.keep(container, init=True)
        return True

    def keep(self, container: Object, *, init: bool) -> None:
        """Start it, start it again, replace it, or leave it be."""
        name, current = container["name"], self.observed.here(container["name"])
        if current is None and self.done_before(container, init):
            return
        if current is None:
            self.start(container, "init container is next" if init else "container is not there", _before(self.pod))
        elif current.id in self.observed.killing or current.state is State.UNKNOWN:
            return
        elif current.running:
            self.watch_over(container, current)
        elif current.state is State.CREATED:
            why = "container was created and never started"
            self.start(container, why, _before(self.pod), attempt=current.attempt)
        elif wants_restart(policy_of(self.pod, container, init), current):
            self.again(container, current)
        elif name in self.waiting:
            del self.waiting[name]

    def done_before(self, container: Object, init: bool) -> bool:
        """Whether it ended for good in a sandbox that was lost since; init containers run again all the same."""
        last = self.observed.current(container["name"])
        return bool(last and last.ended and not init and not wants_restart(spec.restart_policy(self.pod), last))

    def watch_over(self, container: Object, current: Container) -> None:
        probed = self.observed.probed(current.name)
        if current.hash and current.hash != spec.container_hash(container):
            event = f"Container {current.name} definition changed, will be restarted"
            self.actions.append(_kill(self.pod, current, "its image was changed", event))
        elif probed.kill:
            event = LIVENESS_EVENT.format(name=current.name, probe=probed.kill)
            because = f"{probed.kill} probe failed"
            self.actions.append(_kill(self.pod, current, because, event, probed.kill_grace))

    def again(self, container: Object, ended: Container) -> None:
        """Start it anew once its back-off is over; a failure to start has its own."""
        key = backoff_key(self.pod, container)
        when = earliest(self.backoff, key, ended, self.now)
        changed = bool(ended.hash) and ended.hash != spec.container_hash(container)
        if when > self.now and not changed:
            self.waiting[container["name"]] = crash_loop(self.pod, container, self.backoff.delay(key, self.now))
            self.times.append(when)
            return
        why = "its image was changed" if changed else f"exited with code {ended.exit_code}"
        self.start(container, why, "", attempt=ended.attempt + 1)

    def start(self, container: Object, because: str, waiting: str, attempt: int | None = None) -> None:
        """waiting: what it waits for meanwhile; "": its last end shows on until it runs again."""
        name = container["name"]
        failure: Failure | None = self.observed.failures.get(name)
        if failure is not None and failure.retry > self.now:
            self.waiting[name] = (failure.reason, failure.message)
            self.times.append(failure.retry)
            return
        if attempt is None:
            last = self.observed.current(name)
            attempt = last.attempt + 1 if last else 0
        if failure is not None:
            self.waiting[name] = (failure.reason, failure.message)
        elif waiting:
            self.waiting[name] = (waiting, "")
        self.actions.append(Start(name, attempt, because))


def _before(pod: Object) -> str:
    return "PodInitializing" if spec.init_containers(pod) else "ContainerCreating"
