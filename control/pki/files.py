"""Certificates and keys as files in kubeadm's layout: NAME.crt for everybody, NAME.key for its owner alone.

Invariants: a file appears whole or not at all (written beside its place, synced, renamed); authorities and token keys
are never overwritten (`create`), only what they signed is (`replace`). Fault assumed: a crash between any two files.
The key is written first, so that a certificate never lacks its key.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kvstore.pki.certificates import Pair, read_pair

PRIVATE, PUBLIC = 0o600, 0o644


def certificate_path(folder: Path, name: str) -> Path:
    """Where the certificate of that name is."""
    return folder / f"{name}.crt"


def key_path(folder: Path, name: str) -> Path:
    """Where its key is."""
    return folder / f"{name}.key"


def load_pair(folder: Path, name: str) -> Pair:
    """OSError if a file cannot be read, ValueError (with the file's name) if it holds something else."""
    certificate, key = certificate_path(folder, name), key_path(folder, name)
    try:
        return read_pair(certificate.read_bytes(), key.read_bytes())
    except ValueError as problem:
        raise ValueError(f"{certificate} and {key}: {problem}") from None


def create_pair(folder: Path, name: str, pair: Pair) -> None:
    """Both files, durably. FileExistsError if one is there, other OSErrors."""
    create(key_path(folder, name), pair.key_pem, PRIVATE)
    create(certificate_path(folder, name), pair.certificate_pem, PUBLIC)


def replace_pair(folder: Path, name: str, pair: Pair) -> None:
    """Both files, durably, over those that are there. Who reads between the two sees a pair that does not match."""
    replace(key_path(folder, name), pair.key_pem, PRIVATE)
    replace(certificate_path(folder, name), pair.certificate_pem, PUBLIC)


def create(path: Path, data: bytes, mode: int) -> None:
    """Write a file that is not there yet. FileExistsError if it is."""
    temporary = _written(path, data, mode)
    try:
        os.link(temporary, path)  # unlike rename, link refuses to overwrite
    finally:
        os.unlink(temporary)
    _sync_folder(path.parent)


def replace(path: Path, data: bytes, mode: int) -> None:
    """Write a file, over the one that may be there, in one step."""
    temporary = _written(path, data, mode)
    try:
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    _sync_folder(path.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder, made if it is not there, for one process at a time: several masters may share it. OSErrors."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _written(path: Path, data: bytes, mode: int) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
