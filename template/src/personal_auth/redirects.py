"""Where may a code be sent?

One function answers, on raw strings: URL libraries and browsers disagree about odd characters,
so a redirect URI with any of them is refused before it is taken apart. What passes is registered
by the client, allowed by the owner, and read by a browser exactly as it is read here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus, urlencode

from personal_auth.errors import InvalidRedirectUri, RedirectNotAllowed
from personal_auth.identity import LOOPBACK_HOSTS

# RFC 3986 less "#" and less "'", which browsers encode in a query.
PLAIN = re.compile(r"(?:[A-Za-z0-9\-._~:/?\[\]@!$&()*+,;=]|%[0-9A-Fa-f]{2})+\Z")
DNS_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*\Z")
NUMERIC_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\Z")  # what browsers take for IPv4
WHOLE = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?]*)(?P<path>[^?]*)")
DOT_SEGMENT = re.compile(r"/(?:\.|%2e){1,2}(?:/|\Z)", re.IGNORECASE)
NEVER = frozenset(
    {"javascript", "data", "file", "blob", "filesystem", "vbscript", "about", "ws", "wss", "ftp"}
)
ANSWER = frozenset({"code", "state", "iss", "error", "error_description", "error_uri"})


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect URI taken apart; `host` is as a browser would show it."""

    uri: str
    scheme: str
    host: str
    port: str

    @property
    def loopback(self) -> bool:
        """True for a program on the owner's own machine (RFC 8252 §7.3)."""
        return self.scheme == "http" and self.host in LOOPBACK_HOSTS

    @property
    def origin(self) -> str:
        """Scheme, host and port, as they are written in the URI."""
        return f"{self.scheme}://{self.host}" + (f":{self.port}" if self.port else "")

    @property
    def without_port(self) -> str:
        """The URI with its port left out, which is how loopback URIs are compared."""
        return f"{self.scheme}://{self.host}" + self.uri.removeprefix(self.origin)

    @property
    def listed(self) -> str:
        """How the owner's list names the destination."""
        return "localhost" if self.loopback else self.origin.removeprefix("https://")

    def answered(self, parameters: Mapping[str, str]) -> str:
        """Returns the address that carries an answer to the client (RFC 6749 §4.1.2)."""
        return f"{self.uri}{'&' if '?' in self.uri else '?'}{urlencode(parameters)}"


def read(uri: str) -> Redirect:
    """Takes a redirect URI apart.

    Raises:
        InvalidRedirectUri: It is not absolute, or a browser could read it otherwise than we do.
    """
    if not PLAIN.match(uri):
        raise InvalidRedirectUri("The redirect URI has a character that can be read in two ways.")
    match = WHOLE.match(uri)
    if match is None or match["scheme"] in NEVER:
        raise InvalidRedirectUri("The redirect URI must be absolute, with scheme and host.")
    host, port = _host_and_port(match["scheme"], match["authority"])
    if DOT_SEGMENT.search(match["path"]):
        raise InvalidRedirectUri("The redirect URI must not have . or .. in its path.")
    if not ANSWER.isdisjoint(_query_names(uri)):
        raise InvalidRedirectUri(
            "The redirect URI must not carry an answer, such as code or state."
        )
    return Redirect(uri=uri, scheme=match["scheme"], host=host, port=port)


def _host_and_port(scheme: str, authority: str) -> tuple[str, str]:
    if "@" in authority:
        raise InvalidRedirectUri("The redirect URI must not carry user information.")
    match = re.match(r"(?P<host>\[::1\]|[^:\[\]]*)(?::(?P<port>[1-9][0-9]{0,4}))?\Z", authority)
    if match is None:
        raise InvalidRedirectUri("The redirect URI's host or port is malformed.")
    host, port = match["host"], match["port"] or ""
    if port and int(port) > 65535:
        raise InvalidRedirectUri("The redirect URI's port is malformed.")
    if scheme == "https" and port == "443":
        raise InvalidRedirectUri("The redirect URI must leave out the port 443.")
    if scheme == "http" and host not in LOOPBACK_HOSTS:
        raise InvalidRedirectUri("The redirect URI must begin with https.")
    if host not in LOOPBACK_HOSTS and (not DNS_HOST.match(host) or NUMERIC_END.match(host)):
        raise InvalidRedirectUri("The redirect URI's host must be a plain DNS name in lower case.")
    return host, port


def _query_names(uri: str) -> set[str]:
    """Names the parameters of the query, as the most lenient of servers would read them."""
    pairs = re.split("[&;]", uri.partition("?")[2])
    return {unquote_plus(pair.partition("=")[0]).strip().lower() for pair in pairs}


def check(uri: str, registered: Collection[str], allowed: Collection[str] | None) -> Redirect:
    """Returns the redirect URI taken apart if a code may be sent there.

    Args:
        uri: What the authorization request asks for.
        registered: The client's registered URIs. Compared byte for byte, on loopback with any
            port (RFC 8252 §7.3).
        allowed: The owner's list: hosts (`claude.ai`, `localhost` for every loopback address,
            `example.com:8443`) or scheme and host (`cursor://anysphere.cursor-mcp`), with the
            port if there is one. None allows every https host and every loopback address.

    Raises:
        InvalidRedirectUri: It may not receive a code; the description says why.
        RedirectNotAllowed: Only the owner's list stands against it.
    """
    redirect = read(uri)
    if not any(_matches(redirect, entry) for entry in registered):
        raise InvalidRedirectUri("The redirect URI is not one that this client registered.")
    if not _is_allowed(redirect, allowed):
        raise RedirectNotAllowed(
            f"It wants its access sent to {redirect.listed}, which is not on this server's list of"
            " allowed redirect domains."
        )
    return redirect


def _matches(redirect: Redirect, registered: str) -> bool:
    if redirect.uri == registered:
        return True
    if not redirect.loopback:
        return False
    try:
        other = read(registered)
    except InvalidRedirectUri:
        return False
    return other.loopback and other.without_port == redirect.without_port


def _is_allowed(redirect: Redirect, allowed: Collection[str] | None) -> bool:
    if redirect.loopback:
        return allowed is None or any(host in allowed for host in LOOPBACK_HOSTS)
    if allowed is None:
        return redirect.scheme == "https"
    return redirect.listed in allowed
