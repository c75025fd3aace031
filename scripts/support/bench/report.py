"""The results as tables for the terminal, as Markdown for docs/benchmarks.md, and as plots."""
# ruff: noqa: RUF001, RUF003, E501 (the page is typeset: × and – are meant, and its lines are long)

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from support.bench.measure import IN_FLIGHT, Results

Row = tuple[str, ...]
BASELINE = "etcd-3.5"


def machine() -> dict[str, str]:
    """What was measured on."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "?",
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024 / 1024
    return {
        "processor": f"{cpu}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}",
    }


def tables(results: Results) -> list[tuple[str, Row, list[Row]]]:
    """(title, head, rows) of every table."""
    return [
        ("Puts of 256 B a second (h2load, one key)", *_rates(results, "puts", IN_FLIGHT)),
        ("Puts of 256 B a second, every key new (our own client)", *_rates(results, "distinct", (100, 1024))),
        ("Linearizable gets a second (h2load)", *_rates(results, "gets", IN_FLIGHT)),
        ("Latency of puts in ms, median / 99th percentile", *_latencies(results, "puts")),
        ("Latency of linearizable gets in ms, median / 99th percentile", *_latencies(results, "gets")),
        ("Failover and memory", *_rest(results)),
    ]


def _ratio(value: float | None, base: float | None) -> str:
    return f"{value / base:.2f} ×" if value and base else "–"


def _rates(results: Results, what: str, levels: tuple[int, ...]) -> tuple[Row, list[Row]]:
    head = ("", *(f"{n:,} in flight" for n in levels))
    rows = []
    for name, title in results.titles.items():
        values = [results.median(name, what, "rate", n) for n in levels]
        rows.append((title, *(f"{v:,.0f}" if v else "–" for v in values)))
    bases = [results.median(BASELINE, what, "rate", n) for n in levels]
    ours = [results.median("fluyt", what, "rate", n) for n in levels]
    rows.append(("Fluyt : etcd 3.5.1", *(_ratio(o, b) for o, b in zip(ours, bases, strict=True))))
    return head, rows


def _latencies(results: Results, what: str) -> tuple[Row, list[Row]]:
    head = ("", *(f"{n:,} in flight" for n in IN_FLIGHT))
    rows = []
    for name, title in results.titles.items():
        cells = []
        for n in IN_FLIGHT:
            p50, p99 = results.median(name, what, "p50", n), results.median(name, what, "p99", n)
            cells.append(f"{p50:.2f} / {p99:.2f}" if p50 is not None and p99 is not None else "–")
        rows.append((title, *cells))
    return head, rows


def _rest(results: Results) -> tuple[Row, list[Row]]:
    keys = results.plan.memory_keys
    head: Row = (
        "",
        "outage after kill -9 of the leader",
        f"RSS of the leader, {keys:,} keys",
        "of that not mapped files",
    )
    rows: list[Row] = []
    for name, title in results.titles.items():
        outage = results.median(name, "outage", "seconds")
        rss, anonymous = results.median(name, "memory", "rss"), results.median(name, "memory", "anonymous")
        rows.append(
            (
                title,
                f"{outage * 1000:,.0f} ms" if outage is not None else "–",
                f"{rss:,.0f} MiB" if rss is not None else "–",
                f"{anonymous:,.0f} MiB" if anonymous is not None else "–",
            )
        )
    pairs: list[tuple[str, str]] = [("outage", "seconds"), ("memory", "rss"), ("memory", "anonymous")]
    ratios = [_ratio(results.median("fluyt", w, v), results.median(BASELINE, w, v)) for w, v in pairs]
    rows.append(("Fluyt : etcd 3.5.1", *ratios))
    return head, rows


def show(results: Results, console: Console) -> None:
    """Tables for the terminal."""
    for title, head, rows in tables(results):
        table = Table(title=title, title_justify="left")
        for index, column in enumerate(head):
            table.add_column(column, justify="left" if index == 0 else "right")
        for row in rows:
            table.add_row(*row, style="bold" if row[0].startswith("Fluyt :") else "")
        console.print(table)


def write_markdown(results: Results, path: Path) -> None:
    """docs/benchmarks.md, with the plots beside it in images/."""
    images = path.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    plots = plot(results, images)
    lines = ["# Benchmarks", "", *_introduction(results), ""]
    for title, head, rows in tables(results):
        lines += [f"## {title}", "", "| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines.append("")
        if title in plots:
            lines += [f"![{title}](images/{plots[title].name})", ""]
    path.write_text("\n".join(lines).rstrip() + "\n")


def _introduction(results: Results) -> list[str]:
    plan = results.plan
    return [
        "Made by `scripts/bench`, which writes this page. Three members of each on one machine, over loopback, with the",
        "load generator beside them, so all of them share the same cores; each contender in turn, the runs interleaved.",
        "",
        f"* **When and where:** {results.date}; {'; '.join(results.machine.values())}.",
        f"* **How:** medians of {plan.runs} runs; {plan.seconds:g} s a point after a warm-up; load on the leader; every",
        "  server with its default settings, so an acknowledged put is behind fdatasync on a majority (PySyncObj: never).",
        "* **Load:** h2load, the same command for all: 1 × 1, 8 × 4, 10 × 10 and 16 × 64 connections × streams. It posts",
        "  one fixed body, so one key; the table with new keys is made with a small client of our own,",
        "  `scripts/support/bench/distinct.py`.",
        "* **PySyncObj** has no server: its load runs inside the leading process, as calls, without any network front.",
        "* **Outage:** from kill -9 of the leader to the first acknowledgement of a put sent after it (one every 10 ms, at",
        f"  the survivors); the median of {plan.runs * plan.outages}.",
    ]


def plot(results: Results, folder: Path) -> dict[str, Path]:
    """Bar charts as SVG: title of the table → file."""
    import matplotlib

    matplotlib.use("svg")
    # Same input, same file: no random ids, no date.
    matplotlib.rcParams["svg.hashsalt"] = "fluyt"
    made = {}
    for what, levels, title in [
        ("puts", IN_FLIGHT, "Puts of 256 B a second (h2load, one key)"),
        ("gets", IN_FLIGHT, "Linearizable gets a second (h2load)"),
    ]:
        path = folder / f"bench-{what}.svg"
        _bars(results, what, levels, title, path)
        made[title] = path
    return made


_COLOURS = {"fluyt": "#1f6f8b", "etcd-3.5": "#e07a5f", "etcd-3.4": "#f2cc8f", "pysyncobj": "#a5a5a5"}


def _bars(results: Results, what: str, levels: tuple[int, ...], title: str, path: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(levels), figsize=(9, 2.8))
    for axis, level in zip(axes, levels, strict=True):
        names = [n for n in results.titles if results.median(n, what, "rate", level)]
        values = [results.median(n, what, "rate", level) or 0.0 for n in names]
        _bar(axis, [results.titles[n] for n in names], values, [_COLOURS[n] for n in names])
        axis.set_title(f"{level:,} in flight", fontsize=9)
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _bar(axis: Any, labels: list[str], values: list[float], colours: list[str]) -> None:
    bars = axis.bar(range(len(labels)), values, color=colours)
    axis.bar_label(bars, [f"{v / 1000:.1f}k" if v >= 1000 else f"{v:.0f}" for v in values], fontsize=7)
    axis.set_xticks(range(len(labels)), labels, rotation=40, ha="right", fontsize=7)
    axis.set_yticks([])
    axis.margins(y=0.15)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
