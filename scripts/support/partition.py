"""scripts/partition: run drills one after the other and show what each cost."""

from __future__ import annotations

import sys

from harness.binaries import CURES, KINDS, find
from harness.drills import DRILLS, perform
from harness.network import impossible
from rich.console import Console
from rich.table import Table

_FAILURES = (AssertionError, TimeoutError, RuntimeError, OSError)


def list_drills() -> int:
    """Print every drill; 0."""
    table = Table(show_header=False, box=None)
    for name, drill in DRILLS.items():
        table.add_row(name, drill.about, "network" if drill.network else "processes")
    Console().print(table)
    return 0


def run_drills(names: list[str], kind: str) -> int:
    """Run the named drills (all that can run if none is named); 0 if all held, 1 if not, 2 if asked wrongly."""
    console = Console(stderr=True)
    strange = [name for name in names if name not in DRILLS]
    found = next((k for k in KINDS if k == kind and find(k)), None)
    if strange:
        console.print(f"partition: there is no drill {strange[0]}; --list names them")
        return 2
    if found is None:
        console.print(
            f"partition: {kind} is not on this machine; cure: {CURES.get(kind, 'one of ' + ', '.join(KINDS))}"
        )
        return 2
    reason = impossible()
    table = Table(title=f"Drills on {kind}", title_justify="left")
    for column, justify in (("drill", "left"), ("", "left"), ("outage", "right"), ("writes", "right"), ("", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    failed = False
    for name in names or DRILLS:
        drill = DRILLS[name]
        if drill.network and reason:
            table.add_row(name, drill.about, "", "", f"[yellow]left out[/]: {reason}")
            failed = failed or bool(names)
            continue
        with console.status(f"{name}: {drill.about}"):
            try:
                outcome = perform(drill, found)
            except _FAILURES as problem:
                failed = True
                table.add_row(name, drill.about, "", "", f"[red]✗[/] {str(problem)[:300]}")
                continue
        table.add_row(name, drill.about, f"{outcome.outage * 1000:,.0f} ms", f"{outcome.writes:,}", "[green]✓[/]")
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 1 if failed else 0
