"""Is this the owner? Password, session and device.

The password is chosen (`password=` or `MCP_PASSWORD`, plain text or a complete argon2id hash) or
generated and kept as an argon2id hash in the store. A session remembers the password it was opened
with, so a changed password ends every session.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from personal_auth import audit
from personal_auth.audit import Event
from personal_auth.errors import TooManyAttempts, WrongPassword
from personal_auth.limits import Limits
from personal_auth.sealing import BrokenSeal, Sealer, digest, same, to_text
from personal_auth.store import Put, Record, Records
from personal_auth.throttle import Throttle

HASH_PREFIX = "$argon2id$"
COMPLETE_HASH = re.compile(
    r"\$argon2id\$v=19\$m=(?P<memory>[1-9][0-9]{0,7}),t=[1-9][0-9]{0,2},p=[1-9][0-9]?"
    r"\$[A-Za-z0-9+/]{11,64}\$[A-Za-z0-9+/]{22,128}\Z"
)
MOST_MEMORY_KIB = 256 * 1024
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # no 0 or o, no 1 or l
GROUPS, GROUP_CHARS = 4, 5  # 20 characters of 5 bits: 100 bits


def generate_password() -> str:
    """Returns a new password of 100 random bits, such as `k7m2p-x9qrs-…`."""
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(GROUP_CHARS)) for _ in range(GROUPS))
    return "-".join(groups)


def hash_password(password: str) -> str:
    """Returns an argon2id hash with its parameters (RFC 9106); takes about 40 ms."""
    kdf = Argon2id(salt=os.urandom(16), length=32, iterations=2, lanes=1, memory_cost=19 * 1024)
    return kdf.derive_phc_encoded(password.encode("utf-8", "surrogatepass"))


def is_hash(text: str) -> bool:
    """Tells whether a text is a complete argon2id hash with bearable parameters."""
    match = COMPLETE_HASH.match(text)
    return match is not None and int(match["memory"]) <= MOST_MEMORY_KIB


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

    @property
    def password_is_configured(self) -> bool:
        """True when the password comes from the settings, so no command can change it."""
        return self._configured is not None

    async def sign_in(self, password: str, address: str, device_cookie: str | None) -> None:
        """Proves the owner by password.

        Raises:
            WrongPassword: It is not the owner's.
            TooManyAttempts: Too many wrong ones, or too many being checked at this moment.
        """
        device = self._device(device_cookie)
        try:
            self._throttle.begin(address, device)
        except TooManyAttempts:
            audit.record(Event.WAITING, address=address)
            raise
        if not await self._is_password(password):
            audit.record(Event.WRONG_PASSWORD, address=address)
            raise WrongPassword("That is not the password of this server.")
        self._throttle.succeeded(address, device)
        self._proven()
        audit.record(Event.SIGNED_IN, address=address)

    async def new_session(self) -> str:
        """Returns a session cookie's value; it holds for `Limits.session_seconds`.

        Only its hash is stored, so nobody who reads the state can open a session.
        """
        session = secrets.token_urlsafe(32)
        record: Record = {
            "password": self._fingerprint(await self._reference()),
            "exp": self._clock() + self._limits.session_seconds,
        }
        life = self._limits.session_seconds
        await self._records.put(Put("sessions", digest(session), record, life))
        return session

    async def has_session(self, cookie: str | None) -> bool:
        """Tells whether a session cookie proves the owner."""
        record = await self._records.get("sessions", digest(cookie)) if cookie else None
        if record is None or self._clock() >= record["exp"]:
            return False
        return same(record["password"], self._fingerprint(await self._reference()))

    def new_device(self) -> str:
        """Returns a device cookie's value, for a browser that has signed in."""
        return self._sealer().seal("device", {"id": secrets.token_hex(16)})

    async def change_password(self, password: str) -> None:
        """Stores a new password and so ends every session."""
        await self._records.put(Put("owner", "password", {"hash": hash_password(password)}))
        self._proven()
        audit.record(Event.PASSWORD_CHANGED)

    async def _is_password(self, password: str) -> bool:
        reference = await self._reference()
        if not reference.startswith(HASH_PREFIX):
            return same(password, reference)
        if self._waiting >= self._limits.waiting_hashes:
            raise TooManyAttempts("Too many sign-ins at this moment: try again in a second.", 1)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._hashing, _verify, password, reference)
        finally:
            self._waiting -= 1

    async def _reference(self) -> str:
        if self._configured is not None:
            return self._configured
        record: Record | None = await self._records.get("owner", "password")
        return _no_password() if record is None else str(record["hash"])

    def _fingerprint(self, reference: str) -> str:
        return to_text(self._sealer().mac("password", reference.encode())[:16])

    def _device(self, cookie: str | None) -> str | None:
        try:
            return str(self._sealer().unseal("device", cookie or "")["id"])
        except BrokenSeal:
            return None


def browser_hash(cookie: str) -> str:
    """Returns what a consent ticket remembers of the browser it was made for."""
    return digest(cookie)[:32]


def _verify(password: str, reference: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password.encode("utf-8", "surrogatepass"), reference)
    except InvalidKey:
        return False
    return True


def _no_password() -> NoReturn:
    raise WrongPassword("This server has no password yet: start it once.")
