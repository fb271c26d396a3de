"""The connections as their owner sees them: named, narrowed, ended.

A connection is a grant. What the owner says about one is kept in records beside it, each written
or deleted as a whole: a new name cannot undo what was narrowed at the same moment. What is said
holds from the next request on.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace

from personal_auth import audit
from personal_auth.audit import Event
from personal_auth.client import Client, plain_name
from personal_auth.errors import NotOnDisk, StoreUnavailable
from personal_auth.limits import Limits
from personal_auth.records import Records
from personal_auth.scopes import ALL, to_reading
from personal_auth.seen import Seen
from personal_auth.store import Put, Record

GRANT_ID_CHARS = 16
GRANT_ID = re.compile(rf"[0-9a-f]{{{GRANT_ID_CHARS}}}\Z")


@dataclass(frozen=True, slots=True)
class Listed:
    """What is known of a live connection; times are POSIX times, None where there is none yet."""

    id: str
    client: Client
    """A token for scripts has a client without redirect URIs, named as the token is."""
    own_name: str
    """What the owner calls it, or nothing."""
    scopes: tuple[str, ...]
    held_to_reading: bool
    """True when it was granted more than reading and the owner does not let it."""
    resource: str
    created: float
    expires: float | None
    """When a token for scripts ends; any other connection lives until it is revoked."""
    last_used: float | None
    calls: int
    """How many tools it called."""
    address: str
    """Where it was last used from."""

    @property
    def read_only(self) -> bool:
        """True when it may call only tools that read."""
        return ALL not in self.scopes

    @property
    def name(self) -> str:
        """What the owner calls it, else what the client calls itself; may be empty."""
        return self.own_name or self.client.name


class Connections:
    """The live grants of one server over one store."""

    def __init__(
        self, records: Records, seen: Seen, limits: Limits, clock: Callable[[], float]
    ) -> None:
        self._records = records
        self._seen = seen
        self._limits = limits
        self._clock = clock

    async def all(self) -> dict[str, Record]:
        """Returns the live grants by id."""
        keys = [key for key in await self._records.keys("grants") if is_grant_id(key)]
        epoch, *grants = await self._records.get_together(
            ("grants", "epoch"), *(("grants", key) for key in keys)
        )
        found = zip(keys, grants, strict=True)
        return {key: grant for key, grant in found if grant and self._is_live(grant, epoch)}

    async def listed(self) -> list[Listed]:
        """Returns all that is known of every live connection, the newest first."""
        grants = await self.all()
        wanted = [key for gid in grants for key in (reading_key(gid), name_key(gid))]
        beside = iter(await self._records.get_together(*wanted))
        used = await self._seen.of(*grants)
        listed = [
            _listed(gid, grant, reading=next(beside), named=next(beside), seen=seen)
            for (gid, grant), seen in zip(grants.items(), used, strict=True)
        ]
        return sorted(listed, key=lambda each: each.created, reverse=True)

    async def rename(self, gid: str, name: str) -> bool:
        """Gives a connection a name of the owner's, or none; False when it is not live."""
        shown, grant = plain_name(name, self._limits.client_name_chars), await self._live(gid)
        if grant is None:
            return False
        return await self._say(gid, self._beside(grant, name_key(gid), {"name": shown}))

    async def narrow(self, gid: str, read_only: bool) -> bool:
        """Holds a connection to reading, or lets it do all it was granted; False if not live."""
        grant = await self._live(gid)
        if grant is None:
            return False
        put = self._beside(grant, reading_key(gid), {"read_only": read_only})
        about = {"grant": gid, "client": grant["client"]["name"]}
        with audit.in_force(Event.NARROWED, **about) if read_only else nullcontext():
            said = await self._say(gid, replace(put, gives=not read_only))
        if said:
            audit.record(Event.NARROWED if read_only else Event.WIDENED, **about)
        return said

    async def revoke(self, gid: str) -> bool:
        """Revokes a grant by its id; True when it was live."""
        if not is_grant_id(gid):
            return False
        grant = await self._records.get("grants", gid)
        about = {"grant": gid, "client": grant["client"]["name"] if grant else ""}
        with audit.in_force(Event.REVOKED, **about) if grant else nullcontext():
            revoked = await self.end(gid)
        if revoked:
            audit.record(Event.REVOKED, **about)
        return revoked

    async def revoke_all(self) -> None:
        """Revokes every grant, those being made at this moment included."""
        with audit.in_force(Event.REVOKED, grant="all"):
            await self._records.put(Put("grants", "epoch", {"id": secrets.token_hex(16)}))
        audit.record(Event.REVOKED, grant="all")

    async def end(self, gid: str) -> bool:
        """Deletes a grant, and then what is kept beside it; True exactly once."""
        try:
            ended = await self._records.delete("grants", gid)
        except NotOnDisk:  # it is ended all the same
            with suppress(StoreUnavailable):
                for each in _kept_beside(gid):
                    await self._records.take(*each)
            raise
        if ended:
            await self._tidy(gid)
        return ended

    async def _tidy(self, gid: str) -> None:
        with suppress(StoreUnavailable):  # what is left opens nothing
            await asyncio.gather(*(self._records.delete(*each) for each in _kept_beside(gid)))

    def _beside(self, grant: Record, key: tuple[str, str], value: Record) -> Put:
        ends = grant.get("exp")
        # Longer than the token itself, whose end another clock may tell.
        left = None if ends is None else ends - self._clock() + self._limits.beside_seconds
        return Put(*key, value, left)

    async def _say(self, gid: str, put: Put) -> bool:
        """Writes what the owner says beside a live grant; False, and nothing stays, without one."""
        await self._records.put(put)
        if await self._live(gid) is not None:
            return True
        await self._tidy(gid)  # it ended meanwhile
        return False

    async def _live(self, gid: str) -> Record | None:
        if not is_grant_id(gid):
            return None
        grant, epoch = await self._records.get_together(("grants", gid), ("grants", "epoch"))
        return grant if grant is not None and self._is_live(grant, epoch) else None

    def _is_live(self, grant: Record, epoch: Record | None) -> bool:
        ends = grant.get("exp")
        return bool(grant["epoch"] == epoch_id(epoch) and (ends is None or self._clock() < ends))


def _listed(
    gid: str, grant: Record, *, reading: Record | None, named: Record | None, seen: Record
) -> Listed:
    scopes, held = tuple(grant["scopes"]), held_to_reading(grant, reading)
    return Listed(
        id=gid,
        client=Client.from_record(grant["client"]),
        own_name=(named or {"name": ""})["name"],
        scopes=to_reading(scopes) if held else scopes,
        held_to_reading=held and ALL in scopes,
        resource=grant["resource"],
        created=grant["created"],
        expires=grant.get("exp"),
        last_used=seen["last"],
        calls=seen["calls"],
        address=seen["address"],
    )


def _kept_beside(gid: str) -> tuple[tuple[str, str], ...]:
    return reading_key(gid), name_key(gid), ("seen", gid)


def is_grant_id(key: str) -> bool:
    """Tells whether a key of the collection `grants` is a grant's; others are beside them."""
    return GRANT_ID.match(key) is not None


def epoch_id(record: Record | None) -> str:
    """Returns the id of the present epoch: every grant of an earlier one is revoked."""
    return "" if record is None else str(record["id"])


def reading_key(gid: str) -> tuple[str, str]:
    """Returns where it is recorded whether a connection may only read, once the owner said so."""
    return "grants", f"{gid}/reading"


def held_to_reading(grant: Record, reading: Record | None) -> bool:
    """Tells whether the owner holds a connection to reading; what was said last counts.

    The choice of its approval is in the grant itself, which is never written without it. A grant
    of an earlier version has none.
    """
    said = grant if reading is None else reading
    return said.get("read_only", False) is not False


def name_key(gid: str) -> tuple[str, str]:
    """Returns where the owner's own name of a connection is recorded."""
    return "grants", f"{gid}/name"
