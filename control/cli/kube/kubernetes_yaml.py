"""YAML as Kubernetes reads it, which is not all of YAML 1.1: dates and 1:30 are texts, and so is each key.

Pure. Source: sigs.k8s.io/yaml, which kubectl reads files with; JSON, which it makes of them, has no keys but texts.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from typing import Any, Final

import yaml

_TAG: Final = "tag:yaml.org,2002:"
# Of float32: so many digits behind the first tell each number from the next.
_DIGITS: Final = 8


@functools.cache
def loader() -> Any:
    """For yaml.load_all."""
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    def construct_mapping(self: Any, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        mapping = base.construct_mapping(self, node, deep)
        try:
            return {key_text(key): value for key, value in mapping.items()}
        except ValueError as problem:
            raise yaml.constructor.ConstructorError(None, None, str(problem), node.start_mark) from None

    made: Any = type("Loader", (base,), {"construct_mapping": construct_mapping})
    made.yaml_implicit_resolvers = {
        letter: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_TAG}timestamp"]
        for letter, resolvers in base.yaml_implicit_resolvers.items()
    }
    made.add_constructor(f"{_TAG}int", _unless_sexagesimal(base.construct_yaml_int))
    made.add_constructor(f"{_TAG}float", _unless_sexagesimal(base.construct_yaml_float))
    return made


def _unless_sexagesimal(construct: Callable[[Any, yaml.ScalarNode], Any]) -> Callable[[Any, yaml.ScalarNode], Any]:
    return lambda self, node: node.value if ":" in node.value else construct(self, node)


def key_text(key: object) -> str:
    """8080 is "8080", `yes` is "true". Raises ValueError for what is no key in Kubernetes, null say."""
    match key:
        case str():
            return key
        case bool():
            return "true" if key else "false"
        case int():
            return str(key)
        case float():
            return _float_text(key)
    raise ValueError(f"a mapping's key is {'null' if key is None else type(key).__name__}, not a text")


def _float_text(value: float) -> str:
    """In the fewest digits that a float32 needs; with an exponent from a million on, and below 0.0001."""
    single = ctypes.c_float(value).value
    if not math.isfinite(single):
        return ".nan" if math.isnan(single) else ".inf" if single > 0 else "-.inf"
    for digits in range(_DIGITS + 1):
        text = f"{single:.{digits}e}"
        if ctypes.c_float(float(text)).value == single:
            break
    exponent = int(text.partition("e")[2])
    return f"{single:.{max(digits - exponent, 0)}f}" if -4 <= exponent < 6 else text
