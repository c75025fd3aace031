"""`fluyt kube` beside kubectl 1.32: the same words give the same outputs and the same end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from kubectl_cli import Kubectl


@pytest.fixture(scope="module")
def both(newest: Kubectl) -> Kubectl:
    newest.run("create", "configmap", "here", "--from-literal=x=y")
    return newest


def outcome(kubectl: Kubectl, program: list[str], words: list[str]) -> tuple[int, str, str]:
    command = [*program, *words, f"--namespace={kubectl.namespace}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=kubectl.environment(""), check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        "get cm gone here nope -o name",
        "get cm here gone -o=jsonpath={.items[*].metadata.name}",
        "get cm gone nope -o json",
        "get cm gone nope",
        "get cm/gone cm/here --ignore-not-found -o=name",
        "get cm here --no-headers=true -o=name --watch=false",
        "get cm -l=x=y -o=name",
        "get cm here -l=x=y",
        "get cm/here -l=x=y",
        "get cm here -A",
        "label cm here -l=x=y a=b",
        "delete cm here -l=x=y",
        "delete cm/here --field-selector=metadata.name=other",
        "describe cm here -l=x=y",
        "get cm here -o=jsonpath={.metadata.labels}",
    ],
)
def test_the_same_words(both: Kubectl, words: str) -> None:
    fluyt = [str(Path(sys.prefix, "bin", "fluyt")), "kube"]
    assert outcome(both, fluyt, words.split()) == outcome(both, [both.program], words.split())
