"""Where a backup is written: to standard output, or a file that has its name once it is whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from personal_server.archive import BackupRefused
from personal_server.settings import Settings, answers

DEAD_SECONDS = 60.0


@contextmanager
def written(target: Path | None, settings: Settings, force: bool) -> Iterator[BinaryIO]:
    """Opens what the backup is written to; a file has its name only once it is whole."""
    try:
        if target is None:
            yield _standard_output()
            sys.stdout.buffer.flush()
        else:
            _check_place(target, settings, force)
            with _file(target, force) as out:
                yield out
    except BrokenPipeError as error:
        raise BackupRefused(
            "Whatever reads this backup went away before its end: what it has is no backup."
        ) from error
    except OSError as error:
        raise BackupRefused(
            f"The backup cannot be made ({error.strerror or error}): nothing of it is left."
            + (" Make room, there or in the state directory." if is_full(error) else "")
        ) from error


def _standard_output() -> BinaryIO:
    if sys.stdout.isatty():
        raise BackupRefused(
            "A backup is no text for a terminal: name a file, or lead it into one with"
            " `- > FILE`, in a container with `exec -T`."
        )
    return sys.stdout.buffer


def _check_place(target: Path, settings: Settings, force: bool) -> None:
    folder, data = target.parent.resolve(), settings.data_dir.resolve()
    if folder == data or data in folder.parents:
        raise BackupRefused(
            f"{target} lies in {data}, so the next backup would hold this one: name another place."
        )
    if not folder.is_dir():
        raise BackupRefused(f"There is no folder {folder}: make it, or name another place.")
    if os.path.lexists(target) and not force:
        raise _there_already(target)


def _there_already(target: Path) -> BackupRefused:
    return BackupRefused(
        f"{target} is there already and was left as it is: name another file, or say --force."
    )


@contextmanager
def _file(target: Path, force: bool) -> Iterator[BinaryIO]:
    start, end = ".", f".{answers()['project_name']}.part"
    remove_dead(target.parent.glob(f"{start}*{end}"))
    handle, name = tempfile.mkstemp(end, start, target.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as out:
            fcntl.flock(out, fcntl.LOCK_EX)
            yield out
            out.flush()
            os.fsync(out.fileno())
            _give_name(Path(name), target, force)
    finally:
        Path(name).unlink(missing_ok=True)


def _give_name(part: Path, target: Path, force: bool) -> None:
    if not force:
        try:
            os.link(part, target)
        except FileExistsError:
            raise _there_already(target) from None
        except OSError:  # a disk without hard links, such as a stick
            if os.path.lexists(target):
                raise _there_already(target) from None
            part.rename(target)
    else:
        part.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_dead(paths: Iterator[Path]) -> None:
    """Removes what a backup that died has left behind."""
    for path in paths:
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.lstat().st_mtime > time.time() - DEAD_SECONDS:
                    continue  # of another backup that is about to lock it
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(handle)


def is_full(error: OSError) -> bool:
    """Tells whether there is no room."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}
