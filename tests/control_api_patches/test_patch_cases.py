"""The three kinds of patches against recorded cases (cases/*.yaml): object and patch in, result or refusal out."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from control.api import schema
from control.api.patches import json_patch, merge, strategic
from control.api.status import StatusError

CASES = Path(__file__).parent / "cases"


def cases(name: str) -> list[Any]:
    loaded = yaml.safe_load((CASES / f"{name}.yaml").read_text())
    return [pytest.param(case, id=case["name"]) for case in loaded]


def check(case: dict[str, Any], run: Any) -> None:
    document, patch = copy.deepcopy(case["object"]), copy.deepcopy(case["patch"])
    if "error" in case:
        with pytest.raises(StatusError) as refusal:
            run(document, patch)
        code, part = case["error"]
        assert refusal.value.code == code
        assert part in refusal.value.message
    else:
        assert run(document, patch) == case["result"]
    assert document == case["object"], "the document given must not change"
    assert patch == case["patch"], "the patch given must not change"


@pytest.mark.parametrize("case", cases("strategic"))
def test_strategic(case: dict[str, Any]) -> None:
    check(case, lambda document, patch: strategic.apply(document, patch, schema.lookup(case["type"])))


@pytest.mark.parametrize("case", cases("merge"))
def test_merge(case: dict[str, Any]) -> None:
    check(case, merge.apply)


@pytest.mark.parametrize("case", cases("json_patch"))
def test_json_patch(case: dict[str, Any]) -> None:
    check(case, json_patch.apply)


def test_strategic_is_not_for_custom_resources() -> None:
    with pytest.raises(StatusError) as refusal:
        strategic.apply({}, {}, None)
    assert refusal.value.code == 415
    assert "application/merge-patch+json" in refusal.value.message
