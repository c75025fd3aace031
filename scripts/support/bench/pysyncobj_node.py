"""One node of a PySyncObj cluster that loads itself: run as `python pysyncobj_node.py SELF OTHER OTHER`.

PySyncObj has no server front, so the load is made inside the process that leads: each line `IN_FLIGHT SECONDS` on stdin
starts a run, each answer on stdout is one line of JSON. Commands: `leader`, `fill COUNT`, `rss`, `IN_FLIGHT SECONDS`.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from typing import Any

from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.batteries import ReplDict


class Node:
    """The replicated dictionary and the loads on it."""

    def __init__(self, own: str, others: list[str]) -> None:
        self.store = ReplDict()
        self.sync = SyncObj(own, others, consumers=[self.store], conf=SyncObjConf(commandsQueueSize=200_000))
        self.own = own
        self.serial = 0

    def command(self, line: str) -> dict[str, Any]:
        """One command, one answer."""
        words = line.split()
        if words[0] == "leader":
            leader = self.sync._getLeader()
            return {"leader": str(leader) if leader else None, "self": self.own}
        if words[0] == "fill":
            return self.load(1000, float("inf"), int(words[1]))
        return self.load(int(words[0]), float(words[1]), 1 << 60)

    def load(self, in_flight: int, seconds: float, limit: int) -> dict[str, Any]:
        """Keep `in_flight` sets of 256 bytes going for so long or so many."""
        done: queue.SimpleQueue[float] = queue.SimpleQueue()
        latencies: list[float] = []
        begun, finished, started = 0, 0, time.perf_counter()
        last = started + seconds
        while finished < limit and (time.perf_counter() - started < seconds or begun > finished):
            while begun - finished < in_flight and begun < limit and time.perf_counter() - started < seconds:
                self._set(done)
                begun += 1
            try:
                latencies.append(done.get(timeout=10))
            except queue.Empty:
                # It elects anew under load and then forgets callbacks; what was in flight is lost.
                break
            finished += 1
            last = time.perf_counter()
        return {"rate": finished / (last - started), "latencies": latencies}

    def _set(self, done: queue.SimpleQueue[float]) -> None:
        self.serial += 1
        start = time.perf_counter()

        def callback(_: Any, error: Any) -> None:
            done.put((time.perf_counter() - start) * 1000)

        self.store.set(f"key-{self.serial:012d}", "v" * 256, callback=callback)


def main() -> None:
    """Serve commands until stdin ends."""
    node = Node(sys.argv[1], sys.argv[2:])
    threading.current_thread().name = "commands"
    for line in sys.stdin:
        print(json.dumps(node.command(line)), flush=True)


if __name__ == "__main__":
    main()
