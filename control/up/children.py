"""The processes of a cluster's folder: started with logs and pid files, found again by them, stopped by pid.

    FOLDER/logs/NAME.log   both outputs, appended; FOLDER/run/NAME.pid   "<pid> <start time in clock ticks>"

Invariant: no process is signalled but the one that was started here: a pid counts only with its start time (proc(5),
stat, field 22), so a pid that was given to another program meanwhile does not. And none runs without its pid file: a
process waits for a word from us until that is written. Faults assumed: we and they may be killed at any moment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from control.up.rows import Row

# A log beyond this is begun anew at a start, the old one kept as NAME.log.1.
_LOG_BYTES: Final = 16 << 20
# Variables that would configure the processes behind our back.
_OURS: Final = ("ETCD_", "ETCDCTL_", "FLUYT_")
_POLL: Final = 0.02
# Becomes the program (with the pid and start time that were noted) at a line on its input, and ends if none comes.
_WAIT_FOR_WORD: Final = ("/bin/sh", "-c", 'read -r word && exec "$@" </dev/null', "sh")


class Children:
    """Those of one folder."""

    def __init__(self, folder: Path) -> None:
        self.logs, self.run = folder / "logs", folder / "run"
        self._popen: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, row: Row) -> None:
        """Start a row's process. OSErrors."""
        for place in (self.logs, self.run):
            place.mkdir(mode=0o700, exist_ok=True)
        with self._log(row.name).open("ab") as log:
            log.write(f"--- started: fluyt {' '.join(row.command)}\n".encode())
            log.flush()
            popen = subprocess.Popen(
                [*_WAIT_FOR_WORD, sys.executable, "-m", "kvstore.cli.main", *row.command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=environment(os.environ),
            )
        self._popen[row.name] = popen
        assert popen.stdin is not None
        with popen.stdin as word:
            self.note(row.name, popen.pid)
            word.write(b"go\n")

    def note(self, name: str, pid: int) -> None:
        """Write a pid file; whole or not at all, since others read it at any moment. OSErrors."""
        self.run.mkdir(mode=0o700, exist_ok=True)
        temporary = self.run / f".{name}.new"
        temporary.write_text(f"{pid} {_started(pid)}\n")
        os.replace(temporary, self.run / f"{name}.pid")

    def pid(self, name: str) -> int | None:
        """The process of that name, None if it does not run."""
        popen = self._popen.get(name)
        if popen is not None and popen.poll() is not None:
            return None
        try:
            pid, started = map(int, (self.run / f"{name}.pid").read_text().split())
        except (OSError, ValueError):
            return None
        # 0 was noted of one that had ended by then, and is what _started says of those that are not there.
        return pid if started and _started(pid) == started else None

    def runs_otherwise(self, row: Row) -> bool:
        """Whether its process runs with other flags than the row's: those it was started with."""
        pid = self.pid(row.name)
        if pid is None:
            return False
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")[:-1]
        except OSError:
            return False
        return tuple(words[-len(row.command) :]) != row.command

    def ended(self, row: Row) -> str | None:
        """How a process that we started ended, None while it runs."""
        popen = self._popen.get(row.name)
        code = popen.poll() if popen else None
        if code is None:
            return None
        return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"

    def last_words(self, name: str, lines: int = 12) -> str:
        """The end of a log, since the last start."""
        try:
            text = self._log(name, rotate=False).read_bytes()[-16384:].decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(f"  {line}" for line in text.split("--- started: ")[-1].splitlines()[1:][-lines:])

    def stop(self, names: Iterable[str], patience: float = 10.0) -> list[str]:
        """SIGTERM to all at once, SIGKILL to those who stay; the names of those that ran."""
        running = {name: pid for name in names if (pid := self.pid(name)) is not None}
        for pid in running.values():
            _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + patience
        for name, pid in running.items():
            while self.pid(name) is not None and time.monotonic() < deadline:
                time.sleep(_POLL)
            if self.pid(name) is not None:
                _signal(pid, signal.SIGKILL)
                while self.pid(name) is not None:
                    time.sleep(_POLL)
            self.forget(name)
        return list(running)

    def forget(self, name: str) -> None:
        """Remove its pid file, and collect it if it is a child of ours."""
        (self.run / f"{name}.pid").unlink(missing_ok=True)
        popen = self._popen.pop(name, None)
        if popen is not None:
            popen.wait()

    def _log(self, name: str, *, rotate: bool = True) -> Path:
        path = self.logs / f"{name}.log"
        if rotate and path.exists() and path.stat().st_size > _LOG_BYTES:
            os.replace(path, path.with_suffix(".log.1"))
        return path


def environment(present: Mapping[str, str]) -> dict[str, str]:
    """The environment without what would count as flags."""
    return {name: value for name, value in present.items() if not name.startswith(_OURS)}


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _started(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 when there is none, or only what is left of it (zombie)."""
    try:
        # The command's name, in parentheses, may contain anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])
