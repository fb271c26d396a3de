"""What stood in a folder goes aside and what was staged takes its place, by renames only.

Each name is moved at most once, whoever begins again after a death, and nothing is deleted. All
happens inside the folder, for a volume's own folder cannot be renamed.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from personal_server.archive import BackupRefused


@dataclass(frozen=True)
class Swap:
    """The names `old` of a folder go into its folder `aside`, `new` come out of `staged`."""

    folder: Path
    staged: str
    aside: str
    old: list[str]
    new: list[str]

    def carry_out(self) -> None:
        """Moves what has not been moved yet.

        Raises:
            BackupRefused: What was staged is gone.
        """
        staged, aside = self.folder / self.staged, self.folder / self.aside
        if not staged.is_dir():
            raise BackupRefused(
                f"A restore was cut off and cannot be finished, for {staged} is gone: put back what"
                f" lies in {aside}, delete the file restore-under-way, and restore with --force."
            )
        if self.old:
            aside.mkdir(mode=0o700, exist_ok=True)
            sync_folder(self.folder)
        placed = {name for name in self.new if not os.path.lexists(staged / name)}
        for name in self.old:
            if name not in placed and not os.path.lexists(aside / name):
                with contextlib.suppress(FileNotFoundError):  # somebody else has deleted it
                    os.rename(self.folder / name, aside / name)
        if self.old:
            sync_folder(aside)
        for name in self.new:
            if os.path.lexists(staged / name):
                os.rename(staged / name, self.folder / name)
        sync_folder(self.folder)

    def sync_staged(self) -> None:
        """Returns once the names of what was staged are on disk."""
        for folder, _, _ in os.walk(self.folder / self.staged):
            sync_folder(Path(folder))
        sync_folder(self.folder)


@dataclass(frozen=True)
class Mark:
    """What a restore of the backup `id` is about to move; on a `store` the state is rows."""

    id: str
    swaps: list[Swap]
    store: bool = False

    def document(self) -> bytes:
        """Returns what `read` reads."""
        return json.dumps(asdict(self), default=str).encode()

    @classmethod
    def read(cls, raw: bytes) -> Mark:
        """Reverses `document`."""
        document: dict[str, Any] = json.loads(raw)
        swaps = [Swap(Path(swap.pop("folder")), **swap) for swap in document["swaps"]]
        return cls(document["id"], swaps, document["store"])


def sync_folder(path: Path) -> None:
    """Returns once the names in a folder are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
