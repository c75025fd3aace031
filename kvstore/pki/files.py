"""Pairs as PEM files: NAME.pem for everybody, NAME-key.pem for its owner alone. Nothing that exists is overwritten.

Fault assumed: a crash between the two files. The key is written first, so that a certificate never lacks its key.
"""

from __future__ import annotations

import os
from pathlib import Path

from kvstore.pki.certificates import Pair, read_pair


def certificate_path(folder: Path, name: str) -> Path:
    """Where the certificate of that name is."""
    return folder / f"{name}.pem"


def key_path(folder: Path, name: str) -> Path:
    """Where its key is."""
    return folder / f"{name}-key.pem"


def write_pair(folder: Path, name: str, pair: Pair) -> None:
    """Both files, durably. FileExistsError if one is there, other OSErrors."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(key_path(folder, name), pair.key_pem, 0o600)
    _write(certificate_path(folder, name), pair.certificate_pem, 0o644)


def load_pair(folder: Path, name: str) -> Pair:
    """OSError if a file cannot be read, ValueError (with the file's name) if it holds something else."""
    certificate, key = certificate_path(folder, name), key_path(folder, name)
    try:
        return read_pair(certificate.read_bytes(), key.read_bytes())
    except ValueError as problem:
        raise ValueError(f"{certificate} and {key}: {problem}") from None


def has_pair(folder: Path, name: str) -> bool:
    """Whether both files are there."""
    return certificate_path(folder, name).exists() and key_path(folder, name).exists()


def _write(path: Path, data: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
