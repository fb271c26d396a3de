"""How a client is registered: by itself (RFC 7591), or by the owner in the settings.

A registration that nobody approved is not stored: the `client_id` is the registration itself,
compressed and sealed, and its secret is derived from it. So a flood of registrations leaves no
trace, and none of them is ever lost. One that does not fit `Limits.sealed_client_id` characters
goes into a table of `Limits.stored_clients` slots, oldest evicted, until the owner approves it. In
a flood, which would evict it while the owner still looks at the page, it is sealed all the same, up
to `Limits.sealed_client_id_in_a_flood` characters.
"""

from __future__ import annotations

import json
import re
import secrets
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from personal_auth.client import AUTH_METHODS, Client, plain_name
from personal_auth.errors import InvalidClient, InvalidClientMetadata, InvalidRedirectUri
from personal_auth.limits import Limits
from personal_auth.records import Records
from personal_auth.redirects import check, read
from personal_auth.sealing import BrokenSeal, Sealer, digest, from_text, same, to_text
from personal_auth.store import Put

SEALED = "c1."
STORED = "c1-"
MAC_BYTES = 16
NONCE_BYTES = 8
SLOT = re.compile(r"[0-9]{1,9}\Z")
OWN_ID = re.compile(r"(?!c1[.-])[A-Za-z0-9._~-]{1,255}\Z")
SECRET_CHARS = 16

# Part of the `c1.` format: with other words here, sealed ids that are out there cannot be read.
WORDS = (
    b'["client_secret_basic","client_secret_post","none",["https://chatgpt.com/connector/oauth/'
    b'","https://chatgpt.com/connector_platform_oauth_redirect","https://insiders.vscode.dev/'
    b'redirect","https://vscode.dev/redirect","cursor://anysphere.cursor-mcp/oauth/callback",'
    b'"http://127.0.0.1:33418/","http://[::1]:","http://127.0.0.1:","http://localhost:'
    b'6274/oauth/callback","https://claude.com/api/mcp/auth_callback","https://claude.ai/api/mcp/'
    b'auth_callback"]]MCP CLI Proxy Inspector Visual Studio Code Cursor ChatGPT Claude'
)


class Registrations:
    """Registers clients and reads their registrations again."""

    def __init__(
        self,
        records: Records,
        sealer: Callable[[], Sealer],
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._records = records
        self._sealer = sealer
        self._limits = limits
        self._clock = clock
        self._next_slot = secrets.randbelow(max(limits.stored_clients, 1))

    async def register(self, metadata: dict[str, Any]) -> tuple[Client, str | None]:
        """Returns a new client and its secret, None for a public one (RFC 7591 §3.1).

        Raises:
            InvalidRedirectUri: None of the redirect URIs could ever receive a code.
            InvalidClientMetadata: Another member is malformed or not supported.
        """
        uris = self._redirect_uris(metadata.get("redirect_uris"))
        name = metadata.get("client_name") or ""
        if not isinstance(name, str):
            raise InvalidClientMetadata("client_name must be a string.")
        method = metadata.get("token_endpoint_auth_method") or "none"
        if method not in AUTH_METHODS:
            raise InvalidClientMetadata(
                f"token_endpoint_auth_method must be one of: {', '.join(AUTH_METHODS)}."
            )
        name = plain_name(name, self._limits.client_name_chars)
        client = self._client(self._seal(name, uris, method), name, uris, method)
        if len(client.id) > self._limits.sealed_client_id:
            client = await self._store(name, uris, method, client)
        return client, None if method == "none" else self._secret(client.id)

    def unseal(self, client_id: str) -> Client:
        """Returns the client whose registration is sealed into its id.

        Raises:
            InvalidClient: It was not made here, or with another key.
        """
        try:
            name, uris, method = self._unseal(client_id)
        except (BrokenSeal, ValueError, zlib.error) as error:
            raise InvalidClient("The client is unknown: it must register again.") from error
        return self._client(client_id, name, uris, method)

    def _client(self, client_id: str, name: str, uris: list[str], method: str) -> Client:
        secret_hash = None if method == "none" else digest(self._secret(client_id))
        return Client(client_id, name, tuple(uris), method, secret_hash)

    def _secret(self, client_id: str) -> str:
        return "pcs_" + to_text(self._sealer().mac("client-secret", client_id.encode()))

    def _seal(self, name: str, uris: list[str], method: str) -> str:
        plain = json.dumps([name, uris, method], separators=(",", ":"), ensure_ascii=False)
        level = 9 if len(plain) < 2000 else 1  # no flood may buy milliseconds of work so cheaply
        squeezer = zlib.compressobj(level, zlib.DEFLATED, -15, zdict=WORDS)
        body = squeezer.compress(plain.encode()) + squeezer.flush()
        body = secrets.token_bytes(NONCE_BYTES) + body
        return SEALED + to_text(self._sealer().mac("client", body)[:MAC_BYTES] + body)

    def _unseal(self, client_id: str) -> tuple[str, list[str], str]:
        raw = from_text(client_id.removeprefix(SEALED))
        mac, body = raw[:MAC_BYTES], raw[MAC_BYTES:]
        if not same(self._sealer().mac("client", body)[:MAC_BYTES], mac):
            raise BrokenSeal
        plain = zlib.decompressobj(-15, zdict=WORDS).decompress(body[NONCE_BYTES:])
        name, uris, method = json.loads(plain)
        return name, uris, method

    async def _store(self, name: str, uris: list[str], method: str, sealed: Client) -> Client:
        self._next_slot = (self._next_slot + 1) % self._limits.stored_clients
        client_id = f"{STORED}{self._next_slot}-{secrets.token_urlsafe(24)}"
        client = self._client(client_id, name, uris, method)
        last = await self._records.get("waiting_clients", slot(client_id))
        limits, now = self._limits, self._clock()
        flooded = last is not None and now - last.get("at", 0) < limits.ticket_seconds
        most = limits.sealed_client_id and limits.sealed_client_id_in_a_flood
        if flooded and len(sealed.id) <= most:
            return sealed
        record = {**client.to_record(), "at": now}
        put = Put("waiting_clients", slot(client_id), record, limits.client_seconds)
        await self._records.put_soon(put)
        return client

    def _redirect_uris(self, uris: object) -> list[str]:
        limits = self._limits
        if not isinstance(uris, list) or not all(isinstance(uri, str) for uri in uris):
            raise InvalidRedirectUri("redirect_uris must be a list of strings.")
        if not 1 <= len(uris) <= limits.redirect_uris:
            raise InvalidRedirectUri(
                f"redirect_uris must have 1 to {limits.redirect_uris} entries."
            )
        if any(len(uri) > limits.redirect_uri_chars for uri in uris):
            raise InvalidRedirectUri(
                f"A redirect URI must have at most {limits.redirect_uri_chars} characters."
            )
        if not all(uri.isascii() and uri.isprintable() for uri in uris):
            raise InvalidRedirectUri("A redirect URI has a character that no URI may have.")
        refusal: InvalidRedirectUri | None = None
        for uri in uris:
            try:
                read(uri)
            except InvalidRedirectUri as error:
                refusal = error
            else:
                return uris  # one that can be used; a foreign one beside it is refused when used
        raise refusal or InvalidRedirectUri("redirect_uris must not be empty.")


def slot(client_id: str) -> str:
    """Returns the key in the table of a client that was too long for its id."""
    slot = client_id.removeprefix(STORED).partition("-")[0]
    return slot if SLOT.match(slot) else "none"  # what anybody sends is no key for every store


def by_the_owner(
    entries: Sequence[Mapping[str, Any]], allowed: Collection[str] | None
) -> dict[str, Client]:
    """Returns the clients that the owner's settings name, by their ids.

    Args:
        entries: Each with `client_id`, `redirect_uris`, and when wanted `client_name` and
            `client_secret`.
        allowed: The owner's redirect domains, as `redirects.check` takes them.

    Raises:
        ValueError: An entry cannot be used; the message is one sentence without its secret.
    """
    clients = {client.id: client for client in (_named(entry, allowed) for entry in entries)}
    if len(clients) < len(entries):
        raise ValueError("Two clients of the settings have the same client_id.")
    return clients


def _named(entry: Mapping[str, Any], allowed: Collection[str] | None) -> Client:
    unknown = set(entry) - {"client_id", "client_secret", "client_name", "redirect_uris"}
    if unknown:
        raise ValueError(f"A client of the settings has an unknown member: {min(unknown)}.")
    client_id, secret = entry.get("client_id"), entry.get("client_secret")
    if not isinstance(client_id, str) or not OWN_ID.match(client_id):
        raise ValueError(
            "A client of the settings needs a client_id of letters, digits and ._~- that does not"
            f' begin with {SEALED} or {STORED}, such as "my-app".'
        )
    if secret is not None and (not isinstance(secret, str) or len(secret) < SECRET_CHARS):
        raise ValueError(
            f"The client_secret of {client_id} needs at least {SECRET_CHARS} characters."
        )
    uris, name = entry.get("redirect_uris"), entry.get("client_name", client_id)
    if not isinstance(uris, list) or not uris or not isinstance(name, str):
        raise ValueError(
            f"The client {client_id} needs a list of redirect_uris, and text as its name."
        )
    for uri in uris:
        try:
            check(str(uri), [str(uri)], allowed)
        except InvalidRedirectUri as error:
            raise ValueError(f"A redirect URI of {client_id}: {error.description}") from None
    method = "none" if secret is None else "client_secret_basic"
    shown = plain_name(name, Limits().client_name_chars)
    return Client(client_id, shown, tuple(uris), method, secret and digest(secret), own=True)
