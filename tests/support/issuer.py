"""A stand-in for an OpenID Connect issuer: its documents over HTTP, and tokens that it signs."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from runtime.ports import LOOPBACK

AUDIENCE = "transfers"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def curve_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(slots=True)
class Issuer:
    """What it says at its URL, which a test may change at any time.

    Parameters
    ----------
    keys
        By their names: what it signs with, and shows the public halves of.
    fetches
        Paths that were asked for.
    """

    url: str
    keys: dict[str, PrivateKey] = field(default_factory=dict)
    fetches: list[str] = field(default_factory=list)
    is_away: bool = False

    def token(self, key_id: str, **changes: Any) -> str:
        """Sign a token that is good, but for what is changed; ``None`` leaves a claim out."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ada",
            "iat": now,
            "exp": now + 300,
            "scope": "users:read",
            **changes,
        }
        present = {name: value for name, value in claims.items() if value is not None}
        key = self.keys[key_id]
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(present, key, algorithm, headers={"kid": key_id})

    def documents(self) -> dict[str, Any]:
        """Give what it says, by path."""
        return {
            "/.well-known/openid-configuration": {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
            },
            "/keys": {"keys": [_public(key_id, key) for key_id, key in self.keys.items()]},
        }


def _public(key_id: str, key: PrivateKey) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        shown = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
    else:
        shown = json.loads(ECAlgorithm.to_jwk(key.public_key()))
    return {**shown, "kid": key_id, "use": "sig"}


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    """Serve an issuer without keys on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.fetches.append(self.path)
            document = None if issuer.is_away else issuer.documents().get(self.path)
            body = json.dumps(document).encode()
            self.send_response(503 if document is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    issuer = Issuer(f"http://{LOOPBACK}:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
