"""Where a server that was not made from this template leads its clients.

It is followed as clients follow it: the address in the challenge, or the places of RFC 9728, name
the authorization server, which may be another host; its metadata (RFC 8414) names the endpoints.

What may be sent where: the password goes to the verified server's own origin only. A code, and a
refresh token got for it, go to the token and revocation endpoints of the same metadata that named
where the code was asked for, for they were made there; an access token goes there to be revoked,
and else to the verified server only. None of these leaves by plain http but on this computer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from personal_verify.known import OPENID, RESOURCE_METADATA, SERVER_METADATA
from personal_verify.project import is_loopback

Look = Callable[[str], Any]  # returns the JSON at an address, None when there is none


@dataclass(frozen=True)
class Discovery:
    """The documents that were found, and where; empty when there are none."""

    url: str = ""
    resource_at: str = ""
    resource: dict[str, Any] = field(default_factory=dict)
    server_at: str = ""
    server: dict[str, Any] = field(default_factory=dict)

    @property
    def elsewhere(self) -> str:
        """The host of an authorization server that is another one, or nothing."""
        if not self.server_at or origin(self.server_at) == self.url:
            return ""
        return urlsplit(self.server_at).netloc

    @property
    def takes_documents(self) -> bool:
        """True when a client may name a metadata document instead of registering."""
        return self.server.get("client_id_metadata_document_supported") is True

    def endpoint(self, name: str) -> str:
        """Returns the address of an endpoint that may be asked, or nothing."""
        given = self.server.get(f"{name}_endpoint")
        return given if isinstance(given, str) and may_ask(given, self.url) else ""


def follow(url: str, challenge: str, look: Look) -> Discovery:
    """Returns what a client finds that begins with the challenge of an MCP endpoint."""
    named = re.search(r'resource_metadata="?([^",\s]+)', challenge)
    known = (f"{url}{RESOURCE_METADATA}/mcp", f"{url}{RESOURCE_METADATA}")
    places = [named[1], *known] if named else list(known)
    resource_at, resource = first(url, places, "resource", look)
    servers = resource.get("authorization_servers")
    issuer = servers[0] if isinstance(servers, list) and servers else url
    server_at, server = first(url, places_of(str(issuer)), "issuer", look)
    return Discovery(url, resource_at, resource, server_at, server)


def first(url: str, places: list[str], member: str, look: Look) -> tuple[str, dict[str, Any]]:
    """Returns the first document that has a member, and where it is."""
    for place in places:
        document = look(place) if may_ask(place, url) else None
        if isinstance(document, dict) and isinstance(document.get(member), str):
            return place, document
    return "", {}


def places_of(issuer: str) -> list[str]:
    """Returns where the metadata of an authorization server may be (RFC 8414 §3.1 and §5)."""
    base, path = origin(issuer), urlsplit(issuer).path.rstrip("/")
    places = [f"{base}{SERVER_METADATA}{path}", f"{base}{OPENID}{path}"]
    return [*places, f"{base}{path}{OPENID}"] if path else places


def may_ask(address: str, url: str) -> bool:
    """Tells whether a client of the server at a URL would ask at an address."""
    scheme, host = urlsplit(address).scheme, urlsplit(address).hostname
    inside = is_loopback(address) and is_loopback(url)
    return origin(address) == url or (bool(host) and (scheme == "https" or inside))


def origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
