"""What is known of a client, and what is stored of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from personal_auth.errors import InvalidClient
from personal_auth.sealing import digest, same
from personal_auth.store import Record

AUTH_METHODS = ("none", "client_secret_post", "client_secret_basic")
BY_KEY = "private_key_jwt"


@dataclass(frozen=True, slots=True)
class Client:
    """A client as it describes itself; its name is self-chosen and proves nothing."""

    id: str
    name: str
    redirect_uris: tuple[str, ...]
    auth_method: str = "none"
    secret_hash: str | None = None
    own: bool = False
    """True when the owner's settings name it; it is known only as long as they do."""

    @property
    def verified_host(self) -> str | None:
        """The host that published the client's metadata document; None for any other client."""
        https, _, rest = self.id.partition("://")
        return rest.partition("/")[0] if https == "https" else None

    def to_record(self) -> Record:
        """Returns what is stored of an approved client."""
        record: Record = {
            "id": self.id,
            "name": self.name,
            "redirect_uris": list(self.redirect_uris),
            "auth_method": self.auth_method,
        }
        if self.secret_hash is not None:
            record["secret_hash"] = self.secret_hash
        if self.own:
            record["own"] = True
        return record

    @classmethod
    def from_record(cls, record: Record) -> Client:
        """Reverses `to_record`."""
        return cls(
            id=record["id"],
            name=record["name"],
            redirect_uris=tuple(record["redirect_uris"]),
            auth_method=record["auth_method"],
            secret_hash=record.get("secret_hash"),
            own=record.get("own", False),
        )

    def authenticate(self, secrets: Collection[str]) -> None:
        """Proves the client by its secret, if it has one (RFC 6749 §2.3.1).

        Raises:
            InvalidClient: None of the readings of what it sent is its secret.
        """
        if self.secret_hash is None:
            return
        if not any(same(digest(secret), self.secret_hash) for secret in secrets):
            raise InvalidClient("The client's authentication failed.")


@dataclass(frozen=True, slots=True)
class Credentials:
    """How a client says and proves who it is (RFC 6749 §2.3, RFC 7523 §2.2)."""

    client_id: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """The ways to read what was sent as the secret."""
    assertion: str | None = field(default=None, repr=False)


def plain_name(name: str, most: int) -> str:
    """Returns a self-chosen name as it can be shown: printable, on one line, not too long."""
    return "".join(c for c in " ".join(name.split()) if c.isprintable())[:most]
