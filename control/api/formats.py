"""Formats of strings in custom kinds' schemas. Formats that are not here are not checked, as in Kubernetes.

Source: "format" in the documentation of CustomResourceDefinitions.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import uuid
from collections.abc import Callable
from datetime import date
from typing import Final
from urllib.parse import urlsplit

from control.api.meta import parse_time
from control.api.names import dns_subdomain

_EMAIL = re.compile(r"[^@\s]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_DURATION = re.compile(r"-?(?:0|(?:\d{1,12}(?:\.\d{1,9})?\s?(?:ns|us|µs|ms|s|m|h|d|w))+)")


def _holds(check: Callable[[str], object]) -> Callable[[str], bool]:
    """Whether a parser takes the text without complaint."""

    def holds(text: str) -> bool:
        try:
            check(text)
        except (ValueError, binascii.Error, OverflowError):
            return False
        return True

    return holds


def _uuid_of(version: int | None) -> Callable[[str], bool]:
    def holds(text: str) -> bool:
        try:
            found = uuid.UUID(text)
        except ValueError:
            return False
        return version is None or found.version == version

    return holds


def _is_uri(text: str) -> bool:
    try:
        return bool(urlsplit(text).scheme)
    except ValueError:
        return False


FORMATS: Final[dict[str, Callable[[str], bool]]] = {
    "date-time": _holds(parse_time),
    "datetime": _holds(parse_time),
    "date": _holds(date.fromisoformat),
    "duration": lambda text: bool(_DURATION.fullmatch(text)),
    "email": lambda text: bool(_EMAIL.fullmatch(text)),
    "hostname": lambda text: not dns_subdomain(text.lower()),
    "ipv4": _holds(ipaddress.IPv4Address),
    "ipv6": _holds(ipaddress.IPv6Address),
    "ip": _holds(ipaddress.ip_address),
    "cidr": _holds(lambda text: ipaddress.ip_network(text, strict=False)),
    "mac": lambda text: bool(re.fullmatch(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}", text)),
    "uri": _is_uri,
    "uuid": _uuid_of(None),
    "uuid3": _uuid_of(3),
    "uuid4": _uuid_of(4),
    "uuid5": _uuid_of(5),
    "byte": _holds(lambda text: base64.b64decode(text, validate=True)),
}
