"""The way to the server below HTTP: its name, its addresses, its certificate."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from personal_verify.checks import Skipped, Unreachable
from personal_verify.unreachable import TIMEOUT_SECONDS, why_unreachable

DAY_SECONDS = 24 * 60 * 60


@dataclass(frozen=True)
class Place:
    """Where a public URL leads to."""

    url: str

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or {"http": 80, "https": 443}[parts.scheme]

    @property
    def is_secure(self) -> bool:
        return urlsplit(self.url).scheme == "https"


def refuse_proxy(place: Place) -> None:
    """Raises Skipped where this computer reaches the server by a proxy, which looks names up."""
    scheme = "https" if place.is_secure else "http"
    if getproxies().get(scheme) and not proxy_bypass(place.host):
        raise Skipped("this computer reaches it by a proxy")


def addresses(place: Place) -> list[str]:
    """Returns the addresses that a name has.

    Raises:
        Unreachable: The name is not known.
    """
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unreachable(*why_unreachable(error, place.url)) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_private(address: str) -> bool:
    """Tells whether only some network of its own leads to an address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return not ip.is_global or ip.is_multicast


def connects(address: str, port: int) -> bool:
    """Tells whether there is a connection to an address."""
    try:
        socket.create_connection((address, port), TIMEOUT_SECONDS).close()
    except OSError:
        return False
    return True


def days_of_certificate(place: Place, context: ssl.SSLContext) -> tuple[float, float]:
    """Returns for how many days the certificate is still good, and for how many it was made.

    Raises:
        Unreachable: It is not trusted, or no TLS is spoken.
        OSError: There is no connection.
    """
    with socket.create_connection((place.host, place.port), TIMEOUT_SECONDS) as connection:
        try:
            with context.wrap_socket(connection, server_hostname=place.host) as wrapped:
                certificate = wrapped.getpeercert() or {}
        except ssl.SSLError as error:
            raise Unreachable(*why_unreachable(error, place.url)) from error
    since, until = (
        ssl.cert_time_to_seconds(str(certificate[name])) for name in ("notBefore", "notAfter")
    )
    return (until - time.time()) / DAY_SECONDS, (until - since) / DAY_SECONDS
