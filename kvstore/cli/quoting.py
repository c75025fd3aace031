"""Strings as Go quotes them: what etcdctl prints in `fields` output and reads in transactions."""

from __future__ import annotations

import re

_ESCAPES = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v"}
_ESCAPES |= {"\\": r"\\", '"': r"\""}
_UNESCAPES = {escape[1]: char for char, escape in _ESCAPES.items()} | {"'": "'"}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)


def quote(data: bytes | str) -> str:
    """As Go's %q: printable runes as they are, the rest escaped, bytes that are no UTF-8 as \\x.."""
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    return '"' + "".join(map(_quote_rune, text)) + '"'


def _quote_rune(char: str) -> str:
    code = ord(char)
    if char in _ESCAPES:
        return _ESCAPES[char]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if char.isprintable():
        return char
    # DEL is written \u007f by the Go that etcdctl 3.5.1 was built with, \x7f by later ones.
    if code < 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unquote(text: str) -> bytes:
    """The bytes that a Go string literal ("…" or `…`) stands for. ValueError if it is none."""
    if len(text) >= 2 and text[0] == text[-1] == "`" and "`" not in text[1:-1]:
        return text[1:-1].encode("utf-8", "surrogateescape")
    if not re.fullmatch(r'"(?:[^"\\\n]|\\.)*"', text, re.DOTALL):
        raise ValueError(f"not a quoted string: {text}")
    return b"".join(_pieces(text[1:-1]))


def _pieces(text: str) -> list[bytes]:
    pieces, position = [], 0
    for match in _ESCAPE.finditer(text):
        pieces.append(text[position : match.start()].encode("utf-8", "surrogateescape"))
        pieces.append(_unescape(match))
        position = match.end()
    return [*pieces, text[position:].encode("utf-8", "surrogateescape")]


def _unescape(match: re.Match[str]) -> bytes:
    byte, short, long, octal, single = match.groups()
    if byte or octal:
        value = int(byte, 16) if byte else int(octal, 8)
        if value > 0xFF:
            raise ValueError(f"escape out of range: {match.group()}")
        return bytes([value])
    if short or long:
        return chr(int(short or long, 16)).encode()
    if single not in _UNESCAPES:
        raise ValueError(f"unknown escape: {match.group()}")
    return _UNESCAPES[single].encode()
