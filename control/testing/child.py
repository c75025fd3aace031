"""A `fluyt` process under a test run: ends with it, however the run ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class Child:
    """`fluyt` with these words. Its standard input is a pipe of ours, so it can tell when we are gone."""

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "kvstore.cli.main", *words],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={k: v for k, v in os.environ.items() if not k.startswith(("ETCD_", "ETCDCTL_", "FLUYT_"))},
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended; a paused one runs."""
        return self._popen.poll() is None

    def last_words(self, lines: int = 20) -> str:
        """The end of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing if it has ended."""
        if self.running:
            self._popen.send_signal(number)

    def stop(self, patience: float = 15.0) -> None:
        """SIGTERM, then SIGKILL."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(patience)
        self.kill()

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.send(signal.SIGKILL)
        self._popen.wait()
