"""Command lines as Go's flags (pflag) take them, put into the words that click takes: --switch=true, -w=json."""

from __future__ import annotations

from collections.abc import Mapping, Set

import click

_TRUE, _FALSE = ("1", "t", "true", "TRUE", "True", "T"), ("0", "f", "false", "FALSE", "False", "F")


def plain_words(command: click.Command, args: list[str]) -> list[str]:
    """The words with --switch=true as --switch, --switch=false as its opposite or nothing, -w=json as -wjson.

    What follows `--` is left, and so is what follows the name of a group's command, which reads its own words.
    """
    options = [param for param in command.params if isinstance(param, click.Option)]
    switches = {flag: option.secondary_opts for option in options if option.is_flag for flag in option.opts}
    valued = {flag for option in options if not (option.is_flag or option.count) for flag in option.opts}
    plain: list[str] = []
    is_value = False
    for position, word in enumerate(args):
        if is_value:
            plain.append(word)
            is_value = False
            continue
        if word == "--" or not (command.allow_interspersed_args or word.startswith("-")):
            return plain + args[position:]
        is_value = word in valued
        flag, separator, text = word.partition("=")
        if not separator or flag not in switches or text not in _TRUE + _FALSE:
            plain.append(_joined(word, switches, valued))
        elif text in _TRUE:
            plain.append(flag)
        else:
            plain.extend(switches[flag][:1])
    return plain


def _joined(word: str, switches: Mapping[str, object], valued: Set[str]) -> str:
    """-w=json as -wjson, also behind one-letter switches (-iw=json); -w= stays: there, Go's value is "=", too."""
    for place in range(1, len(word) - 2):
        letter = f"-{word[place]}"
        if letter in valued:
            return word[: place + 1] + word[place + 2 :] if word[place + 1] == "=" else word
        if letter not in switches:
            break
    return word
