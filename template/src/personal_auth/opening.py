"""How the state is opened and closed: to serve on it, or for one command.

It is opened before the port is bound. On the file store that takes the directory's lock; on
another store it waits for the event loop. The key that seals and the first password are made once
and never replaced.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from contextvars import Context

from personal_auth import audit
from personal_auth.adoption import adopt, is_foreign, say_adopted
from personal_auth.audit import Event
from personal_auth.background import looked_at
from personal_auth.control import ControlServer, ControlStore
from personal_auth.errors import StartRefused, StateDirLost, StoreUnavailable
from personal_auth.firststart import FirstStart, check_nothing_left, sealer_of
from personal_auth.plan import Plan
from personal_auth.records import Records
from personal_auth.sealing import Sealer
from personal_auth.shared import SharedStore
from personal_auth.store import Put, SnapshotStore
from personal_auth.writing import cause

LOCK_ATTEMPTS, LOCK_PAUSE_SECONDS = 20, 0.05


class State:
    """What one server keeps; `records` reads and writes it once it is open."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._first = FirstStart(plan.state_dir)
        self._snapshot: SnapshotStore | None = None
        store = plan.storage
        if store is None:
            store = self._snapshot = SnapshotStore(
                plan.save, clock=plan.clock, later=plan.limits.write_later_seconds
            )
        self.records = Records(store, plan.limits.store_call_seconds)
        self._sealer: Sealer | None = None
        self._control: ControlServer | None = None
        self._started = False
        self._starting: asyncio.Task[None] | None = None

    def sealer(self) -> Sealer:
        """Returns what seals; the state must be open."""
        if self._sealer is None:
            raise StoreUnavailable
        return self._sealer

    def forget_first_password(self) -> None:
        """Deletes the file with the first password: the owner has shown that it is known."""
        self._first.forget()

    def open(self) -> None:
        """Takes the lock, reads the state and makes what a first start needs; once.

        Raises:
            StartRefused: Another process holds the directory, or the state cannot be used.
        """
        if self._snapshot is None:
            if not self._plan.state_dir.share():
                raise StartRefused(
                    f"A backup is being restored over {self._plan.state_dir.path}: wait for its"
                    " end, then start."
                )
            self._plan.state_dir.check_whole()
            self._open_trail()
            return
        if self._sealer is not None:
            return
        if not self._acquire():
            raise StartRefused(
                f"Another server runs on the state directory {self._plan.state_dir.path}:"
                " stop it, or give this one a state directory of its own."
            )
        self._open_trail()
        try:
            self._open_file(self._snapshot, serving=True)
        except BaseException:
            self._plan.state_dir.release()
            raise
        self._say_moved(self._snapshot)

    async def try_to_start(self, patience: float | None) -> None:
        """Does as `start`; the state that does not answer is told to whoever asks for it."""
        if not self._started:
            with suppress(StoreUnavailable):
                await self.start(patience)

    async def start(self, patience: float | None = None) -> None:
        """Opens what needs an event loop; all who ask at once wait for the one attempt.

        Args:
            patience: How many seconds to wait; the attempt goes on without whoever waited.

        Raises:
            StoreUnavailable: The store does not answer; the next call tries again.
        """
        if self._started:
            return
        self._open_trail()  # once more, where the same server is started again
        if self._starting is None:
            # Of no request in particular: what it logs names nobody's address.
            loop = asyncio.get_running_loop()
            self._starting = loop.create_task(self._start(), context=Context())
            self._starting.add_done_callback(looked_at)
        attempt = self._starting
        await asyncio.wait({attempt}, timeout=patience)
        if not attempt.done():
            raise StoreUnavailable
        attempt.result()

    async def _start(self) -> None:
        try:
            if self._snapshot is None:
                await self._open_store()
            else:
                self.open()
                await self._serve_commands(self._snapshot)
            self._started = True
        except StartRefused as error:
            if self._snapshot is not None:
                raise
            audit.record(Event.STORE_FAILED, str(error))  # the port is open: answer 503
            raise StoreUnavailable from error
        finally:
            self._starting = None

    async def _serve_commands(self, snapshot: SnapshotStore) -> None:
        control = ControlServer(snapshot, self._plan.state_dir.control_socket)
        try:
            await control.start()
        except OSError as error:
            note = "Commands cannot reach this server until it is started again."
            audit.record(Event.STORE_FAILED, note, reason=cause(error))
        else:
            self._control = control

    async def close(self) -> None:
        """Writes what is still in memory and lets go of the state directory."""
        try:
            await self._close()
        finally:
            if self._plan.trail is not None:
                await asyncio.to_thread(self._plan.trail.close)

    async def _close(self) -> None:
        if self._control is not None:
            await self._control.stop()
            self._control = None
        if self._snapshot is not None:
            await self._snapshot.close()
        elif isinstance(self._plan.storage, SharedStore):
            await self._plan.storage.close()
        self._plan.state_dir.release()
        self._sealer, self._started = None, False

    async def open_for_a_command(self) -> None:
        """Opens the state for one command, whether a server runs on it or not.

        Raises:
            StartRefused: The state cannot be used.
            StoreUnavailable: The running server does not answer.
        """
        if self._snapshot is None:
            if isinstance(self._plan.storage, SharedStore):
                await self._plan.storage.reach()  # says why it cannot
            await self._open_store()
        else:
            await self._open_or_join(self._snapshot)
        if self._plan.trail is not None:
            self._plan.trail.listen()

    def _open_trail(self) -> None:
        if self._plan.trail is not None:
            self._plan.trail.open()

    async def _open_or_join(self, snapshot: SnapshotStore) -> None:
        """Opens the file, or reaches the server that holds it; waits for another command."""
        state_dir = self._plan.state_dir
        for attempt in range(LOCK_ATTEMPTS):
            if state_dir.acquire():
                self.records.use(snapshot)
                self._open_file(snapshot, serving=False)
                return
            self.records.use(ControlStore(state_dir.control_socket))
            try:
                self._sealer = sealer_of(await self.records.get("owner", "key"))
                return
            except StoreUnavailable:
                if attempt == LOCK_ATTEMPTS - 1:
                    raise
            await asyncio.sleep(LOCK_PAUSE_SECONDS)

    def _open_file(self, snapshot: SnapshotStore, *, serving: bool) -> None:
        make_password = serving and self._plan.password is None
        adopted = self._load(snapshot)
        key = snapshot.peek("owner", "key")
        puts, password = self._first.missing(key, snapshot.peek("owner", "password"), make_password)
        sealer = sealer_of(key or puts[0].value)
        self._first.leave(password)  # first: a stored password that nobody was told locks all out
        self._first.show(password)
        try:  # a server writes without need: whether it can is told now, not at a sign-in
            if serving or adopted or puts:
                snapshot.put_at_start([*adopted, *puts])
        except StateDirLost as error:
            raise StartRefused(str(error)) from error
        except Exception as error:
            raise StartRefused(
                f"The state cannot be written ({cause(error)}): make room in"
                f" {self._plan.state_dir.path}, or give this user the right to write there."
            ) from error
        if adopted:
            say_adopted(adopted)
        self._sealer = sealer

    def _load(self, snapshot: SnapshotStore) -> list[Put]:
        """Takes over the stored state; returns what is to be written of an adopted one."""
        plan = self._plan
        plan.state_dir.check_whole()
        try:
            state = plan.load()
        except StartRefused:
            raise
        except Exception as error:  # a hook of the owner's
            raise StartRefused(f"The stored state cannot be loaded ({cause(error)}).") from error
        if not is_foreign(state):
            snapshot.load(state)
            return []
        snapshot.load(None)
        return adopt(state, plan.identity, plan.clock(), plan.access_seconds, plan.limits)

    async def _open_store(self) -> None:
        self._plan.state_dir.check_whole()
        key, password = await self.records.get_together(("owner", "key"), ("owner", "password"))
        if key is None:
            check_nothing_left(self._plan.state_dir)
        puts = self._first.propose(key, password, self._plan.password is None)
        if puts:
            held = dict(
                zip([put.key for put in puts], await self.records.put_new(*puts), strict=True)
            )
            key, password = held.get("key", key), held.get("password", password)
        self._first.settle(password)
        self._sealer = sealer_of(key)

    def _acquire(self) -> bool:
        """Takes the lock; waits a moment for a command that holds it."""
        for _ in range(LOCK_ATTEMPTS):
            if self._plan.state_dir.acquire():
                return True
            time.sleep(LOCK_PAUSE_SECONDS)
        return False

    def _say_moved(self, snapshot: SnapshotStore) -> None:
        here = self._plan.identity.issuer
        epoch = (snapshot.peek("grants", "epoch") or {"id": ""})["id"]
        grants = [grant for grant in snapshot.values("grants") if grant.get("epoch") == epoch]
        others = [grant["issuer"] for grant in grants]
        for there in sorted({issuer for issuer in others if issuer != here}):
            audit.record(
                Event.URL_CHANGED,
                f"The public URL changed from {there} to {here}."
                f" Connections made for {there}: {others.count(there)}. Remove and add"
                f" {self._plan.identity.resource} in each client."
                f" Setting {there} again brings them back.",
            )
