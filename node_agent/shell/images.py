"""Having a container's image on the node: pull policies, back-off, secrets of registries, events."""

from __future__ import annotations

import asyncio

from node_agent.pod import spec
from node_agent.pod.credentials import credentials_for
from node_agent.pod.observed import Failure
from node_agent.pod.spec import Object
from node_agent.runtime.errors import InvalidImageName, RuntimeFault, RuntimeUnavailable
from node_agent.runtime.types import Credentials
from node_agent.shell.context import Context

_SHOWN = 2.0  # seconds that ErrImagePull shows before ImagePullBackOff does
_HOPELESS = 300.0


class ImageProblem(Exception):
    """The image cannot be had for now; carries what the status is to say."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Images:
    """One image is pulled once at a time, whoever waits for it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._pulling: dict[str, asyncio.Lock] = {}
        self._failed: dict[str, float] = {}  # when the last attempt failed, by pod and image

    async def ensure(self, pod: Object, container: Object) -> tuple[str, str]:
        """The image's name for the runtime and the user in its configuration. Raises ImageProblem."""
        name = str(container.get("image") or "")
        policy = container.get("imagePullPolicy") or "IfNotPresent"
        key = f"{spec.uid(pod)}/{name}"
        lock = self._pulling.setdefault(name, asyncio.Lock())
        try:
            async with lock:
                return await self._ensure(pod, container, name, policy, key)
        finally:
            if not lock.locked():
                self._pulling.pop(name, None)

    async def _ensure(self, pod: Object, container: Object, name: str, policy: str, key: str) -> tuple[str, str]:
        try:
            present = await self.context.runtime.image_status(name) if name else None
        except InvalidImageName as problem:
            raise self._invalid(pod, container, name, problem) from None
        except RuntimeFault as problem:
            raise ImageProblem(
                Failure("ImageInspectError", str(problem), self.context.now() + self.context.retry * 2)
            ) from None
        if present is not None and policy != "Always":
            message = f'Container image "{name}" already present on machine'
            self.context.events.normal(pod, "Pulled", message, container["name"])
            return name, present.user
        if policy == "Never":
            message = f'Container image "{name}" is not present with pull policy of Never'
            self.context.events.warning(pod, "ErrImageNeverPull", message, container["name"])
            raise ImageProblem(Failure("ErrImageNeverPull", message, self.context.now() + self.context.retry * 2))
        return await self._pull(pod, container, name, key)

    async def _pull(self, pod: Object, container: Object, name: str, key: str) -> tuple[str, str]:
        context, began = self.context, self.context.now()
        until = self._failed[key] + context.pulls.delay(key, began) if key in self._failed else 0.0
        if began < until:
            raise self._backing_off(pod, container, name, until)
        context.events.normal(pod, "Pulling", f'Pulling image "{name}"', container["name"])
        try:
            await self._ask(pod, name)
            image = await context.runtime.image_status(name)
        except InvalidImageName as problem:
            raise self._invalid(pod, container, name, problem) from None
        except RuntimeFault as problem:
            raise self._failed_pull(pod, container, name, key, problem) from None
        self._failed.pop(key, None)
        context.pulls.clear(key)
        took = _took(context.now() - began)
        size = image.size if image else 0
        message = f'Successfully pulled image "{name}" in {took} ({took} including waiting). Image size: {size} bytes.'
        context.events.normal(pod, "Pulled", message, container["name"])
        return name, image.user if image else ""

    async def _ask(self, pod: Object, name: str) -> None:
        """Pull with each of the pod's credentials for that registry, then without any; the last refusal counts."""
        choices: list[Credentials | None] = []
        if spec.spec(pod).get("imagePullSecrets"):
            choices += credentials_for(name, pod, await self.context.lookup.sources(pod))
        for credentials in choices:
            try:
                await self.context.runtime.pull_image(name, credentials)
                return
            except (InvalidImageName, RuntimeUnavailable):
                raise
            except RuntimeFault:
                continue
        await self.context.runtime.pull_image(name, None)

    def _invalid(self, pod: Object, container: Object, name: str, problem: Exception) -> ImageProblem:
        message = f'Failed to apply default image tag "{name}": {problem}'
        self.context.events.warning(pod, "InspectFailed", message, container["name"])
        self.context.events.warning(pod, "Failed", "Error: InvalidImageName", container["name"])
        return ImageProblem(Failure("InvalidImageName", message, self.context.now() + _HOPELESS))

    def _failed_pull(self, pod: Object, container: Object, name: str, key: str, problem: Exception) -> ImageProblem:
        """ErrImagePull now; the next look, which comes at once, finds it backing off."""
        context = self.context
        context.pulls.advance(key, context.now())
        self._failed[key] = context.now()
        context.events.warning(pod, "Failed", f'Failed to pull image "{name}": {problem}', container["name"])
        context.events.warning(pod, "Failed", "Error: ErrImagePull", container["name"])
        return ImageProblem(Failure("ErrImagePull", str(problem), context.now() + _SHOWN))

    def _backing_off(self, pod: Object, container: Object, name: str, until: float) -> ImageProblem:
        self.context.events.normal(pod, "BackOff", f'Back-off pulling image "{name}"', container["name"])
        self.context.events.warning(pod, "Failed", "Error: ImagePullBackOff", container["name"])
        return ImageProblem(Failure("ImagePullBackOff", f'Back-off pulling image "{name}"', until))

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        for key in [key for key in self._failed if key.startswith(f"{uid}/")]:
            del self._failed[key]


def _took(seconds: float) -> str:
    """As Go prints durations: 250ms, 1.234s."""
    return f"{round(seconds * 1000)}ms" if seconds < 1 else f"{round(seconds, 3):g}s"
