"""PySyncObj as a contender: three processes of pysyncobj_node.py. No fsync, no server front, no linearizable reads:
the load runs inside the leader, as calls.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, Self

from harness.ports import free_port
from harness.process import death_signal
from harness.wait import wait_until

from support.bench.probes.site import Values
from support.bench.rows import IN_FLIGHT
from support.bench.sample import summary


class PySyncObjCluster:
    """Use as a context manager."""

    def __init__(self) -> None:
        self._nodes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        names = [f"127.0.0.1:{free_port()}" for _ in range(3)]
        script = str(Path(__file__).with_name("pysyncobj_node.py"))
        try:
            for name in names:
                command = [*death_signal(), sys.executable, script, name, *(n for n in names if n != name)]
                self._nodes.append(
                    subprocess.Popen(
                        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
                    )
                )
            self._leader = wait_until(self._find_leader, "a PySyncObj leader", timeout=30, interval=0.2)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self._nodes:
            node.kill()
            node.wait()
            for pipe in (node.stdin, node.stdout):
                _pipe(pipe).close()

    def _find_leader(self) -> subprocess.Popen[str] | None:
        answers = [(node, self._ask(node, "leader")) for node in self._nodes]
        leaders = {a["leader"] for _, a in answers}
        if len(leaders) != 1 or leaders == {None}:
            return None
        return next(node for node, a in answers if a["self"] == a["leader"])

    def _ask(self, node: subprocess.Popen[str], line: str) -> dict[str, Any]:
        _pipe(node.stdin).write(line + "\n")
        _pipe(node.stdin).flush()
        answer: dict[str, Any] = json.loads(_pipe(node.stdout).readline())
        return answer

    def puts(self, in_flight: int, seconds: float) -> Values:
        """Sets of a replicated dictionary, from inside the leading process; every one has a key of its own."""
        answer = self._ask(self._leader, f"{in_flight} {seconds}")
        sample = summary(answer["rate"], answer["latencies"])
        yield f"puts-{in_flight}", sample.rate
        yield f"puts-{in_flight}-p50", sample.p50
        yield f"puts-{in_flight}-p99", sample.p99


ROWS = frozenset(f"puts-{level}{tail}" for level in IN_FLIGHT for tail in ("", "-p50", "-p99"))


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
