"""The command `backup`: who is connected and what tools keep, in one file, while the server runs.

The state is the file as its server last replaced it, after that server has written what it still
had in memory. What tools keep is everything below MCP_DATA_DIR, file by file.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, BinaryIO

from cyclopts import Parameter

from personal_auth import snapshot
from personal_auth.control import ControlStore
from personal_auth.errors import StoreUnavailable
from personal_auth.statedir import StateDir
from personal_auth.version import __version__
from personal_server import kept, steady
from personal_server.archive import (
    DATA,
    MOST_LEVELS,
    STATE,
    BackupRefused,
    Manifest,
    Member,
    Writer,
    shown,
)
from personal_server.destination import is_full, remove_dead, written
from personal_server.kept import Rows
from personal_server.progress import Progress
from personal_server.settings import Settings, answers, load

SCRATCH = ".backup-"  # in the state directory
OURS = (".restore-", ".before-restore-", "lost+found")  # in the data directory: never part of it
ATTEMPTS, PAUSE_SECONDS = 20, 0.05


Place = Annotated[str, Parameter(allow_leading_hyphen=True)]  # "-" is a place


def backup(file: Place | None = None, /, *, force: bool = False) -> None:
    """Write who is connected and what tools keep into one file. Works while the server runs.

    Exit code 1 when the file was made but something in it may not be what you want back.

    Parameters
    ----------
    file
        Where to; "-" is standard output. Without it a file of its own name in this folder.
    force
        Overwrite a file that is there.
    """
    check_named(file)
    settings = load()
    name = f"{answers()['project_name']}-{datetime.now(UTC):%Y%m%d-%H%M%S}.backup.tar.gz"
    target = None if file == "-" else Path(name if file is None else file)
    with written(target, settings, force) as out:
        made = Backup(settings)
        made.write(out)
    made.say(str(target or "standard output"))
    sys.exit(bool(made.doubts))


class Backup:
    """One backup while it is made, and what is to be said of it afterwards."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.doubts: list[str] = []
        self._left_out: list[str] = []
        self._files = self._connections = 0
        self._progress = Progress("Backed up")

    def write(self, out: BinaryIO) -> None:
        """Writes the whole file.

        Raises:
            BackupRefused: There is nothing to back up, or it cannot be written.
            StartRefused: The state cannot be used.
        """
        state_dir = StateDir(self._settings.state_dir)
        rows = self._rows(state_dir)
        self._connections = kept.connections(rows)
        manifest = Manifest(
            id=secrets.token_hex(16),
            made=int(time.time()),
            server=answers()["project_name"],
            writer=__version__,
            public_url=self._settings.public_url,
            connections=self._connections,
        )
        archive = Writer(out, manifest)
        archive.add_bytes(STATE, kept.document(rows), manifest.made)
        with _scratch(state_dir.path) as scratch:
            self._add_data(archive, scratch)
        archive.close()
        self._progress.end()

    def say(self, where: str) -> None:
        """Says what was made, on standard error: standard output may be the file."""
        lines = [
            f"Backed up to {where}: {count(self._connections, 'connection')} and"
            f" {count(self._files, 'file')} of {self._settings.data_dir}.",
            "Keep it as secret as the server: it has what your tools keep as it is, the password's"
            " hash and the key that seals, but no token. Keep .env and the repository too: they are"
            " not in it.",
        ]
        if StateDir(self._settings.state_dir).password_file.exists():
            lines.append(
                "The first password, which nobody has used yet, is not in it either:"
                " read it now, or set another one with the command `password`."
            )
        lines += [f"Left out: {name}." for name in self._left_out]
        lines += [f"Look at this: {doubt}." for doubt in self.doubts]
        print("\n".join(lines), file=sys.stderr)

    def _rows(self, state_dir: StateDir) -> Rows:
        if url := self._settings.storage_url:
            state_dir.check_whole()
            rows = kept.rows(url)
            if not kept.has_key(rows):
                raise BackupRefused(
                    "The store that MCP_STORAGE_URL names has no state, and nothing was backed up:"
                    " start the server once, or correct the address."
                )
            state_dir.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            return rows
        if not state_dir.path.is_dir():
            raise _nothing(state_dir)
        if state_dir.acquire():  # no server runs: none may begin to write while this is read
            try:
                state_dir.check_whole()
                return _stored(state_dir)
            finally:
                state_dir.release()
        try:
            asyncio.run(_flush(state_dir))
        except StoreUnavailable:
            self.doubts.append(
                "the running server did not answer, so what it changed in the last second or while"
                " its disk was full may be missing"
            )
        return _stored(state_dir)

    def _add_data(self, archive: Writer, scratch: Path) -> None:
        top = self._settings.data_dir.resolve()
        for folder, names, files in os.walk(top, onerror=self._unread):
            here = Path(folder)
            if here == top:
                names[:] = [name for name in names if not name.startswith(OURS)]
            if _name(here, top).count("/") + 2 > MOST_LEVELS and (names or files):
                self.doubts.append(f"{_told(here)} lies too deep, and what is in it was left out")
                names[:], files = [], []
            names.sort()
            for name in [name for name in names if (here / name).is_symlink()]:
                self._left_out.append(f"{_told(here / name)} is a link")
            if here != top:
                status = here.stat()
                archive.add(
                    Member(
                        _name(here, top), mode=status.st_mode, mtime=status.st_mtime, folder=True
                    )
                )
            self._add_files(archive, here, sorted(files), top, scratch)

    def _add_files(
        self, archive: Writer, folder: Path, names: list[str], top: Path, scratch: Path
    ) -> None:
        beside: set[str] = set()
        for name in names:
            path = folder / name
            if name in beside:
                continue
            try:
                copied = steady.copy(path, scratch)
            except steady.LeftOut as reason:
                self._left_out.append(f"{_told(path)} is {reason}")
                continue
            except FileNotFoundError:
                continue  # deleted a moment ago: so it is in no backup of now
            except OSError as error:
                if is_full(error):
                    raise
                self._unread(error)
                continue
            if copied.database:
                beside |= {name + end for end in steady.SIDE_FILES}
            if copied.doubt:
                self.doubts.append(f"{_told(path)}: {copied.doubt}")
            with copied.content:
                member = Member(_name(path, top), copied.size, copied.mode & 0o777, copied.mtime)
                archive.add(member, copied.content)
            self._files += 1
            self._progress.step(copied.size)

    def _unread(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            path = Path(os.fsdecode(error.filename))
            self.doubts.append(f"{_told(path)} cannot be read ({error.strerror})")


def check_named(file: str | None) -> None:
    """Raises BackupRefused for an option that was misspelt and would be taken for a file."""
    if file is not None and file.startswith("-") and file != "-":
        raise BackupRefused(
            f"{shown(file)} is no option: it is --force, or write ./{shown(file)} for a file of"
            " that name."
        )


def count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _stored(state_dir: StateDir) -> Rows:
    state = state_dir.read()
    if state is None:
        raise _nothing(state_dir)
    rows = list(snapshot.read(state))
    if not kept.has_key(rows):  # moved to a store
        raise _nothing(state_dir)
    return rows


def _nothing(state_dir: StateDir) -> BackupRefused:
    return BackupRefused(
        f"There is no state in {state_dir.path}, and nothing was backed up: start the server once,"
        " or set MCP_STATE_DIR and MCP_STORAGE_URL as the server has them."
    )


async def _flush(state_dir: StateDir) -> None:
    for attempt in range(ATTEMPTS):
        try:
            await ControlStore(state_dir.control_socket).flush()
            return
        except StoreUnavailable:
            if attempt == ATTEMPTS - 1:
                raise
            await asyncio.sleep(PAUSE_SECONDS)  # it may be about to start


@contextmanager
def _scratch(state_dir: Path) -> Iterator[Path]:
    """Makes a folder for copies; one that a death left behind is removed."""
    remove_dead(state_dir.glob(f"{SCRATCH}*"))
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=state_dir) as name:
        handle = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield Path(name)
        finally:
            os.close(handle)


def _name(path: Path, top: Path) -> str:
    return f"{DATA}/{path.relative_to(top).as_posix()}"


def _told(path: Path) -> str:
    return shown(str(path))
