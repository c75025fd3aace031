"""The shim proper: one container's program, those exec'd into it, and the agents that ask.

Invariants: the state file says what is true and is replaced, never rewritten; the end is on disk before anyone is
told; only the shim signals the program, so a number that was given to another process is never hit. If the shim
itself is killed, the kernel kills the program with it (it could neither be watched nor log any more).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from typing import Any

from node_agent.runtime.process import linux
from node_agent.runtime.process.shim import child
from node_agent.runtime.process.shim.connection import Connection
from node_agent.runtime.process.shim.log_file import LogFile
from node_agent.runtime.process.shim.poller import Poller
from node_agent.runtime.process.shim.program import STDOUT, Ends, Program, StartError

_FLUSH_SECONDS = 5.0
_MAX_CONNECTIONS = 256


def save_state(state: dict[str, Any]) -> None:
    """Into the current folder, which is the container's."""
    with open("state.new", "w", encoding="utf-8") as file:
        json.dump(state, file)
    os.replace("state.new", "state.json")


class Supervisor:
    """Runs until the container's program has ended and everyone was told."""

    def __init__(self, spec: dict[str, Any], listener: socket.socket) -> None:
        self._spec = spec
        self._listener = listener
        self._poller = Poller(self._reap)
        self._log = LogFile(spec["log"])
        self._main = Program(self._poller, terminal=spec["tty"], stdin=spec["stdin"])
        self._programs: dict[int, Program] = {}
        self._connections: set[Connection] = set()
        self._watching: set[Connection] = set()
        self._attached: set[Connection] = set()
        self._state: dict[str, Any] = {}
        self._over = False

    def start(self) -> None:
        """Raises StartError."""
        if self._spec["namespaces"].get("pid") == "new":
            linux.unshare(linux.CLONE_NEWPID)
        elif self._spec["namespaces"].get("pid"):
            child.enter(self._spec["namespaces"]["pid"], linux.CLONE_NEWPID)
        self._main.on_output = self._output
        self._main.on_end = self._ended
        self._main.start(self._become_first)
        self._programs[self._main.pid] = self._main
        self._state = {
            "status": "running",
            "pid": self._main.pid,
            "shim": os.getpid(),
            "ticks": start_ticks(self._main.pid),
            "started_at": time.time(),
        }
        save_state(self._state)
        self._main.watch()
        self._poller.on_readable(self._listener.fileno(), self._accept)

    def run(self) -> None:
        while not self._over or self._connections:
            self._poller.turn()

    def _become_first(self, ends: Ends) -> None:
        spec = self._spec
        child.take_streams(ends)
        child.enter_cgroups(spec["cgroups"])
        child.set_oom_score(spec["oom_score_adj"])
        child.build(spec)
        child.execute(spec["argv"], child.become(spec, ends))

    # agents

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        if len(self._connections) >= _MAX_CONNECTIONS:
            sock.close()
            return
        connection = Connection(sock, self._poller, self._first_frame)
        self._connections.add(connection)
        self._watching.add(connection)
        connection.on_gone = lambda: self._gone(connection)

    def _gone(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._watching.discard(connection)
        self._attached.discard(connection)

    def _first_frame(self, connection: Connection, kind: bytes, body: bytes) -> None:
        match kind:
            case b"W":
                connection.send(b"O")
            case b"K":
                self._signal(connection, int(json.loads(body)["signal"]))
            case b"L":
                self._answer(connection, self._log.reopen)
            case b"A":
                self._attach(connection, json.loads(body))
            case b"E":
                self._exec(connection, json.loads(body))
            case _:
                raise ValueError(f"unknown request {kind!r}")

    def _answer(self, connection: Connection, act: Any) -> None:
        try:
            act()
            connection.send(b"O")
        except OSError as problem:
            connection.send(b"F", str(problem).encode())
        connection.end()

    def _signal(self, connection: Connection, number: int) -> None:
        self._answer(connection, lambda: self._main.signal(number))

    def _attach(self, connection: Connection, request: dict[str, Any]) -> None:
        takes_input = bool(request.get("stdin")) and bool(self._spec["stdin"])
        self._attached.add(connection)
        connection.on_frame = lambda client, kind, body: _feed(client, self._main, kind, body)
        if takes_input:
            self._main.on_stdin_room = self._input_room

        def left() -> None:
            self._gone(connection)
            if takes_input and self._spec["stdin_once"]:
                self._main.close_stdin()

        connection.on_gone = left
        connection.send(b"O")

    def _input_room(self) -> None:
        for connection in self._attached:
            connection.pause(False)

    def _exec(self, connection: Connection, request: dict[str, Any]) -> None:
        program = Program(self._poller, terminal=bool(request.get("tty")), stdin=bool(request.get("stdin")))
        argv = [str(word) for word in request["argv"]]
        try:
            if not argv:
                raise StartError("no command was given")
            program.start(lambda ends: self._become_further(ends, argv))
        except StartError as problem:
            connection.send(b"F", str(problem).encode())
            connection.end()
            return
        self._programs[program.pid] = program
        self._watching.discard(connection)
        connection.on_gone = lambda: self._exec_left(connection, program)
        _serve_exec(connection, program)
        connection.send(b"O")
        program.watch()

    def _exec_left(self, connection: Connection, program: Program) -> None:
        self._gone(connection)
        if program.code is None:
            program.kill_all()
        # What it still says is for nobody.
        program.on_output = lambda stream, data: None
        program.pause(False)

    def _become_further(self, ends: Ends, argv: list[str]) -> None:
        spec = self._spec
        child.take_streams(ends)
        child.enter_cgroups(spec["cgroups"])
        child.set_oom_score(spec["oom_score_adj"])
        child.join(spec, self._main.pid)
        child.execute(argv, child.become(spec, ends))

    # the program

    def _output(self, stream: str, data: bytes) -> None:
        self._log.write(stream, data)
        for connection in list(self._attached):
            connection.send(b"1" if stream == STDOUT else b"2", data)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            program = self._programs.pop(pid, None)
            if program is self._main:
                self._state.update(finished_at=time.time())
                self._kill_rest()
            if program is not None:
                program.reaped(status)

    def _kill_rest(self) -> None:
        """Where it had no PID namespace, what it started may still be there."""
        self._main.kill_all()
        for folder in self._spec["cgroups"]:
            try:
                with open(f"{folder}/cgroup.procs", encoding="ascii") as file:
                    rest = [int(line) for line in file]
            except OSError:
                continue
            for pid in rest:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    def _ended(self, code: int) -> None:
        self._log.end()
        self._state.update(status="exited", code=code, oom=code != 0 and _was_oom_killed(self._spec["oom_file"]))
        save_state(self._state)
        self._over = True
        self._poller.forget(self._listener.fileno())
        self._listener.close()
        for connection in list(self._watching):
            connection.send(b"X", json.dumps({"code": code}).encode())
            connection.end()
        self._poller.after(_FLUSH_SECONDS, self._drop_all)

    def _drop_all(self) -> None:
        for connection in list(self._connections):
            connection.drop()


def _serve_exec(connection: Connection, program: Program) -> None:
    def output(stream: str, data: bytes) -> None:
        connection.send(b"1" if stream == STDOUT else b"2", data)
        if connection.full:
            program.pause(True)

    def ended(code: int) -> None:
        connection.send(b"X", json.dumps({"code": code}).encode())
        connection.end()

    program.on_output = output
    program.on_end = ended
    program.on_stdin_room = lambda: connection.pause(False)
    connection.on_drain = lambda: program.pause(False)
    connection.on_frame = lambda client, kind, body: _feed(client, program, kind, body)


def _feed(connection: Connection, program: Program, kind: bytes, body: bytes) -> None:
    match kind:
        case b"I":
            if not program.write(body):
                connection.pause(True)
        case b"C":
            program.close_stdin()
        case b"R":
            size = json.loads(body)
            program.resize(int(size["columns"]), int(size["rows"]))
        case _:
            raise ValueError(f"unknown frame {kind!r}")


def _was_oom_killed(path: str) -> bool:
    """cgroup v1: memory.oom_control, v2: memory.events; both have a line `oom_kill <count>`."""
    try:
        with open(path, encoding="ascii") as file:
            return any(line.split()[0] == "oom_kill" and int(line.split()[1]) > 0 for line in file if line.strip())
    except (OSError, ValueError, IndexError):
        return False


def start_ticks(pid: int) -> int:
    """When a process began, in clock ticks since boot: with its number, who it is. 0: it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
