"""The results as tables for the terminal, and as Markdown for docs/benchmarks.md."""
# ruff: noqa: RUF001, RUF003, E501 (the page is typeset: × and – are meant, and its lines are long)

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from support.bench.plots import plot
from support.bench.results import BASELINE, OURS, Results
from support.bench.rows import PARTS, ROWS, Row

Cells = tuple[str, ...]


def tables(results: Results) -> list[tuple[str, Cells, list[Cells]]]:
    """(title, head, rows) of every part that something was measured of, or was to be and would have been by now."""
    made = []
    for part in PARTS:
        rows = [row for row in ROWS if row.part == part and row.name in results.plan.rows and _due(results, row)]
        names = [name for name in results.titles if any(results.figure(name, row) is not None for row in rows)]
        names = names or [name for name in (OURS, BASELINE) if name in results.titles]
        if rows:
            head = ("", *(results.titles[name] for name in names), "ratio", "aim", "")
            made.append((part, head, [_cells(results, row, names) for row in rows]))
    return made


def _due(results: Results, row: Row) -> bool:
    """Whether it was the row's turn already; in a run that was not cut short it was."""
    return results.complete or any(results.tried(name, row) for name in results.titles)


def _cells(results: Results, row: Row, names: list[str]) -> Cells:
    ratio, reached = results.ratio(row), results.reached(row)
    return (
        row.title,
        *(_value(results.figure(name, row), row) for name in names),
        f"{ratio:.3g} ×" if ratio is not None else "–",
        row.aim.told(row.unit) if row.aim else "",
        {True: "✓", False: "✗", None: ""}[reached],
    )


def _value(value: float | None, row: Row) -> str:
    if value is None:
        return "–"
    unit = row.unit if row.unit.startswith("/") else f" {row.unit}"
    return f"{value:,.{row.digits}f}{unit}"


def missing(results: Results) -> list[str]:
    """One line a failure: what has no value, of whom, and why; and one of what a run that was cut short did not reach."""
    lines: dict[str, None] = {}
    for failure in results.failures:
        names = [name for name in failure["rows"] if name in results.plan.rows]
        rows = names[0] if len(names) == 1 else f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
        lines[f"{results.titles[failure['contender']]}: {rows}: {failure['reason']}"] = None
    later = [row.name for row in ROWS if row.name in results.plan.rows and not _due(results, row)]
    return [*lines, f"cut short before their turn: {', '.join(later)}"] if later else list(lines)


def show(results: Results, console: Console) -> None:
    """Tables for the terminal."""
    if not results.complete:
        console.print("INCOMPLETE: cut short; what was measured until then:", highlight=False)
    for title, head, rows in tables(results):
        table = Table(title=title, title_justify="left")
        for index, column in enumerate(head):
            table.add_column(column, justify="left" if index == 0 else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for line in missing(results):
        console.print(f"not measured: {line}", markup=False, highlight=False)


def write_markdown(results: Results, output: Path) -> None:
    """The page, and its plots in images/ beside it."""
    images = output.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    lines = _introduction(results)
    for title, head, rows in tables(results):
        lines += ["", f"## {title}", "", _row(head), "|---|" + "--:|" * (len(head) - 1), *map(_row, rows)]
    gone = missing(results)
    if gone:
        lines += ["", "## Not measured", "", *(f"* {line}" for line in gone)]
    drawn = plot(results, images)
    if drawn:
        lines += ["", "## Pictures"]
        lines += [line for title, path in drawn.items() for line in ("", f"![{title}](images/{path.name})")]
    output.write_text("\n".join(lines) + "\n")


def _row(cells: Cells) -> str:
    return "| " + " | ".join(cells) + " |"


def _runs(results: Results) -> str:
    fewest, most = results.runs()
    told = f"{most}" if fewest == most else f"{fewest} to {most}"
    return f"{told} run{'s' if most != 1 else ''}"


def _introduction(results: Results) -> list[str]:
    plan = results.plan
    return [
        "# Benchmarks",
        "",
        "Made by `scripts/bench`, which writes this page. Three members of each on one machine, over loopback, with the",
        "load generator beside them, so all of them share the same cores. Each part of the table in turn for each contender,",
        "on a cluster started for it, the runs interleaved, who comes first alternating. The ratio is ours to etcd 3.5.1's; ✓ is where it reaches its aim.",
        "",
        f"* **When and where:** {results.date}; {'; '.join(results.machine.values())}; load of others when it began: {results.load:.1f}.",
        f"* **How:** medians of {_runs(results)}; {plan.seconds:g} s a point after a warm-up; load on the leader; every server with its",
        "  default settings, so an acknowledged put is behind fdatasync on a majority (PySyncObj: never).",
        "* **Load:** puts of one key, gets and puts through a follower: h2load, the same command for all, 1 × 1, 8 × 4, 10 × 10 and",
        "  16 × 64 connections × streams. All else: `scripts/support/bench/load`, a client on raw sockets that has encoded",
        "  every request before the clock starts and only counts what comes back.",
        "* **Clients in use** are such raw requests with the header blocks that were seen of those clients; a deadline makes",
        "  them differ from call to call.",
        f"* **Many keys:** {plan.keys:,} of 256 B, written by transactions of a hundred; a member's restart is a follower's, until it",
        "  answers a linearizable read.",
        f"* **Leases:** {plan.leases:,} with a key each, granted one after the other within about a second for 5 s.",
        "* **Outage:** from the fault to the first acknowledgement of a put sent after it (one every 10 ms, at the survivors), under",
        f"  load; {len(results.of(OURS, 'outage'))} kills and {len(results.of(OURS, 'cut'))} cuts (network namespaces, packets dropped by nft).",
        f"* **Long work:** {plan.revisions:,} revisions of a tenth as many keys. *Late* is what our own metric says of the event",
        "  loop's timers (a bound of its histogram); the longest wait of serializable gets, one after the other, includes the machine.",
        "* **PySyncObj** has no server: its load runs inside the leading process, as calls, without any network front.",
    ]
