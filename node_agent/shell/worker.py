"""One pod: observe, decide, act, report, until there is nothing to do; then sleep until news or a set time.

Invariants: at most one task of a worker acts at a time, beside it only the ends of containers that are under way; a
container is never started while another of its name runs or ends; the API object of a deleted pod is removed only after
nothing of the pod runs here and its last status was delivered. A worker that idles costs no task.

Faults assumed: any call of the runtime or the API server fails or hangs until its own deadline; the agent dies at any
moment: everything a worker must remember is in the runtime's labels, the API object or the checkpoint.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from control.api.status import StatusError
from control.client.errors import Unreachable
from node_agent.pod import spec
from node_agent.pod.actions import Kill, Plan, RunSandbox, Start, StopSandbox, Verdict
from node_agent.pod.decide import decide
from node_agent.pod.observed import Failure, Observed, Probed, State
from node_agent.pod.spec import Object
from node_agent.pod.status import Place, pod_status
from node_agent.runtime.errors import NotFound, RuntimeFault
from node_agent.shell.context import Context
from node_agent.shell.killer import Killer
from node_agent.shell.starter import CannotRun, Starter

log = logging.getLogger(__name__)


class Worker:
    """Of one pod. gone(worker) is called when nothing of the pod is left."""

    def __init__(self, context: Context, starter: Starter, pod: Object, gone: Any) -> None:
        self.context, self.starter, self.pod = context, starter, pod
        self._source = pod  # as its source has it; self.pod also knows when it started
        self.uid = spec.uid(pod)
        self.killer = Killer(context, self.wake)
        self.verdict: Verdict | None = None
        self.failures: dict[str, Failure] = {}
        self.sandbox_failure: Failure | None = None
        self.in_api = not spec.is_static(pod)
        self.over = False
        self._gone = gone
        self._because = ""
        self._started = ""  # startTime as it was reported first
        self._told: set[tuple[str, str]] = set()
        self._task: asyncio.Task[None] | None = None
        self._step: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._news = False
        self._unseen = False  # what the last step has done was not looked at yet

    # ---- news ----

    def update(self, pod: Object) -> None:
        """The API server has another version of the pod."""
        stopping = spec.deleting(pod) and not spec.deleting(self.pod)
        hurried = spec.deleting(self.pod) and spec.grace_period(pod) < spec.grace_period(self.pod)
        self._source, self.pod = pod, self._with_start(pod)
        if stopping or hurried:
            self.killer.hurry(pod, spec.grace_period(pod))
        if stopping and self._step is not None:
            self._step.cancel()
        self.wake()

    def _with_start(self, pod: Object) -> Object:
        """The pod with its start time, which the server may not have heard of yet."""
        if not self._started or spec.status(pod).get("startTime"):
            return pod
        return {**pod, "status": {**spec.status(pod), "startTime": self._started}}

    def vanish(self, last: Object) -> None:
        """The pod is gone from its source: end it here, there is nothing to report any more. last: as it was then."""
        self.in_api = False
        gone = {**last, "metadata": dict(last["metadata"])}
        gone["metadata"].setdefault("deletionTimestamp", spec.time_of(self.context.now()))
        self.update(gone)

    def condemn(self, verdict: Verdict, grace: float | None = None) -> None:
        """The node has decided that the pod has failed. grace: seconds, None for the pod's own."""
        if self.verdict is not None or spec.terminal(self.pod):
            return
        self.verdict = verdict
        self.killer.shortest = grace
        if grace is not None:
            self.killer.hurry(self.pod, grace)
        self._because = f"{verdict.reason}: {verdict.message}"
        if self._step is not None:
            self._step.cancel()
        self.wake()

    def wake(self) -> None:
        """Look again, now or as soon as what is being done is done."""
        self._news = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None and not self.over:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"pod {spec.name(self.pod)}")

    async def stop(self) -> None:
        """Let go of the pod without touching what runs of it."""
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = [t for t in (self._task, self._step) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, self.killer.stop(), return_exceptions=True)

    # ---- the rounds ----

    async def _run(self) -> None:
        again: float | None = None
        try:
            while self._news and not self.over:
                self._news = False
                again = await self._round()
        except (RuntimeFault, Unreachable, StatusError, OSError) as problem:
            log.warning("pod %s: %s", spec.full_name(self.pod), problem)
            again = self.context.now() + self.context.retry
        except Exception:
            log.exception("pod %s: the agent failed on it; others go on", spec.full_name(self.pod))
            again = self.context.now() + self.context.retry * 2
        finally:
            self._task = None
        if self.over:
            return
        if self._news:
            self.wake()
        elif again is not None:
            delay = max(again - self.context.now(), 0.01)
            self._timer = asyncio.get_running_loop().call_later(delay, self.wake)

    async def _round(self) -> float | None:
        """Observe, decide, report, do the next step. When to look again without news. Raises RuntimeFault."""
        if self._unseen:
            await self._look()
        observed = self.observe()
        plan = decide(self.pod, observed, self.context.restarts, self.context.now(), self.verdict)
        if plan.verdict is not None and self.verdict is None:
            self.verdict = plan.verdict
            self.context.events.normal(self.pod, plan.verdict.reason, plan.verdict.message)
        self._remark(plan)
        self.report(plan, observed)
        for kill in (action for action in plan.actions if isinstance(action, Kill)):
            self._because = f"container {kill.name}: {kill.because}"
            self.killer.kill(self.pod, kill)
        steps = [action for action in plan.actions if not isinstance(action, Kill)]
        if steps:
            await self._do(steps[0])
            self._news = True
        elif plan.finished:
            await self._finish()
        return plan.again

    def observe(self) -> Observed:
        """What there is of the pod, put together from the view, the probes and what failed here."""
        seen = self.context.view.of(self.uid)
        newest = {name: found[0] for name, found in seen.containers.items() if found}
        for name in [n for n, c in newest.items() if c.state is State.RUNNING and n in self.failures]:
            del self.failures[name]
        running = {name: c for name, c in newest.items() if c.state is State.RUNNING}
        self.context.probes.follow(self.pod, running)
        results = self.context.probes.results(self.uid)
        return Observed(
            sandboxes=seen.sandboxes,
            containers=seen.containers,
            probes={name: results.get(name, Probed(True, True)) for name in running},
            failures=dict(self.failures),
            sandbox_failure=self.sandbox_failure,
            killing=self.killer.ids,
        )

    def report(self, plan: Plan, observed: Observed) -> None:
        over = plan.finished
        if spec.terminal(self.pod) and not observed.containers:
            return  # its last word was said, by us or by whoever refused it
        place = Place(self.context.runtime_name, self.context.node.ips)
        status = pod_status(
            self.pod,
            observed,
            place,
            self.context.now(),
            waiting=plan.waiting,
            verdict=self.verdict,
            over=over,
        )
        self._started = str(status["startTime"])
        self.pod = self._with_start(self.pod)
        if self.in_api or spec.is_static(self.pod):
            self.context.api.report(self._source, status, self._because)

    def _remark(self, plan: Plan) -> None:
        """Events of the plan, and one BackOff event for each wait of a crashing container."""
        for event in plan.events:
            self.context.events.normal(self.pod, event.reason, event.message, event.container)
        waits = {(name, message) for name, (reason, message) in plan.waiting.items() if reason == "CrashLoopBackOff"}
        starting = {action.name for action in plan.actions if isinstance(action, Start)}
        for name, _ in sorted(waits - self._told):
            if name not in starting:
                message = f"Back-off restarting failed container {name} in pod {spec.full_name(self.pod)}"
                self.context.events.warning(self.pod, "BackOff", message, name)
        self._told = waits

    # ---- steps ----

    async def _do(self, action: RunSandbox | StopSandbox | Start) -> None:
        """One step, which news of the pod's end interrupts."""
        self._unseen = True
        self._step = asyncio.get_running_loop().create_task(self._act(action))
        try:
            await asyncio.shield(self._step)
        except asyncio.CancelledError:
            if not self._step.cancelled():
                self._step.cancel()
                raise
        finally:
            self._step = None
        await self._look()

    async def _look(self) -> None:
        """See what a step has done: nothing more is decided before, or it might be done twice."""
        await self.context.view.look_at(self.uid)
        self._unseen = False

    async def _act(self, action: RunSandbox | StopSandbox | Start) -> None:
        match action:
            case RunSandbox():
                self._because = action.because
                await self._run_sandbox(action)
            case StopSandbox():
                await self.context.runtime.stop_sandbox(action.id)
            case Start():
                self._because = f"container {action.name}: {action.because}"
                await self._start(action)

    async def _run_sandbox(self, action: RunSandbox) -> None:
        self.sandbox_failure = None
        try:
            await self.starter.run_sandbox(self.pod, action.attempt)
        except CannotRun as problem:
            self.sandbox_failure = problem.failure

    async def _start(self, action: Start) -> None:
        await self._clear_created(action.name)
        self.failures.pop(action.name, None)
        try:
            await self.starter.start(self.pod, action)
        except CannotRun as problem:
            self.failures[action.name] = problem.failure

    async def _clear_created(self, name: str) -> None:
        """Remove a container that was created and never started (the agent died between the two)."""
        for container in self.context.view.of(self.uid).containers.get(name, ()):
            if container.state is State.CREATED:
                await self.context.runtime.remove_container(container.id)

    async def _finish(self) -> None:
        """Nothing runs and nothing will. A pod that is being deleted leaves no trace."""
        await self.killer.stop()
        self.context.probes.forget(self.uid)
        if not spec.deleting(self.pod):
            await self.context.volumes.tear_down(self.pod)
            self.context.lookup.release(self.pod)
            return
        if self.in_api:
            await self.context.api.delivered(self.pod)
        await self._remove_all()
        await self.context.volumes.tear_down(self.pod)
        await self.context.volumes.forget(self.uid)
        if self.in_api:
            await self.context.api.remove(self.pod, self._because or "nothing of the pod runs any more")
        self.context.lookup.release(self.pod)
        self.starter.images.forget(self.uid)
        for delays in (self.context.restarts, self.context.pulls, self.context.retries):
            delays.clear_all(f"{self.uid}/")
        self.over = True
        self._gone(self)

    async def _remove_all(self) -> None:
        """Containers and sandboxes, dead as they are."""
        seen = self.context.view.of(self.uid)
        for sandbox in seen.sandboxes:
            await self.context.runtime.remove_sandbox(sandbox.id)
        for container in seen.every_container():
            try:
                await self.context.runtime.remove_container(container.id)
            except NotFound:
                continue
        await self.context.view.look_at(self.uid)
