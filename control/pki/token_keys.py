"""The key pair that signs and verifies service-account tokens: `sa.key`, `sa.pub`.

New keys are P-256 (ES256): made in no time, and small tokens. RSA keys (RS256), as kubeadm makes them, are read as
well. A key's id is the URL-safe base64 of the SHA-256 of its public half in DER, Kubernetes' rule, so that tokens
made by either are verified by the other.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_BEGIN, _END = b"-----BEGIN ", b"-----END "


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key with the one algorithm it may be used with: what a token's header says does not choose it."""

    key: PublicKey
    algorithm: str
    id: str


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The private key that signs new tokens, and how they are verified."""

    key: PrivateKey
    verifying: VerifyingKey


def new_signing_key() -> SigningKey:
    """A fresh P-256 key."""
    return _signing(ec.generate_private_key(ec.SECP256R1()))


def private_pem(key: SigningKey) -> bytes:
    """PKCS #8, not encrypted."""
    return key.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key: VerifyingKey) -> bytes:
    """SubjectPublicKeyInfo."""
    return key.key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def read_signing_key(path: Path) -> SigningKey:
    """--service-account-signing-key-file. OSError; ValueError, with the file's name, for what is no RSA or EC key."""
    try:
        return _signing(serialization.load_pem_private_key(path.read_bytes(), None))
    except (ValueError, TypeError) as problem:
        raise ValueError(f"{path}: not a private key for tokens ({problem}); give an RSA or EC key in PEM") from None


def read_verifying_keys(path: Path) -> list[VerifyingKey]:
    """--service-account-key-file: any number of public or private keys in PEM. OSError, ValueError as above."""
    found = []
    for block in _blocks(path.read_bytes()):
        try:
            found.append(_read_public(block))
        except (ValueError, TypeError) as problem:
            raise ValueError(f"{path}: not a key for tokens ({problem}); give RSA or EC keys in PEM") from None
    if not found:
        raise ValueError(f"{path}: there is no key in it; give RSA or EC keys in PEM")
    return found


def _read_public(block: bytes) -> VerifyingKey:
    if b"PRIVATE KEY" in block.splitlines()[0]:
        return _signing(serialization.load_pem_private_key(block, None)).verifying
    return _verifying(serialization.load_pem_public_key(block))


def _signing(key: object) -> SigningKey:
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("neither RSA nor EC")
    return SigningKey(key, _verifying(key.public_key()))


def _verifying(key: object) -> VerifyingKey:
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < 2048:
            raise ValueError(f"an RSA key of {key.key_size} bits; at least 2048 are needed")
        return VerifyingKey(key, "RS256", _id(key))
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return VerifyingKey(key, _CURVES[key.curve.name], _id(key))
    raise ValueError("neither RSA nor EC on P-256, P-384 or P-521")


def _id(key: PublicKey) -> str:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def _blocks(text: bytes) -> Iterator[bytes]:
    block: list[bytes] = []
    for line in text.splitlines(keepends=True):
        if line.startswith(_BEGIN):
            block = [line]
        elif block:
            block.append(line)
            if line.startswith(_END):
                yield b"".join(block)
                block = []
