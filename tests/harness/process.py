"""One child process with its log: started in a group of its own, ended by pid, and never left behind.

Faults assumed: the parent may fail, be interrupted or be killed at any line. The kernel then ends the child too
(setpriv --pdeathsig, where the machine has it); atexit ends what an ordinary exit forgot.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_alive: set[Process] = set()


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without ETCD_* and ETCDCTL_*, which would configure programs behind our back."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ETCD_", "ETCDCTL_"))}
    return {**kept, "ETCDCTL_API": "3", "NO_COLOR": "1", **(extra or {})}


class Process:
    """A child with both outputs in one log file (appended, so that a restart keeps the earlier story)."""

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        """prefix: words before the command (`ip netns exec NAME`); they must exec, so that the pid is the child's."""
        self.arguments = list(arguments)
        self.log = log
        with log.open("ab") as out:
            out.write(f"$ {' '.join(arguments)}\n".encode())
            out.flush()
            self.popen = subprocess.Popen(
                [*prefix, *death_signal(), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=clean_environment(environment),
            )
        self.paused = False
        _alive.add(self)

    @property
    def pid(self) -> int:
        """The child's process id, also the id of its process group."""
        return self.popen.pid

    @property
    def running(self) -> bool:
        """Whether the child has not ended (a paused one runs)."""
        return self.popen.poll() is None

    def kill(self) -> None:
        """SIGKILL the child's group and wait for its end."""
        self._signal(signal.SIGKILL)
        self.popen.wait()
        _alive.discard(self)

    def stop(self, timeout: float = 10.0) -> int:
        """SIGTERM, then SIGKILL after `timeout` seconds; the exit code (negative: the signal)."""
        self.resume()
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(timeout)
        self.kill()
        return self.popen.returncode

    def pause(self) -> None:
        """SIGSTOP: it keeps its sockets and does nothing."""
        self._signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """SIGCONT after a pause; nothing otherwise."""
        if self.paused:
            self._signal(signal.SIGCONT)
            self.paused = False

    def wait(self, timeout: float) -> int:
        """The exit code of a child that ends by itself; subprocess.TimeoutExpired after `timeout` seconds."""
        code = self.popen.wait(timeout)
        _alive.discard(self)
        return code

    def output(self) -> str:
        """All that the log holds."""
        return self.log.read_text(errors="replace")

    def _signal(self, number: signal.Signals) -> None:
        if not self.running:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def death_signal() -> list[str]:
    """Words that make the kernel kill the child when the thread that started it ends.

    Only in the main thread: a child started by a worker thread would end with that thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


@atexit.register
def kill_all() -> None:
    """End every child that is still there."""
    for process in list(_alive):
        process.kill()
