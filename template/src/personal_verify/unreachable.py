"""Why a connection to the server could not be made."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

import httpx2

from personal_verify.project import command, is_loopback

TIMEOUT_SECONDS = 10.0
OWN_AUTHORITY = (
    "Let the tunnel or proxy serve a certificate of a public authority; one of your own is trusted"
    " with SSL_CERT_FILE."
)


def why_unreachable(error: BaseException, url: str) -> tuple[str, str]:
    """Returns cause and cure of a connection that could not be made."""
    parts = urlsplit(url)
    host = parts.hostname or url
    chain: list[BaseException] = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(before)
    for link in chain:
        if isinstance(link, ssl.SSLCertVerificationError):
            return why_untrusted(link, host)
        if isinstance(link, ssl.SSLError):
            return (
                f"{host} does not speak TLS as expected ({link.reason or 'no reason given'}).",
                "Use http:// for a server on this computer; elsewhere correct the TLS settings.",
            )
        if isinstance(link, socket.gaierror):
            return (
                f"The name {host} is not known.",
                "Correct the URL, or create the DNS record: for Cloudflare `cloudflared tunnel"
                f" route dns TUNNEL {host}`.",
            )
        if isinstance(link, ConnectionRefusedError):
            return f"Nothing listens at {parts.netloc}.", how_to_start(url)
    if isinstance(error, httpx2.TimeoutException):
        return f"{parts.netloc} did not answer within {TIMEOUT_SECONDS:.0f} s.", how_to_start(url)
    return f"There is no connection to {parts.netloc}: {chain[-1]}.", how_to_start(url)


def why_untrusted(error: ssl.SSLCertVerificationError, host: str) -> tuple[str, str]:
    """Returns cause and cure of a certificate that is refused, by OpenSSL's code."""
    told = {
        9: ("is not valid yet", "Correct the clock of the server, or of this computer."),
        10: ("has expired", "Renew it, and see why that did not happen by itself."),
        18: ("is signed by itself", OWN_AUTHORITY),
        19: ("is signed by an authority of its own", OWN_AUTHORITY),
        20: (
            "leads to no authority that this computer knows",
            "Serve the whole chain, with the intermediate certificates (nginx: fullchain.pem); one"
            " of your own authority is trusted with SSL_CERT_FILE.",
        ),
        62: (
            "is for another name",
            f"Let the tunnel or proxy serve a certificate for {host}, or correct the URL.",
        ),
    }
    told[21] = told[20]
    what, cure = told.get(
        error.verify_code, (f"is refused ({error.verify_message})", OWN_AUTHORITY)
    )
    return f"The certificate of {host} {what}.", cure


def how_to_start(url: str) -> str:
    if is_loopback(url):
        return f"Start the server with `uv run {command()}`, or correct the URL."
    return f"Start the server (`uv run {command()}`) and its tunnel, or correct the URL."
