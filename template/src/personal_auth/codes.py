"""Codes: what the owner approved, until its client redeems it (RFC 6749 §4.1).

A code is derived from the consent page that it was approved on, so approving twice gives it once.
Two records keep it: what was approved, which is remembered, and `live`, which is deleted to claim
it: whoever deletes it is the one that may redeem.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from personal_auth import audit
from personal_auth.audit import Event
from personal_auth.client import Client
from personal_auth.connections import (
    GRANT_ID_CHARS,
    Connections,
    epoch_id,
    held_to_reading,
    reading_key,
)
from personal_auth.errors import InvalidGrant, TicketRefused
from personal_auth.identity import Identity
from personal_auth.limits import Limits
from personal_auth.records import Records
from personal_auth.sealing import Sealer, digest, same, to_text
from personal_auth.store import Put, Record

CODE = "pac_"


@dataclass(frozen=True, slots=True)
class Approval:
    """What the owner approved; `nonce` identifies the consent page it was approved on."""

    client: Client
    redirect_uri: str
    challenge: str
    scopes: tuple[str, ...]
    nonce: str
    read_only: bool = False
    """True when the owner holds the connection to reading, whatever the client asked for."""


class Codes:
    """The codes of one server over one store."""

    def __init__(
        self,
        records: Records,
        sealer: Callable[[], Sealer],
        identity: Identity,
        limits: Limits,
        *,
        connections: Connections,
        clock: Callable[[], float],
    ) -> None:
        self._records = records
        self._sealer = sealer
        self._identity = identity
        self._limits = limits
        self._connections = connections
        self._clock = clock

    async def issue(self, approval: Approval) -> str | None:
        """Returns the code of an approved consent page; the same one when approved again.

        Nobody is to be told of it before `settle`. The narrower of two approvals holds, in whatever
        order they and the redemption come. Returns None when the client is connected already. A
        code lives `Limits.code_seconds`.

        Raises:
            TicketRefused: The code was claimed, expired or revoked without a connection.
        """
        code = self._code_of(approval.nonce)
        key = digest(code)
        gid = self.id_of(approval.nonce)
        memory = self._limits.code_memory_seconds
        reading = Put(*reading_key(gid), {"read_only": True}, memory)
        wanted = ("codes", key), ("live", key), ("grants", gid), ("grants", "epoch")
        said, *found = await self._records.get_together(reading_key(gid), *wanted)
        if approval.read_only and said is None:
            # Whoever redeems after the next look finds it. Without a code nobody redeems before,
            # and the connection itself will say it: then it need not stay.
            is_first = found[0] is None
            await self._records.put_soon(reading if is_first else replace(reading, ttl=None))
            found = await self._records.get_together(*wanted)
        known, live, grant, all_revoked = found
        epoch = epoch_id(all_revoked)
        if grant is not None and grant["epoch"] == epoch:
            lasting = held_to_reading(grant, None) and held_to_reading(grant, said)
            if approval.read_only and not lasting:
                await self._connections.narrow(gid, True)
            return None
        if known is not None:
            is_revoked = known["epoch"] != epoch
            if approval.read_only and live is None and not is_revoked:  # redeemed at this moment?
                await self._records.put_soon(replace(reading, ttl=None))
            if live is None or is_revoked or self._clock() > known["exp"]:
                raise TicketRefused(
                    "This approval was not completed in time. Go back to the app and start again."
                )
            return code
        record: Record = {
            "gid": gid,
            "client": approval.client.to_record(),
            "redirect": approval.redirect_uri,
            "challenge": approval.challenge,
            "scopes": list(approval.scopes),
            "read_only": approval.read_only,
            "resource": self._identity.resource,
            "epoch": epoch,
            "exp": self._clock() + self._limits.code_seconds,
        }
        live_put = Put("live", key, {}, 2 * self._limits.code_seconds)
        await self._records.put_soon(Put("codes", key, record, memory), live_put)
        return code

    async def settle(self) -> None:
        """Returns once what `issue` found or made is durable: until then it may be taken back.

        Raises:
            StoreUnavailable: It is not.
        """
        await self._records.settle()

    async def withdraw(self, nonce: str) -> None:
        """Burns the code of a consent page that was approved and then denied, if it waits yet."""
        await self._records.delete("live", digest(self._code_of(nonce)))

    def _code_of(self, nonce: str) -> str:
        return CODE + to_text(self._sealer().mac("code", nonce.encode()))

    def id_of(self, nonce: str) -> str:
        """Returns the id of the grant that the consent page with this nonce leads to."""
        return self._sealer().mac("grant", nonce.encode()).hex()[:GRANT_ID_CHARS]

    async def is_unredeemed(self, code: str) -> bool:
        """Tells whether a code that was issued still waits for its client."""
        return await self._records.get("live", digest(code)) is not None

    async def claim(
        self, code: str, client: Client, redirect_uri: str | None, verifier: str
    ) -> Record:
        """Returns what was approved, to the one client that redeems its code (RFC 7636 §4.6).

        Raises:
            InvalidGrant: The code is unknown, expired, used, or for somebody else; whatever is
                wrong, the code is burned. A late second presentation revokes the grant.
        """
        at, key = self._clock(), digest(code)
        record = await self._records.get("codes", key)
        if record is None:
            raise InvalidGrant("The code is unknown or expired.")
        taken = await self._records.take("live", key)
        try:
            if not taken:
                await self._replayed_code(record, at)
                raise InvalidGrant("The code was used already.")
            reading = await self._check(record, at, client, redirect_uri, verifier)
        except InvalidGrant:
            await self._records.settle()  # burned for good before it is said
            raise
        return record if reading is None else {**record, **reading}

    async def _check(
        self, record: Record, at: float, client: Client, redirect_uri: str | None, verifier: str
    ) -> Record | None:
        """Returns what an approval said of reading beside the record."""
        gid = record["gid"]
        challenge = to_text(hashlib.sha256(verifier.encode()).digest())
        if at > record["exp"]:
            raise InvalidGrant("The code is unknown or expired.")
        if not same(record["client"]["id"], client.id):
            raise InvalidGrant("The code was issued to another client.")
        if redirect_uri is not None and not same(record["redirect"], redirect_uri):
            raise InvalidGrant("redirect_uri differs from the authorization request's.")
        if not same(record["challenge"], challenge):
            raise InvalidGrant("code_verifier does not match the code challenge.")
        if record["resource"] != self._identity.resource:
            raise InvalidGrant("The code was made for another public URL.")
        grant, epoch, reading = await self._records.get_together(
            ("grants", gid), ("grants", "epoch"), reading_key(gid)
        )
        if grant is not None or record["epoch"] != epoch_id(epoch):
            raise InvalidGrant("The code was used or revoked already.")
        return reading

    async def _replayed_code(self, code: Record, at: float) -> None:
        grant = await self._records.get("grants", code["gid"])
        if grant is None or at <= grant["created"] + self._limits.replay_grace_seconds:
            return
        about = {"grant": code["gid"], "client": code["client"]["name"]}
        with audit.in_force(Event.REPLAYED_CODE, **about):
            await self._connections.end(code["gid"])
        audit.record(Event.REPLAYED_CODE, **about)
