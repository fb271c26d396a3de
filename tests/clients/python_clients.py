"""Programs with one of the Python clients in them, and the person who runs them.

FastMCP's client and the SDK's: what each keeps is in a store that outlives the program, and each
speaks either the newest revision of the protocol or the era before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import fastmcp
import httpx2
import mcp
from fastmcp.client.auth import OAuth
from key_value.aio.stores.simple import SimpleStore
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from pydantic import AnyUrl

from tests.clients.house import PASSWORD, House
from tests.support.approve import approve, follow

CALLBACK = "http://localhost:3030/callback"


@dataclass
class Person:
    """Opens what programs open, signs in on that page, and approves; `chooses` is what else."""

    place: House
    chooses: dict[str, str] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    _hands: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2))
    _under_way: list[Future[str]] = field(default_factory=list)

    def decide(self, address: str) -> str:
        """Returns where the page sends the browser."""
        self.opened.append(address)
        return approve(address, PASSWORD, authority=self.place.authority, **self.chooses)

    def open(self, address: str) -> bool:
        """Does as a browser that is started: returns at once, and goes on to the callback."""
        self._under_way.append(self._hands.submit(lambda: follow(self.decide(address))))
        return True

    def rest(self) -> None:
        """Waits for all that was opened; raises what went wrong with it."""
        self._hands.shutdown()
        for future in self._under_way:
            assert future.result().startswith("200 ")


@dataclass
class Program:
    """A program that was started; `again` is what starts it a second time."""

    place: House
    person: Person
    mode: str = "auto"
    document: str | None = None
    store: Any = None

    def again(self) -> Program:
        return type(self)(self.place, self.person, self.mode, self.document, self.store)

    def connected(self) -> Any:
        """Returns a context with the client."""
        raise NotImplementedError

    async def kept(self) -> tuple[OAuthToken, OAuthClientInformationFull]:
        """Returns the tokens and the registration that the store holds."""
        raise NotImplementedError

    async def tools(self, client: Any) -> list[str]:
        listed = await client.list_tools()
        return [tool.name for tool in getattr(listed, "tools", listed)]


@dataclass
class WithFastMcp(Program):
    """Opens the browser itself, and listens on a port of the day."""

    def __post_init__(self) -> None:
        self.store = self.store or SimpleStore()
        self.auth = OAuth(
            token_storage=self.store, client_metadata_url=self.document, callback_timeout=20
        )

    def connected(self) -> Any:
        return fastmcp.Client(
            self.place.mcp, auth=self.auth, verify=self.place.tls, mode=self.mode, timeout=20
        )

    async def kept(self) -> tuple[OAuthToken, OAuthClientInformationFull]:
        adapter = self.auth.token_storage_adapter
        tokens, registration = await adapter.get_tokens(), await adapter.get_client_info()
        assert tokens is not None
        assert registration is not None
        return tokens, registration


@dataclass
class Cupboard:
    """The SDK's `TokenStorage` in memory."""

    tokens: OAuthToken | None = None
    registration: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.registration

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.registration = client_info


@dataclass
class WithSdk(Program):
    """Leaves the browser to its program, which hands the answer back."""

    def __post_init__(self) -> None:
        self.store = self.store or Cupboard()
        self.auth = OAuthClientProvider(
            self.place.mcp,
            OAuthClientMetadata(
                client_name="A program in Python",
                redirect_uris=[AnyUrl(CALLBACK)],
                token_endpoint_auth_method="none",
            ),
            self.store,
            self._open,
            self._answer,
            client_metadata_url=self.document,
        )

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[mcp.Client]:
        async with httpx2.AsyncClient(auth=self.auth, verify=self.place.tls, timeout=20) as http:
            transport = streamable_http_client(self.place.mcp, http_client=http)
            async with mcp.Client(transport, mode=self.mode) as client:
                yield client

    async def kept(self) -> tuple[OAuthToken, OAuthClientInformationFull]:
        return self.store.tokens, self.store.registration

    async def _open(self, address: str) -> None:
        self._location = await asyncio.to_thread(self.person.decide, address)

    async def _answer(self) -> AuthorizationCodeResult:
        answer = parse_qs(urlsplit(self._location).query)
        return AuthorizationCodeResult(**{name: values[0] for name, values in answer.items()})
