"""What a command that is exec'd into a simulated container says: enough for probes, `kubectl exec` and `cp` to have
an answer.

A few well-known programs do what they do; everything else succeeds without a word, unless the behaviour says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

from node_agent.runtime.simulated.behaviour import Behaviour, by_command
from node_agent.runtime.types import ContainerConfig, ExecResult, SandboxConfig

NOT_READY = ExecResult(1, b"", b"not ready yet\n")


def reads_stdin(command: Sequence[str]) -> bool:
    """`cat` without files gives back what it is given."""
    return list(command) in (["cat"], ["/bin/cat"])


def answer(
    command: Sequence[str], behaviour: Behaviour, age: float, container: ContainerConfig, sandbox: SandboxConfig
) -> tuple[float, ExecResult]:
    """(seconds that it takes, what comes of it); `age` is how long the container has been running."""
    if age < behaviour.ready_after:
        return 0.0, NOT_READY
    if behaviour.exec_exit >= 0:
        return 0.0, ExecResult(behaviour.exec_exit, b"", b"")
    program = command[0].rpartition("/")[2] if command else ""
    if program == "env":
        return 0.0, ExecResult(0, "".join(f"{name}={value}\n" for name, value in container.env).encode(), b"")
    if program == "hostname":
        return 0.0, ExecResult(0, f"{sandbox.hostname or sandbox.name}\n".encode(), b"")
    does = by_command(command)
    said = f"{does['log']}\n".encode() if does.get("log") else b""
    return does.get("run", 0.0), ExecResult(does.get("exit", 0), said, b"")
