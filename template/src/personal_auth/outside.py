"""How this server reads what clients publish: by FastMCP's fetcher, from public hosts only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fastmcp.server.auth.cimd import CIMDAssertionValidator, CIMDDocument
from fastmcp.server.auth.ssrf import SSRFError, ssrf_safe_fetch_response

from personal_auth.documents import Document, Fetch
from personal_auth.errors import DocumentUnavailable, InvalidClient, InvalidDocument
from personal_auth.identity import Identity
from personal_auth.limits import Limits


def fetcher(limits: Limits) -> Fetch:
    """Returns what fetches a metadata document: https, public addresses, no redirects, bounded."""

    async def fetch(url: str) -> tuple[bytes, Mapping[str, str]]:
        seconds = limits.document_fetch_seconds
        try:
            async with asyncio.timeout(seconds):  # FastMCP bounds each step, not a slow trickle
                response = await ssrf_safe_fetch_response(
                    url,
                    require_path=True,
                    max_size=limits.document_bytes,
                    timeout=seconds,
                    overall_timeout=seconds,
                )
        except SSRFError as error:
            raise InvalidDocument(
                "The app's metadata document is at an address that cannot be reached from here or"
                " is not public."
            ) from error
        except Exception as error:
            raise DocumentUnavailable from error
        return response.content, {name.lower(): value for name, value in response.headers.items()}

    return fetch


class Assertions:
    """Checks how a client proves itself by its key: `private_key_jwt` (RFC 7523 §3)."""

    def __init__(self, identity: Identity) -> None:
        self._audiences = [f"{identity.issuer}/token", identity.issuer]  # either is in use
        self._validator: Any = CIMDAssertionValidator()  # type: ignore[no-untyped-call]

    async def check(self, assertion: str, document: Document) -> None:
        """Proves a client by an assertion that it signed; each holds once.

        Raises:
            InvalidClient: The assertion is malformed, not the client's, expired, or was used.
        """
        fields = {"client_id": document.url, "redirect_uris": list(document.redirect_uris)}
        try:
            described = CIMDDocument.model_validate({**fields, **document.keys})
            await self._validator.validate_assertion(
                assertion, document.url, self._audiences, described
            )
        except Exception as error:  # whatever the library raises, nothing is proven
            raise InvalidClient("The client's authentication failed.") from error
