"""In which browsers has the owner signed in? Sessions prove the owner; devices are only known.

Of both only hashes are stored, so nobody who reads the state can use one. A session remembers the
password that held when it was opened, and the passkey if it was opened by one: it ends with
either. All of them but one end together by a new epoch, for which nothing has to be listed. What
keeps that one is the epoch and never the session itself: one that somebody else ends at the same
moment does not come back.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass

from personal_auth import audit
from personal_auth.audit import Event
from personal_auth.client import plain_name
from personal_auth.errors import StoreUnavailable
from personal_auth.limits import Limits
from personal_auth.records import Records
from personal_auth.sealing import digest, same
from personal_auth.store import Put, Record

EPOCH = "owner", "sessions"
ID_CHARS = 16
AGENT_CHARS = 40
BROWSERS = (  # what names itself in another's name comes first
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Macintosh", "Mac"),
    ("Linux", "Linux"),
)


@dataclass(frozen=True, slots=True)
class Session:
    """What is known of a live session; times are POSIX times."""

    id: str
    created: float
    expires: float
    address: str
    """Where the owner signed in from."""
    browser: str
    """What that was, as the browser says of itself."""
    passkey: str
    """The id of the passkey that opened it; empty when the password did."""
    this: bool
    """True for the session that asks."""


class Sessions:
    """The sessions of one owner.

    Args:
        fingerprint: Returns what a session remembers of the password that holds.
        works: Tells whether the passkey with an id works.
    """

    def __init__(
        self,
        records: Records,
        limits: Limits,
        *,
        clock: Callable[[], float],
        fingerprint: Callable[[], Awaitable[str]],
        works: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._records = records
        self._limits = limits
        self._clock = clock
        self._fingerprint = fingerprint
        self._works = works

    async def present(self, passkey: str = "") -> Record:
        """Returns what a session remembers of the moment of its proof: it ends with any of it.

        `passkey` is the id of the one that the owner proved to have.
        """
        password, epochs = await self._fingerprint(), await self._epochs()
        proof: Record = {"password": password, "epoch": epochs["epoch"]}
        return {**proof, "passkey": passkey} if passkey else proof

    async def open(
        self,
        earlier: str | None = None,
        *,
        address: str = "",
        agent: str = "",
        proof: Record | None = None,
    ) -> str:
        """Returns a session cookie's value; it holds for `Limits.session_seconds`.

        Args:
            earlier: The browser's earlier session, which ends.
            address: Where the owner signs in from.
            agent: The browser's `User-Agent`.
            proof: What was `present` before the owner's proof was looked at; None for now.
        """
        session, now = secrets.token_urlsafe(32), self._clock()
        record: Record = {
            **(proof or await self.present()),
            "at": now,
            "exp": now + self._limits.session_seconds,
            "address": address,
            "browser": browser_name(agent),
        }
        await self._put(session, record)
        await self.close(earlier)
        return session

    async def holds(self, cookie: str | None) -> bool:
        """Tells whether a session cookie proves the owner."""
        return await self.held(cookie) is not None

    async def is_fresh(self, cookie: str | None) -> bool:
        """Tells whether the owner has signed in within the last `Limits.fresh_seconds`."""
        held = await self.held(cookie)
        return held is not None and self._clock() < _at(held, self._limits) + (
            self._limits.fresh_seconds
        )

    async def held(self, cookie: str | None) -> Record | None:
        """Returns the record of a session that proves the owner, None for anything else."""
        key = digest(cookie or "")
        record = await self._records.get("sessions", key) if cookie else None
        live = record is not None and await self._is_live(key, record)
        return record if live else None

    async def renew(self, cookie: str | None, held: Record | None, password: str) -> None:
        """Lets a session that held go on with a new password, by its fingerprint."""
        if cookie and held and await self.close(cookie):
            await self._put(cookie, {**held, "password": password})

    async def listed(self, cookie: str | None) -> list[Session]:
        """Returns the live sessions, the newest first; `cookie` is the one that asks.

        Raises:
            StoreUnavailable: The store cannot list.
        """
        keys = await self._records.keys("sessions")
        records = await self._records.get_together(*(("sessions", key) for key in keys))
        found = [
            self._session(key, record, digest(cookie or ""))
            for key, record in zip(keys, records, strict=True)
            if record is not None and await self._is_live(key, record)
        ]
        return sorted(found, key=lambda each: each.created, reverse=True)

    async def end(self, session_id: str) -> bool:
        """Ends a session by its id; True when there was one.

        Raises:
            StoreUnavailable: The store cannot list.
        """
        keys = [key for key in await self._records.keys("sessions") if key[:ID_CHARS] == session_id]
        with audit.in_force(Event.SESSION_ENDED, session=session_id) if keys else nullcontext():
            ended = any([await self._records.delete("sessions", key) for key in keys])
        if ended:
            audit.record(Event.SESSION_ENDED, session=session_id)
        return ended

    async def close(self, cookie: str | None) -> bool:
        """Ends the session of a cookie; True when there was one."""
        return bool(cookie) and await self._records.delete("sessions", digest(cookie or ""))

    async def end_all_but(self, cookie: str | None) -> None:
        """Ends every session but one, or every one."""
        held = await self.held(cookie)
        kept = digest(cookie) if cookie and held else ""
        which = "all others" if held else "all"
        with audit.in_force(Event.SESSION_ENDED, session=which):
            await self._records.put(Put(*EPOCH, {"epoch": secrets.token_hex(16), "kept": kept}))
        # Where it can be listed, so that no later epoch, begun by one of these, keeps it.
        with suppress(StoreUnavailable):
            keys = await self._records.keys("sessions")
            ends = (self._records.delete("sessions", key) for key in keys if key != kept)
            await asyncio.gather(*ends)
        audit.record(Event.SESSION_ENDED, session=which)

    async def _is_live(self, key: str, record: Record) -> bool:
        now = await self._epochs()
        of_now = record.get("epoch", "") == now["epoch"] or same(key, now.get("kept", ""))
        if self._clock() >= record["exp"] or not of_now:
            return False
        passkey = record.get("passkey")
        if passkey is not None and not await self._works(passkey):
            return False
        return same(record["password"], await self._fingerprint())

    async def _epochs(self) -> Record:
        """Returns the present epoch, and the key of the session of an earlier one that it kept."""
        return await self._records.get(*EPOCH) or {"epoch": ""}

    async def _put(self, cookie: str, record: Record) -> None:
        life = record["exp"] - self._clock()
        await self._records.put(Put("sessions", digest(cookie), record, life))

    def _session(self, key: str, record: Record, this: str) -> Session:
        return Session(
            id=key[:ID_CHARS],
            created=_at(record, self._limits),
            expires=record["exp"],
            address=record.get("address", ""),
            browser=record.get("browser", ""),
            passkey=record.get("passkey", ""),
            this=key == this,
        )


class Devices:
    """The browsers in which the owner has signed in before; they prove nothing."""

    def __init__(self, records: Records, limits: Limits, clock: Callable[[], float]) -> None:
        self._records = records
        self._limits = limits
        self._clock = clock

    async def open(self, earlier: str | None = None) -> str:
        """Returns a device cookie's value, for a browser that has signed in, in place of one."""
        device, life = secrets.token_urlsafe(32), self._limits.device_seconds
        record: Record = {"exp": self._clock() + life}
        if earlier is not None:  # first: in one file it goes with the next write
            await self._records.take("devices", digest(earlier))
        await self._records.put(Put("devices", digest(device), record, life))
        return device

    async def known(self, cookie: str | None) -> str | None:
        """Returns the hash of a device cookie that is ours and live, None for anything else."""
        record = await self._records.get("devices", digest(cookie)) if cookie else None
        live = record is not None and self._clock() < record["exp"]
        return digest(cookie) if cookie and live else None


def browser_name(agent: str) -> str:
    """Returns a `User-Agent` in a few words, such as `Safari on iPhone`; it proves nothing."""
    browser = next((name for mark, name in BROWSERS if mark in agent), "")
    system = next((name for mark, name in SYSTEMS if mark in agent), "")
    known = " on ".join(name for name in (browser, system) if name)
    return known if browser else plain_name(agent, AGENT_CHARS)


def _at(record: Record, limits: Limits) -> float:
    """Returns when a session was opened; a record of an earlier version only says when it ends."""
    return float(record.get("at", record["exp"] - limits.session_seconds))
