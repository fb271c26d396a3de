"""Who is asking?

A client is known from the owner's settings, from the metadata document that its id is the URL of,
or from its own registration. Whoever was approved once is found at the token endpoint without
asking anybody outside.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from personal_auth.client import BY_KEY, Client, Credentials
from personal_auth.documents import Documents, is_document_url
from personal_auth.errors import DocumentUnavailable, InvalidClient, InvalidDocument
from personal_auth.records import Records
from personal_auth.registration import SEALED, STORED, Registrations, slot
from personal_auth.sealing import digest
from personal_auth.store import Put

Prove = Callable[[str, str, Mapping[str, Any]], Awaitable[None]]
"""Checks an assertion of the client with this id by its key set; raises InvalidClient."""


class Clients:
    """Finds clients and lets them prove themselves.

    Args:
        records: Where approved clients are kept.
        registrations: Those that registered themselves.
        documents: Those that publish a metadata document; None when that is turned off.
        prove: Checks `private_key_jwt`.
        own: Those of the owner's settings, by id.
    """

    def __init__(
        self,
        records: Records,
        registrations: Registrations,
        documents: Documents | None,
        prove: Prove,
        own: Mapping[str, Client],
    ) -> None:
        self._records = records
        self._registrations = registrations
        self._documents = documents
        self._prove = prove
        self._own = own

    async def register(self, metadata: dict[str, Any]) -> tuple[Client, str | None]:
        """Returns a new client and its secret, as `Registrations.register` does."""
        return await self._registrations.register(metadata)

    async def asking(self, client_id: str) -> Client:
        """Returns the client that an authorization request names, as it describes itself now.

        Raises:
            InvalidClient: There is none.
            DocumentUnavailable: Its metadata document cannot be fetched now, and the owner never
                approved it.
        """
        if self._documents is None or client_id in self._own or not is_document_url(client_id):
            return await self.known(client_id)
        try:
            found = await self._documents.get(client_id)
        except DocumentUnavailable:
            with suppress(InvalidClient):
                return await self.known(client_id)  # as it was when the owner approved it
            raise
        return Client(found.url, found.name, found.redirect_uris, found.auth_method)

    async def known(self, client_id: str) -> Client:
        """Returns a client that registered, or that the owner has approved or named.

        Raises:
            InvalidClient: There is none.
        """
        if client_id in self._own:
            return self._own[client_id]
        if client_id.startswith(SEALED):
            return self._registrations.unseal(client_id)
        record = await self._records.get("clients", digest(client_id))
        if record is None and client_id.startswith(STORED):
            record = await self._records.get("waiting_clients", slot(client_id))
        if record is None or record["id"] != client_id:
            raise InvalidClient("The client is unknown: it must register again.")
        return Client.from_record(record)

    async def authenticate(self, credentials: Credentials) -> Client:
        """Returns the client that a request to the token endpoint comes from (RFC 6749 §2.3).

        Raises:
            InvalidClient: It is unknown, or does not prove itself.
            DocumentUnavailable: Its keys cannot be had now.
        """
        client = await self.known(credentials.client_id)
        if client.auth_method != BY_KEY:
            client.authenticate(credentials.secrets)
        elif credentials.assertion is None or self._documents is None:
            raise InvalidClient("The client must authenticate by private_key_jwt.")
        else:
            keys = await self._keys(self._documents, client.id)
            await self._prove(credentials.assertion, client.id, keys)
        return client

    async def _keys(self, documents: Documents, client_id: str) -> Mapping[str, Any]:
        try:
            return await documents.keys(await documents.get(client_id))
        except InvalidDocument as error:  # it was in order once: no reason to register anew
            raise DocumentUnavailable from error

    async def keep(self, client: Client) -> None:
        """Makes a client that the owner approved outlive its registration or its document."""
        if client.id.startswith(STORED) or client.verified_host is not None:
            await self._records.put_soon(Put("clients", digest(client.id), client.to_record()))

    async def has_moved(self, client: Client) -> bool:
        """Tells whether a client's redirect URIs are others than when the owner approved it."""
        if client.verified_host is None:
            return False
        approved = await self._records.get("clients", digest(client.id))
        return approved is not None and approved["redirect_uris"] != list(client.redirect_uris)
