"""Is this the owner? Password, session and device.

The password is chosen (`password=` or `MCP_PASSWORD`, plain text or a complete argon2id hash) or
generated. It is only ever compared, and remembered by sessions, as an argon2id hash, so whoever
reads the state has to pay for each guess. A session remembers the password it was opened with, so
a changed password ends every session.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn, TypeVar

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from personal_auth import audit
from personal_auth.audit import Event
from personal_auth.errors import TooManyAttempts, WrongPassword
from personal_auth.limits import Limits
from personal_auth.records import Records
from personal_auth.sealing import Sealer, digest, same, to_text
from personal_auth.store import Put, Record
from personal_auth.throttle import Throttle

T = TypeVar("T")

HASH_MARKS = ("$argon2", "=19=", ",t=", ",p=")
COMPLETE_HASH = re.compile(
    r"\$argon2id\$v=19\$m=(?P<memory>[1-9][0-9]{0,7}),t=[1-9][0-9]{0,2},p=(?P<lanes>[1-9][0-9]?)"
    r"\$[A-Za-z0-9+/]{11,64}\$[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]\Z"  # 32 bytes, nothing cut
)
LEAST_MEMORY_KIB = 8  # for each lane (RFC 9106 §3.1)
MOST_MEMORY_KIB = 256 * 1024
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # no 0 or o, no 1 or l
GROUPS, GROUP_CHARS = 4, 5  # 20 characters of 5 bits: 100 bits


def generate_password() -> str:
    """Returns a new password of 100 random bits, such as `k7m2p-x9qrs-…`."""
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(GROUP_CHARS)) for _ in range(GROUPS))
    return "-".join(groups)


def hash_password(password: str, salt: bytes | None = None) -> str:
    """Returns an argon2id hash with its parameters (RFC 9106); takes about 40 ms."""
    salt = salt or os.urandom(16)
    kdf = Argon2id(salt=salt, length=32, iterations=2, lanes=1, memory_cost=19 * 1024)
    return kdf.derive_phc_encoded(password.encode("utf-8", "surrogatepass"))


def is_hash(text: str) -> bool:
    """Tells whether a text is a complete argon2id hash with bearable parameters."""
    match = COMPLETE_HASH.match(text)
    if match is None:
        return False
    return LEAST_MEMORY_KIB * int(match["lanes"]) <= int(match["memory"]) <= MOST_MEMORY_KIB


def check_configured(password: str) -> str:
    """Returns a configured password that can be used: plain text, or a complete hash.

    Raises:
        ValueError: It cannot; the message is half a sentence without the password.
    """
    if not password or not password.isprintable():
        raise ValueError("it must be text of at least one character, in UTF-8, on one line")
    if not is_hash(password) and any(mark in password for mark in HASH_MARKS):
        raise ValueError(
            "it looks like a hash that was cut: put the hash in single quotes, as"
            " `password --hash` prints it"
        )
    return password


class Owner:
    """The one person whom this server serves."""

    def __init__(
        self,
        records: Records,
        sealer: Callable[[], Sealer],
        limits: Limits,
        *,
        clock: Callable[[], float],
        configured: str | None,
        proven: Callable[[], None],
    ) -> None:
        self._records = records
        self._sealer = sealer
        self._limits = limits
        self._clock = clock
        self._configured = configured
        self._proven = proven
        self._throttle = Throttle(limits, clock)
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="argon2id")
        self._waiting = 0
        self._first_hash = asyncio.Lock()

    @property
    def is_configured(self) -> bool:
        """True when the password comes from the settings, and cannot be changed here."""
        return self._configured is not None

    async def sign_in(self, password: str, address: str, device_cookie: str | None) -> None:
        """Proves the owner by password.

        Raises:
            WrongPassword: It is not the owner's.
            TooManyAttempts: Too many wrong ones, or too many being checked at this moment.
        """
        device = await self._device(device_cookie)
        reference = await self._reference()
        if self._waiting >= self._limits.waiting_hashes:
            raise TooManyAttempts("Too many sign-ins at this moment: try again in a second.", 1)
        self._throttle.begin(address, device)  # only now: what is not looked at does not count
        if not await self._is_password(password, reference):
            audit.record(Event.WRONG_PASSWORD, address=address)
            raise WrongPassword("That is not the password of this server.")
        self._throttle.succeeded(address, device)
        self._proven()
        audit.record(Event.SIGNED_IN, address=address)

    async def new_session(self, earlier: str | None = None) -> str:
        """Returns a session cookie's value; it holds for `Limits.session_seconds`.

        Only its hash is stored, so nobody who reads the state can open a session. The browser's
        earlier session ends.
        """
        session = secrets.token_urlsafe(32)
        record: Record = {
            "password": self._fingerprint(await self._reference()),
            "exp": self._clock() + self._limits.session_seconds,
        }
        life = self._limits.session_seconds
        await self._records.put(Put("sessions", digest(session), record, life))
        await self._forget("sessions", earlier)
        return session

    async def has_session(self, cookie: str | None) -> bool:
        """Tells whether a session cookie proves the owner."""
        record = await self._records.get("sessions", digest(cookie)) if cookie else None
        if record is None or self._clock() >= record["exp"]:
            return False
        return same(record["password"], self._fingerprint(await self._reference()))

    async def end_session(self, session: str) -> None:
        """Ends one session: its cookie proves nothing any more."""
        await self._forget("sessions", session)

    async def new_device(self, earlier: str | None = None) -> str:
        """Returns a device cookie's value, for a browser that has signed in, in place of one."""
        device = secrets.token_urlsafe(32)
        life = self._limits.device_seconds
        record: Record = {"exp": self._clock() + life}
        await self._records.put(Put("devices", digest(device), record, life))
        await self._forget("devices", earlier)
        return device

    async def change_password(self, password: str) -> None:
        """Stores a new password and so ends every session."""
        hashed = await self._in_thread(hash_password, password)
        await self._records.put(Put("owner", "password", {"hash": hashed}))
        self._proven()
        audit.record(Event.PASSWORD_CHANGED)

    async def _is_password(self, password: str, reference: str) -> bool:
        self._waiting += 1
        try:
            return await self._in_thread(is_password, password, reference)
        finally:
            self._waiting -= 1

    async def _reference(self) -> str:
        """Returns the argon2id hash of the password that holds."""
        if self._configured is None:
            record: Record | None = await self._records.get("owner", "password")
            return _no_password() if record is None else str(record["hash"])
        if is_hash(self._configured):
            return self._configured
        async with self._first_hash:  # once, however many ask at once
            if not is_hash(self._configured):
                # A salt that stays, so that sessions outlive a restart.
                salt = self._sealer().mac("password-salt", b"")[:16]
                self._configured = await self._in_thread(hash_password, self._configured, salt)
        return self._configured

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._hashing, work, *arguments)

    async def _forget(self, collection: str, cookie: str | None) -> None:
        if cookie is not None:
            await self._records.delete(collection, digest(cookie))

    def _fingerprint(self, reference: str) -> str:
        return to_text(self._sealer().mac("password", reference.encode())[:16])

    async def _device(self, cookie: str | None) -> str | None:
        record = await self._records.get("devices", digest(cookie)) if cookie else None
        live = record is not None and self._clock() < record["exp"]
        return digest(cookie) if cookie and live else None


def browser_hash(cookie: str) -> str:
    """Returns what a consent ticket remembers of the browser it was made for."""
    return digest(cookie)[:32]


def is_password(password: str, reference: str) -> bool:
    """Tells whether a hash is a password's."""
    try:
        Argon2id.verify_phc_encoded(password.encode("utf-8", "surrogatepass"), reference)
    except InvalidKey:
        return False
    return True


def _no_password() -> NoReturn:
    raise WrongPassword("This server has no password yet: start it once.")
