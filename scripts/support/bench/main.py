"""The benchmark as a command: plan, progress bar, report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from harness.binaries import CURES, find
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from support.bench.contenders import available
from support.bench.measure import Plan, Results, measure
from support.bench.report import machine, show, write_markdown


def bench(quick: bool, runs: int, only: list[str], output: Path | None, as_tables: bool) -> dict[str, Any] | None:
    """Measure and report; all measurements as JSON-ready data. None when something needed is missing (it is said)."""
    # Into a file or a pipe the tables go unfolded.
    console, errors = Console(width=None if sys.stdout.isatty() else 120), Console(stderr=True)
    found = available()
    strange = [name for name in only if name not in found]
    if strange or not find("h2load"):
        missing = strange or ["h2load"]
        errors.print(f"bench: {missing[0]} is not on this machine; cure: {CURES.get(missing[0], 'scripts/venv bench')}")
        return None
    names = tuple(only or found)
    plan = Plan(names, 1, 1.0, 10_000, 1, 20_000) if quick else Plan(names, runs)
    results = _with_progress(plan, errors)
    results.machine = machine()
    if as_tables:
        show(results, console)
    if output is not None:
        write_markdown(results, output)
        errors.print(f"written: {output}")
    return results.as_json()


def _with_progress(plan: Plan, console: Console) -> Results:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(list(plan.steps())))

        def tell(text: str) -> None:
            if console.is_terminal:
                progress.update(task, description=text)
            else:
                console.print(text)

        return measure(plan, tell, lambda: progress.advance(task))
