"""How a backup is laid beside what is here, and checked to its end, before anything is moved."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from personal_auth import snapshot
from personal_auth.errors import StartRefused
from personal_auth.statedir import STATE_FILE
from personal_server import kept
from personal_server.archive import DATA, STATE, BackupRefused, Member, Reader, shown
from personal_server.backup import OURS
from personal_server.kept import Rows
from personal_server.progress import Progress

STATE_BYTES = 256 * 1024 * 1024
SPARE_BYTES = 16 * 1024 * 1024  # of the disk, for what comes after


class Unpacking:
    """The unpacking of one backup into a folder of a name of its own in each of two folders.

    Args:
        state: The folder beside whose files the state is laid.
        data: The folder beside whose files the data are laid.
        name: How the two new folders are called.
    """

    def __init__(self, state: Path, data: Path, name: str) -> None:
        self._state_folder = state
        self._data = data
        self._name = name
        self._progress = Progress("Unpacked")

    def run(self, archive: Reader) -> tuple[Rows, int]:
        """Returns the rows of the state, and how many files the data are.

        Raises:
            BackupRefused: The backup is not ours, is damaged, or holds what it must not.
            OSError: It cannot be written here.
        """
        raw: bytes | None = None
        files = 0
        for folder in (self._state_folder, self._data):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / self._name).mkdir(mode=0o700)
        for member in archive.members():
            if member.name == STATE and raw is None and not member.folder:
                raw = self._state(archive, member)
            elif member.name.startswith(f"{DATA}/"):
                self._place(archive, member)
                files += not member.folder
            else:
                raise BackupRefused(
                    f"The backup holds {shown(member.name)}, which is none of ours, and nothing"
                    " was restored: give the file that `backup` has made."
                )
        self._progress.end()
        return self._checked(raw), files

    def _state(self, archive: Reader, member: Member) -> bytes:
        if member.size > STATE_BYTES:
            raise BackupRefused(
                f"The state in this backup has {member.size} bytes, more than any server's, and"
                " nothing was restored."
            )
        raw = b"".join(archive.content(member))
        write_new(self._state_folder / self._name / STATE_FILE, [raw], 0o600)
        return raw

    def _place(self, archive: Reader, member: Member) -> None:
        relative = member.name.removeprefix(f"{DATA}/")
        if relative.startswith(OURS):
            raise BackupRefused(
                f"The backup holds {shown(member.name)}, a name of this program's own, and nothing"
                " was restored: give the file that `backup` has made."
            )
        if member.size > shutil.disk_usage(self._data).free - SPARE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        path = self._data / self._name / relative
        try:
            _place(path, archive, member)
        except (FileExistsError, NotADirectoryError) as error:
            raise BackupRefused(
                f"The backup holds {shown(member.name)} twice, or what this disk takes for the"
                " same, and nothing was restored: give the file that `backup` has made."
            ) from error
        self._progress.step(member.size)

    def _checked(self, raw: bytes | None) -> Rows:
        try:
            state = json.loads(raw or b"")
            version = state["version"]
        except (ValueError, KeyError, TypeError, RecursionError):
            state = version = None
        if type(version) is int and version > snapshot.VERSION:
            raise BackupRefused(
                f"The state in this backup has format version {version}, and this server reads up"
                f" to {snapshot.VERSION}: nothing was restored; update this server, then restore."
            )
        try:
            rows = list(snapshot.read(state))
        except StartRefused:
            rows = []
        if not kept.has_key(rows):
            raise BackupRefused(
                "The state in this backup is damaged or missing, and nothing was restored: take an"
                " older backup."
            )
        return rows


def _place(path: Path, archive: Reader, member: Member) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if member.folder:
        path.mkdir(exist_ok=True)
        path.chmod(member.mode | 0o700)
        return
    write_new(path, archive.content(member), member.mode | 0o600)
    with contextlib.suppress(OverflowError):
        os.utime(path, (member.mtime, member.mtime))


def write_new(path: Path, chunks: Iterable[bytes], mode: int) -> None:
    """Writes a file that is not there yet, durably."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fchmod(handle, mode)
        os.fsync(handle)
