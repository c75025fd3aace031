"""What others need to check our tokens without asking us: OpenID discovery and the keys. Pure.

Source: "Service account issuer discovery" of the Kubernetes documentation; OpenID Connect Discovery 1.0; RFC 7517.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from control.api.schema import Object
from control.pki.token_keys import VerifyingKey

CONFIGURATION, KEYS = "/.well-known/openid-configuration", "/openid/v1/jwks"


def pages(issuer: str, keys: Iterable[VerifyingKey]) -> Mapping[str, Object]:
    """The two documents by their paths; {} for an issuer that is no https URL, which nobody could discover."""
    if not issuer.startswith("https://"):
        return {}
    found = {key.id: key for key in keys}
    configuration = {
        "issuer": issuer,
        "jwks_uri": issuer.rstrip("/") + KEYS,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted({key.algorithm for key in found.values()}),
    }
    return {CONFIGURATION: configuration, KEYS: {"keys": [_jwk(key) for key in found.values()]}}


def _jwk(key: VerifyingKey) -> Object:
    public = key.key
    if isinstance(public, RSAPublicKey):
        found = RSAAlgorithm.to_jwk(public, as_dict=True)
    else:
        found = ECAlgorithm.to_jwk(public, as_dict=True)
    shown = {name: value for name, value in found.items() if name != "key_ops"}
    return {"use": "sig", "kid": key.id, "alg": key.algorithm, **shown}
