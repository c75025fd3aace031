"""`scripts/bench --control`: the parts, one after the other, and the page they make."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from support.bench import api_server, scheduling, whole_cluster
from support.bench.figures import Figure, markdown, show
from support.bench.machine import machine

PARTS: dict[str, Callable[[bool], Iterator[Figure]]] = {
    "api": api_server.measure,
    "scheduler": scheduling.measure,
    "cluster": whole_cluster.measure_small,
    "scale": whole_cluster.measure_large,
}
_PAGE = """# The control plane in figures

Measured by `scripts/bench --control{quick}` on {date}: {machine}; {load}.
All of it (store, servers, agents and the load) runs on that one machine, over HTTPS with client certificates. A rate is
the best of several short windows; what is told as CPU is what the server itself used, and means something on a busy
machine, too.

{tables}"""


def bench(quick: bool, only: Sequence[str], output: Path | None, as_table: bool) -> list[Figure] | None:
    """Measure and report; None when a part is named that there is not, or one failed (it is said, the others go on)."""
    errors = Console(stderr=True)
    strange = [name for name in only if name not in PARTS]
    if strange:
        errors.print(f"bench: there is no part {strange[0]}; there are {', '.join(PARTS)}")
        return None
    # What was started is ended also when we are told to end.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    load, figures = os.getloadavg()[0], list[Figure]()
    failed = [name for name in only or PARTS if not _measured(name, quick, figures, errors)]
    if as_table:
        show(figures)
    if output is not None:
        _write(figures, output, load, quick)
        print(f"written: {output}", file=sys.stderr)
    return None if failed else figures


def _measured(name: str, quick: bool, figures: list[Figure], errors: Console) -> bool:
    """Measure one part; False when it failed (it is said): what it had measured until then counts."""
    try:
        for figure in PARTS[name](quick):
            figures.append(figure)
            errors.print(f"{figure.part}: {figure.name}: {figure.value}", highlight=False)
    except (RuntimeError, OSError) as problem:
        errors.print(f"bench: {name}: {problem}", markup=False)
        return False
    return True


def _write(figures: Sequence[Figure], output: Path, load: float, quick: bool) -> None:
    on = ", ".join(machine().values())
    date = time.strftime("%Y-%m-%d", time.gmtime())
    others = f"load of others when it began: {load:.1f} processes"
    output.write_text(
        _PAGE.format(quick=" --quick" if quick else "", date=date, machine=on, load=others, tables=markdown(figures))
    )
