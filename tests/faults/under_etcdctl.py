"""What `etcdctl lock NAME` runs under the lock in test_leader_locks: waits for a word, then writes with etcdctl.

    under_etcdctl.py ETCDCTL ENDPOINT FOLDER VALUE

It writes FOLDER/VALUE.token when it holds the lock, waits for FOLDER/VALUE.go, and then puts VALUE into `unfenced`, and
into `fenced` in a transaction that compares the create revision of its lock key. FOLDER/VALUE.said is what etcdctl
answered to that: SUCCESS or FAILURE.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path


def main(etcdctl: str, endpoint: str, folder: Path, value: str) -> None:
    """The program."""
    key = os.environ["ETCD_LOCK_KEY"]

    def run(*words: str, stdin: str = "") -> str:
        command = [etcdctl, f"--endpoints={endpoint}", "--command-timeout=20s", *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=True).stdout

    fields = run("get", key, "--write-out=fields")
    token = next(line.split()[-1] for line in fields.splitlines() if line.startswith('"CreateRevision"'))
    say(folder / f"{value}.token", token)
    while not (folder / f"{value}.go").exists():
        time.sleep(0.02)
    run("put", "unfenced", value)
    fenced = f'create("{key}") = "{token}"\n\nput fenced {value}\n\n\n'
    say(folder / f"{value}.said", run("txn", stdin=fenced).split()[0])


def say(path: Path, text: str) -> None:
    """A file that is there whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4])
