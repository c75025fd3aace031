"""The benchmark as a command: plan, progress bar, report."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from harness.binaries import CURES, find
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from support.bench.contenders import available
from support.bench.measure import Step, Teller, measure, steps
from support.bench.plan import Plan, quick
from support.bench.report import machine, show, write_markdown
from support.bench.results import Results
from support.bench.rows import chosen


def bench(
    small: bool, runs: int, only: list[str], words: list[str], output: Path | None, as_tables: bool
) -> Results | None:
    """Measure and report. None when something needed is missing or is asked for that there is not (it is said)."""
    # Into a file or a pipe the tables go unfolded.
    console, errors = Console(width=None if sys.stdout.isatty() else 140), Console(stderr=True)
    # What was started is ended also when we are told to end.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    found = available()
    strange = [name for name in only if name not in found]
    if strange or not find("h2load"):
        missing = strange or ["h2load"]
        errors.print(f"bench: {missing[0]} is not on this machine; cure: {CURES.get(missing[0], 'scripts/venv bench')}")
        return None
    try:
        rows = chosen(words)
    except ValueError as problem:
        errors.print(f"bench: {problem}", markup=False)
        return None
    names = tuple(only or found)
    plan = quick(names, rows, runs) if small else Plan(names, rows, runs)
    results = _with_progress(plan, list(steps(plan, bool(only))), errors)
    results.machine = machine()
    if as_tables:
        show(results, console)
    if output is not None:
        write_markdown(results, output)
        errors.print(f"written: {output}")
    return results


def _with_progress(plan: Plan, todo: list[Step], console: Console) -> Results:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=sum(len(step.probes) or 1 for step in todo))

        def tell(text: str) -> None:
            if console.is_terminal:
                progress.update(task, description=text)
            else:
                console.print(text, highlight=False)

        def warn(text: str) -> None:
            console.print(f"bench: {text}", markup=False, highlight=False)

        return measure(plan, todo, Teller(tell, lambda count: progress.advance(task, count), warn))
