"""The API server of the pytest fixture: one that does not come up is said to be so, with its last words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from control.testing import kube
from control.testing.kube import KubeApi


class Ended:
    """A `fluyt up` that found its port taken."""

    running = False

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self.log = log
        log.write_text("Error: m1-store ended at its start: cannot listen on 127.0.0.1:12345: address already in use\n")

    def last_words(self) -> str:
        return self.log.read_text()

    def stop(self) -> None:
        pass


def test_a_port_that_is_already_in_use_is_not_ready_in_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "admin.conf").write_text("clusters: [{cluster: {server: 'https://127.0.0.1:1'}}]\n")
    monkeypatch.setattr(kube, "Child", Ended)
    with pytest.raises(RuntimeError, match="does not come up:\nError: m1-store"):
        KubeApi(tmp_path, [])
