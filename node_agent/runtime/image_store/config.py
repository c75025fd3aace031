"""The part of an image's configuration that says how to run it. Pure. Source: the OCI image specification,
config.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from node_agent.runtime.errors import BadArchive


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """`host` is set for the machine's own files: the folder that is the root."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""
    user: str = ""
    stop_signal: str = ""
    host: str = ""


def read_config(document: Mapping[str, Any]) -> ImageConfig:
    """Raises BadArchive when it is not what the specification says."""
    config = document.get("config") or {}
    if not isinstance(config, dict):
        raise BadArchive("the image's configuration has no object under `config`")
    return ImageConfig(
        entrypoint=_words(config, "Entrypoint"),
        command=_words(config, "Cmd"),
        env=tuple(_variable(text) for text in _words(config, "Env")),
        working_dir=_word(config, "WorkingDir"),
        user=_word(config, "User"),
        stop_signal=_word(config, "StopSignal"),
    )


def _words(config: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = config.get(name) or []
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise BadArchive(f"the image's {name} is no list of strings")
    return tuple(value)


def _word(config: Mapping[str, Any], name: str) -> str:
    value = config.get(name) or ""
    if not isinstance(value, str):
        raise BadArchive(f"the image's {name} is no string")
    return value


def _variable(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
