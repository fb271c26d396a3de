"""How this server reads what clients publish: by https, from public hosts only, within bounds.

A name is resolved once, in a thread that holds up nothing else; if any of its addresses is not
public, nothing is asked; then that very address is. So neither a second answer of a name server
nor a redirect leads inside. FastMCP says which addresses are public and checks assertions; its own
fetcher is not used, see decision 7.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
from fastmcp.server.auth import ssrf
from fastmcp.server.auth.cimd import CIMDAssertionValidator, CIMDDocument

from personal_auth.errors import DocumentUnavailable, InvalidClient, InvalidDocument
from personal_auth.identity import Identity
from personal_auth.limits import Limits
from personal_auth.redirects import read

NOT_PUBLIC = tuple(  # beside those that FastMCP and Python know
    ipaddress.ip_network(network)
    for network in (
        *("168.63.129.16", "192.0.0.0/24", "192.88.99.0/24"),
        *("fec0::/10", "3fff::/20", "5f00::/16"),
    )
)


class Fetcher:
    """Fetches small documents from public hosts."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._names_under_way = 0
        self._context: ssl.SSLContext | None = None

    async def fetch(self, url: str) -> tuple[bytes, Mapping[str, str]]:
        """Returns the body and the headers, by names in lower case, of an https URL.

        Raises:
            InvalidDocument: The URL leads to an address or a port that must not be asked, or to
                more than `Limits.document_bytes`.
            DocumentUnavailable: It cannot be had now, or is no answer of status 200.
        """
        found = read(url)
        port = int(found.port or 443)
        if port != self._limits.document_port:
            raise InvalidDocument(f"A document must be at port {self._limits.document_port}.")
        try:
            async with asyncio.timeout(self._limits.document_fetch_seconds):
                addresses = await self._addresses(found.host, port)
                return await self._ask(url.removeprefix(found.origin), found.host, port, addresses)
        except (InvalidDocument, DocumentUnavailable):
            raise
        except Exception as error:
            raise DocumentUnavailable from error

    async def _addresses(self, host: str, port: int) -> list[str]:
        if self._names_under_way >= self._limits.documents_at_once:
            raise DocumentUnavailable
        self._names_under_way += 1
        try:
            infos = await in_thread(lambda: resolve(host, port), self._name_is_done)
        except socket.gaierror as error:
            raise DocumentUnavailable from error
        addresses = list(dict.fromkeys(str(info[4][0]) for info in infos))
        if not addresses or not all(is_public(address) for address in addresses):
            raise InvalidDocument(
                "The app's metadata document is at an address that is not public."
            )
        return addresses[: self._limits.document_addresses]

    def _name_is_done(self) -> None:
        self._names_under_way -= 1

    async def _ask(
        self, path: str, host: str, port: int, addresses: list[str]
    ) -> tuple[bytes, Mapping[str, str]]:
        self._context = self._context or ssl.create_default_context()  # takes a while: once
        headers = {"Host": host if port == 443 else f"{host}:{port}", "Accept-Encoding": "identity"}
        extensions = {
            "sni_hostname": host
        }  # the certificate has to be the host's, not the address's
        async with httpx2.AsyncClient(verify=self._context, trust_env=False) as client:
            for address in addresses:
                authority = f"[{address}]" if ":" in address else address
                url = f"https://{authority}:{port}{path}"
                with contextlib.suppress(httpx2.TransportError):
                    async with client.stream(
                        "GET", url, headers=headers, extensions=extensions
                    ) as response:
                        return await self._body(response), {
                            name.lower(): value for name, value in response.headers.items()
                        }
        raise DocumentUnavailable

    async def _body(self, response: httpx2.Response) -> bytes:
        if response.status_code != 200:
            raise DocumentUnavailable
        body = b""
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._limits.document_bytes:
                raise InvalidDocument(
                    f"What the app publishes is longer than {self._limits.document_bytes} bytes."
                )
        return body


class Assertions:
    """Checks how a client proves itself by its key: `private_key_jwt` (RFC 7523 §3)."""

    def __init__(self, identity: Identity) -> None:
        self._audiences = [f"{identity.issuer}/token", identity.issuer]  # either is in use
        self._validator: Any = CIMDAssertionValidator()  # type: ignore[no-untyped-call]

    async def check(self, assertion: str, client_id: str, keys: Mapping[str, Any]) -> None:
        """Proves a client by an assertion that it signed; in this process each holds once.

        Args:
            assertion: A JWT.
            client_id: Whose it has to be.
            keys: The client's JSON Web Key Set (RFC 7517 §5).

        Raises:
            InvalidClient: The assertion is malformed, not the client's, expired, or was used.
        """
        try:
            described = CIMDDocument.model_validate(
                {"client_id": client_id, "redirect_uris": [client_id], "jwks": dict(keys)}
            )
            await self._validator.validate_assertion(
                assertion, client_id, self._audiences, described
            )
        except Exception as error:  # whatever the library raises, nothing is proven
            raise InvalidClient("The client's authentication failed.") from error


def is_public(address: str) -> bool:
    """Tells whether anybody's host may have this address, and no machine beside ours."""
    if not ssrf.is_ip_allowed(address):
        return False
    parsed = ipaddress.ip_address(address)
    plain = getattr(parsed, "ipv4_mapped", None) or parsed
    return not any(plain in network for network in NOT_PUBLIC)


def resolve(host: str, port: int) -> list[Any]:
    """Asks the name servers; may take as long as they like."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def in_thread(work: Callable[[], Any], done: Callable[[], None]) -> Any:
    """Runs work in a thread of its own, which a stop does not wait for.

    `done` is called in the event loop when the work has ended, even when nobody waits any more.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Any] = loop.create_future()

    def tell(value: Any, error: Exception | None) -> None:
        done()
        if not result.done():
            result.set_result(value) if error is None else result.set_exception(error)

    def run() -> None:
        value, failure = None, None
        try:
            value = work()
        except Exception as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(tell, value, failure)

    threading.Thread(target=run, name="resolver", daemon=True).start()
    return await result
