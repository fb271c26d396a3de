"""What does a client's metadata document say?

A client may name itself by the https URL of a JSON document that it publishes (OAuth Client ID
Metadata Document). Then its host is proven: the document came from there. It is fetched when
somebody asks to connect, by a fetcher that is handed in and reaches public addresses only, and
kept as long as its headers allow, within bounds. Nothing that went wrong is kept.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from personal_auth.addresses import caller, is_shared, one_guesser
from personal_auth.client import BY_KEY, plain_name
from personal_auth.errors import DocumentUnavailable, InvalidDocument, InvalidRedirectUri
from personal_auth.limits import Limits
from personal_auth.redirects import read

SHARED_SECRETS = ("client_secret_post", "client_secret_basic", "client_secret_jwt")
MINUTE = 60.0
MAX_AGE = re.compile(r"max-age=\"?([0-9]{1,10})\"?\Z")

Fetch = Callable[[str], Awaitable[tuple[bytes, Mapping[str, str]]]]
"""Returns the body and the headers (names in lower case) of a document.

Raises `InvalidDocument` for an address that must not be fetched, `DocumentUnavailable` otherwise.
"""


@dataclass(frozen=True, slots=True)
class Document:
    """A metadata document, as far as it is used here."""

    url: str
    name: str
    redirect_uris: tuple[str, ...]
    auth_method: str
    keys: Mapping[str, Any] = field(repr=False)
    """`jwks` or `jwks_uri`, for a client that wants to authenticate by `private_key_jwt`."""


class Documents:
    """Fetches metadata documents and key sets, and keeps them for a while."""

    def __init__(self, fetch: Fetch, limits: Limits, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._limits = limits
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[float, Any]] = OrderedDict()
        self._under_way: dict[tuple[str, str], asyncio.Task[Any]] = {}
        self._minute, self._asked = 0.0, Counter[str]()

    async def get(self, url: str) -> Document:
        """Returns the document at a client id that is a URL.

        Raises:
            InvalidDocument: It is not a document that names a client.
            DocumentUnavailable: It cannot be had at this moment.
        """
        limits = self._limits
        document: Document = await self._understood(
            "document",
            url,
            lambda body: parse(url, body, limits.client_name_chars),
            limits.document_most_seconds,
        )
        return document

    async def keys(self, document: Document) -> Mapping[str, Any]:
        """Returns the key set of a client (RFC 7517 §5), kept for `Limits.document_seconds`.

        Raises:
            InvalidDocument: It has none.
            DocumentUnavailable: It cannot be had at this moment.
        """
        if "jwks" in document.keys:
            found: Mapping[str, Any] = _object(document.keys["jwks"])
        else:
            url = str(document.keys.get("jwks_uri"))
            found = await self._understood("keys", url, _json, self._limits.document_seconds)
        return found

    async def _understood(
        self, kind: str, url: str, understand: Callable[[bytes], Any], most_seconds: int
    ) -> Any:
        if not is_document_url(url) or len(url) > self._limits.redirect_uri_chars:
            raise InvalidDocument(
                "What an app publishes must be at an https URL with host and path."
            )
        expires, value = self._kept.get((kind, url), (0.0, None))
        if value is not None and self._clock() < expires:
            return value
        if (kind, url) not in self._under_way:
            self._spend(caller.get())
            loading = self._load((kind, url), understand, most_seconds)
            task = self._under_way[kind, url] = asyncio.create_task(loading)
            task.add_done_callback(lambda task: self._is_done((kind, url), task))
        return await asyncio.shield(self._under_way[kind, url])

    def _spend(self, address: str) -> None:
        """Counts what is fetched in this minute, over all and for the one who asks."""
        limits, now, asker = self._limits, self._clock(), one_guesser(address)
        if not 0 <= now - self._minute < MINUTE:
            self._minute, self._asked = now, Counter()
        if (
            len(self._under_way) >= limits.documents_at_once
            or self._asked.total() >= limits.documents_a_minute
            or (not is_shared(address) and self._asked[asker] >= limits.documents_a_minute_for_one)
        ):
            raise DocumentUnavailable("Too many apps are looked up: try again in a minute.")
        self._asked[asker] += 1

    async def _load(
        self, name: tuple[str, str], understand: Callable[[bytes], Any], most_seconds: int
    ) -> Any:
        self._kept.pop(name, None)
        body, headers = await self._fetch(name[1])
        value = understand(body)
        life = min(_life(headers, self._limits.document_seconds), most_seconds)
        if life > 0:
            self._kept[name] = (self._clock() + life, value)
            while len(self._kept) > self._limits.documents_kept:
                self._kept.popitem(last=False)
        return value

    def _is_done(self, name: tuple[str, str], task: asyncio.Task[Any]) -> None:
        del self._under_way[name]
        if not task.cancelled():
            task.exception()  # whoever waited was told; nobody may be waiting any more


def is_document_url(client_id: str) -> bool:
    """Tells whether a client id is the URL of a metadata document: https, a host, a path."""
    try:
        found = read(client_id)
    except InvalidRedirectUri:
        return False
    authority, _, path = client_id.removeprefix("https://").partition("/")
    named = found.scheme == "https" and "." in found.host and "?" not in authority
    return named and path.partition("?")[0] != ""


def parse(url: str, body: bytes, name_chars: int) -> Document:
    """Reads a metadata document that was found at a URL.

    Raises:
        InvalidDocument: It does not describe the client with this id, or wants a shared secret.
    """
    data = _json(body)
    if data.get("client_id") != url:
        raise InvalidDocument("The app's metadata document is about another client id.")
    uris = data.get("redirect_uris")
    if not isinstance(uris, list) or not all(isinstance(uri, str) for uri in uris):
        raise InvalidDocument("The app's metadata document has no list of redirect URIs.")
    method = _method(data)
    keys = {name: data[name] for name in ("jwks", "jwks_uri") if data.get(name)}
    if method != "none" and not keys:
        raise InvalidDocument("The app's metadata document has no keys to authenticate it by.")
    name = data.get("client_name")
    shown = plain_name(name, name_chars) if isinstance(name, str) else ""
    usable = (uri for uri in uris if uri.isascii() and uri.isprintable())  # others never match
    return Document(url, shown, tuple(usable), method, keys)


def _method(data: Mapping[str, Any]) -> str:
    chosen = data.get("token_endpoint_auth_method") or "none"
    offered = data.get("token_endpoint_auth_methods_supported")
    methods = [chosen, *(offered if isinstance(offered, list) else [])]
    if chosen in SHARED_SECRETS or "client_secret" in data:
        raise InvalidDocument("The app's metadata document wants a shared secret: it is public.")
    for method in ("none", BY_KEY):  # the first that both sides can do
        if method in methods:
            return method
    raise InvalidDocument("The app wants to authenticate in a way that this server does not know.")


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body.decode("utf-8"))
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # refuses lone surrogates
    except (ValueError, RecursionError):
        raise InvalidDocument("What the app publishes is not JSON in UTF-8.") from None
    return _object(value)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidDocument("What the app publishes is not a JSON object.")
    return value


def _life(headers: Mapping[str, str], otherwise: int) -> int:
    """Returns for how many seconds a document may be kept (RFC 9111 §5.2.2)."""
    directives = [part.strip().lower() for part in headers.get("cache-control", "").split(",")]
    if "no-store" in directives or "no-cache" in directives:
        return 0
    ages = [int(found[1]) for part in directives if (found := MAX_AGE.match(part))]
    return ages[0] if ages else otherwise
