"""A stand-in for an OpenID Connect issuer: its documents over HTTP, and tokens that it signs."""

import base64
import hashlib
import html
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

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
    claims
        What the tokens say of whoever logs in there.
    logins
        What each code stands for that was given and not yet taken: how the login was asked for.
    """

    url: str
    keys: dict[str, PrivateKey] = field(default_factory=dict)
    fetches: list[str] = field(default_factory=list)
    is_away: bool = False
    claims: dict[str, Any] = field(default_factory=dict)
    logins: dict[str, dict[str, str]] = field(default_factory=dict)

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
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
            },
            "/keys": {"keys": [_public(key_id, key) for key_id, key in self.keys.items()]},
        }

    def page(self, asked: dict[str, str]) -> str:
        """Show somebody a link that logs them in, as they are asked whether they want to."""
        answer = urlencode({"code": self.code_for(asked), "state": asked["state"]})
        return f'<a href="{asked["redirect_uri"]}?{html.escape(answer)}">Go on as Ada</a>'

    def code_for(self, asked: dict[str, str]) -> str:
        """Give a code to somebody who has logged in."""
        code = secrets.token_urlsafe()
        self.logins[code] = asked
        return code

    def take(self, given: dict[str, str]) -> dict[str, Any]:
        """Give the token for a code, to whoever shows that they began."""
        asked = self.logins.pop(given.get("code", ""), {})
        digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        expected = (asked.get("code_challenge"), asked.get("redirect_uri"), asked.get("client_id"))
        if expected != (challenge, given.get("redirect_uri"), given.get("client_id")):
            return {"error": "invalid_grant"}
        token = self.token(next(iter(self.keys)), **self.claims)
        return {"access_token": token, "token_type": "Bearer", "expires_in": 300}


def _public(key_id: str, key: PrivateKey) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        shown = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
    else:
        shown = json.loads(ECAlgorithm.to_jwk(key.public_key()))
    return {**shown, "kid": key_id, "use": "sig"}


@contextmanager
def running_issuer(host: str = LOOPBACK) -> Iterator[Issuer]:
    """Serve an issuer without keys on this machine.

    Parameters
    ----------
    host
        How it calls itself: to a browser, another name is another site.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.fetches.append(self.path)
            place = urlsplit(self.path)
            if place.path == "/authorize":
                self._answer(200, issuer.page(dict(parse_qsl(place.query))), "text/html")
                return
            document = None if issuer.is_away else issuer.documents().get(self.path)
            self._answer(503 if document is None else 200, json.dumps(document))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            answer = issuer.take(dict(parse_qsl(body)))
            self._answer(400 if "error" in answer else 200, json.dumps(answer))

        def _answer(self, status: int, text: str, kind: str = "application/json") -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    issuer = Issuer(f"http://{host}:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
