"""A cluster that stays after the script that started it: pid files, logs and data under one folder.

cluster.json in the folder says who belongs to it; it is written once, so that a second start brings back the same
cluster, with its data. A pid file counts only while a process of that id runs with that member's data directory.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from harness.binaries import find
from harness.ports import free_port
from harness.process import clean_environment
from harness.stubs import Stub, open_channel
from harness.wait import wait_until

from kvstore.pb.etcd_pb2 import RangeRequest


class StandingError(Exception):
    """What the user is told, in one line."""


@dataclass
class Master:
    """One member: its ports on 127.0.0.1."""

    name: str
    client_port: int
    peer_port: int

    @property
    def endpoint(self) -> str:
        """host:port for clients."""
        return f"127.0.0.1:{self.client_port}"


class StandingCluster:
    """The cluster in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._description = folder / "cluster.json"
        # Those that this process started: in the middle of its exec a program has no command line to be known by.
        self._launched: dict[str, subprocess.Popen[bytes]] = {}
        self.masters = self._read()

    def _read(self) -> list[Master]:
        if not self._description.exists():
            return []
        return [Master(**m) for m in json.loads(self._description.read_text())["masters"]]

    def found(self, count: int, free_ports: bool) -> None:
        """Decide on ports and write them down. StandingError if there is a cluster of another size already."""
        if self.masters:
            if len(self.masters) != count:
                raise StandingError(
                    f"{self.folder} holds a cluster of {len(self.masters)}; "
                    f"use --masters {len(self.masters)}, remove it with stop-cluster --wipe, or choose another --data"
                )
            return
        if count > 5 and not free_ports:
            raise StandingError("the usual ports (12379, 22379, …) reach for five masters; add --free-ports")
        for number in range(1, count + 1):
            usual = (number * 10000 + 2379, number * 10000 + 2380)
            client, peer = (free_port(), free_port()) if free_ports else usual
            self.masters.append(Master(f"m{number}", client, peer))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._description.write_text(json.dumps({"masters": [asdict(m) for m in self.masters]}, indent=1))

    def pid(self, master: Master) -> int | None:
        """The process of a master, None if it does not run."""
        launched = self._launched.get(master.name)
        if launched is not None and launched.poll() is None:
            return launched.pid
        try:
            pid = int((self.folder / f"{master.name}.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if str(self.folder / master.name).encode() in command else None

    def start(self, extra: list[str]) -> list[Master]:
        """Start every master that does not run; wait until all answer. The masters that were started."""
        started: list[Master] = []

        def answers(master: Master) -> bool:
            # Also one that was about to end when it was first looked at is started, once.
            if self.pid(master) is None and master not in started:
                self._launch(master, extra)
                started.append(master)
            return self._answers(master)

        for master in self.masters:
            if self.pid(master) is None:
                self._launch(master, extra)
                started.append(master)
        for master in self.masters:
            wait_until(partial(answers, master), f"{master.name} to answer", timeout=30)
        return started

    def _launch(self, master: Master, extra: list[str]) -> None:
        program = find("fluyt")
        if program is None:
            raise StandingError("the command fluyt is not installed; run scripts/venv")
        client, peer = f"http://{master.endpoint}", f"http://127.0.0.1:{master.peer_port}"
        flags = {
            "--name": master.name,
            "--data-dir": str(self.folder / master.name),
            "--listen-client-urls": client,
            "--advertise-client-urls": client,
            "--listen-peer-urls": peer,
            "--initial-advertise-peer-urls": peer,
            "--initial-cluster": ",".join(f"{m.name}=http://127.0.0.1:{m.peer_port}" for m in self.masters),
            "--initial-cluster-token": f"local-{self.folder}",
        }
        command = [program, "store", *(word for pair in flags.items() for word in pair), *extra]
        with (self.folder / f"{master.name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=clean_environment(),
            )
        self._launched[master.name] = process
        (self.folder / f"{master.name}.pid").write_text(str(process.pid))

    def _answers(self, master: Master) -> bool:
        if self.pid(master) is None:
            log = self.folder / f"{master.name}.log"
            last = log.read_text(errors="replace").splitlines()[-1:]
            raise StandingError(f"{master.name} ended: {' '.join(last)} (log: {log})")
        with open_channel(master.endpoint) as channel:
            try:
                Stub(channel).Range(RangeRequest(key=b"health"), timeout=1.0)
            except Exception:
                return False
        return True

    def stop(self, timeout: float = 10.0) -> list[Master]:
        """SIGTERM to all, SIGKILL to those who stay; the masters that ran."""
        running = [(m, pid) for m in self.masters if (pid := self.pid(m)) is not None]
        for _, pid in running:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout
        for master, pid in running:
            while self.pid(master) is not None and time.monotonic() < deadline:
                time.sleep(0.05)
            if self.pid(master) is not None:
                os.kill(pid, signal.SIGKILL)
            (self.folder / f"{master.name}.pid").unlink(missing_ok=True)
        return [m for m, _ in running]

    def wipe(self) -> None:
        """Remove what start made, and the folder if nothing else is in it."""
        for master in self.masters:
            shutil.rmtree(self.folder / master.name, ignore_errors=True)
            (self.folder / f"{master.name}.log").unlink(missing_ok=True)
        self._description.unlink(missing_ok=True)
        try:
            self.folder.rmdir()
        except OSError:
            print(f"{self.folder} holds other files; they stay", file=sys.stderr)


def default_folder() -> Path:
    """Where a cluster lives if the user does not say."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state, "fluyt", "cluster")
