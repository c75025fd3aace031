"""The ciphers of EncryptionConfiguration, in Kubernetes' own format: a prefix that names provider and key, then data.

    k8s:enc:aesgcm:v1:KEY:     nonce (12) + AES-GCM ciphertext and tag; authenticates the value's key in the store too
    k8s:enc:aescbc:v1:KEY:     iv (16) + AES-CBC of the value with PKCS #7 padding; not authenticated
    k8s:enc:secretbox:v1:KEY:  nonce (24) + XSalsa20-Poly1305

So a store can be taken over from a Kubernetes API server's configuration and back, as far as formats go.
`cryptography` has no XSalsa20: secretbox needs PyNaCl (`pip install fluyt[secretbox]`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PREFIX = b"k8s:enc:"
_AES_KEYS = (16, 24, 32)


class WrongKey(Exception):
    """The data was not written with this key, or was changed since."""


class ValueCipher(Protocol):
    """One key of one provider."""

    def seal(self, value: bytes, associated: bytes) -> bytes: ...

    def open(self, data: bytes, associated: bytes) -> bytes:
        """Raises WrongKey."""
        ...


class AesGcm:
    """associated: the value's key in the store; a value that was moved to another key does not open."""

    def __init__(self, secret: bytes) -> None:
        _require_length(secret, _AES_KEYS)
        self._cipher = AESGCM(secret)

    def seal(self, value: bytes, associated: bytes) -> bytes:
        # Random nonces of 96 bits: safe for 2^32 writes a key (NIST SP 800-38D, 8.3); the documentation says to rotate.
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, value, associated)

    def open(self, data: bytes, associated: bytes) -> bytes:
        try:
            return self._cipher.decrypt(data[:12], data[12:], associated)
        except (InvalidTag, ValueError):
            raise WrongKey from None


class AesCbc:
    """For configurations that use it; it cannot tell that somebody changed a value."""

    def __init__(self, secret: bytes) -> None:
        _require_length(secret, (32,))
        self._algorithm = algorithms.AES(secret)

    def seal(self, value: bytes, associated: bytes) -> bytes:
        iv = os.urandom(16)
        padder = padding.PKCS7(128).padder()
        encryptor = BlockCipher(self._algorithm, modes.CBC(iv)).encryptor()
        return iv + encryptor.update(padder.update(value) + padder.finalize()) + encryptor.finalize()

    def open(self, data: bytes, associated: bytes) -> bytes:
        try:
            decryptor = BlockCipher(self._algorithm, modes.CBC(data[:16])).decryptor()
            unpadder = padding.PKCS7(128).unpadder()
            return unpadder.update(decryptor.update(data[16:]) + decryptor.finalize()) + unpadder.finalize()
        except ValueError:
            raise WrongKey from None


class SecretBox:
    """NaCl's secretbox."""

    def __init__(self, secret: bytes) -> None:
        _require_length(secret, (32,))
        try:
            from nacl.exceptions import CryptoError
            from nacl.secret import SecretBox as Box
        except ImportError:
            raise ValueError("secretbox needs PyNaCl: pip install 'fluyt[secretbox]', or use aesgcm") from None
        self._box = Box(secret)
        self._error = CryptoError

    def seal(self, value: bytes, associated: bytes) -> bytes:
        return bytes(self._box.encrypt(value))

    def open(self, data: bytes, associated: bytes) -> bytes:
        try:
            return bytes(self._box.decrypt(data))
        except (self._error, ValueError, TypeError):
            raise WrongKey from None


CIPHERS: dict[str, Callable[[bytes], ValueCipher]] = {"aesgcm": AesGcm, "aescbc": AesCbc, "secretbox": SecretBox}


def _require_length(secret: bytes, lengths: tuple[int, ...]) -> None:
    if len(secret) not in lengths:
        wanted = " or ".join(map(str, lengths))
        raise ValueError(f"the secret has {len(secret)} bytes; it must have {wanted}, in base64")
