"""Objects as the flag -o wants them: yaml, json, name, jsonpath; tables are tables.py's."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import yaml

from control.api.schema import Object
from control.cli.kube import template
from kvstore.cli.exits import CommandError

FORMATS: Final = ("json", "yaml", "wide", "name", "jsonpath=…", "jsonpath-file=…", "custom-columns=…")
TABLES: Final = ("", "wide")
_NAMES: Final = ("wide", "json", "yaml", "name", "jsonpath", "jsonpath-file", "custom-columns")


class Format:
    """What -o says. Raises CommandError for a format that there is not."""

    def __init__(self, text: str, *, managed_fields: bool = False) -> None:
        name, _, self.argument = text.partition("=")
        self.name = name
        self._managed_fields = managed_fields
        if name == "jsonpath-file":
            self.name, self.argument = "jsonpath", _text_of(self.argument)
        if text and name not in _NAMES:
            allowed = ", ".join(FORMATS)
            raise CommandError(f'unable to match a printer suitable for "{text}", allowed formats are: {allowed}')
        if self.name in ("jsonpath", "custom-columns") and not self.argument:
            raise CommandError(f"-o {self.name} needs something after =, as in -o jsonpath='{{.metadata.name}}'")

    @property
    def is_table(self) -> bool:
        """Whether the server's tables are wanted, not objects."""
        return self.name in TABLES

    def show(self, objects: Sequence[Object], *, as_list: bool) -> None:
        """Print objects (not for tables). as_list: even one is shown as a List."""
        shown = [obj if self._managed_fields else _without_managed_fields(obj) for obj in objects]
        whole: Object = {"apiVersion": "v1", "items": shown, "kind": "List", "metadata": {"resourceVersion": ""}}
        value = whole if as_list else shown[0]
        match self.name:
            case "json":
                click.echo(json.dumps(value, indent=4, ensure_ascii=False))
            case "yaml":
                click.echo(as_yaml(value), nl=False)
            case "name":
                for obj in shown:
                    click.echo(name_of(obj))
            case "jsonpath":
                click.echo(self._filled(value), nl=False)
            case _:
                self._columns(shown)

    def _filled(self, value: Any) -> str:
        try:
            return template.render(self.argument, value)
        except ValueError as problem:
            raise CommandError(f"error parsing jsonpath {self.argument}: {problem}", prefix="") from None

    def _columns(self, objects: Sequence[Object]) -> None:
        from control.cli.kube.tables import TablePrinter

        columns = [column.partition(":") for column in self.argument.split(",")]
        try:
            rows = [[template.render(path, obj) or "<none>" for _, _, path in columns] for obj in objects]
        except ValueError as problem:
            raise CommandError(f"error parsing custom-columns {self.argument}: {problem}", prefix="") from None
        TablePrinter().show([head for head, _, _ in columns], rows)


def name_of(obj: Object) -> str:
    """As "pod/web-1" or "deployment.apps/web"."""
    group = obj.get("apiVersion", "").rpartition("/")[0]
    kind = obj.get("kind", "").lower() + (f".{group}" if group else "")
    return f"{kind}/{obj.get('metadata', {}).get('name', '')}"


def as_yaml(value: Any) -> str:
    """Block style, keys sorted, texts of several lines as such."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=1_000_000)


class _Dumper(yaml.SafeDumper):
    """Lists in line with their keys' indentation as kubectl has them; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _without_managed_fields(obj: Object) -> Object:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {k: v for k, v in metadata.items() if k != "managedFields"}}


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as problem:
        raise CommandError(f"{path}: {problem.strerror}") from None


def colours() -> bool:
    """Whether a person sees the output."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
