"""kubectl as a user runs it: a version, a kubeconfig, a namespace, and a home of its own for its caches."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.process import clean_environment

from control.api.catalogue import BUILTIN
from control.testing.kube import KubeApi


@dataclass(frozen=True, slots=True)
class Kubectl:
    """old: 1.20, which lacks some commands and asks for OpenAPI 2 and old discovery."""

    program: str
    old: bool
    api: KubeApi
    home: Path
    namespace: str

    def within(self, namespace: str) -> Kubectl:
        """The same, in another namespace."""
        return replace(self, namespace=namespace)

    def run(self, *arguments: str, stdin: str = "", code: int | None = 0, editor: str = "") -> str:
        """Both outputs of a command that must end with that code (None: any); code 0 gives standard output alone."""
        ended = subprocess.run(
            [self.program, "--namespace", self.namespace, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env=self.environment(editor),
            check=False,
        )
        said = f"kubectl {' '.join(arguments)}\n{ended.stdout}{ended.stderr}"
        assert code is None or ended.returncode == code, said
        return ended.stdout if code == 0 else ended.stdout + ended.stderr

    def environment(self, editor: str = "") -> dict[str, str]:
        extra = {"HOME": str(self.home), "KUBECONFIG": str(self.api.kubeconfig), "TZ": "UTC", "GOGC": "400"}
        return clean_environment(extra | ({"KUBE_EDITOR": editor} if editor else {}))

    def object(self, what: str) -> Any:
        """One object of a built-in kind, as "deploy/web". Asked for without kubectl, which takes far longer."""
        word, _, name = what.partition("/")
        kind = BUILTIN.named(word)
        assert kind is not None, word
        code, found = self.api.request("GET", kind.url(self.namespace, name))
        assert code == 200, found
        return found

    def field(self, what: str, path: str) -> Any:
        """One field of such an object, as ".spec.ports[0].port"; None: it is not there."""
        value = self.object(what)
        for step in re.findall(r"[^.\[\]]+", path):
            if value is None:
                return None
            value = value[int(step)] if step.isdigit() else value.get(step)
        return value

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that runs on, with its output in a pipe."""
        return subprocess.Popen(
            [self.program, "--namespace", self.namespace, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(),
        )
