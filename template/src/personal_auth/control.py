"""How a command reaches the state of a server that runs: JSON lines over a Unix socket.

The process that holds the state directory's lock serves `control.sock` (mode 0600); a command
that does not get the lock speaks to it through `ControlStore`, so every command is the same code
whether the server runs or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, SupportsFloat

from personal_auth.errors import NotOnDisk, StoreUnavailable
from personal_auth.store import Put, SnapshotStore

SOCKET_PATH_BYTES = 100  # what macOS allows, less a little
ELSEWHERE = "personal-auth-"
LINE_BYTES = 64 * 1024 * 1024  # the longest answer is the list of all keys


class ControlServer:
    """Serves a `SnapshotStore` to the owner's commands."""

    def __init__(self, store: SnapshotStore, path: Path) -> None:
        self._store = store
        self._path = path
        self._server: asyncio.Server | None = None
        self._bound: os.stat_result | None = None

    async def start(self) -> None:
        """Listens; a socket that a dead process left behind is replaced."""
        self._remove()
        where = str(self._path)
        if len(os.fsencode(os.path.abspath(where))) > SOCKET_PATH_BYTES:
            folder = tempfile.mkdtemp(prefix=ELSEWHERE)  # mode 0700
            where = os.path.join(folder, "control.sock")
            self._path.symlink_to(where)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            listener.bind(where)
        finally:
            os.umask(before)
        self._bound = os.stat(where)
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=LINE_BYTES)

    async def stop(self) -> None:
        """Stops listening and removes the socket, unless its directory is another one by now."""
        if self._server is None:
            return
        with contextlib.suppress(OSError):  # a disk that is read-only by now
            if self._is_ours():  # asked before the close: then another may have its number
                self._remove()
        self._server.close()
        self._server = None

    def _is_ours(self) -> bool:
        return self._bound is not None and os.path.samestat(self._path.stat(), self._bound)

    def _remove(self) -> None:
        if self._path.is_symlink():
            elsewhere = Path(os.readlink(self._path)).parent
            if elsewhere.name.startswith(ELSEWHERE):
                shutil.rmtree(elsewhere, ignore_errors=True)
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                try:
                    answer = {"ok": await self._answer(json.loads(line))}
                except NotOnDisk as error:
                    answer = {"error": str(error), "held": True}
                except (StoreUnavailable, ValueError, KeyError, TypeError, RecursionError) as error:
                    answer = {"error": str(error)}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()

    async def _answer(self, request: dict[str, Any]) -> Any:
        store, collection = self._store, request.get("collection", "")
        match request["op"]:
            case "get":
                return await store.get(request["key"], collection=collection)
            case "put":
                key, value = request["key"], dict(request["value"])
                ttl, gives = request.get("ttl"), request.get("gives") is True
                return await store.put_together([Put(collection or "", key, value, ttl, gives)])
            case "delete":
                return await store.delete(request["key"], collection=collection)
            case "keys":
                return await store.all_keys(collection)
            case "flush":
                return await store.flush()
            case operation:
                raise ValueError(f"unknown operation {operation!r}")


class ControlStore:
    """The state of a running server, seen from another process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def get(self, key: str, *, collection: str | None = None) -> dict[str, Any] | None:
        answer = await self._ask({"op": "get", "key": key, "collection": collection})
        return answer if isinstance(answer, dict) else None

    async def put(
        self,
        key: str,
        value: Mapping[str, Any],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        life = None if ttl is None else float(ttl)
        await self.put_together([Put(collection or "", key, dict(value), life)])

    async def put_together(self, puts: Sequence[Put]) -> None:
        """Writes records, one after the other."""
        for put in puts:
            await self._ask({"op": "put", **asdict(put)})

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        return bool(await self._ask({"op": "delete", "key": key, "collection": collection}))

    async def all_keys(self, collection: str) -> list[str]:
        keys: list[str] = await self._ask({"op": "keys", "collection": collection})
        return keys

    async def flush(self) -> None:
        """Returns once every change made before the call is on disk.

        Raises:
            StoreUnavailable: It cannot be written, or nobody answers.
        """
        await self._ask({"op": "flush"})

    async def _ask(self, request: dict[str, Any]) -> Any:
        try:
            reader, writer = await asyncio.open_unix_connection(
                os.path.realpath(self._path), limit=LINE_BYTES
            )
        except OSError as error:
            raise StoreUnavailable(
                f"Another process holds {self._path.parent} and does not answer on"
                f" {self._path.name}: wait until it has started, or stop it."
            ) from error
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            await writer.drain()
            answer = json.loads(await reader.readline() or b'{"error": "the server went away"}')
        finally:
            writer.close()
        if "error" in answer:
            refused = NotOnDisk if answer.get("held") else StoreUnavailable
            raise refused(f"The running server could not do that: {answer['error'].rstrip('.')}.")
        return answer["ok"]
