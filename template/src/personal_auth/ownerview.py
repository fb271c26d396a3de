"""What the owner's page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from personal_auth.client import Client
from personal_auth.connections import Listed
from personal_auth.errors import InvalidRedirectUri
from personal_auth.keyring import Passkey
from personal_auth.passkeys import Offer
from personal_auth.redirects import read
from personal_auth.sessions import Session
from personal_auth.trailview import Line

ADDRESS_CHARS = 200


@dataclass(frozen=True, slots=True)
class Overview:
    """What is known of a server at one moment."""

    now: float
    """The POSIX time that ages are counted from."""
    resource: str
    """The address that apps are given."""
    connections: Sequence[Listed]
    can_narrow: bool
    """True when something holds a connection to reading."""
    sessions: Sequence[Session]
    passkeys: Sequence[Passkey]
    passkey_obstacle: str
    """Why passkeys cannot be used here, or nothing."""
    new_passkey: Offer | None
    """What lets the owner enrol one; None when that needs a new sign-in first."""
    password_is_on: bool
    """False when only a passkey signs the owner in."""
    password_is_stored: bool
    """False when the settings say what it is, and it cannot be changed here."""
    least_password: int
    """How many characters a new password has at least."""
    trail: Sequence[Line] | None
    """None when none is kept."""
    trail_trouble: str = ""
    """Why it cannot be shown, or nothing."""

    @property
    def passkey_names(self) -> dict[str, str]:
        """The passkeys' names by their ids."""
        return {each.id: each.name for each in self.passkeys}

    @property
    def a_passkey_works(self) -> bool:
        """True when the owner can sign in without a password."""
        return any(each.works for each in self.passkeys)


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
