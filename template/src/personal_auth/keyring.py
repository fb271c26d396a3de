"""Which passkeys are enrolled, and do they replace the password?

A passkey works only when the index names it and its record is there. The record is written once
and only ever deleted, which is how a passkey is removed; what changes (its name, its count) is kept
beside it. So of two who change the index at once one may lose an enrolment, which the owner sees,
and nothing brings a removed passkey back. Nothing has to be listed, so any store will do.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec

from personal_auth import audit
from personal_auth.audit import Event
from personal_auth.client import plain_name
from personal_auth.errors import InvalidRequest
from personal_auth.limits import Limits
from personal_auth.records import Records
from personal_auth.sealing import digest
from personal_auth.store import Put, Record

INDEX = "owner", "passkeys"
OFF = "owner", "password-off"
ID_CHARS = 16


@dataclass(frozen=True, slots=True)
class Passkey:
    """A passkey that is enrolled; times are POSIX times, None where there is none yet."""

    id: str
    name: str
    """What the owner calls it."""
    created: float
    address: str
    """Where it was enrolled from."""
    rp_id: str
    """The host it was made for."""
    synced: bool
    """True when its maker may copy it to the owner's other devices."""
    works: bool
    """False when this server cannot use it: it has another host by now."""
    last_used: float | None
    count: int
    """How often the authenticator says it was used; always 0 for most that are synced."""
    credential: str = field(repr=False)
    public_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """What an enrolment yields; `credential` and `public_key` are base64url."""

    credential: str = field(repr=False)
    public_key: str = field(repr=False)
    count: int
    synced: bool


class Keyring:
    """The passkeys of one owner for one host."""

    def __init__(
        self, records: Records, host: str, limits: Limits, clock: Callable[[], float]
    ) -> None:
        self._records = records
        self._host = host
        self._limits = limits
        self._clock = clock
        self.obstacle = _obstacle(host)

    async def listed(self) -> list[Passkey]:
        """Returns every passkey that is enrolled, the oldest first."""
        ids = await self._index()
        wanted = [key for each in ids for key in (_key(each), _name_key(each), _used_key(each))]
        found = iter(await self._records.get_together(*wanted))
        passkeys = [self._passkey(each, next(found), next(found), next(found)) for each in ids]
        return sorted((p for p in passkeys if p is not None), key=lambda each: each.created)

    async def find(self, credential: str) -> Passkey | None:
        """Returns the working passkey with a credential id in base64url."""
        found = await self._enrolled(passkey_id(credential))
        return found if found and found.works and found.credential == credential else None

    async def works(self, key: str) -> bool:
        """Tells whether the passkey with an id works."""
        found = await self._enrolled(key)
        return found is not None and found.works

    async def any_works(self) -> bool:
        """Tells whether the owner can sign in by a passkey; anybody's page asks that."""
        ids = await self._index()
        records = await self._records.get_together(*(_key(each) for each in ids))
        return any(record is not None and self._can_use(record) for record in records)

    async def add(self, new: NewPasskey, name: str, address: str) -> Passkey:
        """Enrols a passkey.

        Raises:
            InvalidRequest: There is no room, or it is enrolled already.
        """
        enrolled = await self.listed()
        if len(enrolled) >= self._limits.passkeys:
            raise InvalidRequest(
                f"{self._limits.passkeys} passkeys are enrolled, which is the most: remove one."
            )
        key = passkey_id(new.credential)
        if any(each.id == key for each in enrolled):
            raise InvalidRequest("This passkey is enrolled already.")
        if not any(each.works for each in enrolled):
            # The password came back when the last one went; another passkey does not undo that.
            await self._records.delete(*OFF)
        shown = plain_name(name, self._limits.passkey_name_chars) or f"Passkey {len(enrolled) + 1}"
        record: Record = {
            "credential": new.credential,
            "public_key": new.public_key,
            "rp_id": self._host,
            "created": self._clock(),
            "address": address,
            "synced": new.synced,
        }
        await self._records.put(
            Put(*_key(key), record),
            Put(*_name_key(key), {"name": shown}),
            Put(*_used_key(key), {"count": new.count, "last": None}),
        )
        with audit.in_force(Event.PASSKEY_ADDED, passkey=key, name=shown):
            await self._write_index([*(each.id for each in enrolled), key])
        added = await self.find(new.credential)
        if added is None:
            await self._records.delete(*_key(key))
            raise InvalidRequest("The passkeys were changed at the same moment: add it once more.")
        audit.record(Event.PASSKEY_ADDED, passkey=key, name=shown)
        return added

    async def rename(self, key: str, name: str) -> bool:
        """Gives a passkey another name; False when it is not enrolled or the name is empty."""
        shown = plain_name(name, self._limits.passkey_name_chars)
        if not shown or await self._enrolled(key) is None:
            return False
        await self._records.put(Put(*_name_key(key), {"name": shown}))
        return True

    async def remove(self, key: str) -> bool:
        """Removes a passkey, and so ends the sessions it opened; True exactly once."""
        ids = await self._index()
        if key not in ids:
            return False
        with audit.in_force(Event.PASSKEY_REMOVED, passkey=key):
            removed = await self._records.delete(*_key(key))
        if not removed:
            return False
        audit.record(Event.PASSKEY_REMOVED, passkey=key)
        await self._write_index([each for each in await self._index() if each != key])
        for beside in (_name_key(key), _used_key(key)):
            await self._records.delete(*beside)
        return True

    async def used(self, passkey: Passkey, count: int) -> None:
        """Remembers a sign-in and the count that came with it."""
        record: Record = {"count": count, "last": self._clock()}
        await self._records.put(Put(*_used_key(passkey.id), record))

    async def replaces_password(self) -> bool:
        """Tells whether the password is switched off: only while a passkey works."""
        return await self._records.get(*OFF) is not None and await self.any_works()

    async def switch_password(self, *, on: bool) -> None:
        """Switches the password on, or off for as long as a passkey works.

        Raises:
            InvalidRequest: No passkey works, so nobody could sign in.
        """
        if on:
            with audit.in_force(Event.PASSWORD_ON):
                await self._records.delete(*OFF)
        elif await self.any_works():
            await self._records.put(Put(*OFF, {"at": self._clock()}, gives=True))
        else:
            raise InvalidRequest(
                "No passkey works here, so without the password nobody could sign in: enrol one"
                " first."
            )
        audit.record(Event.PASSWORD_ON if on else Event.PASSWORD_OFF)

    async def _enrolled(self, key: str) -> Passkey | None:
        index, *records = await self._records.get_together(
            INDEX, _key(key), _name_key(key), _used_key(key)
        )
        return self._passkey(key, *records) if index and key in index["keys"] else None

    def _can_use(self, record: Record) -> bool:
        return not self.obstacle and bool(record["rp_id"] == self._host)

    async def _index(self) -> list[str]:
        record = await self._records.get(*INDEX)
        return [] if record is None else list(record["keys"])

    async def _write_index(self, ids: list[str]) -> None:
        await self._records.put(Put(*INDEX, {"keys": ids}))

    def _passkey(
        self, key: str, record: Record | None, named: Record | None, used: Record | None
    ) -> Passkey | None:
        if record is None:
            return None
        used = used or {"count": 0, "last": None}
        return Passkey(
            id=key,
            name=(named or {"name": ""})["name"],
            created=record["created"],
            address=record["address"],
            rp_id=record["rp_id"],
            synced=record["synced"],
            works=self._can_use(record),
            last_used=used["last"],
            count=used["count"],
            credential=record["credential"],
            public_key=record["public_key"],
        )


def passkey_id(credential: str) -> str:
    """Returns the short id of a passkey, by which it is kept, named and removed."""
    return digest(credential)[:ID_CHARS]


def _key(key: str) -> tuple[str, str]:
    return "passkeys", key


def _name_key(key: str) -> tuple[str, str]:
    return "passkeys", f"{key}/name"


def _used_key(key: str) -> tuple[str, str]:
    return "passkeys", f"{key}/used"


def _obstacle(host: str) -> str:
    """Returns why no passkey can be used, or nothing."""
    if find_spec("webauthn") is None:
        return "The package webauthn is not installed: add it to the server's dependencies."
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return ""
    return (
        f"Browsers make passkeys for names, and this server's address is the number {host}: give"
        " it a name (on this computer: localhost)."
    )
