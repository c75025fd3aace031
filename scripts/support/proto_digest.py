#!/usr/bin/env python3
"""Says in each generated *_pb2.py what it was made of, so that stale or hand-made code is found without a generator.

  proto_digest.py GENERATOR FOLDER    add the line to every module in FOLDER/*/pb; GENERATOR is its name and version
  proto_digest.py --check             exit code 1, and a line for each module here that is not what its line says

The line is a digest of the source in proto/, of the generator's name, and of the module and its stub themselves.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
WORDS = "# Made of proto/ by "


def main() -> int:
    """The exit code."""
    if sys.argv[1:] == ["--check"]:
        stale = [module for module in modules(ROOT) if not is_as_made(module)]
        for module in stale:
            print(f"{module.relative_to(ROOT)} is stale: run scripts/gen-proto", file=sys.stderr)
        return 1 if stale else 0
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    for module in modules(Path(sys.argv[2])):
        text = module.read_text()
        module.write_text(text + line(module, sys.argv[1], text))
    return 0


def modules(root: Path) -> list[Path]:
    """All generated modules below a folder."""
    return sorted(root.glob("*/pb/*_pb2.py"))


def line(module: Path, generator: str, text: str) -> str:
    """What a module whose generated text is `text` ends with."""
    source = ROOT / "proto" / f"{module.name.removesuffix('_pb2.py')}.proto"
    parts = (generator, source.read_text(), text, module.with_suffix(".pyi").read_text())
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return f"{WORDS}{generator}: {digest}\n"


def is_as_made(module: Path) -> bool:
    """Whether its last line is true, and names the generator that scripts/gen-proto uses."""
    text, words, last = module.read_text().rpartition(WORDS)
    generator = last.partition(":")[0]
    pinned = f"generator={generator}\n" in (ROOT / "scripts" / "gen-proto").read_text()
    return bool(words) and pinned and words + last == line(module, generator, text)


if __name__ == "__main__":
    sys.exit(main())
