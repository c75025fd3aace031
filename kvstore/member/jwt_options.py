"""The options of `--auth-token jwt,…`: sign-method, priv-key, pub-key, ttl, as etcd's.

Every refusal is one line with cause and cure; the keys are tried once at start, so that a wrong pair is found then and
not by the first user.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kvstore.auth.jwt_token import METHODS, JwtTokens
from kvstore.errors import EtcdError
from kvstore.member.compactor import parse_duration
from kvstore.member.config import ConfigError

log = logging.getLogger(__name__)

_OPTIONS = ("sign-method", "pub-key", "priv-key", "ttl")
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


def open_jwt(given: list[str], default_ttl: float) -> JwtTokens:
    """given: what stands behind "jwt,", split at its commas. default_ttl: seconds. Raises ConfigError."""
    options = _parse(given)
    method = options.get("sign-method", "")
    if method not in METHODS:
        raise ConfigError(f"--auth-token: sign-method must be one of {', '.join(sorted(METHODS))}, not {method!r}")
    ttl = parse_duration(options["ttl"], "auth-token") if options.get("ttl") else default_ttl
    private, public = _key_file(options, "priv-key"), _key_file(options, "pub-key")
    if method.startswith("HS"):
        if not private:
            raise ConfigError(f"--auth-token: {method} needs its secret in the file that priv-key names")
        tokens = JwtTokens(method, private, private, ttl)
    else:
        tokens = _with_key_pair(method, private, public, ttl)
    _try_out(tokens, signs=bool(private))
    return tokens


def _parse(options: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or "=" in value:
            raise ConfigError(f"--auth-token: {option!r} is not of the form name=value")
        if name in found:
            raise ConfigError(f"--auth-token: {name} is given twice")
        if name not in _OPTIONS:
            log.warning("--auth-token: unknown option %s is ignored; known are %s", name, ", ".join(_OPTIONS))
        found[name] = value
    return found


def _with_key_pair(method: str, private: bytes, public: bytes, ttl: float) -> JwtTokens:
    try:
        sign_key: Any = serialization.load_pem_private_key(private, None) if private else None
    except (ValueError, TypeError) as problem:
        raise ConfigError(
            f"--auth-token: priv-key holds no private key in PEM without a passphrase: {problem}"
        ) from None
    try:
        verify_key: Any = _public_key(public) if public else None
    except (ValueError, TypeError) as problem:
        raise ConfigError(f"--auth-token: pub-key holds no public key in PEM: {problem}") from None
    if verify_key is None:
        if sign_key is None:
            raise ConfigError(f"--auth-token: {method} needs priv-key, or pub-key to verify only")
        verify_key = sign_key.public_key()
    return JwtTokens(method, sign_key, verify_key, ttl)


def _public_key(data: bytes) -> Any:
    if _CERTIFICATE in data:
        return x509.load_pem_x509_certificate(data).public_key()
    return serialization.load_pem_public_key(data)


def _key_file(options: dict[str, str], name: str) -> bytes:
    path = options.get(name)
    if not path:
        return b""
    try:
        return Path(path).read_bytes()
    except OSError as problem:
        raise ConfigError(f"--auth-token: cannot read {name} {path}: {problem.strerror or problem}") from None


def _try_out(tokens: JwtTokens, *, signs: bool) -> None:
    """The keys must be of the method's family, and belong together."""
    now = time.time()
    try:
        if signs:
            made = tokens.sign("root", 1, now)
            if tokens.identify(made, 1, now) is None:
                raise ConfigError("--auth-token: pub-key and priv-key do not belong together")
            tokens.clear()
        else:
            tokens.check_verify_key()
    except (jwt.PyJWTError, TypeError, ValueError, AttributeError, EtcdError) as problem:
        if isinstance(problem, ConfigError):
            raise
        raise ConfigError(f"--auth-token: the key does not fit the sign-method: {problem}") from None
