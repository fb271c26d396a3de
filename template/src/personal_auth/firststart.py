"""What a first start makes, once: the key that seals, and a password that its owner is told.

Of servers that start at once on one store each proposes a password, in a file of its own, for they
may have one state directory. Only then is it stored, so that none is stored that nobody was told.
"""

from __future__ import annotations

import contextlib
import secrets
import sys
import time
from dataclasses import dataclass, field

from personal_auth import audit
from personal_auth.adoption import is_foreign
from personal_auth.audit import Event
from personal_auth.errors import StartRefused
from personal_auth.owner import generate_password, hash_password, is_password
from personal_auth.sealing import Sealer
from personal_auth.statedir import PASSWORD_FILE, StateDir
from personal_auth.store import Put, Record, SnapshotStore

KEY_BYTES = 32
DEAD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Proposal:
    """A password that holds if its record is the one that is stored; `file` has it meanwhile."""

    password: str = field(repr=False)
    put: Put
    file: str


class FirstStart:
    """Makes what is missing and tells the owner of it."""

    def __init__(self, state_dir: StateDir) -> None:
        self._state_dir = state_dir
        self._proposal: Proposal | None = None

    def missing(
        self, key: Record | None, password_record: Record | None, make_password: bool
    ) -> tuple[list[Put], str | None]:
        """Returns the records that are to be written, the password's last, and the password.

        Raises:
            StartRefused: The key cannot be used.
        """
        if key is not None:
            sealer_of(key)  # before anything is made beside a key that cannot be used
        puts = []
        if key is None:
            puts.append(Put("owner", "key", {"key": secrets.token_hex(KEY_BYTES)}))
        if not make_password or password_record is not None:
            return puts, None
        password = generate_password()
        puts.append(Put("owner", "password", {"hash": hash_password(password)}))
        return puts, password

    def propose(
        self, key: Record | None, password_record: Record | None, make_password: bool
    ) -> list[Put]:
        """Returns what is missing in a store that other servers may be filling just now.

        An attempt that failed may have stored the password all the same: the next one proposes
        it again.

        Raises:
            StartRefused: The password cannot be left for its owner.
        """
        earlier = self._proposal
        if make_password and earlier is None and password_record is not None:
            self._tell_of_a_death(str(password_record["hash"]))
        puts, password = self.missing(key, password_record, make_password and earlier is None)
        if password is not None:
            file = f"{PASSWORD_FILE}.{secrets.token_hex(4)}"
            if not sys.stdout.isatty():
                self._state_dir.write_password(password, file)
            self._proposal = Proposal(password, puts[-1], file)
        elif earlier is not None and password_record is None:
            puts.append(earlier.put)
        return puts

    def settle(self, password_record: Record | None) -> None:
        """Tells the owner of the proposed password if that is the one which is stored."""
        proposal, self._proposal = self._proposal, None
        if proposal is None:
            return
        if password_record == proposal.put.value:
            if not sys.stdout.isatty():
                with contextlib.suppress(OSError):  # then it lies beside the file that is named
                    self._state_dir.rename_password(proposal.file)
            self.show(proposal.password)
            return
        self._state_dir.forget_password(proposal.file)
        audit.record(
            Event.PASSWORD_MADE,
            "Another replica made the password: its log names the file with it. The command"
            " `password` sets another one.",
        )

    def _tell_of_a_death(self, stored: str) -> None:
        """Tells the owner of a password whose server died before it could."""
        for file, (password, written) in self._state_dir.proposed_passwords().items():
            with contextlib.suppress(OSError):
                if is_password(password, stored):
                    self._state_dir.rename_password(file)
                    self.show(password)
                elif time.time() > written + DEAD_SECONDS:  # else its server may be starting
                    self._state_dir.forget_password(file)

    def leave(self, password: str | None) -> None:
        """Writes a generated password to a file when there is no terminal to show it on."""
        if password is not None and not sys.stdout.isatty():
            self._state_dir.write_password(password)

    def show(self, password: str | None) -> None:
        """Says once where a generated password is: here, or in a file of the owner's."""
        if password is None:
            return
        if sys.stdout.isatty():
            print(
                f"\n  The password of this server, shown only this once:\n\n      {password}\n\n"
                "  Keep it: the page that connects an app asks for it.\n",
                flush=True,
            )
            return
        audit.record(
            Event.PASSWORD_MADE,
            "A password was generated; the file with it is removed at the first sign-in.",
            file=self._state_dir.password_file,
        )

    def forget(self) -> None:
        """Removes the file with the generated password: the owner has it."""
        try:
            self._state_dir.forget_password()
        except OSError as error:
            audit.record(Event.STORE_FAILED, "Remove it yourself.", reason=str(error))


def check_nothing_left(state_dir: StateDir) -> None:
    """Sees that a server which begins in an empty store leaves no connection behind in the file.

    Raises:
        StartRefused: It would, and each client would have to be connected again.
    """
    state = state_dir.read()
    if is_foreign(state):
        left = len(state.get("refresh_tokens") or state.get("access_tokens") or ())
    else:
        snapshot = SnapshotStore(state_dir.write)
        snapshot.load(state)
        left = sum("issuer" in grant for grant in snapshot.values("grants"))
    if left:
        raise StartRefused(
            f"The connections ({left}) are still in {state_dir.state_file}, and the store that"
            " MCP_STORAGE_URL names is empty: take them along with `state move`, run without that"
            " setting, or move that file away to start anew."
        )


def sealer_of(key: Record | None) -> Sealer:
    """Returns what seals with a stored key.

    Raises:
        StartRefused: It is no key, or the state is not here.
    """
    if key is not None and "moved" in key:
        raise StartRefused(
            f"The state of this server was moved to {key['moved']}: let MCP_STORAGE_URL say so, or"
            " bring it back from there with `state move`."
        )
    if key is not None and "moving" in key:
        raise StartRefused(
            "The state of this server has not arrived here: finish `state move` where it was begun,"
            " with the settings of that time."
        )
    if key is not None and "restoring" in key:
        raise StartRefused(
            "A restore of a backup into this store was cut off: run `restore` with it once more,"
            " where it was begun, then start."
        )
    try:
        raw = bytes.fromhex((key or {})["key"])
    except (KeyError, TypeError, ValueError):
        raw = b""
    if len(raw) < KEY_BYTES:
        raise StartRefused(
            "The stored state has no usable key: restore it from a backup, or move it away to"
            " start anew."
        )
    return Sealer(raw)
