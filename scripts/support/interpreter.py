"""Which Python .venv is made with: the one that was asked with, unless the same version is there better built.

A Python that was compiled by hand or by pyenv without --enable-optimizations runs our code a fifth to a quarter slower
than a distribution's of the same version, and nothing in it says so: hence a loop of the kind that the store consists
of, run by each in turn. FLUYT_PYTHON names one to take as it is. Only the standard library is imported here, because
there is no .venv yet.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

# Below that the other one is not worth a surprise.
MARGIN = 1.05
ROUNDS = 5
SECONDS = 10.0

# Calls, attributes, tuples, dictionaries and small bytes; the best of seven, some 4 ms each.
PROBE = """
import importlib.util, json, sys, time

class Subject:
    def __init__(self):
        self.total, self.known = 0, {}

    def take(self, number, kind):
        self.total += number
        return number, kind

def work():
    subject, found = Subject(), []
    for number in range(20000):
        subject.known[number & 1023] = subject.take(number, number & 7)
        found.append(b"%d" % number)

def timed():
    began = time.perf_counter()
    work()
    return time.perf_counter() - began

usable = sys.prefix == sys.base_prefix and all(map(importlib.util.find_spec, ("venv", "ensurepip")))
version = list(sys.version_info[:2])
print(json.dumps([usable, sys.executable, version, min(timed() for _ in range(7)) if usable else 0]))
"""


def choose(environ: Mapping[str, str], own: str = sys.executable) -> tuple[str, str]:
    """(path of the interpreter, what to tell the user or an empty string)."""
    if asked := environ.get("FLUYT_PYTHON"):
        return asked, ""
    return best(os.path.realpath(own), measure([own, *named_alike(environ.get("PATH", ""))]))


def best(own: str, times: Mapping[str, float]) -> tuple[str, str]:
    """The same from seconds by path."""
    mine, quickest = times.get(own, 0.0), min(times, key=times.__getitem__, default=own)
    if mine < MARGIN * times.get(quickest, 0.0) or not mine:
        return own, ""
    return quickest, (
        f"with {quickest}: {own} takes {mine / times[quickest]:.2f} times as long for the same work "
        "(built without --enable-optimizations?); FLUYT_PYTHON=… takes the one you name"
    )


def named_alike(path: str) -> list[str]:
    """Interpreters of this minor version: none of another one may come as a surprise."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    places = [Path(folder, name) for folder in (*path.split(os.pathsep), "/usr/local/bin", "/usr/bin")]
    return [str(place) for place in dict.fromkeys(places) if os.access(place, os.X_OK)]


def measure(candidates: Iterable[str]) -> dict[str, float]:
    """Seconds that each takes at best, in turn and several times, by its real path; what makes no venv is left out."""
    times: dict[str, float] = {}
    for candidate in candidates:
        if (found := _probe(candidate)) is not None:
            times.setdefault(*found)
    for _ in range(ROUNDS if len(times) > 1 else 0):
        for real, before in times.items():
            if (found := _probe(real)) is not None:
                times[real] = min(found[1], before)
    return times


def _probe(candidate: str) -> tuple[str, float] | None:
    try:
        answer = subprocess.run(
            [candidate, "-I", "-c", PROBE], capture_output=True, text=True, timeout=SECONDS, check=True
        )
        usable, executable, version, seconds = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if not usable or version != list(sys.version_info[:2]):
        return None
    # Links and the shims of version managers lead to one and the same.
    return os.path.realpath(executable), float(seconds)
