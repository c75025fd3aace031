"""A history that failed, as one HTML page without anything from elsewhere.

One lane a client, one bar a call, time from left to right. Bars of the longest order found carry their place in it and
are joined by a line; what could not be placed after them is red, what may never have happened is hatched. Hovering over
a bar shows the whole call and the state after it.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from linearizability.checker import Part, Result, Step, Verdict
from linearizability.operations import Op, Operation
from linearizability.serial import describe

# Calls shown before and after the place where the search got stuck; a page with thousands helps nobody.
_BEFORE, _AFTER = 40, 20
_LANE, _BAR, _LEFT, _SPACING = 46, 24, 90, 74

_STYLE = """
body{font:14px system-ui,sans-serif;margin:24px;color:#1b1f24}
h1{font-size:20px} h2{font-size:16px;margin:28px 0 4px} p{margin:4px 0 8px;color:#57606a;max-width:70em}
.scroll{overflow-x:auto;border:1px solid #d0d7de;border-radius:6px;background:#fff}
svg text{font:11px ui-monospace,monospace;fill:#1b1f24} .lane{stroke:#eaeef2} .name{fill:#57606a}
.taken rect{fill:#dafbe1;stroke:#2da44e} .later rect{fill:#f6f8fa;stroke:#8c959f}
.stuck rect{fill:#ffcecb;stroke:#cf222e;stroke-width:2.5}
.pending rect{fill:url(#hatch);stroke:#9a6700} .order{fill:none;stroke:#2da44e;stroke-opacity:.45}
.number{fill:#1a7f37;font-weight:bold} li.stuck{color:#cf222e;font-weight:bold} ol,ul{font:12px ui-monospace,monospace}
"""
# Begin where it hurts.
_SCROLL = (
    "<script>document.querySelectorAll('.scroll').forEach(box => { const bar = box.querySelector('.stuck');"
    " if (bar) box.scrollLeft = bar.getBBox().x - box.clientWidth / 2 })</script>"
)


def render(result: Result, title: str = "History") -> str:
    """The page: a drawing for each part that is not linearizable, or a line that says that all are."""
    parts = "".join(_part(part) for part in result.bad) or "<p>Every part is linearizable.</p>"
    calls = sum(len(part.operations) for part in result.parts)
    heading = f"{html.escape(title)}: {result.verdict.value}"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{heading}</title><style>{_STYLE}</style>"
        f"<h1>{heading}</h1><p>{calls} calls in {len(result.parts)} parts without a common key;"
        f" {len(result.bad)} of them not shown to be linearizable.</p>{parts}{_SCROLL}</html>"
    )


def _part(part: Part) -> str:
    keys = ", ".join(key.decode(errors="backslashreplace") for key in part.keys)
    said = {
        Verdict.ILLEGAL: "No order of these calls explains the answers; the longest beginning of one is green.",
        Verdict.UNKNOWN: "The search ran out of time; the longest beginning of an order so far is green.",
    }.get(part.verdict, "")
    shown = _window(part)
    left_out = len(part.operations) - len(shown)
    note = f" {left_out} calls further away are left out." if left_out else ""
    return (
        f"<h2>{html.escape(keys)}: {part.verdict.value}</h2><p>{said} {len(part.order)} of {len(part.operations)} calls"
        f" are in it.{note}</p><div class=scroll>{_Drawing.of(part, shown).svg()}</div>{_story(part)}"
    )


def _window(part: Part) -> list[Operation]:
    """The calls around the one that did not fit, by their starts; those of unknown outcome only while they mattered."""
    by_start = sorted(part.operations, key=lambda o: o.start)
    middle = next((i for i, o in enumerate(by_start) if o is part.stuck), len(by_start))
    return by_start[max(0, middle - _BEFORE) : middle + _AFTER]


def _story(part: Part) -> str:
    """The last steps in words, then what did not fit."""
    last = [(number, step) for number, step in enumerate(part.order, 1)][-12:]
    start = min((o.start for o in part.operations), default=0.0)
    lines = [
        f"<li value={n}>{html.escape(_words(step.operation, start))}; then {_state(part, step)}" for n, step in last
    ]
    stuck = f"<ul><li class=stuck>{html.escape(_words(part.stuck, start))}</ul>" if part.stuck else ""
    return f"<ol>{''.join(lines)}</ol>{stuck}"


def _words(operation: Operation, start: float) -> str:
    return describe(operation, lambda time: f"{(time - start) * 1000:.3f} ms")


def _state(part: Part, step: Step) -> str:
    cells = [
        f"{key.decode(errors='backslashreplace')} = {cell[0].decode(errors='backslashreplace')} (version {cell[1]})"
        for key, cell in zip(part.keys, step.state, strict=True)
        if cell is not None
    ]
    return html.escape(", ".join(cells) or "no key exists")


@dataclass(slots=True)
class _Drawing:
    """Where everything goes. Each start or end has its own column, so that nothing is too small to see."""

    part: Part
    shown: Sequence[Operation]
    lanes: dict[int, int]
    columns: dict[float, float]

    @classmethod
    def of(cls, part: Part, shown: Sequence[Operation]) -> _Drawing:
        """Lay out these calls of the part."""
        lanes = {client: lane for lane, client in enumerate(sorted({o.client for o in shown}))}
        moments = sorted({t for o in shown for t in (o.start, o.end) if t < math.inf})
        columns = {moment: _LEFT + place * _SPACING / 2 for place, moment in enumerate(moments)}
        return cls(part, shown, lanes, columns)

    @property
    def width(self) -> float:
        """Of the drawing, in pixels."""
        return _LEFT + (len(self.columns) + 2) * _SPACING / 2

    def svg(self) -> str:
        """The drawing."""
        height = len(self.lanes) * _LANE + 20
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width:.0f}" height="{height}">'
            '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse"'
            ' patternTransform="rotate(45)">'
            '<rect width="6" height="6" fill="#fff8c5"/><line x1="0" y1="0" x2="0" y2="6" stroke="#d4a72c"/>'
            f"</pattern></defs>{''.join(self._lanes())}{''.join(self._bars())}{self._line()}</svg>"
        )

    def _lanes(self) -> Iterator[str]:
        for client, lane in self.lanes.items():
            y = lane * _LANE + _LANE / 2 + 10
            yield f'<line class=lane x1="0" x2="{self.width:.0f}" y1="{y}" y2="{y}"/>'
            yield f'<text class=name x="8" y="{y - 8}">client {client}</text>'

    def _span(self, operation: Operation) -> tuple[float, float, float]:
        """x, width and y of its bar."""
        x = self.columns[operation.start]
        end = self.columns.get(operation.end, self.width - 8)
        return x, max(end - x, 6), self.lanes[operation.client] * _LANE + 10 + (_LANE - _BAR) / 2

    def _bars(self) -> Iterator[str]:
        numbers = {id(step.operation): (n, step) for n, step in enumerate(self.part.order, 1)}
        start = min((o.start for o in self.part.operations), default=0.0)
        for operation in self.shown:
            x, width, y = self._span(operation)
            number, step = numbers.get(id(operation), (0, None))
            kind = "stuck" if operation is self.part.stuck else "taken" if number else "later"
            kind = "pending" if operation.pending and not number else kind
            hint = _words(operation, start) + (f"\nafterwards: {_state(self.part, step)}" if step else "")
            mark = f'<text class=number x="{x}" y="{y - 3}">{number}</text>' if number else ""
            clip = max(int(width / 6.7), 1)
            yield (
                f'<g class={kind}><title>{html.escape(hint)}</title><rect x="{x}" y="{y}" width="{width}"'
                f' height="{_BAR}" rx="3"/>{mark}<text x="{x + 4}" y="{y + 16}">{html.escape(_label(operation)[:clip])}'
                "</text></g>"
            )

    def _line(self) -> str:
        """Through the calls in the order found, from left to right as far as their bars allow."""
        drawn = {id(o) for o in self.shown}
        points: list[str] = []
        reached = 0.0
        for step in self.part.order:
            if id(step.operation) in drawn:
                x, width, y = self._span(step.operation)
                reached = min(max(reached + 3, x + 2), x + width - 1)
                points.append(f"{reached:.1f},{y + _BAR / 2}")
        return f'<polyline class=order points="{" ".join(points)}"/>'


def _label(operation: Operation) -> str:
    """A few characters: what was done, and what came back."""
    request, response = operation.request, operation.response
    branch = request.failure if response is not None and not response.succeeded else request.success
    words = [_op(op, response.results[i] if response else None) for i, op in enumerate(branch)]
    prefix = ("if " if response is None or response.succeeded else "else ") if request.compares else ""
    return prefix + ", ".join(words)


def _op(op: Op, result: Sequence[object] | None) -> str:
    if op.kind == "put":
        return f"put {op.value.decode(errors='backslashreplace')}"
    shown = (
        "?" if result is None else ",".join(getattr(kv, "value", b"").decode(errors="replace") for kv in result) or "∅"
    )
    return f"{'get' if op.kind == 'get' else 'del'} {shown}"
