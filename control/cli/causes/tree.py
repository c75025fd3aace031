"""A story as a tree on the terminal: what happened, below it why, each with its time and how long it took."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Final

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from control.api.cells.words import human_duration
from control.api.meta import parse_time
from control.cli.causes.chain import Happening, Step, Story

# Where no terminal says how wide it is, lines are not cut.
_WIDE: Final = 1000


def show(story: Story, *, reports: bool = False) -> None:
    """Print it; in colours and to the terminal's width only where there is one.

    reports: also the changes of its status, which say what has become of other changes.
    """
    console = Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)
    console.print(_Branches(reports).tree(story))


class _Branches:
    """One tree; a write that was explained once is only named again."""

    def __init__(self, reports: bool) -> None:
        self._reports = reports
        self._shown: set[tuple[str, str]] = set()

    def tree(self, story: Story) -> Tree:
        """A story and its owner's below it."""
        tree = Tree(_head(story))
        happened: list[tuple[str, Step | Happening]] = [
            (step.time, step) for step in story.steps if self._reports or step.subresource != "status"
        ]
        happened += [(each.time or "9", each) for each in story.containers]
        for _, each in sorted(happened, key=lambda pair: pair[0]):
            if isinstance(each, Step):
                self._add(tree, each, None)
            else:
                tree.add(_container(each))
        if story.owner is not None:
            tree.add(Text("part of", style="dim")).add(self.tree(story.owner))
        return tree

    def _add(self, parent: Tree, step: Step, effect: Step | None) -> None:
        line = _line(step, effect)
        again = (step.object, step.revision) in self._shown
        if again and step.because is not None:
            line.append("  (as above)", style="dim")
        branch = parent.add(line)
        if again:
            return
        if step.revision:
            self._shown.add((step.object, step.revision))
        if step.because is not None:
            self._add(branch, step.because, step)


def _head(story: Story) -> Text:
    head = Text(_object(story.object), style="bold")
    if story.note:
        head.append(f"  ({story.note})", style="yellow")
    return head


def _line(step: Step, effect: Step | None) -> Text:
    line = Text()
    line.append(f"{_clock(step.time)}  " if step.time else "", style="cyan")
    if effect is not None:
        line.append("because ", style="dim")
        line.append(_object(step.object), style="bold")
        line.append(" was ")
    line.append(_verb(step))
    if step.rule and not _by_user(step):
        line.append(": ")
        line.append(step.rule, style="green")
    if step.user:
        line.append(f" by {step.user}", style="bold green" if _by_user(step) else "dim")
    if step.revision:
        line.append(f"  revision {step.revision}", style="dim")
    if effect is not None and step.time and effect.time:
        line.append(f"  {_between(step.time, effect.time)} before", style="dim")
    if step.note:
        line.append(f"  ({step.note})", style="yellow")
    return line


def _by_user(step: Step) -> bool:
    """Whether it is where a chain begins: the server itself says of such a write whose it was."""
    return step.rule == f"user {step.user}: {step.verb}"


_PAST: Final = {
    "create": "created",
    "update": "updated",
    "patch": "changed",
    "apply": "applied",
    "delete": "deleted",
    "deletecollection": "deleted",
}


def _verb(step: Step) -> str:
    if step.subresource == "binding":
        return "bound"
    verb = _PAST.get(step.verb, step.verb) or "as it was"
    return f"{verb} ({step.subresource})" if step.subresource else verb


def _container(each: Happening) -> Text:
    line = Text()
    line.append(f"{_clock(each.time)}  " if each.time else "", style="cyan")
    line.append(f"container {each.container} {each.what}", style="magenta")
    if each.detail:
        line.append(f"  {each.detail}", style="red" if each.what == "ended" else "dim")
    return line


def _object(place: str) -> str:
    """ "pods/default/web-1" as people say it: "pods web-1 in default"."""
    resource, namespace, name = place.split("/")
    return f"{resource} {name}" + (f" in {namespace}" if namespace != "-" else "")


def _clock(time: str) -> str:
    try:
        return parse_time(time).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return time


def _between(cause: str, effect: str) -> str:
    try:
        seconds = (_moment(effect) - _moment(cause)).total_seconds()
    except ValueError:
        return "some time"
    return human_duration(seconds) if seconds >= 1 else "under 1s"


def _moment(time: str) -> datetime:
    return parse_time(time)
