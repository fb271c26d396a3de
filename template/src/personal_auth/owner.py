"""Is this the owner? By password or passkey, and then by a session.

The password is chosen (`password=` or `MCP_PASSWORD`, plain text or a complete argon2id hash) or
generated. It is only ever compared, and remembered by sessions, as an argon2id hash, so whoever
reads the state has to pay for each guess. A session remembers the password it was opened with, so
a changed password ends every session. The password can be switched off; that holds only as long
as a passkey works.
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
from personal_auth.errors import TooManyAttempts, WrongPasskey, WrongPassword
from personal_auth.identity import Identity
from personal_auth.keyring import Keyring
from personal_auth.limits import Limits
from personal_auth.passkeys import Passkeys
from personal_auth.records import Records
from personal_auth.sealing import Sealer, digest, same, to_text
from personal_auth.sessions import Devices, Sessions
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
SWITCHED_OFF = "The password is switched off here: sign in with a passkey."
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
        identity: Identity,
        limits: Limits,
        *,
        clock: Callable[[], float],
        configured: str | None,
        proven: Callable[[], None],
    ) -> None:
        self._records = records
        self._sealer = sealer
        self._limits = limits
        self._configured = configured
        self._proven = proven
        self._throttle = Throttle(limits, clock)
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="argon2id")
        self._waiting = 0
        self._first_hash = asyncio.Lock()
        self.keyring = Keyring(records, identity.host, limits, clock)
        self.passkeys = Passkeys(self.keyring, records, sealer, identity, limits, clock)
        self.sessions = Sessions(
            records,
            limits,
            clock=clock,
            fingerprint=self._fingerprint,
            works=self.keyring.works,
        )
        self.devices = Devices(records, limits, clock)

    @property
    def is_configured(self) -> bool:
        """True when the password comes from the settings, and cannot be changed here."""
        return self._configured is not None

    async def sign_in(self, password: str, address: str, device_cookie: str | None) -> Record:
        """Proves the owner by password; returns what the session that it opens remembers.

        Raises:
            WrongPassword: It is not the owner's, or the password is switched off.
            TooManyAttempts: Too many wrong ones, or too many being checked at this moment.
        """
        device = await self.devices.known(device_cookie)
        proof = await self.sessions.present()  # before: what changes meanwhile ends the session
        reference = await self._reference()
        if self._waiting >= self._limits.waiting_hashes:
            raise TooManyAttempts("Too many sign-ins at this moment: try again in a second.", 1)
        self._throttle.begin(address, device)  # only now: what is not looked at does not count
        if not await self.password_is_on():
            audit.record(Event.WRONG_PASSWORD, address=address)
            raise WrongPassword(SWITCHED_OFF)
        right = await self._is_password(password, reference)
        if not right or not same(reference, await self._reference()):  # another one by now
            audit.record(Event.WRONG_PASSWORD, address=address)
            raise WrongPassword("That is not the password of this server.")
        self._throttle.succeeded(address, device)
        self._proven()
        audit.record(Event.SIGNED_IN, address=address)
        return proof

    async def sign_in_by_passkey(
        self, answer: str, challenge: str, bound_to: str, address: str, device_cookie: str | None
    ) -> str:
        """Proves the owner by passkey, as `Passkeys.check` does; returns the passkey's id.

        Nothing is guessed here, so nothing waits and nothing is counted.

        Raises:
            WrongPasskey: It does not prove the owner.
        """
        try:
            passkey = await self.passkeys.check(answer, challenge, bound_to)
        except WrongPasskey as error:
            audit.record(Event.WRONG_PASSKEY, error.description, address=address)
            raise
        self._throttle.succeeded(address, await self.devices.known(device_cookie))
        audit.record(Event.SIGNED_IN, address=address, by="passkey", passkey=passkey.id)
        return passkey.id

    async def password_is_on(self) -> bool:
        """Tells whether the owner can sign in by password: always, unless a passkey works."""
        return not await self.keyring.replaces_password()

    async def switch_password_off(self, keep: str | None = None) -> None:
        """Lets only passkeys sign the owner in, and ends every session but the one to keep.

        Raises:
            InvalidRequest: No passkey works, so nobody could sign in.
        """
        await self.keyring.switch_password(on=False)
        await self.sessions.end_all_but(keep)

    async def switch_password_on(self) -> None:
        """Lets the password sign the owner in again."""
        await self.keyring.switch_password(on=True)

    async def change_password(self, password: str, keep: str | None = None) -> None:
        """Stores a new password and so ends every session but the one to keep."""
        held = await self.sessions.held(keep)
        hashed = await self._in_thread(hash_password, password)
        await self._records.put(Put("owner", "password", {"hash": hashed}, gives=True))
        self._proven()
        audit.record(Event.PASSWORD_CHANGED)
        await self.sessions.renew(keep, held, self._fingerprint_of(hashed))

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

    async def _fingerprint(self) -> str:
        """Returns what a session remembers of the password that holds."""
        return self._fingerprint_of(await self._reference())

    def _fingerprint_of(self, reference: str) -> str:
        return to_text(self._sealer().mac("password", reference.encode())[:16])


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
