"""Token families: redeem, check, refresh.

A grant is one approved connection of one client; every token belongs to one. It is written once,
last, and only ever deleted: what opens nothing was never committed, what was revoked is gone.
Nothing here needs more of a store than get, put, and a delete that answers True exactly once, so
the rules hold for several processes on one store and for a death between any two writes:

* a code is claimed by a delete (`codes`);
* a refresh derives its successor from the presented token and a secret seed in its record, so a
  repeated or simultaneous refresh gets the same answer from whoever computes it, and a stolen
  store computes nothing, since it holds only the hash of the presented token.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from personal_auth import audit
from personal_auth.audit import Event
from personal_auth.client import Client, plain_name
from personal_auth.codes import Codes
from personal_auth.connections import (
    GRANT_ID_CHARS,
    Connections,
    epoch_id,
    held_to_reading,
    reading_key,
)
from personal_auth.errors import InvalidGrant, InvalidTarget, InvalidToken
from personal_auth.identity import Identity
from personal_auth.limits import Limits
from personal_auth.records import Records
from personal_auth.scopes import ALL, RESOURCE_SCOPES, narrowed, to_reading
from personal_auth.sealing import Sealer, digest, same, to_text
from personal_auth.store import Put, Record

ACCESS = "pat_"
REFRESH = "prt_"


@dataclass(frozen=True, slots=True)
class Tokens:
    """A token answer (RFC 6749 §5.1); `expires` is a POSIX time."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    scopes: tuple[str, ...]
    expires: float


class Connection(NamedTuple):
    """What a live access token opens; `expires` is a POSIX time."""

    grant_id: str
    client_id: str
    client_name: str
    scopes: tuple[str, ...]
    expires: float
    own_client: bool = False
    """True when the owner's settings named the client; they have to name it still."""

    @property
    def read_only(self) -> bool:
        """True when only tools that read may be called."""
        return ALL not in self.scopes


class Grants:
    """The grants of one server over one store."""

    def __init__(
        self,
        records: Records,
        sealer: Callable[[], Sealer],
        identity: Identity,
        limits: Limits,
        *,
        connections: Connections,
        clock: Callable[[], float],
        access_seconds: int,
        refresh_seconds: int | None,
    ) -> None:
        self._records = records
        self._identity = identity
        self._limits = limits
        self.connections = connections
        self.codes = Codes(records, sealer, identity, limits, connections=connections, clock=clock)
        self._clock = clock
        self._access_seconds = access_seconds
        self._refresh_seconds = refresh_seconds

    async def redeem(
        self, code: str, client: Client, redirect_uri: str | None, verifier: str
    ) -> Tokens:
        """Exchanges a code for tokens (RFC 6749 §4.1.3).

        A `redirect_uri` must be the authorization request's; OAuth 2.1 allows to leave it out,
        since PKCE binds the code to whoever asked for it.

        Raises:
            InvalidGrant: The code is unknown, expired, used, or for somebody else; whatever is
                wrong, the code is burned. A late second presentation revokes the grant.
        """
        at = self._clock()
        approved = await self.codes.claim(code, client, redirect_uri, verifier)
        gid, scopes = approved["gid"], tuple(approved["scopes"])
        read_only = approved.get("read_only", False)  # of an earlier version, it has no choice
        access, refresh = ACCESS + secrets.token_urlsafe(32), REFRESH + secrets.token_urlsafe(32)
        expires = at + self._access_seconds
        grant = self._grant(approved["client"], scopes, approved["epoch"], at, read_only)
        await self._records.put_in_order(
            [
                self._access_put(access, gid, scopes, expires),
                self._refresh_put(refresh, gid, secrets.token_hex(32), at),
            ],
            [Put("grants", gid, grant, gives=True)],  # the commit
        )
        to = urlsplit(approved["redirect"]).hostname or ""
        audit.record(Event.ISSUED, grant=gid, client=approved["client"]["name"], to=to)
        return Tokens(access, refresh, to_reading(scopes) if read_only else scopes, expires)

    # Access tokens (RFC 6750)

    async def check(self, access: str) -> Connection:
        """Returns what an access token opens.

        Raises:
            InvalidToken: It is unknown, expired, revoked, or for another resource.
        """
        token = await self._records.get("tokens", digest(access))
        if token is None or self._clock() >= token["exp"]:
            raise InvalidToken("The access token is unknown or expired.")
        gid = token["gid"]
        grant, reading, epoch = await self._records.get_together(
            ("grants", gid), reading_key(gid), ("grants", "epoch")
        )
        if grant is None or grant["epoch"] != epoch_id(epoch):
            raise InvalidToken("The connection was revoked.")
        if grant["resource"] != self._identity.resource:
            raise InvalidToken("The access token is for another resource.")
        client, scopes = grant["client"], tuple(token["scopes"])
        if held_to_reading(grant, reading):
            scopes = to_reading(scopes)
        own = client.get("own", False)
        return Connection(gid, client["id"], client["name"], scopes, token["exp"], own)

    async def issue_token(self, name: str, *, read_only: bool, seconds: int) -> tuple[str, str]:
        """Makes a connection for a script: returns its id and its one access token.

        It cannot be refreshed and ends after `seconds`.
        """
        at, gid = self._clock(), secrets.token_hex(GRANT_ID_CHARS // 2)
        name = plain_name(name, self._limits.client_name_chars)
        access, expires = ACCESS + secrets.token_urlsafe(32), at + seconds
        epoch = await self._records.get("grants", "epoch")
        client = Client(f"token:{gid}", name, ()).to_record()
        grant = self._grant(client, RESOURCE_SCOPES, epoch_id(epoch), at, read_only)
        await self._records.put_in_order(
            [self._access_put(access, gid, RESOURCE_SCOPES, expires)],
            [Put("grants", gid, {**grant, "exp": expires}, seconds, gives=True)],  # the commit
        )
        audit.record(Event.TOKEN_CREATED, grant=gid, client=name)
        return gid, access

    # Refresh tokens (RFC 6749 §6, RFC 9700 §4.14)

    async def refresh(self, presented: str, client: Client, scope: str | None = None) -> Tokens:
        """Exchanges a refresh token for its successor and a new access token.

        The same two tokens and the same expiry are answered for `Limits.retry_window_seconds`
        after the first time; a reuse after that revokes the grant.

        Raises:
            InvalidGrant: Unknown, expired, revoked, replayed, or another client's.
            InvalidScope: More is asked than was granted.
        """
        at = self._clock()
        record = await self._records.get("refresh", digest(presented))
        if record is None:
            raise InvalidGrant("The refresh token is unknown or was revoked.")
        gid, seed = record["gid"], bytes.fromhex(record["seed"])
        successor = REFRESH + _derived(seed, f"refresh|{presented}")
        grant, reading, epoch, known = await self._records.get_together(
            ("grants", gid), reading_key(gid), ("grants", "epoch"), ("refresh", digest(successor))
        )
        if grant is None or grant["epoch"] != epoch_id(epoch):
            raise InvalidGrant("The connection was revoked.")
        if not same(grant["client"]["id"], client.id):
            raise InvalidGrant("The refresh token was issued to another client.")
        if grant["resource"] != self._identity.resource:
            raise InvalidGrant("The connection was made for another public URL.")
        used = record.get("used") if known is None else known["at"]
        if used is not None and at > used + self._limits.retry_window_seconds:
            about = {"grant": gid, "client": grant["client"]["name"]}
            with audit.in_force(Event.REPLAYED_REFRESH, **about):
                await self.connections.end(gid)
            audit.record(Event.REPLAYED_REFRESH, **about)
            raise InvalidGrant("The refresh token was used already; the connection was revoked.")
        if used is None and self._is_over(record, at):  # a used one may be retried or replayed
            raise InvalidGrant("The refresh token expired: connect again.")
        granted = narrowed(grant["scopes"], scope)
        first = at if used is None else used
        access = ACCESS + _derived(seed, f"access|{' '.join(granted)}|{presented}")
        puts = [self._access_put(access, gid, granted, first + self._access_seconds)]
        if known is None:
            next_seed = _hmac_hex(seed, f"seed|{presented}")
            puts.append(self._refresh_put(successor, gid, next_seed, first))  # the commit
        if "used" not in record:  # else it would open again once its successor is forgotten
            memory = self._limits.replay_memory_seconds
            used_put = Put("refresh", digest(presented), {**record, "used": first}, memory, True)
            puts.append(used_put)  # with the successor or not at all: nobody was answered
        await self._records.put(*puts)
        event = Event.REFRESHED if used is None else Event.RETRIED
        audit.record(event, grant=gid, client=grant["client"]["name"])
        said = to_reading(granted) if held_to_reading(grant, reading) else granted
        return Tokens(access, successor, said, first + self._access_seconds)

    def _is_over(self, refresh: Record, at: float) -> bool:
        return self._refresh_seconds is not None and at >= refresh["at"] + self._refresh_seconds

    # Revocation (RFC 7009)

    async def revoke_token(self, token: str, client: Client) -> None:
        """Revokes the grant that an access or refresh token of this client belongs to.

        An unknown token, or another client's, changes nothing (RFC 7009 §2.2).
        """
        key = digest(token)
        refresh, access = await self._records.get_together(("refresh", key), ("tokens", key))
        record = refresh or access
        grant = record and await self._records.get("grants", record["gid"])
        if record and (grant is None or same(grant["client"]["id"], client.id)):
            # Also of one that is gone: that it is gone on disk too.
            await self.connections.revoke(record["gid"])

    def _grant(
        self, client: Record, scopes: Iterable[str], epoch: str, at: float, read_only: bool
    ) -> Record:
        return {
            "client": client,
            "scopes": list(scopes),
            "resource": self._identity.resource,
            "issuer": self._identity.issuer,
            "created": at,
            "epoch": epoch,
            "read_only": read_only,
        }

    def _access_put(self, token: str, gid: str, scopes: Iterable[str], expires: float) -> Put:
        record: Record = {"gid": gid, "exp": expires, "scopes": list(scopes)}
        left = math.ceil(expires - self._clock())  # Redis would cut a fraction off
        return Put("tokens", digest(token), record, max(left, 1), gives=True)

    def _refresh_put(self, token: str, gid: str, seed: str, at: float) -> Put:
        record: Record = {"gid": gid, "seed": seed, "at": at}
        return Put("refresh", digest(token), record, self._refresh_seconds, gives=True)


def canonical_resource(identity: Identity, values: list[str]) -> str:
    """Returns our resource identifier for a request's `resource` parameters (RFC 8707 §2).

    A missing one means ours.

    Raises:
        InvalidTarget: Another resource, or more than one.
    """
    if len(values) > 1 or (values and not identity.is_resource(values[0])):
        raise InvalidTarget(f"resource must be {identity.resource}, once, or absent.")
    return identity.resource


def _hmac_hex(key: bytes, message: str) -> str:
    return Sealer(key).mac("grants", message.encode()).hex()


def _derived(seed: bytes, message: str) -> str:
    return to_text(bytes.fromhex(_hmac_hex(seed, message)))
