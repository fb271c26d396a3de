"""The command that takes the state from one store to another; no server may run meanwhile."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter

from personal_auth import StartRefused, open_store
from personal_auth.moving import Whole, file_store, move, survey
from personal_auth.remote import check_url, named
from personal_auth.shared import SharedStore
from personal_auth.statedir import StateDir
from personal_server.settings import SettingRefused, Settings, load

FILE, STANDARD_INPUT = "file", "-"
Target = Annotated[str, Parameter(allow_leading_hyphen=True)]  # "-" is one
TERMINAL_SECONDS, LINE_SECONDS = 0.2, 10.0  # between two words on how far it has come


@dataclass(frozen=True)
class Place:
    """Where a state is, or goes; `url` None is the file in the state directory."""

    url: str | None = field(repr=False)
    folder: Path
    guarded: bool = True

    @property
    def name(self) -> str:
        if self.url is None:
            return f"the file in {self.folder}"
        return f"t{named(self.url)[1:]}"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Whole]:
        if self.url is None:
            async with file_store(StateDir(self.folder)) as snapshot:
                yield snapshot
            return
        store = open_store(self.url)
        try:
            await store.reach()
            if self.guarded:
                await self._refuse_others(store)
            yield store
        finally:
            await store.close()

    async def _refuse_others(self, store: SharedStore) -> None:
        if others := await store.others():
            raise StartRefused(
                f"Servers are connected to {self.name} (connections: {others}): stop every server"
                " that uses it, and do this again; where only a pooler holds them, say --anyway."
            )


def move_to(target: Target, /, *, dry_run: bool = False, anyway: bool = False) -> None:
    """Take the state to another store, with every connection; clients go on without signing in.

    Stop every server first. It goes from where the settings say to TARGET. Once all has arrived
    and was read back, it is removed from where it was. Cut off, the same command goes on.

    Parameters
    ----------
    target
        A redis://, rediss:// or postgresql:// URL; `file`, for the state directory; or `-`, to read
        the URL from standard input, where no list of processes shows its password.
    dry_run
        Only say what would be moved, and whether it can be.
    anyway
        Move although servers seem to be connected to one of the stores.
    """
    settings = load()
    here, there = _places(settings, target, guarded=not anyway)
    if dry_run:
        found = asyncio.run(_survey(here, there))
        print(f"From {here.name} to {there.name} would go:\n{_counted(found)}")
        print("Nothing was written. Once moved, it is removed from where it is now.")
        return
    moved = asyncio.run(_move(here, there))
    print(f"From {here.name} to {there.name} went:\n{_counted(moved)}")
    print(f"{_next_setting(there)}\nThen start the server; clients stay connected.")


async def _survey(here: Place, there: Place) -> Counter[str]:
    async with here.opened() as source, there.opened() as target:
        return await survey(source, target, there.name)


async def _move(here: Place, there: Place) -> Counter[str]:
    async with here.opened() as source, there.opened() as target:
        return await move(source, target, there.name, _Progress())


def _places(settings: Settings, target: str, *, guarded: bool) -> tuple[Place, Place]:
    if target == STANDARD_INPUT:
        target = sys.stdin.readline().strip()
    try:
        url = None if target == FILE else check_url(target)
    except ValueError as error:
        raise SettingRefused(f"The target is refused: {error}; or write file.") from None
    here = Place(settings.storage_url, settings.state_dir, guarded)
    there = Place(url, settings.state_dir, guarded)
    if here.name == there.name:
        raise SettingRefused(
            f"The state is in {here.name} already: MCP_STORAGE_URL says where it is taken from, so"
            " leave that as it is until the move is done."
        )
    return here, there


def _next_setting(there: Place) -> str:
    if there.url is None:
        return "Now remove MCP_STORAGE_URL from .env, or wherever it is set."
    if urlsplit(there.url).password:
        return f"Now set MCP_STORAGE_URL in .env to the URL of {there.name}."
    return f"Now set this in .env: MCP_STORAGE_URL={there.url}"


def _counted(found: Counter[str]) -> str:
    lines = [f"    {number:6} {name}" for name, number in sorted(found.items())]
    return "\n".join(lines) or "         0 (the rest of a move that was cut off)"


class _Progress:
    """Says how far it has come: in place on a terminal, else with a line now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._every = TERMINAL_SECONDS if self._terminal else LINE_SECONDS
        self._next = time.monotonic() + self._every

    def __call__(self, done: int, whole: int) -> None:
        if self._terminal and done == whole:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            begin, end = ("\r", "") if self._terminal else ("", "\n")
            print(f"{begin}{done} of {whole} records", end=end, file=sys.stderr, flush=True)
