"""A client of an authorization server that proves itself with a private key (`private_key_jwt`).

The key is read anew for each token, so that it can be replaced while the gateway runs.
Source: RFC 7523, 2.2 and 3; RFC 7521, 4.2. The audience is the issuer, as the draft that revises RFC 7523 wants it:
what is signed for one authorization server must be of no use at another.
"""

import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway import blocking
from gateway.logins.failures import Denied, Unreachable

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LIFETIME: Final = 60
"""Seconds that what is signed is good."""
MAX_BYTES: Final = 64 * 1024
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


@dataclass(frozen=True, slots=True)
class KeyClient:
    """`clients.Client`."""

    id: str
    key: Any = field(repr=False)
    algorithm: str
    key_id: str | None = None

    def prove(self, form: dict[str, str], headers: dict[str, str], endpoint: str, issuer: str) -> None:
        now = int(time.time())
        claims = {"iss": self.id, "sub": self.id, "aud": issuer, "jti": str(uuid.uuid4())}
        claims |= {"iat": now, "exp": now + LIFETIME}  # pyright: ignore[reportOperatorIssue]
        head = {"kid": self.key_id} if self.key_id is not None else None
        form["client_assertion_type"] = ASSERTION_TYPE
        form["client_assertion"] = jwt.encode(claims, self.key, self.algorithm, head)


async def key_client(id: str, file: Path, algorithm: str | None = None, key_id: str | None = None) -> KeyClient:
    """The client whose key is in a PEM file.

    Args:
        algorithm: how to sign; by the key's type when None.

    Raises:
        Unreachable: the file cannot be read now.
        Denied: there is no key in it that could be used.
    """
    key = await blocking.in_thread(_read, file)
    usual = _usual(key)
    if algorithm is None:
        algorithm = usual
    if algorithm is None or (algorithm != usual and not (usual == "RS256" and algorithm in ("RS512", "PS256"))):
        raise Denied(f"the private key in {file} is of another type than {algorithm or 'any that is known'}")
    return KeyClient(id, key, algorithm, key_id)


def _read(file: Path) -> Any:
    try:
        data = blocking.read(file, MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unreachable(f"the private key {file} cannot be read: {reason}") from None
    try:
        return load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # which may quote it
        raise Denied(f"{file} is no private key in PEM, without a password") from None


def _usual(key: Any) -> str | None:
    if isinstance(key, rsa.RSAPrivateKey):
        return "RS256"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _CURVES.get(key.curve.name)
    return "EdDSA" if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else None
