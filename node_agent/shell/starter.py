"""Starting a container: its image, volumes, environment, then create, start and the postStart hook.

Every way in which that can fail becomes a Failure with Kubernetes' reason, an event, and a time to try again.
"""

from __future__ import annotations

from node_agent.pod import spec
from node_agent.pod.actions import Start
from node_agent.pod.config import container_config, sandbox_config
from node_agent.pod.env import environment
from node_agent.pod.fields import ConfigProblem
from node_agent.pod.observed import Failure
from node_agent.pod.restart import backoff_key
from node_agent.pod.spec import Object
from node_agent.runtime.errors import CannotCreate, CannotStart, ImageNotFound, RuntimeFault
from node_agent.shell.context import Context
from node_agent.shell.images import ImageProblem, Images
from node_agent.volumes.problem import VolumeProblem


class CannotRun(Exception):
    """A step of the start failed; carries what the status is to say."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Starter:
    """Starts containers and sandboxes of pods; one per node."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.images = Images(context)

    async def run_sandbox(self, pod: Object, attempt: int) -> None:
        """Raises CannotRun."""
        context, key = self.context, f"{spec.uid(pod)}/sandbox"
        try:
            await context.runtime.run_sandbox(sandbox_config(pod, context.node, attempt))
        except RuntimeFault as problem:
            context.events.warning(pod, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {problem}")
            raise CannotRun(self._again(key, getattr(problem, "reason", "CreatePodSandboxError"), problem)) from None
        context.retries.clear(key)

    def _again(self, key: str, reason: str, problem: Exception) -> Failure:
        """Tried again with a growing delay."""
        now = self.context.now()
        self.context.retries.advance(key, now)
        return Failure(reason, str(problem), now + self.context.retries.delay(key, now))

    async def start(self, pod: Object, action: Start) -> None:
        """Raises CannotRun."""
        context = self.context
        container = spec.container(pod, action.name)
        sandbox = context.view.of(spec.uid(pod)).sandboxes
        if container is None or not sandbox:
            return
        key = f"{spec.uid(pod)}/{action.name}"
        await self._volumes(pod, container)
        image, image_user = await self._image(pod, container)
        try:
            placed = spec.with_addresses(pod, sandbox[0].ips or context.node.ips, context.node.ips)
            created = await self._create(placed, container, action, sandbox[0].id, image, image_user)
        except (ConfigProblem, VolumeProblem) as problem:
            raise CannotRun(self._config_failure(pod, container, problem)) from None
        except ImageNotFound as problem:
            raise CannotRun(Failure("ErrImagePull", str(problem), context.now() + context.retry * 2)) from None
        except RuntimeFault as problem:
            reason = problem.reason if isinstance(problem, CannotCreate) else "CreateContainerError"
            context.events.warning(pod, "Failed", f"Error: {problem}", action.name)
            raise CannotRun(self._again(key, reason, problem)) from None
        if action.attempt:
            context.restarts.advance(backoff_key(pod, container), context.now())
        await self._start(pod, container, created, key, counted=bool(action.attempt))

    async def _volumes(self, pod: Object, container: Object) -> None:
        """Before the image: what a volume lacks is waited for without pulling again at each try."""
        try:
            await self.context.volumes.set_up(pod)
        except (ConfigProblem, VolumeProblem) as problem:
            raise CannotRun(self._config_failure(pod, container, problem)) from None

    async def _image(self, pod: Object, container: Object) -> tuple[str, str]:
        try:
            return await self.images.ensure(pod, container)
        except ImageProblem as problem:
            raise CannotRun(problem.failure) from None

    def _config_failure(self, pod: Object, container: Object, problem: Exception) -> Failure:
        context = self.context
        if isinstance(problem, VolumeProblem):
            context.events.warning(pod, "FailedMount", str(problem))
            waiting = "PodInitializing" if spec.init_containers(pod) else "ContainerCreating"
            return Failure(waiting, "", context.now() + context.retry * 2)
        context.events.warning(pod, "Failed", f"Error: {problem}", container["name"])
        return Failure("CreateContainerConfigError", str(problem), context.now() + context.retry * 2)

    async def _create(
        self, pod: Object, container: Object, action: Start, sandbox: str, image: str, image_user: str
    ) -> str:
        """Environment, mounts, configuration, create: the container's id."""
        context = self.context
        sources = await context.lookup.sources(pod)
        found = environment(pod, container, sources, context.node.allocatable)
        for message in found.skipped:
            context.events.warning(pod, "InvalidEnvironmentVariableNames", message)
        mounts = await context.volumes.mounts(pod, container, found.variables, action.attempt)
        config = container_config(
            pod,
            container,
            context.node,
            action.attempt,
            found.variables,
            mounts,
            image,
            image_user,
            self._target(pod, container),
        )
        created = await context.runtime.create_container(sandbox, config)
        context.events.normal(pod, "Created", f"Created container: {action.name}", action.name)
        return created

    def _target(self, pod: Object, container: Object) -> str:
        """The container that `kubectl debug --target` names, by its id; "" for none. ConfigProblem: it does not run."""
        name = container.get("targetContainerName")
        if not name:
            return ""
        runs = self.context.view.of(spec.uid(pod)).containers.get(name) or ()
        if not runs or not runs[0].running:
            raise ConfigProblem(f"unable to find target container {name}")
        return runs[0].id

    async def _start(self, pod: Object, container: Object, container_id: str, key: str, *, counted: bool) -> None:
        """counted: the back-off knows of this attempt already."""
        context, name = self.context, container["name"]
        try:
            await context.runtime.start_container(container_id)
        except RuntimeFault as problem:
            reason = problem.reason if isinstance(problem, CannotStart) else "RunContainerError"
            context.events.warning(pod, "Failed", f"Error: {problem}", name)
            if not counted:
                context.restarts.advance(backoff_key(pod, container), context.now())
            raise CannotRun(self._again(key, reason, problem)) from None
        context.retries.clear(key)
        context.events.normal(pod, "Started", f"Started container {name}", name)
        if (container.get("lifecycle") or {}).get("postStart"):
            await self._post_start(pod, container, container_id)

    async def _post_start(self, pod: Object, container: Object, container_id: str) -> None:
        context, name = self.context, container["name"]
        why = await context.hooks.run(pod, container, container_id, "postStart", 0.0)
        if not why:
            return
        context.events.warning(pod, "FailedPostStartHook", "PostStartHook failed", name)
        context.events.normal(pod, "Killing", f"FailedPostStartHook: {why}", name)
        await context.runtime.stop_container(container_id, spec.grace_period(pod))
        raise CannotRun(Failure("PostStartHookError", f"PostStartHook failed: {why}", 0.0))
