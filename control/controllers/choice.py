"""Which controllers run: what --controllers says. Source: kube-controller-manager --help."""

from __future__ import annotations

from collections.abc import Sequence

from control.controllers.values.controller import Controller


def chosen(every: Sequence[Controller], words: Sequence[str]) -> list[Controller]:
    """Those that --controllers names: "*" all, "name" that one, "-name" not that one.

    Short names ("deployment") stand for the long ones. ValueError: there is no such controller.
    """
    names = {controller.name for controller in every}
    known = {**{name.removesuffix("-controller"): name for name in names}, **{name: name for name in names}}
    plain = [word for word in words if word not in ("*", "")]
    wrong = [word for word in plain if word.removeprefix("-") not in known]
    if wrong:
        raise ValueError(f"no controller is called {wrong[0]!r}; there are: {', '.join(sorted(known.values()))}")
    off = {known[word[1:]] for word in plain if word.startswith("-")}
    on = names if "*" in words else {known[word] for word in plain if not word.startswith("-")}
    return [controller for controller in every if controller.name in on - off]
