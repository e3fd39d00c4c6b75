"""Whom clients of HTTP trust."""

import ssl
from urllib.parse import urlsplit


def trust_for(url: str) -> ssl.SSLContext | bool:
    """Give what a client that calls a URL has to trust, as httpx takes it.

    Notes
    -----
    Reading the certificates of all authorities takes longer than a call on this machine does, and
    without TLS none is looked at: a client of such a URL trusts nobody.
    """
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if urlsplit(url).scheme == "http" else True
