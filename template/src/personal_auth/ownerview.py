"""Who is connected, as the owner's page says it."""

from __future__ import annotations

from dataclasses import dataclass

from personal_auth.client import Client
from personal_auth.errors import InvalidRedirectUri
from personal_auth.redirects import read

ADDRESS_CHARS = 200


@dataclass(frozen=True, slots=True)
class Place:
    """Where an app's codes go."""

    kind: str
    """`host`, `here` (a program on the owner's computer), `app` or `unknown`."""
    name: str
    """The host and port, the scheme of an app's links, or the address as it is recorded."""


def places(client: Client) -> tuple[Place, ...]:
    """Returns the places that a client's codes go to, each once."""
    return tuple(dict.fromkeys(_place(uri) for uri in client.redirect_uris))


def is_token(client: Client) -> bool:
    """Tells whether a client is a token for scripts, which has no place where a code goes."""
    return not client.redirect_uris


def _place(uri: str) -> Place:
    try:
        redirect = read(uri)
    except InvalidRedirectUri:  # of a state that was adopted
        return Place("unknown", uri[:ADDRESS_CHARS])
    if redirect.loopback:
        return Place("here", "")
    if redirect.scheme == "https":
        return Place("host", redirect.listed)
    return Place("app", redirect.scheme)
