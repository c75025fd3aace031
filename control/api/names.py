"""What names, label keys and values, annotations and the like may look like.

Each check returns the complaints; none means that the name is fine.

Lengths are counted in bytes of UTF-8, as Kubernetes does; the patterns allow ASCII only anyway.

Source: "Object Names and IDs", "Labels and Selectors", "Annotations" of the Kubernetes documentation; the wording of
the complaints is Kubernetes' own, because people search for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_DNS_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_QUALIFIED})?"

LABEL_LENGTH: Final = 63
SUBDOMAIN_LENGTH: Final = 253
ANNOTATIONS_BYTES: Final = 256 * 1024

_WITH_PREFIX = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"

SUFFIX_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Letters of generated suffixes: no vowels, so no words; no digits that look like letters."""
SUFFIX_LENGTH: Final = 5
GENERATE_NAME_LENGTH: Final = 63 - SUFFIX_LENGTH


class _Rule:
    """A pattern with the words for what does not match it."""

    def __init__(self, pattern: str, words: str, examples: tuple[str, ...], limit: int = 0) -> None:
        self.regex = re.compile(pattern, re.ASCII)
        hint = " or ".join(f"'{example}', " for example in examples)
        self.complaint = f"{words} (e.g. {hint}regex used for validation is '{pattern}')"
        self.limit = limit

    def check(self, text: str) -> list[str]:
        complaints = [too_long(self.limit)] if self.limit and len(text.encode("utf-8", "replace")) > self.limit else []
        if not self.regex.fullmatch(text):
            complaints.append(self.complaint)
        return complaints


def too_long(limit: int) -> str:
    return f"must be no more than {limit} characters"


_RULES: Final = {
    "label": _Rule(
        _LABEL,
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end"
        " with an alphanumeric character",
        ("my-name", "123-abc"),
        LABEL_LENGTH,
    ),
    "subdomain": _Rule(
        _SUBDOMAIN,
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start"
        " and end with an alphanumeric character",
        ("example.com",),
        SUBDOMAIN_LENGTH,
    ),
    "1035": _Rule(
        _DNS_1035,
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic"
        " character, and end with an alphanumeric character",
        ("my-name", "abc-123"),
        LABEL_LENGTH,
    ),
    "wildcard": _Rule(
        rf"\*\.{_SUBDOMAIN}",
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of"
        " lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
        ("*.example.com",),
        SUBDOMAIN_LENGTH,
    ),
    "qualified": _Rule(
        _QUALIFIED,
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric"
        " character",
        ("MyName", "my.name", "123-abc"),
        LABEL_LENGTH,
    ),
    "value": _Rule(
        _VALUE,
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start"
        " and end with an alphanumeric character",
        ("MyValue", "my_value", "12345"),
        LABEL_LENGTH,
    ),
    "config": _Rule(
        r"[-._a-zA-Z0-9]+",
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
        ("key.name", "KEY_NAME", "key-name"),
        SUBDOMAIN_LENGTH,
    ),
    "header": _Rule(
        "[-A-Za-z0-9]+",
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        ("X-Header-Name",),
    ),
    "c-identifier": _Rule(
        "[A-Za-z_][A-Za-z0-9_]*",
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric"
        " characters or '_'",
        ("my_name", "MY_NAME", "MyName"),
    ),
}  # fmt: skip


def dns_label(text: str) -> list[str]:
    """DNS-1123 label: containers, volumes, namespaces."""
    return _RULES["label"].check(text)


def dns_subdomain(text: str) -> list[str]:
    """DNS-1123 subdomain: the names of most objects."""
    return _RULES["subdomain"].check(text)


def dns_1035_label(text: str) -> list[str]:
    """DNS-1035 label: Services."""
    return _RULES["1035"].check(text)


def wildcard_subdomain(text: str) -> list[str]:
    """ "*.example.com": hosts of Ingresses."""
    return _RULES["wildcard"].check(text)


def label_value(text: str) -> list[str]:
    return _RULES["value"].check(text)


def config_key(text: str) -> list[str]:
    """Keys of ConfigMaps and Secrets, which become file names."""
    complaints = _RULES["config"].check(text)
    if text in (".", ".."):
        complaints.append(f"must not be '{text}'")
    elif text.startswith(".."):
        complaints.append("must not start with '..'")
    return complaints


def header_name(text: str) -> list[str]:
    return _RULES["header"].check(text)


def env_name(text: str) -> list[str]:
    """Environment variables: printable ASCII without '='."""
    if not text:
        return ["environment variable names must be non-empty"]
    if all(" " <= letter <= "~" and letter != "=" for letter in text):
        return []
    return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]


def c_identifier(text: str) -> list[str]:
    return _RULES["c-identifier"].check(text)


def port_name(text: str) -> list[str]:
    """IANA service names: names of container ports, at most 15 letters."""
    complaints = []
    if len(text) > 15:
        complaints.append(too_long(15))
    if not re.fullmatch("[-a-z0-9]+", text):
        complaints.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", text):
        complaints.append("must contain at least one letter (a-z)")
    if "--" in text:
        complaints.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        complaints.append("must not begin or end with a hyphen")
    return complaints


def path_segment(text: str) -> list[str]:
    """Names that only have to fit into a URL: Roles, bindings, custom objects of some groups."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{letter}'" for letter in "/%" if letter in text]


def qualified_name(text: str) -> list[str]:
    """A label or annotation key: "name" or "example.com/name"."""
    prefix, slash, name = text.rpartition("/")
    complaints: list[str] = []
    if slash:
        if not prefix:
            complaints.append("prefix part must be non-empty")
        elif "/" in prefix:
            return [f"a qualified name {_RULES['qualified'].complaint} {_WITH_PREFIX}"]
        else:
            complaints += [f"prefix part {complaint}" for complaint in dns_subdomain(prefix)]
    if not name:
        complaints.append("name part must be non-empty")
        return complaints
    return complaints + [f"name part {complaint}" for complaint in _RULES["qualified"].check(name)]


def annotations_too_long(annotations: Mapping[str, str]) -> bool:
    """Whether keys and values together have more bytes than annotations may."""
    return sum(len(k.encode()) + len(v.encode()) for k, v in annotations.items()) > ANNOTATIONS_BYTES


def generated(prefix: str, entropy: bytes) -> str:
    """A name from generateName; entropy: SUFFIX_LENGTH bytes of chance. Long prefixes are cut, so the name is valid."""
    suffix = "".join(SUFFIX_ALPHABET[byte % len(SUFFIX_ALPHABET)] for byte in entropy[:SUFFIX_LENGTH])
    return prefix[:GENERATE_NAME_LENGTH] + suffix
