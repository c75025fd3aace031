"""What a runtime refuses, typed, so that the agent can say it in Kubernetes' words.

Every message names the cause and, where there is one, the cure. None of them holds environment values or credentials.
"""

from __future__ import annotations


class RuntimeFault(Exception):
    """Anything that a container runtime refuses or fails at."""


class RuntimeUnavailable(RuntimeFault):
    """The runtime does not answer (daemon down, socket gone). Nothing is known of what was asked; try again later."""


class NotFound(RuntimeFault):
    """No such sandbox or container: it was removed, or never was."""


class ImageNotFound(RuntimeFault):
    """The image is not on this node, and no registry that was asked has it."""


class InvalidImageName(RuntimeFault):
    """What was given can be no image's name."""


class PullFailed(RuntimeFault):
    """A registry was asked and the image could not be had: unreachable, refused, damaged, or the disk is full."""


class BadArchive(RuntimeFault):
    """An image archive that is refused: not an image, damaged, beyond its bounds, or hostile."""


class ImageInUse(RuntimeFault):
    """The image cannot be removed because a container was made from it."""


class CannotCreate(RuntimeFault):
    """A sandbox or container could not be made; `reason` is one word for the status, the message says why."""

    def __init__(self, message: str, reason: str = "CreateContainerError") -> None:
        super().__init__(message)
        self.reason = reason


class CannotStart(RuntimeFault):
    """A container was made but its program could not be started (no such file, no such user, a mount failed).

    Its status is exited afterwards, with reason `StartError` and exit code 128.
    """

    def __init__(self, message: str, reason: str = "RunContainerError") -> None:
        super().__init__(message)
        self.reason = reason


class NotRunning(RuntimeFault):
    """Exec, attach or port-forward into a container or sandbox that does not run (now)."""


class ExecTimeout(RuntimeFault):
    """A command ran longer than it was given, and was killed."""


class Unsupported(RuntimeFault):
    """This runtime, on this machine, cannot do that; the message says what it lacks."""
