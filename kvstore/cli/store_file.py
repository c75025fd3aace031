"""--config-file: etcd's YAML. Keys are the flags' names; those of TLS stand in two sections with names of their own.

Keys that are none are an error, with the nearest known one: a misspelt setting that is silently left out (as etcd
does) is found out too late.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import click

from kvstore.member.config import ConfigError

# Section → its keys → flags.
SECTIONS = {
    "client-transport-security": {
        "cert-file": "cert-file",
        "key-file": "key-file",
        "client-cert-auth": "client-cert-auth",
        "trusted-ca-file": "trusted-ca-file",
        "auto-tls": "auto-tls",
        "client-crl-file": "client-crl-file",
        "allowed-hostname": "client-cert-allowed-hostname",
    },
    "peer-transport-security": {
        "cert-file": "peer-cert-file",
        "key-file": "peer-key-file",
        "client-cert-auth": "peer-client-cert-auth",
        "trusted-ca-file": "peer-trusted-ca-file",
        "auto-tls": "peer-auto-tls",
        "peer-crl-file": "peer-crl-file",
        "allowed-cn": "peer-cert-allowed-cn",
        "allowed-hostname": "peer-cert-allowed-hostname",
    },
    "socket-options": {"reuse-port": "socket-reuse-port", "reuse-address": "socket-reuse-address"},
}
# Keys of etcd's that are spelt differently from their flags.
SPELLINGS = {"corrupt-check-time": "experimental-corrupt-check-time"}
NOT_IN_FILE = ("config-file", "version", "help")


def read_file(path: str, ctx: click.Context) -> dict[str, Any]:
    """The value of every flag of the command: the file's, else the default. Raises ConfigError."""
    options = {_flag(param): param for param in ctx.command.params if isinstance(param, click.Option)}
    for name in NOT_IN_FILE:
        options.pop(name, None)
    values: dict[str, Any] = {}
    for flag, value in _flat(path, _load(path), set(options)):
        values[options[flag].name or ""] = _converted(path, ctx, options[flag], value)
    for option in options.values():
        if option.expose_value and option.name not in values:
            values[option.name or ""] = option.type_cast_value(ctx, option.get_default(ctx))
    return values


def _load(path: str) -> dict[str, Any]:
    import yaml  # only members with a file pay for it

    try:
        with open(path, encoding="utf-8") as file:
            found = yaml.safe_load(file)
    except OSError as problem:
        raise ConfigError(f"--config-file: cannot read {path}: {problem.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f"line {mark.line + 1}: {getattr(problem, 'problem', '')}" if mark else "it is no text"
        raise ConfigError(f"--config-file: {path} is not YAML, {where}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"--config-file: {path} must hold keys and values, as in: name: m1")
    return found


def _flat(path: str, content: dict[str, Any], known: set[str]) -> list[tuple[str, Any]]:
    """(flag, value) for every key, those of sections included. Raises ConfigError for keys that are none."""
    pairs: list[tuple[str, Any]] = []
    for key, value in content.items():
        name = str(key)
        if name in SECTIONS:
            pairs.extend(_section(path, name, value))
        elif name.replace("_", "-") == name and SPELLINGS.get(name, name) in known:
            pairs.append((SPELLINGS.get(name, name), value))
        elif f"experimental-{name}" in known:
            pairs.append((f"experimental-{name}", value))
        else:
            raise _unknown(path, name, known | set(SECTIONS))
    return pairs


def _section(path: str, name: str, content: Any) -> list[tuple[str, Any]]:
    keys = SECTIONS[name]
    if content is None:
        return []
    if not isinstance(content, dict):
        raise ConfigError(f"--config-file: {path}: {name} must hold keys and values")
    for key in content:
        if key not in keys:
            raise _unknown(path, str(key), set(keys), f" in {name}")
    return [(keys[key], value) for key, value in content.items()]


def _unknown(path: str, name: str, known: set[str], where: str = "") -> ConfigError:
    near = get_close_matches(name, sorted(known), 1, 0)
    return ConfigError(f"--config-file: {path}: unknown key {name!r}{where}; did you mean {near[0]}?")


def _converted(path: str, ctx: click.Context, option: click.Option, value: Any) -> Any:
    """The value as the flag would have it."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value)):
        raise ConfigError(f"--config-file: {path}: {_flag(option)} must be one value, or a list of words")
    if value is None:
        return option.type_cast_value(ctx, option.get_default(ctx))
    text = ",".join(map(_text, value)) if isinstance(value, list) else _text(value)
    try:
        return option.type_cast_value(ctx, text)
    except click.BadParameter as problem:
        raise ConfigError(f"--config-file: {path}: {_flag(option)}: {problem.message}") from None


def _text(value: Any) -> str:
    """As it would stand on a command line: YAML has read true and 5 as what they are."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _flag(option: click.Parameter) -> str:
    return option.opts[0].lstrip("-")
