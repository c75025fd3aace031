"""Coverage-guided fuzzing of one target, where atheris is installed.

python tests/fuzz/fuzz_with_atheris.py log_file -max_total_time=60 [libFuzzer's other flags, folders with inputs]
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Runs until a target raises, or its time is up."""
    atheris = importlib.import_module("atheris")
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]
    with atheris.instrument_imports(include=["kvstore"]):
        targets = importlib.import_module("fuzz_targets")
    if len(sys.argv) < 2 or sys.argv[1] not in targets.TARGETS:
        sys.exit(f"usage: fuzz_with_atheris.py TARGET [flags of libFuzzer]; targets: {', '.join(targets.TARGETS)}")
    target = targets.TARGETS[sys.argv[1]]
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds):
            Path(corpus, f"seed-{number}").write_bytes(seed)
        atheris.Setup([sys.argv[0], *sys.argv[2:], corpus], target.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
