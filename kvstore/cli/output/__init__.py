"""The output formats of the command line, as data: name → printer. Source: etcdctl's printers, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvstore.cli.exits import BAD_FEATURE, CommandError

if TYPE_CHECKING:
    # Loaded with the printer that is asked for: --help and version need neither it nor protobuf.
    from kvstore.cli.output.printer import Printer

FORMATS = ("simple", "fields", "json", "protobuf", "table")


def printer_of(name: str, hex: bool) -> Printer:
    """The printer of that name; only its module is loaded. CommandError for an unknown one."""
    if name == "simple":
        from kvstore.cli.output.simple import SimplePrinter

        return SimplePrinter(hex)
    if name == "json":
        from kvstore.cli.output.json import JsonPrinter

        return JsonPrinter(hex)
    if name == "fields":
        from kvstore.cli.output.fields import FieldsPrinter

        return FieldsPrinter()
    if name == "table":
        from kvstore.cli.output.table import TablePrinter

        return TablePrinter()
    if name == "protobuf":
        from kvstore.cli.output.protobuf import ProtobufPrinter

        return ProtobufPrinter()
    raise CommandError("unsupported output format", BAD_FEATURE)
