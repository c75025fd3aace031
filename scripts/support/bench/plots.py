"""The plots of docs/benchmarks.md as SVG: throughput over concurrency, latencies, memory over keys, outages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.bench.results import Results
from support.bench.rows import IN_FLIGHT

_COLOURS = {"fluyt": "#1f6f8b", "etcd-3.5": "#e07a5f", "etcd-3.4": "#f2cc8f", "pysyncobj": "#a5a5a5"}
_SIZE = (9.0, 3.2)
_TAILS = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
Draw = Callable[[Results, Any], bool]


def plot(results: Results, folder: Path) -> dict[str, Path]:
    """Draw every plot that there are values for: title → file."""
    import matplotlib

    matplotlib.use("svg")
    # Same input, same file: no random ids, no date.
    matplotlib.rcParams["svg.hashsalt"] = "fluyt"
    matplotlib.rcParams["font.size"] = 8
    made = {}
    for name, (title, draw, panels) in _PLOTS.items():
        path = folder / f"bench-{name}.svg"
        if _drawn(results, title, draw, panels, path):
            made[title] = path
    return made


def _drawn(results: Results, title: str, draw: Draw, panels: int, path: Path) -> bool:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, panels, figsize=_SIZE, squeeze=False)
    try:
        if not draw(results, axes[0]):
            return False
        figure.suptitle(title)
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None})
        return True
    finally:
        pyplot.close(figure)


def _median(results: Results, name: str, source: str) -> float | None:
    values = sorted(results.of(name, source))
    return values[len(values) // 2] if values else None


def _line(results: Results, axis: Any, points: dict[float, str]) -> bool:
    """One line a contender. points: x → source."""
    drawn = False
    for name, title in results.titles.items():
        found = {x: value for x, source in points.items() if (value := _median(results, name, source)) is not None}
        if found:
            axis.plot(list(found), list(found.values()), marker="o", label=title, color=_COLOURS[name])
            drawn = True
    _plain(axis)
    return drawn


def _plain(axis: Any) -> None:
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.grid(alpha=0.25)


def _legend(axis: Any) -> None:
    """Who is who, where anything was drawn."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend()


def _numbers(axis: Any) -> None:
    """1, 2, 5, 10, … along a logarithmic axis, 3 and 7 too where there is room, and nothing between."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = axis.get_view_interval()
    steps = (1.0, 2.0, 5.0) if high > 30 * low else (1.0, 2.0, 3.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=steps, numticks=20))
    axis.set_major_formatter(lambda value, _: f"{value:,g}")
    axis.set_minor_locator(NullLocator())


def _throughput(results: Results, axes: Any) -> bool:
    drawn = False
    for axis, (what, title) in zip(axes, (("puts", "puts/s"), ("gets", "linearizable gets/s")), strict=True):
        drawn = _line(results, axis, {level: f"{what}-{level}" for level in IN_FLIGHT}) or drawn
        axis.set(title=title, xlabel="requests in flight", xscale="log", yscale="log")
        axis.set_xticks(IN_FLIGHT, [f"{n:,}" for n in IN_FLIGHT])
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.minorticks_off()
    _legend(axes[0])
    return drawn


def _latency(results: Results, axes: Any) -> bool:
    drawn = False
    for axis, (what, level) in zip(axes, (("puts", 1), ("puts", 100), ("gets", 1), ("gets", 100)), strict=True):
        points = {float(n): f"{what}-{level}-{tail}" for n, tail in enumerate(_TAILS)}
        drawn = _line(results, axis, points) or drawn
        axis.set(yscale="log")
        _numbers(axis.yaxis)
        axis.set_title(f"{what}, {level} in flight", fontsize=8)
        axis.set_xticks(range(len(_TAILS)), [f"{share:.4g}" for share in _TAILS.values()])
    _legend(axes[0])
    return drawn


def _memory(results: Results, axes: Any) -> bool:
    (axis,) = axes
    fifth = results.plan.keys // 5
    drawn = _line(results, axis, {n * fifth: f"memory-{n}" for n in range(6)})
    axis.set(xlabel="keys of 256 B", ylabel="RSS of the leader, MiB", ylim=(0, None))
    axis.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    _legend(axis)
    return drawn


def _outages(results: Results, axes: Any) -> bool:
    """Every single one, in order of length."""
    drawn = False
    for axis, (source, title) in zip(axes, (("outage", "kill -9"), ("cut", "cut off")), strict=True):
        for name, label in results.titles.items():
            values = sorted(results.of(name, source))
            if values:
                shares = [(n + 1) / len(values) for n in range(len(values))]
                axis.step(values, shares, where="post", marker=".", label=label, color=_COLOURS[name])
                drawn = True
        axis.set(title=f"{title}: share of outages at most so long", xlabel="ms", xscale="log", ylim=(0, 1.02))
        _numbers(axis.xaxis)
        _plain(axis)
        _legend(axis)
    return drawn


_PLOTS: dict[str, tuple[str, Draw, int]] = {
    "throughput": ("Requests a second over concurrency", _throughput, 2),
    "latency": ("Latency: quantiles in ms", _latency, 4),
    "memory": ("Memory over keys", _memory, 1),
    "outages": ("Outages without a leader", _outages, 2),
}
