"""nghttp2's h2load as the load generator: the same command for every server that speaks gRPC.

h2load posts one fixed body, so all puts go to one key; support/bench/load is the second opinion with distinct keys.
It counts HTTP statuses, not gRPC's, so the caller checks that the store's revision grew with the puts.
"""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
from pathlib import Path

from harness.binaries import find

from support.bench.sample import Sample, summary

# in flight → (connections, streams a connection)
SHAPES = {1: (1, 1), 32: (8, 4), 100: (10, 10), 1024: (16, 64)}


def run(endpoint: str, path: str, message: bytes, in_flight: int, seconds: float) -> Sample:
    """Post one gRPC message over and over. RuntimeError when requests failed."""
    connections, streams = SHAPES[in_flight]
    program = find("h2load")
    if program is None:
        raise FileNotFoundError("h2load is missing; cure: apt-get install nghttp2-client")
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder, "body"), Path(folder, "log")
        body.write_bytes(b"\0" + struct.pack(">I", len(message)) + message)
        command = [
            *(program, "-t", "1", "-c", str(connections), "-m", str(streams)),
            *("-D", f"{int(seconds * 1000)}ms", "--warm-up-time", f"{int(min(1.0, seconds / 2) * 1000)}ms"),
            *("-d", str(body), "--log-file", str(log)),
            *("-H", "content-type: application/grpc", "-H", "te: trailers"),
            f"http://{endpoint}{path}",
        ]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds * 10 + 60)
        return _read(result.stdout + result.stderr, log)


def _read(output: str, log: Path) -> Sample:
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", output)
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", output)
    if not rate or not counts or int(counts[2]) or int(counts[3]):
        raise RuntimeError(f"h2load: {output[-600:]}")
    latencies = [int(line.split("\t")[2]) / 1000 for line in log.read_text().splitlines() if "\t200\t" in line]
    return summary(float(rate[1]), latencies)
