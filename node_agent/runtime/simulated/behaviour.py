"""How a simulated container behaves: read from an annotation, an environment variable, or its command. Pure.

`fluyt.dev/simulate: "start=2s, run=10s, exit=1"` on the pod (all of its containers),
`fluyt.dev/simulate.<container>` (one of them), or the variable FLUYT_SIMULATE of the container; the later ones win,
word by word. The words are the fields of Behaviour with `-` for `_`; durations are `300ms`, `2s`, `5m`, `1h`; sizes
and CPU are Kubernetes quantities.

`cpu` and `memory` are the load: when the annotation of a running pod changes, they change with it. All else counts when
a container is created.

A word that is unknown or wrong makes the container unable to start, and the message says which one: a test that
simulates something else than its author meant would be worse.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

ANNOTATION = "fluyt.dev/simulate"
ENVIRONMENT = "FLUYT_SIMULATE"

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(n|u|m|k|Ki|M|Mi|G|Gi|)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_FACTORS = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One container's life. Seconds, unless said otherwise.

    `fail_times`: only attempts below this number end by themselves with `exit`; later ones run on (0: all attempts
    do as said). `ready_after`: commands that are exec'd (probes) fail until then. `stop` is how long it takes to end
    after SIGTERM; beyond the grace it is killed. `jitter` is the fraction by which durations vary, decided by the
    world's seed.
    """

    sandbox: float = 0.0
    sandbox_error: str = ""
    start: float = 0.0
    start_error: str = ""
    run: float = math.inf
    exit: int = 0
    reason: str = ""
    fail_times: int = 0
    stop: float = 0.0
    stop_exit: int = 143
    ready_after: float = 0.0
    exec_exit: int = -1
    cpu: float = 0.001
    memory: float = 2.0**20
    jitter: float = 0.0
    log: str = ""


def duration(text: str) -> float:
    """Seconds. Raises ValueError."""
    if text == "0":
        return 0.0
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no duration (300ms, 2s, 5m, 1h)")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def quantity(text: str) -> float:
    """A Kubernetes quantity (100m, 64Mi). Raises ValueError."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no quantity (100m, 64Mi)")
    return float(match[1]) * _FACTORS[match[2]]


_READERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("sandbox", "start", "run", "stop", "ready_after"), duration),
    **dict.fromkeys(("cpu", "memory"), quantity),
    **dict.fromkeys(("exit", "stop_exit", "exec_exit", "fail_times"), int),
    "jitter": float,
}
_NAMES = {field.name for field in fields(Behaviour)}


def parse(text: str) -> dict[str, Any]:
    """Field → value of "start=2s, run=10s". Raises ValueError, which names the word."""
    found: dict[str, Any] = {}
    for word in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = word.partition("=")
        field = name.strip().replace("-", "_")
        if not equals or field not in _NAMES:
            known = ", ".join(sorted(name.replace("_", "-") for name in _NAMES))
            raise ValueError(f"{ANNOTATION}: unknown word {word!r}; known are {known}")
        try:
            found[field] = _READERS.get(field, str)(value.strip())
        except ValueError as problem:
            raise ValueError(f"{ANNOTATION}: {word!r}: {problem}") from None
    return found


def behaviour_of(
    annotations: Mapping[str, str], container: str, env: Sequence[tuple[str, str]], command: Sequence[str]
) -> Behaviour:
    """What was asked for, most special last. Raises ValueError."""
    said = by_command(command)
    for text in (
        annotations.get(ANNOTATION, ""),
        annotations.get(f"{ANNOTATION}.{container}", ""),
        dict(env).get(ENVIRONMENT, ""),
    ):
        said.update(parse(text))
    return replace(Behaviour(), **said)


def by_command(command: Sequence[str]) -> dict[str, Any]:
    """What well-known commands do: `sleep 5` ends after five seconds, `sh -c "echo hi; exit 3"` says hi and fails."""
    seconds, code, said = 0.0, None, []
    for step in _steps(command):
        match step:
            case ["sleep", time]:
                seconds += _seconds(time)
                code = 0
            case ["exit", number] if number.isdecimal():
                code = int(number)
                break
            case ["exit"] | ["true"]:
                code = 0
            case ["false"]:
                code = 1
            case ["echo", *words]:
                said.append(" ".join(words))
                code = 0
            case _:
                return {"log": "\n".join(said)} if said else {}
    if code is None:
        return {}
    return {"run": seconds, "exit": code, **({"log": "\n".join(said)} if said else {})}


def _steps(command: Sequence[str]) -> list[list[str]]:
    match list(command):
        case ["sh" | "/bin/sh" | "bash" | "/bin/bash", "-c", script, *_]:
            try:
                return [shlex.split(step) for step in re.split(r"[;\n]|&&", script) if step.strip()]
            except ValueError:
                return [[script]]
        case [program, *words]:
            return [[program.removeprefix("/bin/"), *words]]
        case _:
            return []


def _seconds(text: str) -> float:
    if text in ("infinity", "inf"):
        return math.inf
    try:
        return float(text)
    except ValueError:
        return duration(text)
