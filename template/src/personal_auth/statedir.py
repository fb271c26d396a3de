"""Who holds the state directory, and how its one file is read and written.

A write is a temporary file in the same directory, fsync, rename, fsync of the directory: after a
power loss the file is either the old one or the new one. `flock` keeps a second process out; the
kernel lets go of it however the holder dies. The directory stays open with the lock, and every
write goes through it: one that took its place is never touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any

from personal_auth.errors import StartRefused, StateDirLost

STATE_FILE = "oauth_tokens.json"
PASSWORD_FILE = "initial-password"
CONTROL_SOCKET = "control.sock"
LOCK_FILE = "lock"
RESTORE_FILE = "restore-under-way"  # there while a backup takes the place of what was here


class StateDir:
    """One directory with the state of one server."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: tuple[int, int] | None = None  # the open directory, the lock file in it
        self._lock_path = ""
        self._shared: int | None = None  # the lock file, held with others

    @property
    def state_file(self) -> Path:
        return self.path / STATE_FILE

    @property
    def password_file(self) -> Path:
        return self.path / PASSWORD_FILE

    @property
    def control_socket(self) -> Path:
        return self.path / CONTROL_SOCKET

    @property
    def restore_file(self) -> Path:
        return self.path / RESTORE_FILE

    def acquire(self) -> bool:
        """Takes the lock; False when another process holds it.

        Raises:
            StartRefused: The directory cannot be made or written.
        """
        if self._held is not None:
            return True
        try:
            folder = self._open()
        except OSError as error:
            raise self._not_writable(error) from error
        lock: int | None = None
        try:
            lock = self._lock(folder)
        finally:
            if lock is None:
                os.close(folder)
        if lock is None:
            return False
        self._held, self._lock_path = (folder, lock), os.path.abspath(self.path / LOCK_FILE)
        self._sweep(folder)
        return True

    def share(self) -> bool:
        """Holds the lock together with other servers whose state is on one store elsewhere.

        Returns False when another process has it alone. Without a directory there is none to hold.
        """
        if self._shared is not None:
            return True
        with contextlib.suppress(OSError):
            handle = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError as error:
                os.close(handle)
                return not isinstance(error, BlockingIOError)
            self._shared = handle
        return True

    def _open(self) -> int:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(self.path, os.O_RDONLY)

    def _lock(self, folder: int) -> int | None:
        try:
            handle = os.open(LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600, dir_fd=folder)
        except OSError as error:
            raise self._not_writable(error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError as error:
            os.close(handle)
            raise StartRefused(
                f"The state directory {self.path} cannot be locked ({error.strerror}): put it on a"
                " local disk."
            ) from error
        return handle

    def _not_writable(self, error: OSError) -> StartRefused:
        return StartRefused(
            f"The state directory {self.path} cannot be written ({error.strerror}): make room, give"
            " this user the right to write there, or choose another directory."
        )

    def release(self) -> None:
        """Lets go of the lock; harmless when it is not held."""
        if self._held is not None:
            for handle in self._held:
                os.close(handle)
            self._held = None
        if self._shared is not None:
            os.close(self._shared)
            self._shared = None

    def check_whole(self) -> None:
        """Looks for a restore that did not come to its end.

        Raises:
            StartRefused: What is here belongs to two servers.
        """
        if self.restore_file.exists():
            raise StartRefused(
                f"A restore of a backup into {self.path} was cut off: run `restore` with it once"
                " more, then start."
            )

    def read(self) -> dict[str, Any] | None:
        """Returns the stored state, or None when there is none yet.

        Raises:
            StartRefused: The file is there and cannot be read as JSON; it is left as it is.
        """
        try:
            if not stat.S_ISREG(self.state_file.lstat().st_mode):
                raise StartRefused(
                    f"{self.state_file} is a link, a directory or the like, and was left as it is:"
                    " put the state file itself there, or move this away to start anew."
                )
            raw = self.state_file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StartRefused(
                f"The state file {self.state_file} cannot be read ({error.strerror}): give this"
                " user the right to read it."
            ) from error
        try:
            state = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise StartRefused(
                f"The state file {self.state_file} is damaged and was left as it is: restore it"
                " from a backup, or move it away to start anew and connect each client again."
            ) from error
        if not isinstance(state, dict):
            raise StartRefused(
                f"The state file {self.state_file} was not written by this server and was left as"
                " it is: move it away to start anew."
            )
        return state

    def write(self, raw: bytes) -> None:
        """Replaces the state file durably, mode 0600.

        Raises:
            StateDirLost: The directory is gone, or another one stands in its place.
            OSError: The old file is still there, unless only the directory's fsync failed.
        """
        replace_durably(self._still_held(), STATE_FILE, raw)

    def write_password(self, password: str, name: str = PASSWORD_FILE) -> None:
        """Leaves a generated password where only the owner can read it.

        Raises:
            StartRefused: The file cannot be written.
        """
        try:
            folder = self._open() if self._held is None else os.dup(self._held[0])
            try:
                replace_durably(folder, name, f"{password}\n".encode())
            finally:
                os.close(folder)
        except OSError as error:
            raise StartRefused(
                f"The generated password cannot be written to {self.password_file}"
                f" ({error.strerror}): make room, or set MCP_PASSWORD."
            ) from error

    def proposed_passwords(self) -> dict[str, tuple[str, float]]:
        """Returns what was written under other names: a password and its POSIX time by each."""
        found = {}
        for path in self.path.glob(f"{PASSWORD_FILE}.*"):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                found[path.name] = path.read_text().strip(), path.stat().st_mtime
        return found

    def rename_password(self, name: str) -> None:
        """Gives a password that was written under another name the one where owners look."""
        os.replace(self.path / name, self.password_file)

    def forget_password(self, name: str = PASSWORD_FILE) -> None:
        """Removes the file with a generated password, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            if self._held is None:  # a command beside a running server, or the state is elsewhere
                (self.path / name).unlink()
            else:
                os.unlink(name, dir_fd=self._held[0])

    def _still_held(self) -> int:
        """Returns the open directory if its name still leads to the lock that is held."""
        if self._held is not None:
            folder, lock = self._held
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(self._lock_path), os.fstat(lock)):
                    return folder
        raise StateDirLost(
            f"The state directory {self.path} was removed, replaced or lost its lock file while"
            " this server ran: put it back, or restart the server to go on with what is there now."
        )

    def _sweep(self, folder: int) -> None:
        """Removes what a death in the middle of a write left behind."""
        ours = tuple(f".{name}." for name in (STATE_FILE, PASSWORD_FILE, RESTORE_FILE))
        for name in os.listdir(folder):
            if name.startswith(ours):
                with contextlib.suppress(OSError):  # whether it can be written is told by a write
                    os.unlink(name, dir_fd=folder)


def replace_durably(folder: int, name: str, raw: bytes) -> None:
    """Writes a file of an open directory so that it is on disk, whole, or not there at all."""
    temporary = f".{name}.{secrets.token_hex(8)}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)
