"""The `table` format: members and endpoints in boxes of plain characters; nothing else is a table."""

from __future__ import annotations

from collections.abc import Sequence

from kvstore.cli.output import rows
from kvstore.cli.output.printer import EndpointHealth, Printer, SnapshotStatus, emit
from kvstore.pb import etcd_pb2 as pb


def draw(columns: Sequence[str], cells: Sequence[rows.Row]) -> list[str]:
    """The table's lines: titles in capitals and centred (a spare space goes right), cells to the right."""
    titles = [title.upper() for title in columns]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    head = [
        f"{' ' * ((width - len(title)) // 2)}{title}".ljust(width) for title, width in zip(titles, widths, strict=True)
    ]
    body = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    lines = [rule, _line(head), rule, *map(_line, body)]
    return [*lines, rule] if cells else lines


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


class TablePrinter(Printer):
    """Lists of members and endpoints."""

    name = "table"

    def member_list(self, answer: pb.MemberListResponse) -> None:
        emit(*draw(rows.MEMBER_COLUMNS, rows.members(answer)))

    def endpoint_health(self, answers: Sequence[EndpointHealth]) -> None:
        emit(*draw(rows.HEALTH_COLUMNS, rows.health(answers)))

    def endpoint_status(self, answers: Sequence[tuple[str, pb.StatusResponse]]) -> None:
        emit(*draw(rows.STATUS_COLUMNS, rows.status(answers)))

    def endpoint_hash_kv(self, answers: Sequence[tuple[str, pb.HashKVResponse]]) -> None:
        emit(*draw(rows.HASH_COLUMNS, rows.hashes(answers)))

    def snapshot_status(self, found: SnapshotStatus) -> None:
        emit(*draw(rows.SNAPSHOT_COLUMNS, [rows.snapshot(found)]))
