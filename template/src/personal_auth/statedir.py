"""Who holds the state directory, and how its one file is read and written.

A write is a temporary file in the same directory, fsync, rename, fsync of the directory: after a
power loss the file is either the old one or the new one. `flock` keeps a second process out; the
kernel lets go of it however the holder dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from personal_auth.errors import StartRefused

STATE_FILE = "oauth_tokens.json"
PASSWORD_FILE = "initial-password"
CONTROL_SOCKET = "control.sock"


class StateDir:
    """One directory with the state of one server."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    @property
    def state_file(self) -> Path:
        return self.path / STATE_FILE

    @property
    def password_file(self) -> Path:
        return self.path / PASSWORD_FILE

    @property
    def control_socket(self) -> Path:
        return self.path / CONTROL_SOCKET

    def acquire(self) -> bool:
        """Takes the lock; False when another process holds it.

        Raises:
            StartRefused: The directory cannot be made or written.
        """
        if self._lock is not None:
            return True
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartRefused(
                f"The state directory {self.path} cannot be written ({error.strerror}):"
                " give this user the right to write there, or choose another directory."
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        except OSError as error:
            os.close(handle)
            raise StartRefused(
                f"The state directory {self.path} cannot be locked ({error.strerror}): put it on a"
                " local disk."
            ) from error
        self._lock = handle
        self._sweep()
        return True

    def _sweep(self) -> None:
        """Removes what a death in the middle of a write left behind."""
        for name in (STATE_FILE, PASSWORD_FILE):
            for left in self.path.glob(f".{name}.*"):
                left.unlink(missing_ok=True)

    def release(self) -> None:
        """Lets go of the lock; harmless when it is not held."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read(self) -> dict[str, Any] | None:
        """Returns the stored state, or None when there is none yet.

        Raises:
            StartRefused: The file is there and cannot be read as JSON; it is left as it is.
        """
        try:
            raw = self.state_file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StartRefused(
                f"The state file {self.state_file} cannot be read ({error.strerror})."
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
            OSError: The old file is still there, unless only the directory's fsync failed.
        """
        write_durably(self.state_file, raw)

    def write_password(self, password: str) -> None:
        """Leaves a generated password where only the owner can read it.

        Raises:
            StartRefused: The file cannot be written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_durably(self.password_file, f"{password}\n".encode())
        except OSError as error:
            raise StartRefused(
                f"The generated password cannot be written to {self.password_file}"
                f" ({error.strerror}): make room, or set MCP_PASSWORD."
            ) from error

    def forget_password(self) -> None:
        """Removes the file with the generated password, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.password_file.unlink()


def write_durably(path: Path, raw: bytes) -> None:
    """Writes a file so that it is on disk, whole, or not there at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
