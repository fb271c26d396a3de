"""One authorization server: its parts, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from personal_auth.clients import Clients
from personal_auth.connections import Connections
from personal_auth.documents import Documents
from personal_auth.errors import InvalidToken
from personal_auth.grants import Connection, Grants
from personal_auth.opening import State
from personal_auth.owner import Owner
from personal_auth.plan import Plan
from personal_auth.readiness import Readiness
from personal_auth.registration import Registrations
from personal_auth.seen import Seen


class Service:
    """The running parts; they may be used once the state is open."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.state = State(plan)
        self.records, self.sealer = self.state.records, self.state.sealer
        self.can_narrow = False  # until something holds connections to reading
        self.readiness = Readiness(self._prove, plan.limits)
        self.clients = Clients(
            self.records,
            Registrations(self.records, self.sealer, plan.limits, plan.clock),
            Documents(plan.fetch, plan.limits, plan.clock) if plan.limits.document_bytes else None,
            plan.prove,
            plan.own_clients,
        )
        self.owner = Owner(
            self.records,
            self.sealer,
            plan.identity,
            plan.limits,
            clock=plan.clock,
            configured=plan.password,
            proven=self.state.forget_first_password,
        )
        self.seen = Seen(self.records, plan.limits, plan.clock)
        self.connections = Connections(self.records, self.seen, plan.limits, plan.clock)
        self.grants = Grants(
            self.records,
            self.sealer,
            plan.identity,
            plan.limits,
            connections=self.connections,
            clock=plan.clock,
            access_seconds=plan.access_seconds,
            refresh_seconds=plan.refresh_seconds,
        )

    async def check(self, access: str) -> Connection:
        """Returns what an access token opens.

        Raises:
            InvalidToken: Nothing; or its client was taken out of the settings; or it is held to
                reading, and nothing here does that.
        """
        self.sealer()  # a store that did not answer at the start is not waited for here
        connection = await self.grants.check(access)
        if connection.own_client and connection.client_id not in self._plan.own_clients:
            raise InvalidToken("The client is no longer in the server's settings.")
        if connection.read_only and not self.can_narrow:
            raise InvalidToken("The connection may only read, which this server cannot enforce.")
        self.seen.saw(connection.grant_id)
        return connection

    async def stop(self) -> None:
        """Writes what is still in memory and lets go of the state."""
        try:
            await self.seen.write()
        finally:
            await self.state.close()

    @asynccontextmanager
    async def for_a_command(self) -> AsyncIterator[Service]:
        """Opens the state for one command, whether a server runs on it or not.

        Raises:
            StartRefused: The state cannot be used.
            StoreUnavailable: The running server does not answer.
        """
        try:
            await self.state.open_for_a_command()
            yield self
        finally:
            await self.stop()

    async def _prove(self) -> None:
        await self.state.start()
        await self.records.prove()
