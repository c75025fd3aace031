"""The benchmark as a command: plan, progress bar, what is kept, report."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.binaries import CURES, find
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from support.bench.contenders import available
from support.bench.kept import keeping, read, together
from support.bench.machine import machine
from support.bench.measure import Step, Teller, measure, steps
from support.bench.plan import Plan, quick
from support.bench.report import show, write_markdown
from support.bench.results import Results
from support.bench.rows import chosen


@dataclass(frozen=True)
class Asked:
    """What the command line says. words: of --rows; only: contenders; keep: where every value goes as it comes."""

    keep: Path
    small: bool = False
    runs: int = 3
    only: Sequence[str] = ()
    words: Sequence[str] = ()


@dataclass(frozen=True)
class Output:
    """Where results go: standard output, as tables or as JSON, and a page (None: none is written)."""

    page: Path | None = None
    as_tables: bool = True
    errors: Console = field(default_factory=lambda: Console(stderr=True))

    def say(self, text: str) -> None:
        """One line on standard error."""
        self.errors.print(f"bench: {text}", markup=False, highlight=False, soft_wrap=True)


def bench(asked: Asked, output: Output) -> int:
    """Measure and report. The exit code: 1 when something is missing or failed, 128 + N when signal N ended it."""
    # What was started is ended also when we are told to end.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    plan = _planned(asked, output)
    if plan is None:
        return 1
    titles = {name: title for name, title in available().items() if name in plan.contenders}
    date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    results = Results(plan, titles, date, os.getloadavg()[0], machine())
    code = _measured(results, list(steps(plan, bool(asked.only))), asked.keep, output)
    _report(results, output, output.page if results.complete else None)
    return code or (1 if results.failures and os.geteuid() == 0 else 0)


def again(files: Sequence[Path], page: Path, output: Output) -> int:
    """Report what was kept, all of it together. page: written when nothing lacks for it and no other is named."""
    try:
        results = together([piece for file in files for piece in read(file)])
    except (OSError, ValueError) as problem:
        output.say(str(problem))
        return 1
    reasons = _against_a_page(results)
    if output.page is None and reasons:
        output.say(f"{page.name} stays as it is (--output FILE writes one all the same): {'; '.join(reasons)}")
    _report(results, output, output.page or (None if reasons else page))
    return 0


def _planned(asked: Asked, output: Output) -> Plan | None:
    """None when something needed is missing or is asked for that there is not (it is said)."""
    found = available()
    missing = [name for name in asked.only if name not in found] or ([] if find("h2load") else ["h2load"])
    if missing:
        output.say(f"{missing[0]} is not on this machine; cure: {CURES.get(missing[0], 'scripts/venv bench')}")
        return None
    try:
        rows = chosen(list(asked.words))
    except ValueError as problem:
        output.say(str(problem))
        return None
    names = tuple(asked.only or found)
    return quick(names, rows, asked.runs) if asked.small else Plan(names, rows, asked.runs)


def _measured(results: Results, todo: list[Step], keep: Path, output: Output) -> int:
    """Measure; 0, or the exit code when it was cut short. Every member that was started has ended by then."""
    try:
        with keeping(results, keep):
            output.say(f"every value is kept in {keep}")
            _with_progress(results, todo, output)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except OSError as problem:
        output.say(f"nothing more can be kept: {problem}")
        return 1
    return 0


def _with_progress(results: Results, todo: list[Step], output: Output) -> None:
    columns, console = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()), output.errors
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("", total=sum(len(step.probes) or 1 for step in todo))

        def tell(text: str) -> None:
            if console.is_terminal:
                progress.update(task, description=text)
            else:
                console.print(text, highlight=False)

        measure(results, todo, Teller(tell, lambda count: progress.advance(task, count), output.say))


def _against_a_page(results: Results) -> list[str]:
    """Why these are not the whole benchmark: its sizes, every row, as many runs as it takes by default."""
    whole = Plan((), frozenset())
    lacking = results.lacking(whole.runs)
    reasons = [] if results.plan.sizes() == whole.sizes() else ["these are small measurements"]
    return [*reasons, f"less than {whole.runs} runs of {', '.join(lacking)}"] if lacking else reasons


def _report(results: Results, output: Output, page: Path | None) -> None:
    if output.as_tables:
        # Into a file or a pipe the tables go unfolded.
        show(results, Console(width=None if sys.stdout.isatty() else 140))
    else:
        json.dump(results.as_json(), sys.stdout, indent=1)
    if page is not None:
        write_markdown(results, page)
        output.errors.print(f"written: {page}")
