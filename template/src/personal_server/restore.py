"""The command `restore`: a backup takes the place of what is here, whole or not at all.

The backup is first unpacked beside what is here and checked to its end. Then a mark is written that
says which names go aside and which take their places, and only then is anything moved. While the
mark is there no server starts; whoever runs `restore` again goes on where it was cut off.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from personal_auth import snapshot
from personal_auth.statedir import PASSWORD_FILE, STATE_FILE, StateDir, replace_durably
from personal_server import kept
from personal_server.archive import BackupRefused, Manifest, Reader, shown
from personal_server.backup import OURS, Place, check_named, count
from personal_server.kept import Rows
from personal_server.settings import Settings, answers, load
from personal_server.swap import Mark, Swap, sync_folder
from personal_server.unpacking import Unpacking, write_new

STAGED, ASIDE = ".restore-", ".before-restore-"
ATTEMPTS, PAUSE_SECONDS = 20, 0.05


def restore(file: Place, /, *, force: bool = False) -> None:
    """Put a backup in the place of what is here. The server must be stopped.

    Cut off, it goes on when it is run again.

    Parameters
    ----------
    file
        What `backup` has made; "-" is standard input.
    force
        Also when there is a state or data: they are put aside, and it is said where.
    """
    check_named(file)
    settings = load()
    state_dir = StateDir(settings.state_dir)
    _take_lock(state_dir)
    try:
        with _opened(file) as raw:
            Restore(settings, state_dir, force).run(raw)
    except OSError as error:
        raise BackupRefused(_sentence(error, state_dir)) from error
    finally:
        state_dir.release()


class Restore:
    """One restore, which holds the state directory."""

    def __init__(self, settings: Settings, state_dir: StateDir, force: bool) -> None:
        self._settings = settings
        self._state_dir = state_dir
        self._force = force
        self._data = settings.data_dir.resolve()
        self._name = f"{STAGED}{secrets.token_hex(4)}"

    def run(self, raw: BinaryIO) -> None:
        """Restores the backup.

        Raises:
            BackupRefused: It was refused, and what is here is as it was.
            OSError: The same, unless the mark is there by now.
        """
        finished = self._finish_earlier()
        archive = Reader(raw)
        if finished == archive.manifest.id:
            return
        self._sweep()
        self._check_room_for_it()
        try:
            rows, files = Unpacking(self._state_dir.path, self._data, self._name).run(archive)
            mark = self._mark(archive.manifest)
            self._write_mark(mark)
        except BaseException:
            self._sweep()
            raise
        self._carry_out(mark)
        self._say(archive.manifest, rows, files, mark)

    def _finish_earlier(self) -> str | None:
        """Finishes a restore that was cut off; returns the id of its backup."""
        try:
            mark = Mark.read(self._state_dir.restore_file.read_bytes())
        except FileNotFoundError:
            return None
        if mark.store != bool(self._settings.storage_url):
            raise BackupRefused(
                "A restore was cut off, and MCP_STORAGE_URL was another then: set it as it was, and"
                " run this again."
            )
        self._carry_out(mark)
        print("A restore that was cut off is finished.")
        return mark.id

    def _check_room_for_it(self) -> None:
        there = [str(swap.folder / name) for swap in self._swaps("") for name in swap.old]
        if url := self._settings.storage_url:
            kept.check_alone(url)
        if self._kept_before():
            there.append("a state in the store that MCP_STORAGE_URL names")
        if there and not self._force:
            raise BackupRefused(
                f"There is {shown(there[0])} already, and nothing was restored: --force puts aside"
                " what is there and restores."
            )

    def _kept_before(self) -> Rows:
        return kept.rows(self._settings.storage_url) if self._settings.storage_url else []

    def _swaps(self, aside: str) -> list[Swap]:
        state, data = self._state_dir.path.resolve(), self._data
        of_the_state = [STATE_FILE, PASSWORD_FILE]
        return [
            Swap(data, self._name, aside, _names(data), _names(data / self._name)),
            Swap(
                state,
                self._name,
                aside,
                [name for name in of_the_state if os.path.lexists(state / name)],
                [] if self._settings.storage_url else _names(state / self._name),
            ),
        ]

    def _mark(self, manifest: Manifest) -> Mark:
        aside = f"{ASIDE}{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        swaps = self._swaps(aside)
        if before := self._kept_before():  # rows have no name that could go aside: they are copied
            folder = self._state_dir.path / aside
            folder.mkdir(mode=0o700)
            write_new(folder / f"store-{STATE_FILE}", [kept.document(before)], 0o600)
            sync_folder(folder)
        return Mark(manifest.id, swaps, bool(self._settings.storage_url))

    def _write_mark(self, mark: Mark) -> None:
        for swap in mark.swaps:
            swap.sync_staged()
        folder = os.open(self._state_dir.path, os.O_RDONLY)
        try:
            replace_durably(folder, self._state_dir.restore_file.name, mark.document())
        finally:
            os.close(folder)

    def _carry_out(self, mark: Mark) -> None:
        for swap in mark.swaps:
            swap.carry_out()
        if mark.store and (url := self._settings.storage_url):
            raw = (self._state_dir.path / mark.swaps[-1].staged / STATE_FILE).read_bytes()
            kept.replace(url, list(snapshot.read(json.loads(raw))))
        self._state_dir.restore_file.unlink()
        sync_folder(self._state_dir.path)
        for swap in mark.swaps:
            shutil.rmtree(swap.folder / swap.staged, ignore_errors=True)

    def _sweep(self) -> None:
        """Removes what was unpacked by a restore that never came to move anything."""
        for folder in (self._state_dir.path, self._data):
            for path in folder.glob(f"{STAGED}*"):
                shutil.rmtree(path, ignore_errors=True)

    def _say(self, manifest: Manifest, rows: Rows, files: int, mark: Mark) -> None:
        alive = kept.connections(rows)
        command = answers()["project_name"]
        lines = [
            f"Restored the backup of {_moment(manifest.made)}: {count(alive, 'connection')} and"
            f" {count(files, 'file')}.",
        ]
        places = [swap.folder / swap.aside for swap in mark.swaps]
        asides = [str(place) for place in places if place.is_dir()]
        if asides:
            lines.append(
                f"What was here before is in {' and '.join(asides)}: delete that once nothing of it"
                " is missed."
            )
        if manifest.public_url != self._settings.public_url:
            lines.append(
                f"The backup was made for {shown(manifest.public_url)} and this server is"
                f" {self._settings.public_url}: its connections rest until the address is the same"
                " again, so add this one anew in each client, or set MCP_PUBLIC_URL."
            )
        lines.append(
            "What was ended after that moment is alive again, and a password that was changed since"
            f" is the old one: `{command} connections` lists them, `{command} connections revoke"
            f" ID` ends one, `{command} password --revoke-all` sets a password and ends them all."
        )
        print("\n".join(lines))


def _take_lock(state_dir: StateDir) -> None:
    for _ in range(ATTEMPTS):
        if state_dir.acquire():
            return
        time.sleep(PAUSE_SECONDS)  # a command may hold it for a moment
    raise BackupRefused(
        f"A server runs on the state directory {state_dir.path}, and nothing was restored: stop it,"
        " restore, then start it again."
    )


@contextlib.contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file != "-":
        try:
            raw = open(file, "rb")  # noqa: SIM115
        except OSError as error:
            raise BackupRefused(
                f"{file} cannot be read ({error.strerror}), and nothing was restored: name a file"
                " that `backup` has made."
            ) from error
        with raw:
            yield raw
        return
    if sys.stdin.isatty():
        raise BackupRefused("Nothing comes in: lead a backup into it, as in `restore - < FILE`.")
    yield sys.stdin.buffer


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith(OURS))
    except FileNotFoundError:
        return []


def _moment(made: int) -> str:
    try:
        return f"{datetime.fromtimestamp(made, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return "an unknown day"


def _sentence(error: OSError, state_dir: StateDir) -> str:
    where = f"{shown(str(error.filename))}: " if error.filename else ""
    begun = state_dir.restore_file.exists()
    return (
        f"The backup cannot be restored ({where}{error.strerror or error}): "
        + (
            "make room"
            if error.errno == errno.ENOSPC
            else "give this user the right to write there"
        )
        + (", then run it again to finish." if begun else "; what was here is as it was.")
    )
